import { describe, expect, test } from "bun:test";
import { lookAgain, systemUdevadm } from "../../../src/system/udev.ts";

const nodes = ["/dev/dm-0", "/dev/dm-1"];

function recording(answer: (args: readonly string[]) => string | undefined = () => undefined) {
  const calls: string[] = [];
  const udevadm = async (args: readonly string[]) => {
    calls.push(args.join(" "));
    return answer(args);
  };
  return { calls, udevadm };
}

describe("udev looks again", () => {
  test("after it has seen all devices, and is waited for", async () => {
    const { calls, udevadm } = recording();
    expect(await lookAgain(nodes, udevadm)).toBeUndefined();
    expect(calls).toEqual([
      "settle --timeout=5",
      "trigger --action=change -- /dev/dm-0 /dev/dm-1",
      "settle --timeout=5",
    ]);
  });

  test("also when its queue does not empty; what went wrong is told", async () => {
    const { calls, udevadm } = recording(([step]) => (step === "settle" ? "status 1: timed out" : undefined));
    expect(await lookAgain(nodes, udevadm)).toBe(
      "udevadm settle: status 1: timed out; udevadm settle: status 1: timed out",
    );
    expect(calls).toHaveLength(3);
  });

  test("not for nothing, and not where there is no udevadm", async () => {
    const { calls, udevadm } = recording();
    expect(await lookAgain([], udevadm)).toBeUndefined();
    expect(calls).toEqual([]);
  });
});

const udevadm = systemUdevadm();
describe.skipIf(udevadm === undefined)("udevadm itself (skipped where there is none)", () => {
  test("takes what it is given: device nodes behind the options", async () => {
    expect(await udevadm?.(["trigger", "--dry-run", "--action=change", "--", "/dev/null"], 10_000)).toBeUndefined();
    expect(await udevadm?.(["settle", "--timeout=5"], 10_000)).toBeUndefined();
  });

  test("a complaint is one line", async () => {
    expect(await udevadm?.(["trigger", "--action=change", "--", "/dev/no-such-device"], 10_000)).toStartWith(
      "status 1: ",
    );
  });
});
