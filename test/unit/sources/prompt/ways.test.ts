import { describe, expect, test } from "bun:test";
import { chooseWays, type MachineFacts, readMachineFacts } from "../../../../src/sources/prompt/ways.ts";

const none: MachineFacts = { hasTerminal: false, runsSystemd: false, hasAgent: false, hasAskpass: false };

describe("how a person is asked", () => {
  test.each([
    ["nothing is there but the kernel's console", {}, ["console"]],
    [
      "a dracut initrd with systemd and its console agent",
      { runsSystemd: true, hasAgent: true },
      ["agents", "console"],
    ],
    ["systemd without an agent: nobody would see the question", { runsSystemd: true }, ["console"]],
    ["an agent's unit without systemd", { hasAgent: true }, ["console"]],
    ["initramfs-tools with cryptsetup", { hasAskpass: true }, ["askpass", "console"]],
    ["a running Debian", { runsSystemd: true, hasAgent: true, hasAskpass: true }, ["agents", "console"]],
    [
      "by hand from a terminal of a running system",
      { hasTerminal: true, runsSystemd: true, hasAgent: true, hasAskpass: true },
      ["terminal"],
    ],
    ["by hand from the emergency shell", { hasTerminal: true }, ["terminal"]],
  ] as const)("%s", (_, facts, expected) => {
    expect([...chooseWays({ ...none, ...facts })]).toEqual([...expected]);
  });

  test("is decided from facts that can be read anywhere", () => {
    expect(Object.keys(readMachineFacts()).sort()).toEqual(Object.keys(none).sort());
  });
});
