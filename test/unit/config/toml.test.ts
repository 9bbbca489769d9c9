import { describe, expect, test } from "bun:test";
import { refuseErrors } from "../../../src/config/problems.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { complaints, file, read, volume } from "./documents.ts";
import { uuid } from "./machine.ts";

describe("a configuration that is as it should be", () => {
  test("every key is read", () => {
    const text = `prompt_after = "5s"
device_timeout = "3m"
member_timeout = "10s"
tpm = "swtpm:path=/run/tpm"
[volumes.root]
kind = "bcachefs"
device = "UUID=${uuid}"
sources = ["clevis", "prompt"]
clevis = { token = "/etc/latchkey/other.jwe", timeout = "20s", ca = "/etc/latchkey/ca.pem" }
[volumes.d1]
kind = "bcachefs"
device = ["/dev/sdb", 'LABEL="my disk"']
[pools.data]
volumes = ["root", "d1", "d1"]
[policy]
require_encrypted = false
allow_degraded = true
`;
    expect(read(text)).toEqual({
      file,
      promptAfter: 5000,
      deviceTimeout: 180_000,
      memberTimeout: 10_000,
      tpm: "swtpm:path=/run/tpm",
      requireEncrypted: false,
      allowDegraded: true,
      volumes: [
        {
          name: "root",
          kind: "bcachefs",
          certainty: "stated",
          devices: [{ by: "tag", tag: "UUID", value: uuid }],
          sources: [
            { kind: "clevis", token: "/etc/latchkey/other.jwe", authority: "/etc/latchkey/ca.pem", timeout: 20_000 },
            { kind: "prompt" },
          ],
          origin: { file, line: 5 },
        },
        {
          name: "d1",
          kind: "bcachefs",
          certainty: "stated",
          devices: [
            { by: "path", path: "/dev/sdb" },
            { by: "tag", tag: "LABEL", value: "my disk" },
          ],
          sources: undefined,
          origin: { file, line: 10 },
        },
      ],
      leftToSystem: [],
      pools: [{ name: "data", volumes: ["root", "d1"], origin: { file, line: 14 } }],
      problems: [],
    });
  });

  test.each(["", "# nothing but a comment\n", "\ufeff", "[volumes]\n[pools]\n[policy]\n"])(
    "%j says nothing and is fine",
    (text) => {
      expect(read(text)).toEqual({ file, volumes: [], leftToSystem: [], pools: [], problems: [] });
    },
  );

  test("names that JavaScript gives a meaning of its own are names like others", () => {
    const text = ["__proto__", "constructor", "toString"]
      .map((name) => `[volumes.${name}]\nkind = "bcachefs"\ndevice = "/dev/${name}"\n`)
      .join("");
    expect(complaints(text)).toEqual([]);
    expect(read(text).volumes.map(({ name }) => name)).toEqual(["__proto__", "constructor", "toString"]);
  });
});

describe("what is wrong is named with file, line and key", () => {
  test.each<[string, string, string]>([
    [
      "a device that is none",
      volume('device = "sda1"'),
      'latchkey.toml:3: volumes.root.device: expected UUID=…, LABEL=…, or a path, got "sda1"',
    ],
    [
      "a device in a list",
      volume(`device = ["/dev/sda",\n\n "sdb"]`),
      'latchkey.toml:5: volumes.root.device: expected UUID=…, LABEL=…, or a path, got "sdb"',
    ],
    [
      "a device that is a number",
      volume("device = 5"),
      "latchkey.toml:3: volumes.root.device: expected a device in quotes, or a list of them",
    ],
    ["no device in the list", volume("device = []"), "latchkey.toml:3: volumes.root.device: names no device"],
    [
      "the UUID of a stick",
      volume('device = "UUID=4F2A-99C1"'),
      'latchkey.toml:3: volumes.root.device: "4F2A-99C1" is not the UUID of an encrypted volume (36 characters)',
    ],
    [
      "a device that is missing",
      '[volumes.root]\nkind = "bcachefs"',
      'latchkey.toml:1: volumes.root.device: missing (for example device = "UUID=…")',
    ],
    [
      "a kind that is missing",
      '[volumes.root]\ndevice = "/dev/sda"',
      'latchkey.toml:1: volumes.root.kind: missing (for example kind = "bcachefs")',
    ],
    [
      "a kind that is misspelt",
      volume('kind = "bcachfs"'),
      'latchkey.toml:2: volumes.root.kind: no such kind "bcachfs" (did you mean "bcachefs"?): known are bcachefs, luks, zfs, zerofs',
    ],
    [
      "a kind that comes later",
      volume('kind = "zfs"'),
      "latchkey.toml:2: volumes.root.kind: this version of latchkey does not open zfs volumes",
    ],
    ["a kind that is a list", volume("kind = []"), "latchkey.toml:2: volumes.root.kind: expected a kind in quotes"],
    [
      "a key that is misspelt",
      volume('devcie = "x"'),
      'latchkey.toml:4: volumes.root.devcie: unknown key (did you mean "device"?)',
    ],
    ["a key like nothing", 'hunter2 = "swordfish"', "latchkey.toml:1: hunter2: unknown key"],
    ["a key that needs quotes", '"a b\\nc" = 1', 'latchkey.toml:1: "a b c": unknown key'],
    [
      "a source without the settings that it needs",
      volume('sources = [\n"prompt",\n"usb"]'),
      'latchkey.toml:6: volumes.root.sources: usb: expected { uuid = "…", path = "…", sha256 = "…" }, or a list of them',
    ],
    [
      "a source's table alone",
      volume("usb = {}"),
      "latchkey.toml:4: volumes.root.usb: set up here, but not named in volumes.root.sources",
    ],
    [
      "a source that is misspelt",
      volume('sources = ["prompt", "clevs"]'),
      'latchkey.toml:4: volumes.root.sources: no such source "clevs" (did you mean "clevis"?): known are clevis, usb, keyfile, prompt, remote, vault',
    ],
    [
      "a source named twice",
      volume('sources = ["prompt", "prompt"]'),
      'latchkey.toml:4: volumes.root.sources: names "prompt" twice',
    ],
    [
      "sources that are no list",
      volume('sources = "prompt"'),
      "latchkey.toml:4: volumes.root.sources: expected a list of names of sources",
    ],
    [
      "a table whose source is not used",
      volume("prompt = {}"),
      "latchkey.toml:4: volumes.root.prompt: set up here, but not named in volumes.root.sources",
    ],
    [
      "a duration without unit",
      'prompt_after = "2"',
      'latchkey.toml:1: prompt_after: expected a duration like "2s", "500ms" or "1m30s", got "2" (the unit is missing)',
    ],
    [
      "a duration without quotes",
      "prompt_after = 2",
      'latchkey.toml:1: prompt_after: expected a duration in quotes, like "2s", "500ms" or "1m30s"',
    ],
    [
      "a date for a duration",
      "prompt_after = 1979-05-27",
      'latchkey.toml:1: prompt_after: expected a duration in quotes, like "2s", "500ms" or "1m30s"',
    ],
    [
      "a switch in quotes",
      '[policy]\nrequire_encrypted = "no"',
      "latchkey.toml:2: policy.require_encrypted: expected true or false",
    ],
    [
      "a PCR that the system can reset",
      "[policy]\nseal_pcr_after_unlock = 16",
      "latchkey.toml:2: policy.seal_pcr_after_unlock: expected the number of a PCR, 0 to 15: later ones can be reset by the system that boots",
    ],
    ["a way in from afar that is no table", 'remote = "ssh"', "latchkey.toml:1: remote: expected a table"],
    [
      "a start that there is not",
      '[remote]\nstart = "never"',
      'latchkey.toml:2: remote.start: expected "fallback" or "always"',
    ],
    [
      "a server that there is not",
      '[remote]\nserver = "telnetd"',
      'latchkey.toml:2: remote.server: expected "auto", "openssh" or "dropbear"',
    ],
    [
      "a port in quotes",
      '[remote]\nport = "22"',
      "latchkey.toml:2: remote.port: expected the number of a TCP port, 1 to 65535",
    ],
    [
      "a port too high",
      "[remote]\nport = 65536",
      "latchkey.toml:2: remote.port: expected the number of a TCP port, 1 to 65535",
    ],
    [
      "a network of two words",
      '[remote]\nnetwork = "ip=dhcp init=/bin/sh"',
      'latchkey.toml:2: remote.network: expected "dhcp", or a kernel parameter like "ip=192.0.2.7::192.0.2.1:255.255.255.0::eth0:none"',
    ],
    [
      "a source remote with settings of its own",
      volume('sources = ["prompt", "remote"]\nremote = { port = 22 }'),
      "latchkey.toml:5: volumes.root.remote: remote has no settings for one volume: they stand in the table [remote]",
    ],
    [
      "a volume's name",
      '[volumes."my disk"]\nkind = "bcachefs"\ndevice = "/dev/sda"',
      'latchkey.toml:1: volumes."my disk": a name is letters, digits, ".", "_" and "-" without a leading "-", got "my disk"',
    ],
    ["a volume that is no table", "[volumes]\nroot = 1", "latchkey.toml:2: volumes.root: expected a table"],
    [
      "volumes that are no table",
      "volumes = 1",
      "latchkey.toml:1: volumes: expected a table for each volume, like [volumes.root]",
    ],
    [
      "volumes that are a list",
      "[[volumes]]\nkind = 1",
      "latchkey.toml:1: volumes: expected a table for each volume, like [volumes.root]",
    ],
    ["a policy that is no table", "policy = true", "latchkey.toml:1: policy: expected a table"],
    [
      "pools that are no table",
      "pools = []",
      "latchkey.toml:1: pools: expected a table for each pool, like [pools.data]",
    ],
    ["a pool without volumes", "[pools.data]", "latchkey.toml:1: pools.data.volumes: missing"],
    ["a pool of nothing", "[pools.data]\nvolumes = []", "latchkey.toml:2: pools.data.volumes: names no volume"],
    [
      "a pool of numbers",
      "[pools.data]\nvolumes = [\n1]",
      "latchkey.toml:3: pools.data.volumes: expected the name of a volume in quotes",
    ],
    [
      "a pool's name",
      "[pools.-a]\nvolumes = ['x']",
      'latchkey.toml:1: pools.-a: a name is letters, digits, ".", "_" and "-" without a leading "-", got "-a"',
    ],
    ["no TOML", 'kind = "bcachefs"\ndevice =\n', "latchkey.toml:2: not TOML: invalid value"],
    [
      "a key twice",
      "[policy]\n[policy]",
      "latchkey.toml:2: not TOML: trying to redefine an already defined table or value",
    ],
    ["a quote left open", 'a = "x\n', "latchkey.toml:1: not TOML: control characters are not allowed in strings"],
    [
      "lists in lists without end",
      `a = ${"[".repeat(100)}`,
      "latchkey.toml:1: not TOML: document contains excessively nested structures. aborting",
    ],
  ])("%s", (_, text, complaint) => {
    expect(complaints(text)).toEqual([complaint]);
  });

  test("settings for a source that has none leave the question", () => {
    expect(complaints(volume('sources = ["prompt"]', "prompt = { tries = 3 }"))).toEqual([
      "latchkey.toml:4: volumes.root.sources: no source is left, so the passphrase is asked for",
      "latchkey.toml:5: volumes.root.prompt: prompt has no settings",
    ]);
  });

  test("values are not shown where a secret may have been pasted: neither unknown keys' nor broken TOML's", () => {
    for (const text of [
      'passphrase = "hunter2"',
      'passphrase = "hunter2',
      "passphrase = hunter2",
      volume('prompt = "hunter2"'),
    ]) {
      expect(complaints(text).length).toBeGreaterThan(0);
      expect(complaints(text).join()).not.toContain("hunter2");
    }
  });

  test("problems come in the order of their lines", () => {
    const lines = read(`[policy]\nx = 1\n${volume("y = 1")}[pools.z]\n`).problems.map(({ origin }) => origin.line);
    expect(lines).toEqual([2, 6, 7]);
  });

  test("a command ends with the first and names some of the others", () => {
    expect(() => refuseErrors(read("a = 1\nb = 1\nc = 1\nd = 1\ne = 1\nf = 1").problems)).toThrow(LatchkeyError);
    try {
      refuseErrors(read("a = 1\nb = 1\nc = 1\nd = 1\ne = 1\nf = 1").problems);
    } catch (error) {
      expect(error).toMatchObject({
        code: "config/unknown-key",
        outcome: "configuration",
        message: "latchkey.toml:1: a: unknown key",
        hint: "also wrong: latchkey.toml:2: b: unknown key; latchkey.toml:3: c: unknown key; latchkey.toml:4: d: unknown key; and 2 more",
      });
    }
  });
});
