import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listenForSystemd } from "../../../src/commands/listen-for-systemd.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { RunDirectory } from "../../../src/system/run-directory.ts";
import { planOf, settle, volumePlan } from "../unlock/fakes.ts";

const luks = { allowDiscards: false, readOnly: false, openOptions: [], opener: "systemd" } as const;
const plan = planOf([
  volumePlan("d1", { kind: "luks", luks }),
  volumePlan("d2", { kind: "luks", luks }),
  volumePlan("own", { kind: "luks", luks: { ...luks, opener: "latchkey" } }),
  volumePlan("later", { kind: "luks", luks, isOnDemand: true }),
]);

describe("listening for systemd-cryptsetup", () => {
  let root = "";
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "latchkey-listen-"));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  function listen(refusal?: LatchkeyError) {
    const [givenUp, notes]: [string[], string[]] = [[], []];
    const listening = listenForSystemd(
      plan,
      new RunDirectory(join(root, "run")),
      (kind, text, volume) => void notes.push(`${kind} ${volume}: ${text}`),
      {
        folder: join(root, "keys"),
        units: {
          restart: () => Promise.resolve(),
          giveUp: async (name) => {
            if (refusal) throw refusal;
            givenUp.push(name);
          },
        },
      },
    );
    return { listening, givenUp, notes };
  }

  test("is for the volumes whose mappings it makes at boot, and says where", () => {
    using listening = listen().listening;
    const paths = ["d1", "d2"].map((name) => join(root, "keys", `${name}.key`));
    expect(readFileSync(join(root, "run/listening"), "utf8")).toBe(paths.map((path) => `${path}\n`).join(""));
    expect(paths.every((path) => existsSync(path))).toBe(true);
    listening[Symbol.dispose]();
    expect(readFileSync(join(root, "run/listening"), "utf8")).toBe("");
  });

  test("ends for each volume that is settled; a member that is done without, systemd waits for no longer", async () => {
    const { listening, givenUp, notes } = listen();
    using _ = listening;
    listening.release("d1", "opened");
    listening.release("d2", "missing");
    listening.release("own", "missing");
    listening.release("later", "missing");
    await settle();
    expect(existsSync(join(root, "keys/d1.key"))).toBe(false);
    expect(givenUp).toEqual(["d2"]);
    expect(notes).toContain("event d2: systemd waits for it no longer");
  });

  test("a systemd that does not hear is told in the report, and that is all", async () => {
    const { listening, notes } = listen(new LatchkeyError("luks/tool-failed", "d2: systemctl could not stop it"));
    using _ = listening;
    listening.release("d2", "missing");
    await settle();
    expect(notes).toContain("event d2: d2: systemctl could not stop it");
  });
});
