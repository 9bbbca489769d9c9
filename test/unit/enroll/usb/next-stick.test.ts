import { expect, test } from "bun:test";
import { waitForNewStick } from "../../../../src/enroll/usb/next-stick.ts";
import type { LatchkeyError } from "../../../../src/system/errors.ts";
import { FakePorts } from "../../sources/usb/fakes.ts";
import { never } from "../scene.ts";

const codeOf = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => "no error",
    (thrown: LatchkeyError) => `${thrown.code}: ${thrown.message}`,
  );

test("a stick that was in before is not the second one, and nobody waits for ever", async () => {
  const ports = new FakePorts();
  ports.plug("/dev/sdb1", { uuid: "4F2A-99C1" });
  expect(await codeOf(waitForNewStick(ports, ports, never, 20))).toBe(
    "usb/absent: no second stick came within 0.02 s; the first one is done",
  );
  expect(ports.log).toEqual([]);
});

test("ctrl-C ends the wait", async () => {
  const stop = new AbortController();
  const end = codeOf(waitForNewStick(new FakePorts(), new FakePorts(), stop.signal, 60_000));
  stop.abort();
  expect(await end).toStartWith("enroll/interrupted: ");
});
