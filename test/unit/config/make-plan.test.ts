import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { printDeviceReference } from "../../../src/config/device-reference.ts";
import { parseKernelCommandLine } from "../../../src/config/kernel-command-line.ts";
import { makePlan } from "../../../src/config/make-plan.ts";
import type { Plan } from "../../../src/config/plan.ts";
import { planToText } from "../../../src/config/plan-text.ts";
import { parseToml } from "../../../src/config/toml.ts";
import { otherUuid, planOf, shortly, uuid, volumesOf } from "./machine.ts";
import { expectOneLine, textOf } from "./texts.ts";

const configured = `[volumes.root]\nkind = "bcachefs"\ndevice = "UUID=${uuid}"\n`;

describe("what wins", () => {
  test("a configured volume takes the root's place when both name one device", () => {
    const plan = planOf({
      toml: configured.replace("volumes.root", "volumes.system"),
      kernel: `root=/dev/disk/by-uuid/${uuid}`,
    });
    expect(plan.volumes.map(shortly)).toEqual([`system | UUID=${uuid} | root | encrypted`]);
    expect(plan.warnings).toEqual([]);
  });

  test('a configured "root" is the root, however root= spells the device', () => {
    expect(volumesOf({ toml: configured, kernel: "root=/dev/sda2 rootfstype=bcachefs" })).toEqual([
      `root | UUID=${uuid} | root | encrypted`,
    ]);
  });

  test('a configured "root" is not the root when the UUIDs differ', () => {
    expect(volumesOf({ toml: configured, kernel: `root=UUID=${otherUuid} rootfstype=bcachefs` })).toEqual([
      `root | UUID=${uuid} | encrypted`,
      `root-2 | UUID=${otherUuid} | root`,
    ]);
  });

  test("the kernel command line gives a configured volume another device, and leaves the rest", () => {
    const plan = planOf({ toml: configured, kernel: "rd.latchkey.volume=root=bcachefs:/dev/vdb" });
    expect(plan.volumes.map(shortly)).toEqual(["root | /dev/vdb | encrypted"]);
    expect(plan.volumes[0]?.origin).toEqual({ file: "kernel command line" });
  });

  test("a kind that this version does not open, on the kernel command line, takes the configured volume out", () => {
    const plan = planOf({ toml: configured, kernel: "rd.latchkey.volume=root=zfs:/dev/vdb" });
    expect(plan.volumes).toEqual([]);
    expect(plan.leftToSystem.map(({ name }) => name)).toEqual(["root"]);
  });

  test("the kernel command line's prompt_after, then the configuration's, then the default", () => {
    const toml = 'prompt_after = "7s"';
    expect(planOf({ toml, kernel: "rd.latchkey.prompt_after=1s" }).promptAfter).toBe(1000);
    expect(planOf({ toml }).promptAfter).toBe(7000);
    expect(planOf({})).toEqual({
      enabled: true,
      debug: false,
      promptAfter: 2000,
      deviceTimeout: 90_000,
      memberTimeout: 30_000,
      policy: { requireEncrypted: true, allowDegraded: false },
      volumes: [],
      pools: [],
      leftToSystem: [],
      warnings: [],
    });
  });

  test("rd.latchkey=0 turns off, and the plan still tells what it would be", () => {
    expect(planOf({ toml: configured, kernel: "rd.latchkey=0" })).toMatchObject({
      enabled: false,
      volumes: [{ name: "root" }],
    });
  });
});

describe("several names for one device", () => {
  const twice = `${configured}[volumes.again]\nkind = "bcachefs"\ndevice = ["/dev/sdb", "UUID=${uuid}"]\n`;

  test("are one volume with all devices, and that is said", () => {
    const plan = planOf({ toml: twice });
    expect(plan.volumes.map(shortly)).toEqual([`root | UUID=${uuid} /dev/sdb | encrypted`]);
    expect(plan.warnings).toEqual([
      `/etc/latchkey/latchkey.toml:4: volumes "root" and "again" both name UUID=${uuid}: taken as one, "root"`,
    ]);
  });

  test("mean the same in a pool", () => {
    const plan = planOf({
      toml: `${twice}[volumes.c]\nkind = "bcachefs"\ndevice = "/dev/c"\n[pools.p]\nvolumes = ["again", "c", "root"]`,
    });
    expect(plan.pools.map(({ volumes }) => volumes)).toEqual([["root", "c"]]);
  });

  test("do not confuse a name that the kernel command line gives to another device", () => {
    const kernel = "rd.latchkey.volume=x=bcachefs:/dev/a rd.latchkey.volume=root=bcachefs:/dev/b";
    const toml = '[volumes.root]\nkind = "bcachefs"\ndevice = "/dev/a"\n[pools.p]\nvolumes = ["root"]';
    expect(volumesOf({ toml, kernel })).toEqual(["x | /dev/a | encrypted", "root | /dev/b | encrypted"]);
    expect(planOf({ toml, kernel }).pools[0]?.volumes).toEqual(["root"]);
  });

  test("a third that names both brings them together", () => {
    const toml =
      '[volumes.a]\nkind = "bcachefs"\ndevice = "/dev/a"\n[volumes.b]\nkind = "bcachefs"\ndevice = ["/dev/b", "/dev/c"]\n';
    expect(volumesOf({ toml, kernel: "root=/dev/a:/dev/b" })).toEqual(["a | /dev/a /dev/b /dev/c | root | encrypted"]);
  });
});

describe("policy", () => {
  const kernel = `root=UUID=${otherUuid} rootfstype=bcachefs`;
  const data = configured.replace("volumes.root", "volumes.data");
  test.each<[string, boolean, boolean]>([
    ["", true, false],
    ["[policy]\nrequire_encrypted = true", true, true],
    ["[policy]\nrequire_encrypted = false", false, false],
  ])("%j: configured volumes must be encrypted: %p, found ones: %p", (policy, ofConfigured, ofFound) => {
    const { volumes } = planOf({ toml: `${data}${policy}`, kernel });
    expect(volumes.map(({ name, requireEncrypted }) => [name, requireEncrypted])).toEqual([
      ["data", ofConfigured],
      ["root", ofFound],
    ]);
  });

  test("volumes of the kernel command line must be encrypted, too", () => {
    expect(volumesOf({ kernel: "rd.latchkey.volume=a=bcachefs:/dev/a" })).toEqual(["a | /dev/a | encrypted"]);
  });

  test.each([
    ["rootflags=degraded", true],
    ["rootflags=noatime,degraded=yes", true],
    ["rootflags=very_degraded", true],
    ["rootflags=degraded=no", false],
    ["", false],
  ])("a root that is mounted degraded is opened degraded: %s", (flags, allowDegraded) => {
    expect(planOf({ kernel: `${kernel} ${flags}` }).policy.allowDegraded).toBe(allowDegraded);
  });
});

describe("pools", () => {
  const volumes = ["a", "b"].map((name) => `[volumes.${name}]\nkind = "bcachefs"\ndevice = "/dev/${name}"\n`).join("");
  const toml = (pools: string) => `${volumes}${pools}`;

  test.each([
    ['[pools.p]\nvolumes = ["a", "c"]', 'pools.p.volumes: there is no volume "c"', [["a"]]],
    ['[pools.p]\nvolumes = ["c"]', 'pools.p.volumes: there is no volume "c"', []],
    ['[pools.a]\nvolumes = ["b"]', "pools.a: a volume has this name, too: commands could not tell them apart", [["b"]]],
    [
      '[pools.p]\nvolumes = ["a"]\n[pools.q]\nvolumes = ["b", "a"]',
      'pools.q.volumes: volume "a" is in pool "p" already',
      [["a"], ["b"]],
    ],
    ['[pools.p]\nvolumes = ["a", "croot"]', 'pools.p.volumes: volume "croot" is left to the system', [["a"]]],
  ])("%j", (pools, complaint, left) => {
    const machine = { toml: toml(pools), crypttab: "croot /dev/sdb /etc/croot.key luks" };
    expect(() => planOf(machine)).toThrow(complaint);
    const plan = planOf(machine, "boot");
    expect(plan.warnings.map((line) => line.replace(/^.*?toml:\d+: /, ""))).toEqual([complaint]);
    expect(plan.pools.map((pool) => [...pool.volumes])).toEqual(left);
  });

  test("may take in what latchkey found by itself", () => {
    const plan = planOf({
      toml: toml('[pools.p]\nvolumes = ["a", "root"]'),
      kernel: "root=/dev/r rootfstype=bcachefs",
    });
    expect(plan.pools[0]?.volumes).toEqual(["a", "root"]);
  });
});

describe("at boot", () => {
  test("a volume whose devices were all mistyped gets those that root= names, and stays what it is", () => {
    const toml = '[volumes.root]\nkind = "bcachefs"\ndevice = "sda2"';
    expect(() => planOf({ toml, kernel: "root=/dev/sda2" })).toThrow("volumes.root.device");
    expect(volumesOf({ toml, kernel: "root=/dev/sda2" }, "boot")).toEqual(["root | /dev/sda2 | root | encrypted"]);
    expect(volumesOf({ toml }, "boot")).toEqual([]);
  });

  test("of a broken file what the system says is left", () => {
    const plan = planOf({ toml: "[", kernel: `root=UUID=${uuid} rootfstype=bcachefs` }, "boot");
    expect(plan.volumes.map(shortly)).toEqual([`root | UUID=${uuid} | root`]);
    expect(plan.warnings.length).toBe(1);
  });
});

describe("properties", () => {
  const device = fc.constantFrom(
    "/dev/a",
    "/dev/b",
    "/dev/a:/dev/b",
    `UUID=${uuid}`,
    `UUID=${otherUuid}`,
    "x",
    "LABEL=l",
  );
  const machines = fc.record(
    {
      toml: fc.oneof(
        textOf(
          "[volumes.a]\n",
          "[",
          "kind = ",
          '"bcachefs"\n',
          "device = ",
          "'/dev/a'\n",
          "[pools.p]\n",
          "volumes = ['a']\n",
        ),
        fc
          .array(fc.tuple(fc.constantFrom("root", "a", "b"), device), { maxLength: 4 })
          .map((volumes) =>
            [...new Map(volumes)]
              .map(([name, text]) => `[volumes.${name}]\nkind = "bcachefs"\ndevice = "${text}"\n`)
              .join(""),
          ),
      ),
      kernel: fc
        .array(
          fc.oneof(
            device.map((text) => `root=${text}`),
            fc
              .tuple(fc.constantFrom("root", "a", "c"), device)
              .map(([name, text]) => `rd.latchkey.volume=${name}=bcachefs:${text}`),
            fc.constantFrom("rootfstype=bcachefs", "root=fstab", "ro", "rootflags=degraded"),
          ),
          { maxLength: 5 },
        )
        .map((words) => words.join(" ")),
      fstab: fc
        .array(fc.tuple(device, fc.constantFrom("/", "/sysroot", "/usr", "/sysroot/a", "/home")), { maxLength: 4 })
        .map((mounts) => mounts.map(([text, point]) => `${text} ${point} bcachefs x-initrd.mount 0 0\n`).join("")),
      crypttab: textOf("a", " ", "/dev/a", "\n", "none"),
    },
    { requiredKeys: [] },
  );

  test("whatever the files say, a boot gets a plan: names once, devices in one volume only, sources for each", () => {
    fc.assert(
      fc.property(machines, (machine) => {
        const plan = planOf(machine, "boot");
        const names = plan.volumes.map(({ name }) => name);
        expect(new Set(names).size).toBe(names.length);
        const devices = plan.volumes.flatMap((volume) => volume.devices.map(printDeviceReference));
        expect(new Set(devices).size).toBe(devices.length);
        expect(plan.volumes.every((volume) => volume.devices.length > 0 && volume.sources.length > 0)).toBe(true);
        expect(plan.pools.flatMap(({ volumes }) => volumes).filter((name) => !names.includes(name))).toEqual([]);
        for (const warning of plan.warnings) expectOneLine(warning);
        expect(planToText(plan)).toEndWith("\n");
      }),
      { numRuns: 1000 },
    );
  });

  test("a plan that strict mode gives is the one that a boot gets", () => {
    fc.assert(
      fc.property(machines, (machine) => {
        let plan: Plan;
        try {
          plan = planOf(machine, "strict");
        } catch (error) {
          expect(error).toMatchObject({ name: "LatchkeyError", outcome: "configuration" });
          return;
        }
        expect(planOf(machine, "boot")).toEqual(plan);
      }),
      { numRuns: 500 },
    );
  });
});

describe("sources where nothing is said of them", () => {
  const kernel = parseKernelCommandLine("root=/dev/sda2 rootfstype=bcachefs");
  const sourcesWith = (tokens: readonly string[], toml?: string) => {
    const parsed = toml === undefined ? undefined : parseToml(toml, "latchkey.toml");
    const { plan } = makePlan({ kernel, toml: parsed, tokens: new Set(tokens) });
    return plan.volumes.map(({ name, sources }) => [name, ...sources.map((source) => source.kind)]);
  };

  test("are the question alone", () => {
    expect(sourcesWith([])).toEqual([["root", "prompt"]]);
  });

  test("are a token first, where one lies at its usual place", () => {
    expect(sourcesWith(["root", "other"])).toEqual([["root", "clevis", "prompt"]]);
  });

  test("and what is said counts", () => {
    const toml = `[volumes.root]\nkind = "bcachefs"\ndevice = "/dev/sda2"\nsources = ["prompt"]\n`;
    expect(sourcesWith(["root"], toml)).toEqual([["root", "prompt"]]);
  });
});
