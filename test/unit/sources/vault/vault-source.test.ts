import { expect, test } from "bun:test";
import type { VolumeProgress } from "../../../../src/sources/source.ts";
import type { KeyReader } from "../../../../src/sources/usb/key-reader.ts";
import type { DeviceIdentity } from "../../../../src/sources/usb/reader-protocol.ts";
import { VaultSource } from "../../../../src/sources/vault/vault-source.ts";
import type { LatchkeyError } from "../../../../src/system/errors.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { HandClock, settle } from "../../unlock/fakes.ts";
import { FakeHeart, KEY, sha256Of } from "../usb/fakes.ts";

const stick = { name: "stick", description: undefined, reason: undefined };

interface Inside {
  readonly filesystems?: DeviceIdentity["filesystems"];
  readonly content?: string;
}

function start(
  standing: VolumeProgress["standing"] | "absent",
  { filesystems = [{ type: "ext4", uuid: "u" }], content = KEY }: Inside = {},
) {
  const heart = new FakeHeart();
  if (standing !== "absent") heart.set({ ...stick, standing });
  const clock = new HandClock();
  const log: string[] = [];
  const reader: KeyReader = {
    prepare: () => undefined,
    identify: async (device) => {
      log.push(`identify ${device}`);
      return { filesystems };
    },
    read: async (place) => {
      log.push(`read ${JSON.stringify(place)}`);
      return SecretBytes.take(new TextEncoder().encode(content));
    },
  };
  const source = new VaultSource({
    vault: { kind: "vault", volume: "stick", path: "keys/root.key", sha256: sha256Of(KEY), timeout: 10_000 },
    format: "raw",
    volumes: ["root"],
    reader,
    clock,
    deviceOf: (volume) => `/dev/mapper/${volume}`,
  });
  const end = source.run(heart).then(
    () => "ended",
    (thrown: LatchkeyError) => `${thrown.code}: ${thrown.message}`,
  );
  return { heart, clock, log, end, source };
}

test("waits for its volume, and reads the key from the mapping once", async () => {
  const { heart, clock, log, end, source } = start("closed");
  await settle();
  expect(log).toEqual([]);
  await clock.advance(10_000);
  expect(heart.reasons).toEqual(["vault/not-open: root: vault stick is not open after 10 s"]);
  heart.set({ ...stick, standing: "open" });
  expect(await end).toBe("ended");
  expect(source.name).toBe("vault stick");
  expect(heart.offered).toEqual([{ text: KEY, volumes: ["root"] }]);
  expect(log).toEqual([
    "identify /dev/mapper/stick",
    'read {"on":"/dev/mapper/stick","type":"ext4","path":"keys/root.key"}',
  ]);
});

test("a volume that is open already is not waited for", async () => {
  const { heart, end } = start("open");
  expect(await end).toBe("ended");
  expect(heart.reasons).toEqual([]);
});

test.each([
  [
    "that cannot be opened",
    { ...stick, standing: "failed", reason: "its device did not come" } as const,
    "vault/not-open: root: vault stick is not opened: its device did not come",
  ],
])("a vault %s fails the source, with the reason", async (_, standing, message) => {
  const { heart, end } = start("waiting");
  heart.set(standing);
  expect(await end).toBe(message);
});

test("a vault that is no volume of this run is named", async () => {
  const { end } = start("absent");
  expect(await end).toBe("vault/not-open: root: vault stick is no volume of this run");
});

test("another file than that of the configuration is refused", async () => {
  const { heart, end } = start("open", { content: "another" });
  expect(await end).toStartWith("vault/checksum-mismatch: keys/root.key in stick is not the key file");
  expect(heart.offered).toEqual([]);
});

test("a vault without a filesystem is refused, one with two as well", async () => {
  const none = start("open", { filesystems: [] });
  expect(await none.end).toStartWith("vault/not-open: root: vault stick holds no vfat, exfat, ext4 or iso9660");
  const two = start("open", {
    filesystems: [
      { type: "ext4", uuid: "u" },
      { type: "vfat", uuid: "v" },
    ],
  });
  expect(await two.end).toStartWith("usb/ambiguous: ");
});

test("a source that is not wanted any longer ends without a word", async () => {
  const { heart, end } = start("waiting");
  heart.abort();
  expect(await end).toBe("ended");
  expect(heart.reasons).toEqual([]);
});
