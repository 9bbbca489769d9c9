import { describe, expect, test } from "bun:test";
import type {
  CheckFacts,
  FoundFacts,
  ImageContent,
  ImageFacts,
  RemoteFacts,
  SeenDevice,
  SourceFacts,
  VolumeFacts,
} from "../../../../src/commands/check/facts.ts";
import { checkStatus, type Finding, findingLines, type Severity } from "../../../../src/commands/check/findings.ts";
import { readersOf } from "../../../../src/commands/check/gather.ts";
import { checkPlan } from "../../../../src/commands/check/judge.ts";
import { parseCrypttab } from "../../../../src/config/crypttab.ts";
import type { UsbPlan, VolumePlan } from "../../../../src/config/plan.ts";
import type { Readiness } from "../../../../src/sources/clevis/readiness.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { calm, closed, plan } from "./facts.ts";

const found = (facts: Partial<CheckFacts>): readonly Finding[] => checkPlan({ ...calm, volumes: [closed], ...facts });
/** All but what is well. */
const said = (facts: Partial<CheckFacts>): readonly string[] =>
  found(facts).flatMap(({ severity, text }) => (severity === "ok" ? [] : [`${severity}: ${text}`]));

test("a machine where all is well has findings, and none of them is a warning", () => {
  const findings = found({});
  expect(findings.map(({ about, severity }) => `${about} ${severity}`)).toEqual([
    "configuration ok",
    "volume ok",
    "source ok",
  ]);
  expect(checkStatus(findings)).toBe(0);
});

test("a machine that has nothing to open is told so", () => {
  expect(said({ volumes: [] })).toEqual([
    "warning: no volumes: nothing is configured, crypttab names none, and root= is no bcachefs",
  ]);
});

describe("the configuration", () => {
  const origin = { file: "latchkey.toml", line: 3 };
  const wrong = { severity: "error", code: "config/invalid-value", origin, text: "expected a duration" } as const;

  test("has every mistake with file and line, and status 78 above all", () => {
    const problems = [wrong, { ...wrong, origin: { ...origin, line: 9 } }, { ...wrong, severity: "warning" } as const];
    const volumes = [{ ...closed, found: { error: new LatchkeyError("luks/device-missing", "gone") } }];
    const findings = found({ configuration: { ...calm.configuration, problems }, volumes });
    expect(
      findings.filter(({ about }) => about === "configuration").map(({ severity, text }) => `${severity} ${text}`),
    ).toEqual([
      "problem latchkey.toml:3: expected a duration",
      "problem latchkey.toml:9: expected a duration",
      "warning latchkey.toml:3: expected a duration",
    ]);
    expect(checkStatus(findings)).toBe(78);
  });

  test("may turn latchkey off", () => {
    expect(said({ configuration: { ...calm.configuration, isEnabled: false } })).toEqual([
      "warning: the kernel command line has rd.latchkey=0: with it latchkey opens nothing at boot",
    ]);
  });
});

describe("crypttab", () => {
  const text =
    "# disks\nroot UUID=4c554b53-0002-4000-8000-000000000001 none luks,initramfs,timeout=5,checkargs=x,dsicard\n";
  const crypttab = { value: parseCrypttab(text, "/etc/crypttab") };
  const misspelt = 'warning: /etc/crypttab:2: root: there is no option dsicard (did you mean "discard"?): ignored';
  const systemd = "warning: /etc/crypttab:2: root: systemd-cryptsetup opens it and does not obey checkargs";
  const debian = "warning: /etc/crypttab:2: root: Debian's cryptroot opens it and does not obey timeout";
  const own = (option: string): string =>
    `warning: /etc/crypttab:2: root: latchkey opens it and does not obey ${option}`;

  test.each([
    ["dracut", [systemd, misspelt]],
    ["initramfs-tools", [debian, misspelt, own("timeout"), own("checkargs")]],
  ] as const)("where %s builds images, names the options that its reader does not obey", (name, expected) => {
    expect(said({ crypttab, readers: readersOf([{ name }]) })).toEqual([...expected]);
  });

  test("where nothing is installed that builds images, systemd reads it", () => {
    expect(readersOf([])).toEqual({ readers: ["systemd"], latchkeyOpens: false });
  });

  test("says each thing once: not again what was said of the line when it was read", () => {
    const problem = {
      severity: "warning",
      code: "config/invalid-value",
      origin: { file: "/etc/crypttab", line: 2 },
      text: "root: systemd-cryptsetup opens it and does not obey checkargs",
    } as const;
    const other = { ...problem, origin: { ...problem.origin, line: 7 }, text: "expected a name and a device: ignored" };
    const configuration = { ...calm.configuration, problems: [problem, other] };
    expect(said({ crypttab, configuration })).toEqual([
      "warning: /etc/crypttab:7: expected a name and a device: ignored",
      systemd,
      misspelt,
    ]);
  });

  test("names what is left to the system, with the reason", () => {
    const leftToSystem = [
      { name: "swap", reason: "it is no LUKS volume (swap)", origin: { file: "/etc/crypttab", line: 4 } },
    ];
    expect(found({ leftToSystem })).toContainEqual({
      about: "crypttab",
      severity: "ok",
      text: "/etc/crypttab:4: swap is left to the system: it is no LUKS volume (swap)",
    });
  });
});

describe("a volume", () => {
  const GIB = 2 ** 30;
  const state = (facts: Partial<FoundFacts>) => ({
    value: {
      state: "closed",
      description: "LUKS2 on /dev/sda2",
      uuid: "",
      devices: ["/dev/sda2"],
      proofMemory: GIB,
      memoryThere: 16 * GIB,
      ...facts,
    } as const,
  });
  const gone = { error: new LatchkeyError("luks/device-missing", "root: UUID=x is not there") };

  test.each<[string, Parameters<typeof verdict>[0], readonly string[]]>([
    ["open is well", { found: state({ state: "open" }) }, []],
    [
      "unencrypted is refused",
      { found: state({ state: "unencrypted" }) },
      ["problem: LUKS2 on /dev/sda2: it is not encrypted, and the boot refuses it"],
    ],
    ["unencrypted may be allowed", { found: state({ state: "unencrypted" }), requireEncrypted: false }, []],
    [
      "with an absurd Argon2",
      { found: state({ proofMemory: 64 * GIB }) },
      ["problem: one try of a passphrase takes 65536 MiB, and this machine has 16384 MiB"],
    ],
    [
      "with a large Argon2",
      { found: state({ proofMemory: 12 * GIB }) },
      ["warning: one try of a passphrase takes 12288 MiB, and this machine has 16384 MiB"],
    ],
    ["that is not there", { found: gone }, ["problem: root: UUID=x is not there"]],
    ["that is wanted by somebody only", { found: gone, isOnDemand: true }, []],
    ["that is only guessed", { found: gone, certainty: "if-bcachefs" }, []],
    [
      "with another header than stated",
      { found: { error: new LatchkeyError("luks/other-volume", "root: /dev/sda2 is LUKS a, not b: refused") } },
      ["problem: root: /dev/sda2 is LUKS a, not b: refused"],
    ],
    [
      "that may not be looked at",
      { found: { error: new LatchkeyError("device/permission-denied", "/dev/sda2 cannot be read") } },
      ["warning: /dev/sda2 cannot be read"],
    ],
  ])("%s", (_, facts, expected) => {
    expect(verdict(facts)).toEqual([...expected]);
  });

  function verdict({
    found: looked,
    ...more
  }: {
    found: typeof gone | ReturnType<typeof state>;
    requireEncrypted?: boolean;
    isOnDemand?: true;
    certainty?: "if-bcachefs";
  }) {
    return said({ volumes: [{ ...closed, volume: { ...plan, ...more }, found: looked, sources: [] }] });
  }
});

describe("a source", () => {
  const sources = (...all: readonly SourceFacts[]): readonly string[] =>
    said({ volumes: [{ ...closed, sources: all }] });
  const token = (opens: Readiness["opens"], more: Partial<Readiness> = {}) => ({
    origin: "/etc/latchkey/root.jwe",
    readiness: { value: { what: "tpm2", opens, reason: "because", ...more } },
  });
  const clevis = (...tokens: readonly ReturnType<typeof token>[]): SourceFacts => ({
    kind: "clevis",
    tokens: { value: tokens },
  });

  test.each<[Readiness["opens"], readonly string[], number]>([
    ["yes", [], 0],
    ["perhaps", ["warning: clevis /etc/latchkey/root.jwe: tpm2: because"], 0],
    ["no", ["problem: clevis /etc/latchkey/root.jwe: tpm2: because"], 1],
  ])("with a token that opens: %s", (opens, expected, status) => {
    expect(sources(clevis(token(opens)))).toEqual([...expected]);
    expect(checkStatus(found({ volumes: [{ ...closed, sources: [clevis(token(opens))] }] }))).toBe(status);
  });

  test("with two tokens, of which one opens, has no problem", () => {
    expect(sources(clevis(token("no"), token("yes")))).toEqual([
      "warning: clevis /etc/latchkey/root.jwe: tpm2: because",
    ]);
  });

  test("with shares names those that fail, and what the whole comes to", () => {
    const shares: readonly Readiness[] = [
      { what: "tpm2", opens: "no", reason: "PCR 7 differs" },
      { what: "tang http://x", opens: "yes", reason: "it answers" },
    ];
    expect(sources(clevis(token("yes", { what: "sss", shares })))).toEqual([
      "warning: clevis /etc/latchkey/root.jwe, share 1: tpm2: PCR 7 differs",
    ]);
  });

  test("with a key in the token is no protection", () => {
    expect(sources(clevis(token("yes", { what: "null" })))).toEqual([
      "warning: clevis /etc/latchkey/root.jwe: null: because",
    ]);
  });

  test("without the token that somebody wanted", () => {
    expect(sources(clevis())).toEqual(["problem: clevis: there is no Clevis token in its LUKS2 header"]);
    const error = new LatchkeyError("token/unreadable", "there is no token /etc/latchkey/root.jwe");
    expect(sources({ kind: "clevis", tokens: { error } })).toEqual([
      "problem: clevis: there is no token /etc/latchkey/root.jwe",
    ]);
  });

  const other = new LatchkeyError("usb/checksum-mismatch", "root.key on /dev/sdb1 is not the key file");
  const undriven = new LatchkeyError("key-file/no-driver", "no driver");
  const seen = { path: "/dev/sdb1", isRemovable: true };
  test.each<[Severity | "ok", string, SeenDevice | undefined, boolean]>([
    ["ok", "not plugged in now, so that its key was not looked at", undefined, false],
    ["ok", "its key was not looked at: that takes root", seen, false],
    ["ok", "its key has the SHA-256 of the configuration", { ...seen, key: { value: "right" } }, false],
    ["warning", "its key was not looked at: no driver", { ...seen, key: { error: undriven } }, false],
    ["problem", "root.key on /dev/sdb1 is not the key file", { ...seen, key: { error: other } }, false],
    ["problem", "neither removable nor on a USB bus", { path: "/dev/sda1", isRemovable: false }, false],
    ["ok", "plugged in now, /dev/sda1", { path: "/dev/sda1", isRemovable: false }, true],
  ])("a stick is %s: %s", (severity, text, value, anyBus) => {
    const stick: UsbPlan = {
      kind: "usb",
      place: { by: "filesystem", uuid: "4F2A-99C1", path: "root.key" },
      sha256: "00",
      anyBus,
      timeout: 1,
    };
    const findings = found({ volumes: [{ ...closed, sources: [{ kind: "usb", plan: stick, seen: { value } }] }] });
    const [finding] = findings.filter(({ about }) => about === "source");
    expect(finding?.severity).toBe(severity);
    expect(finding?.text).toStartWith("usb stick 4F2A-99C1: ");
    expect(finding?.text).toContain(text);
  });

  const shout = "warning: keyfile /k: it goes into the initrd: anyone who reads your /boot can open your disk";
  test.each<[boolean, boolean, readonly string[]]>([
    [true, false, [shout]],
    [true, true, [shout, "warning: keyfile /k: others than its owner may read it"]],
    [false, false, [shout, "problem: keyfile /k: there is no such file"]],
  ])("a key file (there %p, open %p) is shouted about", (isThere, isOpenToOthers, expected) => {
    const file = { value: { isThere, isOpenToOthers } };
    expect(sources({ kind: "keyfile", plan: { kind: "keyfile", path: "/k" }, file })).toEqual([...expected]);
  });
});

describe("the initrds", () => {
  const images = (value: Partial<ImageFacts>): readonly string[] =>
    said({ images: { value: { stacks: ["dracut"], isNixos: false, images: [], ...value } } });
  const image = (content: ImageContent) =>
    images({ images: [{ kernel: "6.12", image: "/boot/i", content: { value: content } }] });

  test.each<[string, readonly string[], readonly string[]]>([
    ["all well", image({ by: "looking", findings: [{ level: "ok", text: "fine" }], namesVolumes: "" }), []],
    [
      "not what is installed",
      image({
        by: "looking",
        findings: [
          { level: "failure", text: "latchkey is not in the image" },
          { level: "note", text: "no askpass" },
        ],
        namesVolumes: "",
      }),
      ["problem: /boot/i: latchkey is not in the image", "warning: /boot/i: no askpass"],
    ],
    [
      "too old",
      image({ by: "time", why: "that takes root", newer: ["/etc/latchkey/latchkey.toml", "/etc/latchkey/root.jwe"] }),
      [
        "warning: /boot/i: was not looked into (that takes root): only its age was compared",
        "problem: /boot/i: older than /etc/latchkey/latchkey.toml and 1 more",
      ],
    ],
    [
      "not found",
      images({ images: [{ kernel: "6.12", image: undefined, content: undefined }] }),
      ["warning: no initrd was found for this kernel"],
    ],
    [
      "of nobody",
      images({ stacks: [] }),
      ["warning: nothing that builds an initrd is installed here, so what the next boot has is not known"],
    ],
    ["of NixOS", images({ stacks: [], isNixos: true }), []],
    [
      "of two",
      images({ stacks: ["dracut", "initramfs-tools"] }),
      ["problem: this machine has dracut and initramfs-tools, and neither has latchkey's files"],
    ],
  ])("are %s", (_, findings, expected) => {
    expect(findings).toEqual([...expected]);
  });
});

const UUID = "6c617463-6865-4b65-8000-000000000051";
const LUKS = {
  opener: "latchkey",
  allowDiscards: false,
  readOnly: false,
  openOptions: [],
  isNamedBySystem: true,
} as const;

/** A volume of crypttab. */
const named = (more: Partial<VolumePlan> = {}): VolumeFacts => ({
  ...closed,
  volume: { ...plan, luks: LUKS, origin: { file: "/etc/crypttab", line: 1 }, ...more },
});

describe("what an image is to open", () => {
  const below = { devices: new Set(["dm-0", "sda2"]), mappings: [] };
  const complaint = "problem: /boot/i: its crypttab has no root, and so nothing opens it at boot";
  const wanted = { luks: { ...LUKS, isWantedInInitrd: true } };
  test.each<[string, Partial<CheckFacts>, string, readonly string[]]>([
    ["below the root, and in no crypttab there", { volumes: [named()], root: below }, "other UUID=1 none", [complaint]],
    ["asking for the initrd, and in no crypttab there", { volumes: [named(wanted)] }, "", [complaint]],
    ["below the root, and in its crypttab by name", { volumes: [named()], root: below }, "swap x\n root /dev/sda2", []],
    ["by UUID on a kernel command line", { volumes: [named()], root: below }, `quiet rd.luks.uuid=${UUID}`, []],
    ["opened with all others", { volumes: [named()], root: below }, "rd.auto quiet", []],
    ["elsewhere", { volumes: [named()], root: { ...below, devices: new Set(["sdb1"]) } }, "", []],
    ["not known to be below the root", { volumes: [named()] }, "", []],
    ["named by latchkey.toml", { volumes: [named({ origin: plan.origin })], root: below }, "", []],
  ])("%s", (_, facts, namesVolumes, expected) => {
    const content: ImageContent = { by: "looking", findings: [{ level: "ok", text: "fine" }], namesVolumes };
    const images = [{ kernel: "6.12", image: "/boot/i", content: { value: content } }];
    const value: ImageFacts = { stacks: ["initramfs-tools"], isNixos: false, images };
    expect(said({ ...facts, images: { value } })).toEqual([...expected]);
  });
});

describe("the root that runs now", () => {
  const root = { devices: new Set(["dm-0", "sda2"]), mappings: [{ name: "cryptroot", uuid: UUID }] };
  const text = `/ lies in the LUKS volume cryptroot (UUID ${UUID}), which is named neither in crypttab nor in latchkey.toml nor on the kernel command line`;
  const left = { name: "cryptroot", reason: "a key file is named for it", origin: { file: "/etc/crypttab", line: 1 } };
  const elsewhere: VolumeFacts = { ...named(), found: { error: new LatchkeyError("luks/device-missing", "gone") } };
  const byTag = { by: "tag", tag: "UUID", value: UUID.toUpperCase() } as const;
  test.each<[string, Partial<CheckFacts>, readonly string[]]>([
    ["in a volume that nothing names", { volumes: [], root }, [`warning: ${text}`]],
    [
      "which Debian's scripts would not find",
      { volumes: [], root, readers: readersOf([{ name: "initramfs-tools" }]) },
      [`problem: ${text}`],
    ],
    ["in a volume that was found", { root }, []],
    ["in one that is left to the system", { volumes: [], root, leftToSystem: [left] }, []],
    [
      "in one that is named by its UUID",
      { volumes: [{ ...elsewhere, volume: { ...elsewhere.volume, devices: [byTag] } }], root },
      [],
    ],
    ["in none", { volumes: [], root: { ...root, mappings: [] } }, []],
  ])("%s", (_, facts, expected) => {
    expect(said(facts).filter((line) => line.includes("/ lies in"))).toEqual([...expected]);
  });
});

test("a keyscript that is not there is a problem", () => {
  const crypttab = { value: parseCrypttab("root /dev/sda2 none luks,keyscript=mine", "/etc/crypttab") };
  const readers = readersOf([{ name: "initramfs-tools" }]);
  expect(said({ crypttab, readers, missingKeyscripts: ["/lib/cryptsetup/scripts/mine"] })).toEqual([
    "problem: /etc/crypttab: the keyscript /lib/cryptsetup/scripts/mine is not there, or cannot be run",
  ]);
});

describe("the SSH server", () => {
  const good: RemoteFacts = {
    server: "dropbear",
    port: 22,
    hostKeys: [{ file: "/etc/latchkey/ssh/key", fingerprint: "SHA256:x" }],
    keysFile: "/root/.ssh/authorized_keys",
    keys: 1,
    warnings: [],
  };
  const remote = (facts: Partial<RemoteFacts>): readonly string[] => said({ remote: { value: { ...good, ...facts } } });

  test.each<[string, Partial<RemoteFacts>, readonly string[]]>([
    ["is well", {}, []],
    [
      "has no host key",
      { hostKeys: [{ file: "/f", missing: "there is no host key yet" }] },
      ["problem: /f: there is no host key yet"],
    ],
    ["has no host key at all", { hostKeys: [] }, ["problem: dropbear has no host key"]],
    [
      "lets nobody in",
      { keysFile: undefined, keys: 0 },
      ["problem: nobody could log in: there are no authorized keys"],
    ],
    [
      "has no key to use",
      { keys: 0, warnings: ["/f, line 1: no key of a known type"] },
      [
        "problem: nobody could log in: /root/.ssh/authorized_keys has no key to use",
        "warning: /f, line 1: no key of a known type",
      ],
    ],
  ])("%s", (_, facts, expected) => {
    expect(remote(facts)).toEqual([...expected]);
  });
});

test("rows are grouped by what they are about, each with its hint below it", () => {
  const findings: readonly Finding[] = [
    { about: "configuration", severity: "ok", text: "no mistakes" },
    { about: "volume", of: "root", severity: "ok", text: "closed" },
    { about: "image", of: "6.12", severity: "problem", text: "old\u001b[2J", hint: "run `latchkey install`" },
    { about: "image", of: "6.12", severity: "problem", text: "without vfat", hint: "run `latchkey install`" },
    { about: "image", of: "6.12", severity: "problem", text: "without root", hint: "is its device there?" },
    { about: "source", of: "root", severity: "warning", text: "keyfile" },
  ];
  expect(findingLines(findings)).toEqual([
    "configuration",
    "[ok]   no mistakes",
    "",
    "volume root",
    "[ok]   closed",
    "[warn] keyfile",
    "",
    "image 6.12",
    "[fail] old [2J",
    "[fail] without vfat",
    "       hint: run `latchkey install`",
    "[fail] without root",
    "       hint: is its device there?",
    "",
    "3 problems, 1 warning",
  ]);
});
