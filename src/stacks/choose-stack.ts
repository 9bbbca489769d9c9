import { LatchkeyError } from "../system/errors.ts";
import { dracut } from "./dracut/stack.ts";
import { initramfsTools } from "./initramfs-tools/stack.ts";
import type { Machine } from "./machine.ts";
import type { Stack } from "./stack.ts";

export const stacks: readonly Stack[] = [dracut, initramfsTools];

const names = stacks.map(({ name }) => name);

/**
 * The stack that a person named, or else the one that builds the images of this machine.
 * @throws LatchkeyError when there is none, or when it cannot be told which of two it is
 */
export async function chooseStack(machine: Machine, named: string | undefined): Promise<Stack> {
  if (named !== undefined) {
    const stack = stacks.find(({ name }) => name === named);
    if (stack) return stack;
    throw new LatchkeyError("usage/invalid", `latchkey does not know how to install into ${named}`, {
      hint: `it knows: ${names.join(", ")}`,
    });
  }
  const installed: Stack[] = [];
  for (const stack of stacks) if (await stack.isInstalled(machine)) installed.push(stack);
  const [stack, ...others] = installed;
  if (!stack) {
    throw new LatchkeyError(
      "install/no-stack",
      `nothing that builds an initrd is installed here: ${names.join(", ")}`,
      {
        hint: "install one of them, or name the one that the files are for, with --no-rebuild",
      },
    );
  }
  if (others.length > 0) {
    throw new LatchkeyError(
      "install/several-stacks",
      `this machine has ${installed.map(({ name }) => name).join(" and ")}`,
      {
        hint: `say which of them builds its initrd: \`latchkey install ${stack.name}\``,
      },
    );
  }
  return stack;
}
