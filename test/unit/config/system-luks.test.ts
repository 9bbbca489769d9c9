import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { partForBoot } from "../../../src/config/boot-part.ts";
import type { Plan } from "../../../src/config/plan.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { type Machine, otherUuid, planOf, shortly, uuid } from "./machine.ts";

const systemdInitrd = { inInitrd: true, runsSystemd: true };
const debianInitrd = { inInitrd: true, runsSystemd: false };
const line = `cryptroot UUID=${uuid} none luks,discard`;

const header = { kind: "clevis", timeout: 15_000, inHeader: "if-any" } as const;
const prompt = { kind: "prompt" } as const;

const left = (plan: Plan): readonly string[] => plan.leftToSystem.map(({ name, reason }) => `${name}: ${reason}`);

function complaint(machine: Machine): string {
  try {
    planOf(machine);
  } catch (thrown) {
    if (thrown instanceof LatchkeyError) return thrown.message;
    throw thrown;
  }
  return "none";
}

describe("an entry of crypttab", () => {
  test("is a volume that is asked for, after a look for tokens in its header", () => {
    const plan = planOf({ crypttab: line });
    expect(plan.volumes).toMatchObject([
      {
        name: "cryptroot",
        kind: "luks",
        certainty: "stated",
        devices: [{ by: "tag", tag: "UUID", value: uuid }],
        sources: [header, prompt],
        isRoot: false,
        requireEncrypted: true,
        luks: { allowDiscards: true, readOnly: false, openOptions: [], opener: "latchkey", isNamedBySystem: true },
        origin: { file: "/etc/crypttab", line: 1 },
      },
    ]);
    expect(plan.leftToSystem).toEqual([]);
    expect(plan.warnings).toEqual([]);
  });

  test("with a token at its usual place is opened by that", () => {
    expect(planOf({ crypttab: line, tokens: ["cryptroot"] }).volumes[0]?.sources).toEqual([
      { kind: "clevis", timeout: 15_000 },
      prompt,
    ]);
  });

  test.each([
    ["in systemd's initrd", systemdInitrd, "systemd"],
    ["in Debian's", debianInitrd, "latchkey"],
    ["on the system that is up", { inInitrd: false, runsSystemd: true }, "latchkey"],
  ])("%s is opened by who has the job there", (_, facts, opener) => {
    expect(planOf({ crypttab: line, facts }).volumes[0]?.luks?.opener).toBe(opener as "systemd");
  });

  test("is read where Debian's hooks put it, and noauto does not count there", () => {
    const plan = planOf({ cryptroot: `${line},noauto`, crypttab: "other /dev/sdz none luks", facts: debianInitrd });
    expect(plan.volumes.map(({ name, isOnDemand }) => [name, isOnDemand])).toEqual([["cryptroot", undefined]]);
    expect(plan.volumes[0]?.origin).toEqual({ file: "/cryptroot/crypttab", line: 1 });
  });

  test("is the root when the root is mounted from it, even with noauto", () => {
    const kernel = "root=/dev/mapper/cryptroot ro";
    expect(planOf({ crypttab: line, kernel }).volumes.map(shortly)).toEqual([
      `cryptroot | UUID=${uuid} | root | encrypted`,
    ]);
    expect(planOf({ crypttab: `${line},noauto`, kernel }).volumes[0]).toMatchObject({ isRoot: true });
    expect(partForBoot(planOf({ crypttab: `${line},noauto`, kernel })).volumes).toHaveLength(1);
    const fstab = "/dev/mapper/cryptroot / ext4 defaults 0 1\n";
    expect(planOf({ crypttab: line, fstab }).volumes[0]?.isRoot).toBe(true);
  });

  test("with noauto is left out of the boot, and found by its name", () => {
    const plan = planOf({ crypttab: `${line},noauto` });
    expect(plan.volumes).toMatchObject([{ name: "cryptroot", isOnDemand: true }]);
    expect(partForBoot(plan).volumes).toEqual([]);
  });

  test("with headless is never asked for", () => {
    expect(planOf({ crypttab: `${line},headless` }).volumes[0]?.sources).toEqual([header]);
  });

  test("with latchkey's own keyscript waits to be called", () => {
    const crypttab = `cryptroot UUID=${uuid} none luks,keyscript=/usr/lib/latchkey/latchkey-keyscript`;
    expect(planOf({ crypttab }).volumes).toMatchObject([{ name: "cryptroot", isOnDemand: true }]);
  });

  test.each([
    ["a key file", "x /dev/sda /etc/x.key luks", "a key file is named for it"],
    ["another's keyscript", "x /dev/sda none luks,keyscript=/lib/x", "a keyscript is named for it"],
    ["swap", "x /dev/sda /dev/urandom swap", "it is no LUKS volume (swap)"],
    ["a temporary file system", "x /dev/sda /dev/urandom tmp=ext4", "it is no LUKS volume (tmp)"],
    ["plain dm-crypt", "x /dev/sda none plain", "it is no LUKS volume (plain)"],
    ["a cipher alone", "x /dev/sda none cipher=aes,size=256", "it is no LUKS volume (cipher= without luks)"],
    ["VeraCrypt", "x /dev/sda none tcrypt-veracrypt", "it is no LUKS volume (tcrypt-veracrypt)"],
    ["BitLocker", "x /dev/sda none bitlk", "it is no LUKS volume (bitlk)"],
    [
      "systemd's TPM",
      "x /dev/sda none luks,tpm2-device=auto",
      "systemd-cryptsetup has a way of its own to its key (tpm2-device=)",
    ],
    [
      "FIDO2",
      "x /dev/sda none fido2-device=auto",
      "systemd-cryptsetup has a way of its own to its key (fido2-device=)",
    ],
    ["PKCS#11", "x /dev/sda none pkcs11-uri=auto", "systemd-cryptsetup has a way of its own to its key (pkcs11-uri=)"],
    [
      "a UUID that is none of LUKS",
      "x UUID=4F2A-99C1 none luks",
      '"4F2A-99C1" is not the UUID of an encrypted volume (36 characters)',
    ],
    ["a header on a device", "x /dev/sda none header=/h:/dev/sdb", "its header is a file on another device"],
    ["a header that is nowhere", "x /dev/sda none header=h", "its header is named in a way that latchkey cannot read"],
    [
      "a name that is no file name",
      "x@y /dev/sda none luks",
      'a name is letters, digits, ".", "_" and "-" without a leading "-", got "x@y"',
    ],
  ])("with %s is left to the system", (_, text, reason) => {
    const plan = planOf({ crypttab: text });
    expect(plan.volumes).toEqual([]);
    expect(left(plan)).toEqual([`${text.split(" ")[0]}: ${reason}`]);
  });

  test("says which options nobody obeys, with its line", () => {
    const crypttab = `# first\ncryptroot UUID=${uuid} none luks,discrad,keyfile-erase,tries=x`;
    expect(planOf({ crypttab }).warnings).toEqual([
      '/etc/crypttab:2: cryptroot: tries=: expected a number up to 1000000, got "x": ignored',
      '/etc/crypttab:2: cryptroot: there is no option discrad (did you mean "discard"?): ignored',
      "/etc/crypttab:2: cryptroot: latchkey opens it and does not obey keyfile-erase",
    ]);
    expect(planOf({ crypttab, facts: systemdInitrd }).warnings).toHaveLength(2);
    expect(planOf({ crypttab, facts: { inInitrd: false, runsSystemd: true } }).warnings).toHaveLength(2);
  });

  test("with one try is left to systemd-cryptsetup, which would have none left for its question", () => {
    const reason = "a: with tries=1 systemd-cryptsetup would have none left for its question";
    const plan = (tries: string, facts: Machine["facts"]) =>
      planOf({ crypttab: `a UUID=${uuid} none luks,${tries}`, ...(facts === undefined ? {} : { facts }) });
    expect(left(plan("tries=1", systemdInitrd))).toEqual([reason]);
    expect(left(plan("tries=3,tries=1", systemdInitrd))).toEqual([reason]);
    for (const tries of ["tries=2", "tries=0", "tries=1,tries=3"]) expect(left(plan(tries, systemdInitrd))).toEqual([]);
    expect(left(plan("tries=1", debianInitrd))).toEqual([]);
    expect(left(plan("tries=1", undefined))).toEqual([]);
  });
});

describe("beside latchkey.toml", () => {
  const toml = (...lines: readonly string[]): string => ["[volumes.cryptroot]", 'kind = "luks"', ...lines].join("\n");

  test("sources are added by the volume's name, without naming the device again", () => {
    const plan = planOf({ crypttab: line, toml: toml('sources = ["prompt"]') });
    expect(plan.volumes).toMatchObject([{ name: "cryptroot", sources: [prompt], luks: { allowDiscards: true } }]);
    expect(plan.warnings).toEqual([]);
  });

  test("sources are added by the device, and the mapping keeps crypttab's name", () => {
    const other = toml(`device = "UUID=${uuid}"`, 'sources = ["prompt"]').replace("cryptroot", "root");
    const plan = planOf({ crypttab: line, toml: `${other}\n[pools.p]\nvolumes = ["root"]` });
    expect(plan.volumes).toMatchObject([{ name: "cryptroot", sources: [prompt] }]);
    expect(plan.pools[0]?.volumes).toEqual(["cryptroot"]);
    expect(plan.warnings).toEqual([
      `/etc/latchkey/latchkey.toml:1: volumes "cryptroot" and "root" both name UUID=${uuid}: taken as one, "cryptroot"`,
    ]);
  });

  test("a source clevis looks into the header, and its absence there is an error", () => {
    const plan = planOf({ crypttab: line, toml: toml('sources = ["clevis"]') });
    expect(plan.volumes[0]?.sources).toEqual([{ kind: "clevis", timeout: 15_000, inHeader: "required" }]);
    const file = toml('sources = ["clevis"]', 'clevis = { token = "/t.jwe" }');
    expect(planOf({ crypttab: line, toml: file }).volumes[0]?.sources).toEqual([
      { kind: "clevis", timeout: 15_000, token: "/t.jwe" },
    ]);
  });

  test("a UUID beside crypttab's path is what the header has to have", () => {
    const plan = planOf({ crypttab: "cryptroot /dev/sda2 none luks", toml: toml(`device = "UUID=${uuid}"`) });
    expect(plan.volumes.map(shortly)).toEqual([`cryptroot | /dev/sda2 UUID=${uuid} | encrypted`]);
  });

  test("a UUID that contradicts crypttab's is an error, and crypttab's counts", () => {
    const machine = { crypttab: line, toml: toml(`device = "UUID=${otherUuid}"`) };
    const text = `/etc/latchkey/latchkey.toml:1: volumes.cryptroot.device: it is UUID=${uuid} in /etc/crypttab:1, and that counts`;
    expect(complaint(machine)).toBe(text);
    const plan = planOf(machine, "boot");
    expect(plan.volumes.map(shortly)).toEqual([`cryptroot | UUID=${uuid} | encrypted`]);
    expect(plan.warnings).toEqual([text]);
  });

  test("another kind for the same device is an error, and crypttab's counts", () => {
    const machine = { crypttab: line, toml: `[volumes.b]\nkind = "bcachefs"\ndevice = "UUID=${uuid}"` };
    expect(complaint(machine)).toBe(
      "/etc/latchkey/latchkey.toml:1: volumes.b.kind: /etc/crypttab:1 has this device as LUKS, and that counts",
    );
    expect(planOf(machine, "boot").volumes).toMatchObject([{ name: "cryptroot", kind: "luks" }]);
  });

  test("a bcachefs of the same name lies inside of it, perhaps, and gets another name", () => {
    const kernel = "root=/dev/mapper/root rootfstype=bcachefs";
    const plan = planOf({ crypttab: `root UUID=${uuid} none luks`, kernel });
    expect(plan.volumes.map(({ name, kind, isRoot }) => [name, kind, isRoot])).toEqual([
      ["root", "luks", true],
      ["root-2", "bcachefs", true],
    ]);
  });

  test("a table of options for a volume that crypttab names is an error", () => {
    const machine = { crypttab: line, toml: toml("luks = { readonly = true }") };
    expect(complaint(machine)).toContain("volumes.cryptroot.luks: /etc/crypttab:1 names this volume");
    expect(planOf(machine, "boot").volumes[0]?.luks).toMatchObject({ allowDiscards: true, readOnly: false });
  });

  test("a volume that crypttab leaves to the system stays there, and that is said", () => {
    const machine = { crypttab: `data UUID=${uuid} /key luks`, toml: toml(`device = "UUID=${uuid}"`) };
    const plan = planOf(machine);
    expect(plan.volumes).toEqual([]);
    expect(plan.warnings).toEqual([
      "/etc/latchkey/latchkey.toml:1: volumes.cryptroot: left to the system: a key file is named for it (/etc/crypttab:1)",
    ]);
  });

  test("a volume of its own is opened by latchkey, with the options of its table", () => {
    const text = toml(
      'device = "/dev/sdb"',
      'luks = { header = "LABEL=keys", key_slot = 2, discard = true, readonly = true }',
    );
    expect(planOf({ toml: text, facts: systemdInitrd }).volumes).toMatchObject([
      {
        name: "cryptroot",
        devices: [{ path: "/dev/sdb" }],
        sources: [header, prompt],
        requireEncrypted: true,
        luks: {
          header: "LABEL=keys",
          keySlot: 2,
          allowDiscards: true,
          readOnly: true,
          openOptions: [],
          opener: "latchkey",
        },
      },
    ]);
  });

  test.each([
    ["sources = []", "volumes.cryptroot.sources: names no source"],
    ["", 'volumes.cryptroot.device: missing, and crypttab has no volume of this name (for example device = "UUID=…")'],
    ['device = "x"', 'volumes.cryptroot.device: expected UUID=…, LABEL=…, or a path, got "x"'],
    ['device = ["/dev/a", "/dev/b"]', "volumes.cryptroot.device: a LUKS volume has one device"],
    ['device = "/dev/a"\nluks = 1', "volumes.cryptroot.luks: expected a table"],
    [
      'device = "/dev/a"\nluks = { header = "x" }',
      'volumes.cryptroot.luks.header: expected UUID=…, LABEL=…, or a path, got "x"',
    ],
    [
      'device = "/dev/a"\nluks = { key_slot = 32 }',
      "volumes.cryptroot.luks.key_slot: expected the number of a key slot, 0 to 31",
    ],
    [
      'device = "/dev/a"\nluks = { discrad = true }',
      'volumes.cryptroot.luks.discrad: unknown key (did you mean "discard"?)',
    ],
    ['device = "/dev/a"\nluks = { readonly = "yes" }', "volumes.cryptroot.luks.readonly: expected true or false"],
  ])("%s is an error", (text, problem) => {
    expect(complaint({ toml: toml(text) })).toContain(problem);
  });

  test("a volume without a device is no mistake in an initrd, which has only the lines it needs", () => {
    const plan = planOf({ toml: toml('sources = ["prompt"]'), facts: systemdInitrd }, "boot");
    expect([plan.volumes, plan.warnings]).toEqual([[], []]);
  });

  test("the table is for LUKS volumes", () => {
    const text = '[volumes.b]\nkind = "bcachefs"\ndevice = "/dev/a"\nluks = { discard = true }';
    expect(complaint({ toml: text })).toBe(
      "/etc/latchkey/latchkey.toml:4: volumes.b.luks: a bcachefs volume has no such table",
    );
  });

  test("a pool with a member that waits to be asked for waits as a whole", () => {
    const plan = planOf({
      crypttab: `a UUID=${uuid} none luks,noauto\nb UUID=${otherUuid} none luks\n`,
      toml: '[pools.p]\nvolumes = ["a", "b"]',
    });
    expect(plan.volumes.map(({ isOnDemand }) => isOnDemand)).toEqual([true, true]);
    expect(partForBoot(plan)).toMatchObject({ volumes: [], pools: [] });
  });
});

describe("beside the kernel command line", () => {
  const crypttab = `a UUID=${uuid} none luks\nb UUID=${otherUuid} none luks\n`;
  const names = (machine: Machine): readonly string[] => planOf(machine).volumes.map(({ name }) => name);

  test("a device that is named there is a volume, by its UUID or the name it is given", () => {
    expect(planOf({ kernel: `rd.luks.uuid=${uuid}` }).volumes.map(shortly)).toEqual([
      `luks-${uuid} | UUID=${uuid} | encrypted`,
    ]);
    expect(names({ kernel: `rd.luks.name=${uuid}=cryptroot` })).toEqual(["cryptroot"]);
  });

  test("crypttab names the volume, and in the initrd only those that are named there are opened", () => {
    const kernel = `rd.luks.name=${uuid}=other rd.luks.options=${uuid}=readonly`;
    const plan = planOf({ crypttab, kernel, facts: systemdInitrd });
    expect(plan.volumes).toMatchObject([{ name: "a", luks: { readOnly: true, opener: "systemd" } }]);
    expect(names({ crypttab, kernel })).toEqual(["a", "b"]);
  });

  test("options and key file for all count where nothing else is said", () => {
    const kernel = `rd.luks.uuid=${uuid} rd.luks.options=discard`;
    expect(planOf({ kernel }).volumes[0]?.luks?.allowDiscards).toBe(true);
    expect(planOf({ kernel: `${kernel} rd.luks.options=${uuid}=readonly` }).volumes[0]?.luks).toMatchObject({
      allowDiscards: false,
      readOnly: true,
    });
    expect(left(planOf({ kernel: `${kernel} rd.luks.key=/key` }))).toEqual([
      `luks-${uuid}: a key file is named for it`,
    ]);
    expect(left(planOf({ crypttab, kernel: `rd.luks.key=${uuid}=/key` }))).toEqual(["a: a key file is named for it"]);
  });

  test("a detached header keeps the UUID it must have", () => {
    const kernel = `rd.luks.uuid=${uuid} rd.luks.data=${uuid}=/dev/sdb rd.luks.options=${uuid}=header=/header.img`;
    expect(planOf({ kernel }).volumes).toMatchObject([
      { devices: [{ path: "/dev/sdb" }], luks: { uuid, header: "/header.img" } },
    ]);
    expect(planOf({ kernel: `rd.luks.uuid=${uuid} rd.luks.data=${uuid}=x` }).warnings).toEqual([
      'kernel command line: luks.data: expected UUID=…, LABEL=…, or a path, got "x": ignored',
    ]);
  });

  test("rd.luks=0 leaves all of it to the system, but for what is named for latchkey beside it", () => {
    const kernel = `rd.luks=0 rd.latchkey.volume=c=luks:/dev/sdc`;
    const toml = '[volumes.d]\nkind = "luks"\ndevice = "/dev/sdd"\n[volumes.e]\nkind = "bcachefs"\ndevice = "/dev/sde"';
    const plan = planOf({ crypttab, kernel, toml, facts: systemdInitrd });
    expect(plan.volumes.map(({ name }) => name)).toEqual(["c", "e"]);
    const reason = "the kernel command line says luks=0 or rd.luks=0";
    expect(left(plan)).toEqual([`a: ${reason}`, `b: ${reason}`, `d: ${reason}`]);
    expect(names({ crypttab, kernel })).toEqual(["a", "b", "c"]);
  });

  test("luks.crypttab=0 leaves crypttab out", () => {
    expect(names({ crypttab, kernel: `luks.crypttab=0 rd.luks.uuid=${uuid}` })).toEqual([`luks-${uuid}`]);
  });

  test("rd.latchkey.volume takes the place of what crypttab leaves to the system", () => {
    const plan = planOf({ crypttab: "a /dev/sda /key luks", kernel: "rd.latchkey.volume=a=luks:/dev/sda" });
    expect([plan.volumes.map(({ name }) => name), plan.leftToSystem]).toEqual([["a"], []]);
  });
});

test("whatever stands in crypttab and on the command line, each name and device is there once", () => {
  const word = fc.constantFrom(
    "a",
    "b",
    `UUID=${uuid}`,
    "/dev/sda",
    "none",
    "luks",
    "noauto",
    "header=/h",
    ",",
    " ",
    " ",
    "\n",
    "=",
  );
  const kernelWord = fc.constantFrom(
    "rd.luks.uuid=",
    "rd.luks.name=",
    "rd.luks.options=",
    uuid,
    otherUuid,
    "=a",
    " ",
    " ",
    "discard",
  );
  const facts = fc.record({ inInitrd: fc.boolean(), runsSystemd: fc.boolean() });
  fc.assert(
    fc.property(
      fc.array(word, { maxLength: 25 }),
      fc.array(kernelWord, { maxLength: 15 }),
      facts,
      (table, kernel, machine) => {
        const plan = planOf({ crypttab: table.join(""), kernel: kernel.join(""), facts: machine }, "boot");
        const all = [...plan.volumes, ...plan.leftToSystem].map(({ name }) => name);
        expect(new Set(all).size).toBe(all.length);
        const devices = plan.volumes.flatMap((volume) => volume.devices.map((device) => JSON.stringify(device)));
        expect(new Set(devices).size).toBe(devices.length);
        for (const { kind, luks, sources } of plan.volumes) {
          expect([kind === "luks", luks !== undefined, sources.length > 0]).toEqual([true, true, true]);
        }
      },
    ),
    { numRuns: 500 },
  );
});
