import { z } from "zod";
import type { KeyFormat, SourcePlan, UsbPlan, VolumeKind } from "./plan.ts";
import type { Remark, SourceEntry } from "./source-registry.ts";
import { duration, yesOrNo } from "./toml-values.ts";
import { parseVolumeName } from "./volume-name.ts";

/** The sources that read a key from a file: `usb`, `keyfile`, `vault`. */

/** Long enough for a stick behind a hub to be there after the power comes on. */
const keyFileTimeout = 10_000;

/** crypttab's own limit for a key file, and ours: see MAX_SECRET_BYTES. */
const maxKeyBytes = 8 * 1024 * 1024;
/** Volumes have two sticks or three; more is a mistake. */
const maxSticks = 8;
const maxPathLength = 1024;
/** No stick is larger than this; keeps offsets exact. */
const maxOffset = 2 ** 48;

const HOW_TO_SUM = "sha256sum prints it for the key file, and `latchkey enroll usb` writes it here";
const sha256 = z
  .string({ error: `the SHA-256 of the key file is missing: ${HOW_TO_SUM}` })
  .transform((text) => text.trim().toLowerCase())
  .refine((text) => text !== "", { error: `the SHA-256 of the key file is empty: ${HOW_TO_SUM}`, abort: true })
  .refine((text) => /^[0-9a-f]{64}$/.test(text), { error: `expected 64 hexadecimal digits: ${HOW_TO_SUM}` });

const HOW_TO_UUID = "`lsblk -o NAME,FSTYPE,UUID` prints it";
/** vfat and exfat; ext4; iso9660, where it is a date. */
export const filesystemUuids = {
  serial: /^[0-9a-f]{4}-[0-9a-f]{4}$/i,
  uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i,
  date: /^\d{4}(-\d\d){6}$/,
} as const;
const filesystemUuid = z
  .string({ error: `the UUID of the stick's filesystem is missing: ${HOW_TO_UUID}` })
  .refine((text) => text !== "", { error: `the UUID of the stick's filesystem is empty: ${HOW_TO_UUID}`, abort: true })
  .refine((text) => Object.values(filesystemUuids).some((pattern) => pattern.test(text)), {
    error: `expected the UUID of a filesystem, like "4F2A-99C1": ${HOW_TO_UUID}`,
  });

const HOW_TO_PARTUUID = "`lsblk -o NAME,PARTUUID` prints it";
const partitionUuid = z
  .string({ error: `expected the UUID of a partition in quotes: ${HOW_TO_PARTUUID}` })
  .refine((text) => filesystemUuids.uuid.test(text) || /^[0-9a-f]{8}-[0-9a-f]{2}$/i.test(text), {
    error: `expected the UUID of a partition, like "1a2b3c4d-01": ${HOW_TO_PARTUUID}`,
  });

/** Where the key file lies on its medium, without a slash at its start. */
export const keyFilePath = z
  .string({ error: 'the path of the key file is missing, like "root.key"' })
  .transform((text) => text.replace(/^\/+/, ""))
  .refine((text) => text !== "" && text.length <= maxPathLength && isPlainPath(text), {
    error: "expected the path of a key file, without . and .. in it",
  });

function isPlainPath(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
  if (/[\u0000-\u001f\u007f]/.test(text)) return false;
  return text.split("/").every((step) => step !== "" && step !== "." && step !== "..");
}

const FORMAT_EXPECTED = 'expected "raw", "hex" or "text"';
const format = z.enum(["raw", "hex", "text"], { error: FORMAT_EXPECTED }).optional();

const UNITS = { "": 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;
const BYTES_EXPECTED = 'expected a number of bytes, or a text like "512", "4KiB" or "1MiB"';
const bytes = z.union([z.int(), z.string()], { error: BYTES_EXPECTED }).transform((value, context) => {
  const [, digits = "", unit = ""] = /^(\d{1,15})(|KiB|MiB|GiB)$/.exec(String(value).trim()) ?? [];
  const size = Number(digits) * UNITS[unit as keyof typeof UNITS];
  if (digits !== "" && size <= maxOffset) return size;
  context.addIssue({ code: "custom", message: BYTES_EXPECTED });
  return z.NEVER;
});

const strict =
  (expected: string) =>
  (issue: { readonly code?: string | undefined; readonly keys?: readonly string[] }): string =>
    issue.code === "unrecognized_keys" ? `unknown key ${issue.keys?.join(", ")}` : expected;

const USB_EXPECTED = 'expected { uuid = "…", path = "…", sha256 = "…" }, or a list of them';

const onFilesystem = z
  .strictObject(
    {
      uuid: filesystemUuid,
      path: keyFilePath,
      sha256,
      format,
      timeout: duration.optional(),
      any_bus: yesOrNo.optional(),
    },
    {
      error: strict(USB_EXPECTED),
    },
  )
  .transform(
    ({ uuid, path, sha256, format, timeout, any_bus }): UsbPlan => ({
      kind: "usb",
      place: { by: "filesystem", uuid, path },
      ...common({ sha256, format, timeout }),
      anyBus: any_bus ?? false,
    }),
  );

const onPartition = z
  .strictObject(
    {
      partuuid: partitionUuid,
      offset: bytes.optional(),
      size: bytes.refine((size) => size >= 1 && size <= maxKeyBytes, { error: "expected 1 byte to 8MiB" }),
      sha256,
      format,
      timeout: duration.optional(),
      any_bus: yesOrNo.optional(),
    },
    { error: strict('expected { partuuid = "…", offset = "…", size = "…", sha256 = "…" }') },
  )
  .transform(
    ({ partuuid, offset, size, sha256, format, timeout, any_bus }): UsbPlan => ({
      kind: "usb",
      place: { by: "partition", partuuid, offset: offset ?? 0, size },
      ...common({ sha256, format, timeout }),
      anyBus: any_bus ?? false,
    }),
  );

function common(of: { sha256: string; format: KeyFormat | undefined; timeout: number | undefined }) {
  return {
    sha256: of.sha256,
    ...(of.format === undefined ? {} : { format: of.format }),
    timeout: of.timeout ?? keyFileTimeout,
  };
}

/** Which of the two it is, `partuuid` tells; so that what is missing is named for the one that is meant. */
const usbSettings = z.unknown().transform((table, context): readonly SourcePlan[] => {
  const isRaw = typeof table === "object" && table !== null && "partuuid" in table;
  const read = (isRaw ? onPartition : onFilesystem).safeParse(table, {
    error: () => USB_EXPECTED,
  });
  if (read.success) return [read.data];
  for (const { path, message } of read.error.issues) context.addIssue({ code: "custom", path: [...path], message });
  return z.NEVER;
});

export const usb: SourceEntry = {
  kind: "usb",
  mostTables: maxSticks,
  settings: usbSettings,
  judge: (plan, kind) => (plan.kind === "usb" ? textOnly(plan.format, kind) : undefined),
};

export const keyfile: SourceEntry = {
  kind: "keyfile",
  settings: z
    .strictObject(
      {
        path: z
          .string({ error: 'the path of the key file is missing, like "/etc/latchkey/root.key"' })
          .startsWith("/", { error: "expected an absolute path" }),
        format,
      },
      { error: strict('expected { path = "/etc/latchkey/root.key" }') },
    )
    .transform(({ path, format }): readonly SourcePlan[] => [
      { kind: "keyfile", path, ...(format === undefined ? {} : { format }) },
    ]),
  judge: (plan, kind) => {
    if (plan.kind !== "keyfile") return undefined;
    return (
      textOnly(plan.format, kind) ?? {
        severity: "warning",
        code: "config/key-in-image",
        text: `${plan.path} goes into the initrd, and anyone who reads your /boot can open your disk: only for machines that hold nothing worth it`,
      }
    );
  },
};

export const vault: SourceEntry = {
  kind: "vault",
  mostTables: maxSticks,
  settings: z
    .strictObject(
      {
        volume: z
          .string({ error: "the name of the volume that holds the key file is missing" })
          .superRefine((name, context) => {
            const parsed = parseVolumeName(name);
            if ("problem" in parsed) context.addIssue({ code: "custom", message: parsed.problem });
          }),
        path: keyFilePath,
        sha256,
        format,
        timeout: duration.optional(),
        close: yesOrNo.optional(),
      },
      { error: strict('expected { volume = "…", path = "…", sha256 = "…" }') },
    )
    .transform(({ volume, path, sha256, format, timeout, close }): readonly SourcePlan[] => [
      {
        kind: "vault",
        volume,
        path,
        ...common({ sha256, format, timeout }),
        ...(close === undefined ? {} : { close }),
      },
    ]),
  judge: (plan, kind) => (plan.kind === "vault" ? textOnly(plan.format, kind) : undefined),
};

/** Of a bcachefs the credential is a passphrase: one line of text. */
function textOnly(format: KeyFormat | undefined, kind: VolumeKind | undefined): Remark | undefined {
  if (kind !== "bcachefs" || format === undefined || format === "text") return undefined;
  return {
    severity: "error",
    code: "config/invalid-value",
    key: "format",
    text: `bcachefs takes text only: a key file for it holds its passphrase as one line, format = "text" (not "${format}")`,
  };
}

/** Nothing said: a passphrase for bcachefs, the bytes as they are for all others. */
export function usualFormat(kind: VolumeKind): KeyFormat {
  return kind === "bcachefs" ? "text" : "raw";
}
