import { describe, expect, test } from "bun:test";
import type { Plan } from "../../../src/config/plan.ts";
import { planHandover } from "../../../src/unlock/handover.ts";
import type { Report, VolumeRecord } from "../../../src/unlock/report.ts";
import { type InitrdFacts, mountRoot, planRootMount } from "../../../src/unlock/root-mount.ts";
import { planOf, volumePlan } from "./fakes.ts";

const rootMount = { options: ["noatime"], readOnly: true };
const plan = planOf([volumePlan("root", { isRoot: true }), volumePlan("data")], { rootMount });
const facts: InitrdFacts = { inInitrd: true, hasMountHelper: false, sysrootIsMounted: false };

function reportWith(...volumes: Partial<VolumeRecord>[]): Report {
  return {
    schema: 1,
    version: "0",
    build: "test",
    started_ms: 0,
    finished_ms: 1,
    outcome: "done",
    volumes: volumes.map((volume) => ({
      name: "root",
      kind: "bcachefs",
      description: null,
      uuid: "u",
      devices: ["/dev/vda", "/dev/vdb"],
      standing: "opened",
      opened_by: null,
      settled_ms: null,
      error: null,
      ...volume,
    })),
    attempts: [],
    events: [],
    warnings: [],
  };
}

describe("latchkey mounts the root itself", () => {
  test("when it has several members and the image no mount helper", () => {
    expect(planRootMount(plan, reportWith({}), facts)).toEqual({
      devices: ["/dev/vda", "/dev/vdb"],
      target: "/sysroot",
      options: ["noatime"],
      readOnly: true,
      degraded: false,
    });
  });

  test("with a single member left where policy allows to go on degraded", () => {
    const degraded: Plan = { ...plan, policy: { requireEncrypted: true, allowDegraded: true } };
    expect(planRootMount(degraded, reportWith({ devices: ["/dev/vda"] }), facts)).toMatchObject({
      devices: ["/dev/vda"],
      degraded: true,
    });
  });

  test("with the folder that is to be the root", () => {
    const nested = { ...plan, rootMount: { ...rootMount, subdirectory: "debian" } };
    expect(planRootMount(nested, reportWith({}), facts)?.options).toEqual(["noatime", "X-mount.subdir=debian"]);
  });

  const cases: [string, Partial<InitrdFacts>, Partial<VolumeRecord>][] = [
    ["the mount helper is there", { hasMountHelper: true }, {}],
    ["something is mounted there", { sysrootIsMounted: true }, {}],
    ["no initrd is booting", { inInitrd: false }, {}],
    ["it has one member", {}, { devices: ["/dev/vda"] }],
    ["it is still closed", {}, { standing: "failed" }],
    ["it was refused", {}, { standing: "refused" }],
    ["it is another volume", {}, { name: "data" }],
  ];
  test.each(cases)("but not when %s", (_, fact, volume) => {
    expect(planRootMount(plan, reportWith(volume), { ...facts, ...fact })).toBeUndefined();
  });
});

test("a mount may take longer than the alarm allows: it is off before the mount begins", () => {
  const steps: string[] = [];
  const request = planRootMount(plan, reportWith({}), facts);
  if (!request) throw new Error("there is something to mount");
  const disarm = (): void => void steps.push("disarmed");
  mountRoot(request, disarm, ({ source }) => {
    steps.push(`mount ${source}`);
    return [];
  });
  expect(steps).toEqual(["disarmed", "mount /dev/vda:/dev/vdb"]);
});

describe("what is handed over to the units of the initrd", () => {
  const error = { code: "policy/unencrypted", reason: "root: not encrypted: refused" };
  const other = { name: "data", uuid: "d" };
  const cases: [string, Partial<VolumeRecord>[], { finished: boolean; refused?: string }][] = [
    ["an open root", [{}, other], { finished: true }],
    ["a root that stayed closed", [{ standing: "failed", error }], { finished: false }],
    ["a refused root", [{ standing: "refused", error }], { finished: true, refused: error.reason }],
    ["a data volume that failed", [{}, { ...other, standing: "failed", error }], { finished: true }],
    ["a data volume that was refused", [{}, { ...other, standing: "refused", error }], { finished: true }],
    [
      "the root refused under another name",
      [{ standing: "unencrypted" }, { name: "data", standing: "refused", error }],
      { finished: true, refused: error.reason },
    ],
    ["no volumes", [], { finished: true }],
  ];
  test.each(cases)("%s", (_, volumes, expected) => {
    const { finished, refused } = planHandover(plan, reportWith(...volumes));
    expect({ finished, refused }).toEqual({ refused: undefined, ...expected });
  });

  test("what the initrd mounts beside the root counts as much, a LUKS volume there does not", () => {
    const nix = volumePlan("nix", { isForInitrd: true });
    const crypt = volumePlan("crypt", { isForInitrd: true, kind: "luks" });
    const both = planOf([nix, crypt]);
    const locked = { name: "crypt", uuid: "c", standing: "failed", error } as const;
    expect(planHandover(both, reportWith({ name: "nix", standing: "failed", error }, locked)).finished).toBe(false);
    expect(planHandover(both, reportWith({ name: "nix" }, locked)).finished).toBe(true);
    expect(planHandover(both, reportWith({ name: "nix", standing: "refused", error })).refused).toBe(error.reason);
  });

  test("a LUKS volume for the initrd that was refused counts as the root, which may lie in it, unless that was found", () => {
    const refused = { name: "crypt", uuid: "c", kind: "luks", standing: "refused", error } as const;
    const below = volumePlan("crypt", { kind: "luks", isForInitrd: true });
    const guess = volumePlan("root", { isRoot: true, certainty: "if-bcachefs" });
    const left = { name: "root", standing: "left-to-system" } as const;
    expect(planHandover(planOf([below]), reportWith(refused)).refused).toBe(error.reason);
    const luks = { allowDiscards: false, readOnly: false, openOptions: [], opener: "systemd" } as const;
    const remote = volumePlan("crypt", { kind: "luks", luks: { ...luks, needsNetwork: true } });
    expect(planHandover(planOf([remote]), reportWith(refused)).refused).toBe(error.reason);
    expect(planHandover(planOf([guess, below]), reportWith(left, refused)).refused).toBe(error.reason);
    expect(planHandover(planOf([guess, below]), reportWith({ standing: "opened" }, refused)).refused).toBeUndefined();
    const data = volumePlan("crypt", { kind: "luks" });
    expect(planHandover(planOf([data]), reportWith(refused)).refused).toBeUndefined();
  });

  describe("where the initrd lets latchkey look again", () => {
    const absent = {
      devices: [],
      uuid: null,
      error: { code: "bcachefs/device-missing", reason: "root: is not there" },
    } as const;
    const guessed = planOf([volumePlan("root", { isRoot: true, certainty: "if-bcachefs" }), volumePlan("data")]);
    const waiting: [string, Plan, Partial<VolumeRecord>[], readonly string[] | undefined][] = [
      ["nothing is missing", plan, [{}, other], undefined],
      ["a device has not come", plan, [{}, { ...other, ...absent, standing: "failed" }], ["data"]],
      ["only a guess is missing", guessed, [{ ...absent, error: null, standing: "left-to-system" }, other], []],
      ["a volume is there and stayed closed", plan, [{ standing: "failed", error }], undefined],
      [
        "a volume cannot be read",
        plan,
        [{ ...absent, standing: "failed", error: { code: "bcachefs/not-bcachefs", reason: "root: no bcachefs" } }],
        undefined,
      ],
    ];
    test.each(waiting)("%s", (_, made, volumes, expected) => {
      expect(planHandover(made, reportWith(...volumes)).waiting).toEqual(expected);
    });
  });

  test("the members of a bcachefs root that has several are named, for a mount that needs all of them", () => {
    expect(planHandover(plan, reportWith({}, other)).rootMembers).toEqual(["/dev/vda", "/dev/vdb"]);
    expect(planHandover(plan, reportWith({ devices: ["/dev/vda"] })).rootMembers).toEqual([]);
    expect(planHandover(plan, reportWith({ kind: "luks" })).rootMembers).toEqual([]);
  });
});
