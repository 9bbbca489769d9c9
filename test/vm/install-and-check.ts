import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Finding } from "../../src/commands/check/findings.ts";
import type { Stack } from "./guest/packages.ts";

/** As a machine's owner does it. The check has what it looks at from the system's own tools: lsinitrd, unmkinitramfs. */
const SCRIPT = `
latchkey install "$1" --kver "$2" --image "$3"
check() { latchkey check --json > "/mnt/$1" || [ "$?" -lt 64 ]; }
check check-installed.json
mkdir -p /etc/latchkey
echo 'prompt_after = "3s"' > /etc/latchkey/latchkey.toml
check check-changed.json
chmod 644 /mnt/check-*.json
`;

/** A command for buildInitrd. The guests of the tests come without an image, so none is found by itself. */
export function installAndCheck(stack: Stack, kernel: string): readonly string[] {
  return ["/bin/sh", "-euc", SCRIPT, "install-and-check", stack, kernel, `/boot/initrd.img-${kernel}`];
}

/** `latchkey check` finds the image well right after the installation, and no longer after a change of the configuration. */
export function expectChecked(initrd: string, kernel: string): void {
  const image = `/boot/initrd.img-${kernel}`;
  const about = (name: string): readonly Finding[] => {
    const findings = JSON.parse(readFileSync(join(dirname(initrd), name), "utf8")) as readonly Finding[];
    return findings.filter(({ about: topic }) => topic === "image");
  };
  const installed = about("check-installed.json");
  expect(installed.map(({ of, severity, text }) => [of, severity, text])).toEqual([
    [kernel, "ok", `${image}: has this program, the configuration, tokens and drivers`],
  ]);
  expect(about("check-changed.json").map(({ severity, text }) => [severity, text])).toEqual([
    ["problem", `${image}: /etc/latchkey/latchkey.toml is not in the image`],
  ]);
}
