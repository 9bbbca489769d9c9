import { existsSync } from "node:fs";
import type { Command } from "commander";
import { exitStatus, LatchkeyError } from "../system/errors.ts";
import { takeInterfacesDown, withInterfaceCalls } from "../system/network-interfaces.ts";
import { acts } from "./run.ts";

/** Every initrd with systemd has it, and no booted system. */
const INITRD = "/etc/initrd-release";

/** For the initrd, before it hands over: the booted system sets its network up by itself. Not part of the help. */
export function registerNetworkDown(program: Command): void {
  const command = program
    .command("network-down", { hidden: true })
    .summary("take down the network that was brought up for answers over SSH")
    .description("Takes the addresses off all network interfaces but the loopback, and sets them down.");
  acts(command, () => {
    if (!existsSync(INITRD)) throw new LatchkeyError("usage/invalid", "network-down is for an initrd alone");
    withInterfaceCalls(takeInterfacesDown);
    return exitStatus.done;
  });
}
