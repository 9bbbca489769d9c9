import { readFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { run } from "../vm/command.ts";
import type { Guest } from "../vm/guest/chroot.ts";
import { runInside } from "../vm/guest/inside.ts";
import { seconds } from "../vm/patience.ts";
import type { Subject } from "./subject.ts";

/** The load of the last minute. */
export const load = (): string => (loadavg()[0] ?? 0).toFixed(2);

/** What figures are measured on and with: they hold for that only. */
export async function circumstances({ guest, binary, scratch }: Subject): Promise<readonly string[]> {
  const [first = ""] = (await run(["qemu-system-x86_64", "--version"], limits("QEMU's version"))).split("\n");
  const ours = (await run([binary, "--version"], limits("our version"))).trim();
  const processors = cpus();
  return [
    ours,
    `${processors.length} × ${processors[0]?.model.trim() ?? "unknown"}`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `Linux ${readFileSync("/proc/sys/kernel/osrelease", "utf8").trim()}`,
    `QEMU ${/version (\S+)/.exec(first)?.[1] ?? first}`,
    `guest Linux ${guest.kernelVersion}`,
    `bcachefs-tools ${await bcachefsVersion(guest, scratch)}`,
    `Bun ${Bun.version}`,
  ];
}

/** Of a Debian package in a guest. */
export async function packageVersion(guest: Guest, name: string, { scratch }: Subject): Promise<string> {
  const query = `dpkg-query --show --showformat='\${Version}' "$1"`;
  const options = { ...limits(`the version of ${name}`), exchange: scratch, arguments: [name] };
  return (await runInside(guest, query, options)).trim();
}

const limits = (purpose: string) => ({ purpose, within: seconds(30) });

async function bcachefsVersion(guest: Guest, exchange: string): Promise<string> {
  return (await runInside(guest, "bcachefs version", { ...limits("the tool's version"), exchange })).trim();
}
