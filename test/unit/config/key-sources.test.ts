import { describe, expect, test } from "bun:test";
import type { SourcePlan } from "../../../src/config/plan.ts";
import { complaints, read, volume } from "./documents.ts";
import { planOf } from "./machine.ts";

const sha256 = "c0ffee00".repeat(8);
const good = `uuid = "4F2A-99C1", path = "root.key", sha256 = "${sha256}"`;
const usb = (table: string, kind = "luks") => volume(`kind = "${kind}"`, 'sources = ["usb"]', `usb = ${table}`);
const firstSource = (text: string): SourcePlan | undefined => read(text).volumes[0]?.sources?.[0];

describe("a stick", () => {
  test("with all that it needs", () => {
    expect(complaints(usb(`{ ${good} }`))).toEqual([]);
    expect(firstSource(usb(`{ ${good} }`))).toEqual({
      kind: "usb",
      place: { by: "filesystem", uuid: "4F2A-99C1", path: "root.key" },
      sha256,
      anyBus: false,
      timeout: 10_000,
    });
  });

  test("with everything that can be said", () => {
    const table = `{ uuid = "6E8C1F2A-0b3d-4c5e-8f70-123456789abc", path = "/keys/Größe.key", sha256 = " ${sha256.toUpperCase()}", format = "hex", timeout = "1m", any_bus = true }`;
    expect(complaints(usb(table))).toEqual([]);
    expect(firstSource(usb(table))).toEqual({
      kind: "usb",
      place: { by: "filesystem", uuid: "6E8C1F2A-0b3d-4c5e-8f70-123456789abc", path: "keys/Größe.key" },
      sha256,
      format: "hex",
      anyBus: true,
      timeout: 60_000,
    });
  });

  test("that is a bare partition", () => {
    const table = `{ partuuid = "1a2b3c4d-01", offset = "1MiB", size = 64, sha256 = "${sha256}" }`;
    expect(complaints(usb(table))).toEqual([]);
    expect(firstSource(usb(table))).toMatchObject({
      place: { by: "partition", partuuid: "1a2b3c4d-01", offset: 1_048_576, size: 64 },
    });
  });

  test("several, of which one is wrong: the others stay", () => {
    const text = usb(`[{ ${good} }, { uuid = "1234-5678" }, { ${good.replace("4F2A", "4F2B")} }]`);
    expect(read(text).volumes[0]?.sources).toHaveLength(2);
    expect(complaints(text)).toEqual([
      'latchkey.toml:5: volumes.root.usb.path: the path of the key file is missing, like "root.key"',
      "latchkey.toml:5: volumes.root.usb.sha256: the SHA-256 of the key file is missing: sha256sum prints it for the key file, and `latchkey enroll usb` writes it here",
    ]);
  });
});

describe("a check that is left out is a mistake, not a check that is passed", () => {
  const HOW_UUID = "`lsblk -o NAME,FSTYPE,UUID` prints it";
  const HOW_SHA = "sha256sum prints it for the key file, and `latchkey enroll usb` writes it here";
  test.each([
    [
      "no UUID",
      good.replace('uuid = "4F2A-99C1", ', ""),
      `uuid: the UUID of the stick's filesystem is missing: ${HOW_UUID}`,
    ],
    ["an empty UUID", good.replace("4F2A-99C1", ""), `uuid: the UUID of the stick's filesystem is empty: ${HOW_UUID}`],
    [
      "half a UUID",
      good.replace("4F2A-99C1", "4F2A"),
      `uuid: expected the UUID of a filesystem, like "4F2A-99C1": ${HOW_UUID}`,
    ],
    [
      "a label",
      good.replace("4F2A-99C1", "LKUSB"),
      `uuid: expected the UUID of a filesystem, like "4F2A-99C1": ${HOW_UUID}`,
    ],
    ["no checksum", good.replace(/, sha256.*/, ""), `sha256: the SHA-256 of the key file is missing: ${HOW_SHA}`],
    ["an empty checksum", good.replace(sha256, ""), `sha256: the SHA-256 of the key file is empty: ${HOW_SHA}`],
    ["half a checksum", good.replace(sha256, sha256.slice(32)), `sha256: expected 64 hexadecimal digits: ${HOW_SHA}`],
    ["no path", good.replace('path = "root.key", ', ""), 'path: the path of the key file is missing, like "root.key"'],
    ["an empty path", good.replace("root.key", ""), "path: expected the path of a key file, without . and .. in it"],
    [
      "a way out",
      good.replace("root.key", "../root.key"),
      "path: expected the path of a key file, without . and .. in it",
    ],
    [
      "a way out, inside",
      good.replace("root.key", "a/../../b"),
      "path: expected the path of a key file, without . and .. in it",
    ],
    [
      "a line break",
      good.replace("root.key", "a\\nb"),
      "path: expected the path of a key file, without . and .. in it",
    ],
    ["an odd format", `${good}, format = "base64"`, 'format: expected "raw", "hex" or "text"'],
    ["an odd key", `${good}, label = "LKUSB"`, "unknown key label"],
    ["an offset into a file", `${good}, offset = 1`, "unknown key offset"],
  ])("%s", (_, table, complaint) => {
    const text = usb(`{ ${table} }`);
    const separator = complaint.startsWith("unknown") ? ": " : ".";
    expect(complaints(text)).toContain(`latchkey.toml:5: volumes.root.usb${separator}${complaint}`);
    expect(firstSource(text)).toEqual({ kind: "prompt" });
  });

  test.each([
    ["the size is missing", "", 'expected a number of bytes, or a text like "512", "4KiB" or "1MiB"'],
    ["no bytes", "size = 0,", "expected 1 byte to 8MiB"],
    ["too many bytes", 'size = "9MiB",', "expected 1 byte to 8MiB"],
    ["a fraction", "size = 1.5,", 'expected a number of bytes, or a text like "512", "4KiB" or "1MiB"'],
    ["another unit", 'size = "1MB",', 'expected a number of bytes, or a text like "512", "4KiB" or "1MiB"'],
  ])("of a bare partition: %s", (_, size, complaint) => {
    const text = usb(`{ partuuid = "1a2b3c4d-01", ${size} sha256 = "${sha256}" }`);
    expect(complaints(text)).toContain(`latchkey.toml:5: volumes.root.usb.size: ${complaint}`);
  });
});

describe("bcachefs takes text only", () => {
  test.each(["raw", "hex"])("a key of format %s is refused", (format) => {
    const text = usb(`{ ${good}, format = "${format}" }`, "bcachefs");
    expect(complaints(text)).toContain(
      `latchkey.toml:5: volumes.root.usb.format: bcachefs takes text only: a key file for it holds its passphrase as one line, format = "text" (not "${format}")`,
    );
    expect(firstSource(text)).toEqual({ kind: "prompt" });
  });

  test("text, or nothing said, is fine", () => {
    expect(complaints(usb(`{ ${good} }`, "bcachefs"))).toEqual([]);
    expect(complaints(usb(`{ ${good}, format = "text" }`, "bcachefs"))).toEqual([]);
  });
});

test("a key file in the initrd is used, and shouted about", () => {
  const text = volume('kind = "luks"', 'sources = ["keyfile"]', 'keyfile = { path = "/etc/latchkey/root.key" }');
  expect(firstSource(text)).toEqual({ kind: "keyfile", path: "/etc/latchkey/root.key" });
  expect(read(text).problems).toMatchObject([{ severity: "warning", code: "config/key-in-image" }]);
  expect(complaints(text).join()).toContain("anyone who reads your /boot can open your disk");
});

describe("a vault", () => {
  const plan = (kind: string, own = "") =>
    planOf(
      {
        toml: `${volume('kind = "luks"', 'sources = ["vault"]', `vault = { volume = "stick", path = "root.key", sha256 = "${sha256}" }`)}
[volumes.stick]
kind = "${kind}"
device = "/dev/disk/by-id/stick"
${own}`,
      },
      "boot",
    );

  test("is a LUKS volume of the configuration", () => {
    const { volumes, warnings } = plan("luks");
    expect(warnings).toEqual([]);
    expect(volumes[0]?.sources).toEqual([
      { kind: "vault", volume: "stick", path: "root.key", sha256, timeout: 10_000 },
    ]);
  });

  test("is closed afterwards, or not, where that is said", () => {
    const source = (close: string) =>
      firstSource(
        volume(
          'kind = "luks"',
          'sources = ["vault"]',
          `vault = { volume = "stick", path = "k", sha256 = "${sha256}", close = ${close} }\n[volumes.stick]\nkind = "luks"\ndevice = "/dev/a"`,
        ),
      );
    expect(source("true")).toMatchObject({ close: true });
    expect(source("false")).toMatchObject({ close: false });
  });

  test("of another kind is refused", () => {
    expect(plan("bcachefs").warnings.join()).toContain('volume "stick" is a bcachefs, and a vault is a LUKS volume');
  });

  test("that is not there is refused", () => {
    const text = volume(
      'kind = "luks"',
      'sources = ["vault"]',
      `vault = { volume = "x", path = "k", sha256 = "${sha256}" }`,
    );
    expect(planOf({ toml: text }, "boot").warnings.join()).toContain('volumes.root.vault: there is no volume "x"');
  });

  test("whose own key is behind it is refused", () => {
    const own = `sources = ["vault"]\nvault = { volume = "root", path = "k", sha256 = "${sha256}" }\n`;
    const { warnings } = plan("luks", own);
    expect(warnings.join()).toContain('volume "stick" waits for the key of "root" itself');
    expect(warnings).toHaveLength(2);
  });
});
