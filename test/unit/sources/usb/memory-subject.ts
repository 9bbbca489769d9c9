/**
 * `memory-subject.ts DEVICE SHA256 hold|let-go` reads a key from an ext4 as the source does, says its length and its reader's process,
 * and waits to be looked at and killed.
 */
import { ChildKeyReader } from "../../../../src/sources/usb/child-reader.ts";
import { StickWatch } from "../../../../src/sources/usb/stick-watch.ts";
import { UsbSource } from "../../../../src/sources/usb/usb-source.ts";
import { monotonicClock } from "../../../../src/system/clock.ts";
import type { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { FakeHeart, stickPlan } from "./fakes.ts";

const [device = "", sha256 = "", mode = ""] = process.argv.slice(2);

const reader = new ChildKeyReader();
const sticks = {
  list: async () => [{ path: device, occurrence: device, isRemovable: true }],
  changes: async function* (signal: AbortSignal) {
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    yield* [];
  },
  deviceWith: async () => undefined,
};
const kept: SecretBytes[] = [];
const heart = new FakeHeart();
heart.offer = async (secret) => {
  if (mode === "hold") kept.push(secret);
  else secret[Symbol.dispose]();
  process.stdout.write(`read ${secret.length}\n`);
  return { opened: ["root"], errors: new Map() };
};
const source = new UsbSource({
  stick: stickPlan({
    sha256,
    place: { by: "filesystem", uuid: "11111111-2222-4333-8444-555555555555", path: "root.key" },
  }),
  format: "raw",
  volumes: ["root"],
  watch: new StickWatch(sticks, reader),
  sticks,
  reader,
  clock: monotonicClock,
});
await source.run(heart);
setInterval(() => kept.length, 1_000);
