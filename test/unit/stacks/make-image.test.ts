import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dracut } from "../../../src/stacks/dracut/stack.ts";
import { Files } from "../../../src/stacks/files.ts";
import type { RunProgram } from "../../../src/stacks/machine.ts";
import { makeImage } from "../../../src/stacks/make-image.ts";
import type { ImageStep } from "../../../src/stacks/steps.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { FakeMachine, failed, said } from "./fake-machine.ts";

const IMAGE = "/boot/initrd.img-6.12";
const step: ImageStep = { do: "image", kernel: "6.12", image: IMAGE, latchkey: true, keepOld: true };

/** dracut writes an image, lsinitrd unpacks it, all other programs say nothing. */
const goodTools: RunProgram = async ([program, ...rest], options) => {
  if (program === "dracut") writeFileSync(rest.at(-2) ?? "", "new image");
  if (program === "lsinitrd" && rest[0] === "--unpack") mkdirSync(join(options?.folder ?? "", "usr"));
  return said(rest[0] === "--mod" ? "bash\nsystemd" : "");
};

async function make(
  machine: FakeMachine,
  findings: readonly string[] = [],
): Promise<{ error: string; printed: string[] }> {
  const printed: string[] = [];
  const audit = async () => findings.map((text) => ({ level: "failure", text }) as const);
  try {
    await makeImage(machine, dracut, step, audit, (line) => printed.push(line));
    return { error: "", printed };
  } catch (thrown) {
    if (!(thrown instanceof LatchkeyError)) throw thrown;
    return { error: `${thrown.code}: ${thrown.message} | ${thrown.hint}`, printed };
  } finally {
    expect(machine.files.list("/var/tmp")).toEqual([]);
    expect(machine.files.list("/boot").filter((name) => name.endsWith("-new"))).toEqual([]);
  }
}

describe("an image is made", () => {
  test("beside the old one, and takes its place with its mode", async () => {
    using machine = new FakeMachine(goodTools);
    machine.put(IMAGE, "old image", 0o640);
    const { error } = await make(machine);
    expect(error).toBe("");
    expect(machine.files.readText(IMAGE)).toBe("new image");
    expect(machine.files.facts(IMAGE)?.mode).toBe(0o640);
  });

  test.each([
    ["644", "600", 0o600],
    ["600", "644", 0o600],
    ["640", "660", 0o640],
  ])(
    "in place of one of mode %s and built as %s, is read by nobody whom either keeps out",
    async (old, built, mode) => {
      using machine = new FakeMachine(async (command, options) => {
        const outcome = await goodTools(command, options);
        if (command[0] === "dracut") chmodSync(command.at(-2) ?? "", Number.parseInt(built, 8));
        return outcome;
      });
      machine.put(IMAGE, "old image", Number.parseInt(old, 8));
      expect((await make(machine)).error).toBe("");
      expect(machine.files.facts(IMAGE)?.mode).toBe(mode);
    },
  );

  test("and the image from before latchkey is kept, once", async () => {
    using machine = new FakeMachine(goodTools);
    machine.put(IMAGE, "old image");
    await make(machine);
    expect(machine.files.readText(`${IMAGE}.latchkey-old`)).toBe("old image");
    await make(machine);
    expect(machine.files.readText(`${IMAGE}.latchkey-old`)).toBe("old image");
  });

  test("but an old one that has latchkey in it is not kept", async () => {
    using machine = new FakeMachine(async (command, options) =>
      command.includes("--mod") ? said("bash\nlatchkey\nsystemd") : goodTools(command, options),
    );
    machine.put(IMAGE, "old image");
    await make(machine);
    expect(machine.files.list("/boot")).toEqual(["initrd.img-6.12"]);
  });

  test("and boot loaders hear of it afterwards, not of the draft", async () => {
    using machine = new FakeMachine(goodTools);
    machine.put("/etc/initramfs/post-update.d/zz-loader", "", 0o755);
    machine.put(IMAGE, "old image");
    await make(machine);
    expect(machine.commands.at(-1)).toEqual([
      "run-parts",
      "--arg=6.12",
      `--arg=${IMAGE}`,
      join(machine.root, "etc/initramfs/post-update.d"),
    ]);
  });

  test.each<[string, RunProgram, readonly string[], string]>([
    [
      "dracut fails",
      async (command, options) =>
        command[0] === "dracut" ? failed(1, "dracut[F]: latchkey: no image is made") : goodTools(command, options),
      [],
      "install/build-failed: dracut could not build an image for kernel 6.12 (status 1): dracut[F]: latchkey: no image is made",
    ],
    [
      "it cannot be unpacked",
      async (command, options) =>
        command.includes("--unpack") ? failed(1, "no space left") : goodTools(command, options),
      [],
      "install/audit-failed: the new image cannot be unpacked: no space left",
    ],
    [
      "the audit finds a mistake",
      goodTools,
      ["the program was stripped"],
      "install/audit-failed: the new image for kernel 6.12 is not good: the program was stripped",
    ],
  ])("never over the old one when %s", async (_, tools, findings, expected) => {
    using machine = new FakeMachine(tools);
    machine.put(IMAGE, "old image");
    const { error } = await make(machine, findings);
    expect(error).toStartWith(expected);
    expect(machine.files.readText(IMAGE)).toBe("old image");
    expect(machine.files.list("/boot")).toEqual(["initrd.img-6.12"]);
  });

  test("never over the old one when the disk is full, and it says how much room there is", async () => {
    class FullDisk extends Files {
      override freeBytes(): number {
        return 4;
      }
    }
    using machine = new FakeMachine(goodTools, (root) => new FullDisk(root));
    machine.put(IMAGE, "old image");
    const { error } = await make(machine);
    expect(error).toStartWith("install/no-room: no room in /boot: the new image has 0.0 MB, and 0.0 MB are free");
    expect(machine.files.readText(IMAGE)).toBe("old image");
  });
});
