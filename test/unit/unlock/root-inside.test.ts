import { describe, expect, test } from "bun:test";
import type { DeviceReference } from "../../../src/config/plan.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import type { Report, VolumeRecord } from "../../../src/unlock/report.ts";
import { findRootsInside, withoutRootsInside } from "../../../src/unlock/root-inside.ts";
import { FakeProvider, planOf, start, volumePlan } from "./fakes.ts";

const root: DeviceReference = { by: "tag", tag: "UUID", value: "c0ffee" };
const guess = volumePlan("root-2", { isRoot: true, certainty: "if-bcachefs", devices: [root] });
const crypt = volumePlan("crypt", { kind: "bcachefs" });

/** A run that found `crypt` on /dev/vda open, and the guess to be no bcachefs; the fakes know one kind only. */
async function reportOf(guessed: LatchkeyError): Promise<Report> {
  const provider = new FakeProvider({
    crypt: { state: "open", devices: ["/dev/vda"] },
    "root-2": { findError: guessed },
  });
  const run = start(planOf([crypt, guess]), provider, []);
  await run.clock.advance(0);
  const report = await run.report;
  const volumes = report.volumes.map(
    (volume): VolumeRecord => (volume.name === "crypt" ? { ...volume, kind: "luks" } : volume),
  );
  return { ...report, volumes };
}

const noBcachefs = new LatchkeyError("bcachefs/not-bcachefs", "root-2: UUID=c0ffee holds no bcachefs");
const plan = planOf([crypt, guess]);
const nodes = (node: string | undefined, below: readonly string[] = []) => ({
  devices: { resolve: () => Promise.resolve(node) },
  below: (path: string) => (path === node ? new Set([path.slice("/dev/".length), ...below]) : undefined),
});

describe("a guess about root=", () => {
  test("that lies in a LUKS volume is not shown as a volume; the volume around it says so", async () => {
    const report = await reportOf(noBcachefs);
    const inside = await findRootsInside(plan, report, nodes("/dev/dm-1", ["dm-0", "vda"]));
    expect(inside).toEqual([{ guess: "root-2", device: "UUID=c0ffee", volume: "crypt" }]);
    const shown = withoutRootsInside(report, inside);
    expect(shown.volumes.map(({ name }) => name)).toEqual(["crypt"]);
    expect(shown.events.filter(({ volume }) => volume === "root-2")).toEqual([]);
    expect(shown.events).toContainEqual(
      expect.objectContaining({ volume: "crypt", text: "root=UUID=c0ffee lies in it" }),
    );
    expect(report.volumes).toHaveLength(2);
  });

  test.each([
    ["lies elsewhere", nodes("/dev/vdb1", ["vdb"])],
    ["did not come", nodes(undefined)],
    ["cannot be followed", { devices: { resolve: () => Promise.resolve("/dev/dm-0") }, below: () => undefined }],
    ["cannot be looked for", { devices: { resolve: () => Promise.reject(noBcachefs) }, below: () => undefined }],
  ])("that %s stays", async (_, parts) => {
    const report = await reportOf(noBcachefs);
    const inside = await findRootsInside(plan, report, parts);
    expect(inside).toEqual([]);
    expect(withoutRootsInside(report, inside)).toBe(report);
  });

  test("that somebody stated is a volume, wherever it lies", async () => {
    const report = await reportOf(noBcachefs);
    const stated = planOf([crypt, { ...guess, certainty: "stated" }]);
    expect(await findRootsInside(stated, report, nodes("/dev/dm-0", ["vda"]))).toEqual([]);
  });
});
