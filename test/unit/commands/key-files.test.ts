import { expect, test } from "bun:test";
import { keyFileSources, usbSources, vaultSources } from "../../../src/commands/assemble-key-files.ts";
import { keyFileNeeds, keyFilesForImage } from "../../../src/commands/key-file-needs.ts";
import { withVaults } from "../../../src/commands/volume-argument.ts";
import type { SourcePlan, UsbPlan } from "../../../src/config/plan.ts";
import { planOf, volumePlan } from "../unlock/fakes.ts";

const sha256 = "c0ffee00".repeat(8);

const stick = (uuid: string, overrides: Partial<UsbPlan> = {}): UsbPlan => ({
  kind: "usb",
  place: { by: "filesystem", uuid, path: "root.key" },
  sha256,
  anyBus: false,
  timeout: 10_000,
  ...overrides,
});
const vault = (volume: string): SourcePlan => ({ kind: "vault", volume, path: "k", sha256, timeout: 10_000 });
const volume = (name: string, ...sources: readonly SourcePlan[]) => volumePlan(name, { kind: "luks", sources });

test("a key file that opens several volumes is one source, for all of them; another stick is another", async () => {
  await using scope = new AsyncDisposableStack();
  const plan = planOf([
    volume("root", stick("A"), stick("B")),
    volume("data", stick("A", { timeout: 30_000 })),
    volume("other", stick("A", { sha256: sha256.replace("c", "d") })),
    volumePlan("text", { kind: "bcachefs", sources: [stick("A")] }),
  ]);
  expect(usbSources(plan, scope).map(({ name, volumes }) => [name, ...volumes])).toEqual([
    ["usb stick A", "root", "data"],
    ["usb stick B", "root"],
    ["usb stick A", "other"],
    ["usb stick A", "text"], // a line of text for the one is not the bytes for the other
  ]);
  expect(usbSources(planOf([volume("root")]), scope)).toEqual([]);
});

test("the same for key files in the initrd, and for vaults", async () => {
  await using scope = new AsyncDisposableStack();
  const file: SourcePlan = { kind: "keyfile", path: "/etc/latchkey/k.key" };
  const plan = planOf([volume("a", file, vault("v")), volume("b", file, vault("v")), volume("v")]);
  expect(keyFileSources(plan).map(({ volumes }) => volumes)).toEqual([["a", "b"]]);
  expect(vaultSources(plan, scope).map(({ name, volumes }) => [name, ...volumes])).toEqual([["vault v", "a", "b"]]);
});

test("an image gets the drivers of the sticks that are configured", () => {
  const needs = (...sources: readonly SourcePlan[]) => [...keyFileNeeds(planOf([volume("root", ...sources)]))].sort();
  expect(needs({ kind: "prompt" }, { kind: "keyfile", path: "/k" })).toEqual([]);
  expect(needs(stick("4F2A-99C1"))).toEqual(["exfat", "usb", "vfat"]);
  expect(needs(stick("0a1b2c3d-4e5f-4607-8a9b-abcdef012345"))).toEqual(["ext4", "usb"]);
  expect(needs(stick("2026-11-22-16-36-09-00"))).toEqual(["iso9660", "usb"]);
  const place = { by: "partition", partuuid: "1a2b3c4d-01", offset: 0, size: 1 } as const;
  expect(needs(stick("", { place }))).toEqual(["usb"]);
  expect(needs(vault("v"))).toEqual(["ext4", "usb", "vfat"]);
});

test("the key files that the configuration wants in the image, each once", () => {
  const file: SourcePlan = { kind: "keyfile", path: "/etc/latchkey/k.key" };
  expect(keyFilesForImage(planOf([volume("a", file), volume("b", file), volume("c")]))).toEqual([
    "/etc/latchkey/k.key",
  ]);
});

test("who opens one volume opens the vaults that hold its keys, and theirs", () => {
  const whole = planOf([volume("a", vault("v")), volume("v", vault("w")), volume("w"), volume("x", vault("v"))]);
  const part = { ...whole, volumes: whole.volumes.slice(0, 1) };
  expect(withVaults(part, whole).volumes.map(({ name }) => name)).toEqual(["a", "v", "w"]);
  const circle = planOf([volume("a", vault("b")), volume("b", vault("a"))]);
  expect(withVaults({ ...circle, volumes: circle.volumes.slice(0, 1) }, circle).volumes).toHaveLength(2);
});
