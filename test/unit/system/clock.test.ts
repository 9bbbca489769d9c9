import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { monotonicClock } from "../../../src/system/clock.ts";

test("time is the kernel's, in milliseconds since it started", () => {
  // /proc/uptime counts time in suspend as well, which a test machine has none of.
  const uptime = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000;
  expect(Math.abs(monotonicClock.now() - uptime)).toBeLessThan(2000);
});

test("a sleep ends early when its signal is aborted", async () => {
  const controller = new AbortController();
  const sleeping = monotonicClock.sleep(60_000, controller.signal);
  controller.abort();
  await sleeping;
  await monotonicClock.sleep(60_000, controller.signal);
});
