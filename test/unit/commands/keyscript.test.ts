import { describe, expect, test } from "bun:test";
import { openSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { keyscriptPlan, readRequest } from "../../../src/commands/keyscript.ts";
import { parseCrypttab } from "../../../src/config/crypttab.ts";
import { parseKernelCommandLine } from "../../../src/config/kernel-command-line.ts";
import { makePlan } from "../../../src/config/make-plan.ts";
import type { Plan } from "../../../src/config/plan.ts";
import type { LatchkeyError } from "../../../src/system/errors.ts";
import { Pty } from "../sources/prompt/pty.ts";
import { Sandbox, whyNoSandbox } from "./sandbox.ts";

const fixtures = join(import.meta.dir, "../../fixtures/clevis/tokens");
/** What the fixture null-basic.jwe holds. */
const SECRET = "dev1-null";
const LINE = "data UUID=4c554b53-0002-4000-8000-000000000001 none luks,keyscript=latchkey\n";
const MEGABYTE = 1024 * 1024;

describe("what Debian's scripts say", () => {
  test.each<[Record<string, string>, string | undefined, string]>([
    [{}, undefined, "CRYPTTAB_NAME is not in the environment"],
    [{ CRYPTTAB_NAME: "root" }, undefined, "CRYPTTAB_SOURCE is not in the environment"],
    [
      { CRYPTTAB_NAME: "root", CRYPTTAB_SOURCE: "/dev/sda", CRYPTTAB_TRIED: "x" },
      undefined,
      "CRYPTTAB_TRIED is no number: x",
    ],
  ])("is refused when it is not all there: %j", (environment, argument, message) => {
    expect(() => readRequest(environment, argument)).toThrow(message);
  });

  test.each<[string | undefined, string | undefined, string | undefined]>([
    ["none", undefined, undefined],
    [undefined, "-", undefined],
    ["/etc/latchkey/root.jwe", "none", "/etc/latchkey/root.jwe"],
    [undefined, "/etc/latchkey/root.jwe", "/etc/latchkey/root.jwe"],
  ])("has the third field in the environment (%s) or as the argument (%s)", (inEnvironment, argument, expected) => {
    const environment = {
      CRYPTTAB_NAME: "root",
      CRYPTTAB_SOURCE: "/dev/sda",
      ...(inEnvironment ? { CRYPTTAB_KEY: inEnvironment } : {}),
    };
    expect(readRequest(environment, argument)).toEqual({
      name: "root",
      source: "/dev/sda",
      tried: 0,
      keyField: expected,
    });
  });
});

function systemPlan(kernel = ""): Plan {
  return makePlan({
    kernel: parseKernelCommandLine(kernel),
    crypttab: parseCrypttab(LINE, "/cryptroot/crypttab"),
  }).plan;
}

describe("the plan of a keyscript", () => {
  const request = { name: "data", source: "/dev/vda", tried: 0, keyField: undefined };
  const sourcesOf = (plan: Plan): unknown[] => plan.volumes.flatMap(({ sources }) => sources.map(({ kind }) => kind));

  test("is the one volume, by crypttab's UUID, with all its sources at the first try", () => {
    const plan = keyscriptPlan(request, systemPlan());
    expect(plan.volumes.map(({ name, devices }) => [name, devices])).toEqual([
      ["data", [{ by: "tag", tag: "UUID", value: "4c554b53-0002-4000-8000-000000000001" }]],
    ]);
    expect(sourcesOf(plan)).toEqual(["clevis", "prompt"]);
    expect(plan).toMatchObject({ deviceTimeout: 0, pools: [] });
    expect(plan.volumes[0]?.luks?.opener).toBe("latchkey");
  });

  test("asks a person alone when a key was tried already", () => {
    expect(sourcesOf(keyscriptPlan({ ...request, tried: 1 }, systemPlan()))).toEqual(["prompt"]);
  });

  test("takes a token that the third field names", () => {
    const [volume] = keyscriptPlan({ ...request, keyField: "/etc/latchkey/x.jwe" }, systemPlan()).volumes;
    expect(volume?.sources).toMatchObject([{ kind: "clevis", token: "/etc/latchkey/x.jwe" }, { kind: "prompt" }]);
  });

  test("is refused where latchkey is switched off", () => {
    expect(() => keyscriptPlan(request, systemPlan("rd.latchkey=0"))).toThrow("data: switched off by rd.latchkey=0");
  });

  test("is refused for a device that holds no LUKS", () => {
    try {
      keyscriptPlan({ ...request, name: "other", source: "/dev/null" }, systemPlan());
      expect.unreachable();
    } catch (thrown) {
      expect((thrown as LatchkeyError).code).toBe("keyscript/not-luks");
    }
  });
});

/** A machine with a LUKS2 that opens with SECRET, and crypttab's line for it. */
function machine(): Sandbox {
  const sandbox = new Sandbox();
  const image = sandbox.path("data.img");
  writeFileSync(image, "");
  truncateSync(image, 24 * MEGABYTE);
  const cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
  const made = Bun.spawnSync(["cryptsetup", "luksFormat", "-q", "--type", "luks2", ...cheap, image, "-"], {
    stdin: Buffer.from(SECRET),
  });
  expect(made.stderr.toString()).toBe("");
  sandbox.file("/etc/crypttab", "data /run/disks/data.img none luks,keyscript=latchkey\n");
  return sandbox;
}

const environment = { CRYPTTAB_NAME: "data", CRYPTTAB_SOURCE: "/run/disks/data.img", CRYPTTAB_KEY: "none" };

const whyNot = whyNoSandbox ?? (Bun.which("cryptsetup") === null ? "cryptsetup is not installed" : undefined);
describe.skipIf(whyNot !== undefined)(
  `latchkey keyscript${whyNot === undefined ? "" : ` (skipped: ${whyNot})`}`,
  () => {
    test("gives the key that a token holds, letter for letter, with nobody there", async () => {
      using sandbox = machine();
      sandbox.file("/etc/latchkey/data.jwe", readFileSync(join(fixtures, "null-basic.jwe"), "utf8"));
      const { stdout, stderr, status } = await sandbox.run(["keyscript", "none"], { environment });
      expect({ stdout, status }).toEqual({ stdout: SECRET, status: 0 });
      expect(stderr).toContain("latchkey: data: LUKS2 on /run/disks/data.img opened by clevis");
      expect(stderr).not.toContain(SECRET);
    });

    test("asks again until the passphrase is right, and gives only that one", async () => {
      using sandbox = machine();
      using terminal = new Pty();
      const running = sandbox.run(["keyscript", "none"], { environment, terminal });
      await terminal.shows("Passphrase for data (LUKS2 on /run/disks/data.img): ");
      terminal.type("not the passphrase\r");
      await terminal.shows("try again (2nd try): ");
      terminal.type(`${SECRET}\r`);
      expect(await running).toMatchObject({ stdout: SECRET, status: 0 });
    });

    test("gives nothing when a token holds a wrong key and nobody can be asked", async () => {
      using sandbox = machine();
      sandbox.file("/etc/latchkey/data.jwe", readFileSync(join(fixtures, "null-binary.jwe"), "utf8"));
      const { stdout, status } = await sandbox.run(["keyscript", "none"], { environment });
      expect({ stdout, status }).toEqual({ stdout: "", status: 3 });
    });

    test("does not go to the token again when its key was tried already", async () => {
      using sandbox = machine();
      sandbox.file("/etc/latchkey/data.jwe", readFileSync(join(fixtures, "null-basic.jwe"), "utf8"));
      const tried = { ...environment, CRYPTTAB_TRIED: "1" };
      expect(await sandbox.run(["keyscript", "none"], { environment: tried })).toMatchObject({ stdout: "", status: 3 });
    });

    test("opens nothing: what is refused stays closed and gives no key", async () => {
      using sandbox = machine();
      writeFileSync(sandbox.path("data.img"), new Uint8Array(MEGABYTE));
      const { stdout, stderr, status } = await sandbox.run(["keyscript", "none"], { environment });
      expect({ stdout, status }).toEqual({ stdout: "", status: 4 });
      expect(stderr).toContain("is not encrypted: refused");
    });
  },
);

test("a key is never shown on a terminal", async () => {
  using terminal = new Pty();
  const main = join(import.meta.dir, "../../../src/main.ts");
  const child = Bun.spawn([process.execPath, main, "keyscript", "none"], {
    stdin: "ignore",
    stdout: openSync(terminal.path, "w"),
    stderr: "pipe",
    env: { PATH: process.env["PATH"], ...environment },
  });
  expect(await child.exited).toBe(64);
  expect(await child.stderr.text()).toContain("latchkey: error: usage/invalid: standard output is a terminal");
});
