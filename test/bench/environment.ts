import { readFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { run } from "../vm/command.ts";
import type { Guest } from "../vm/guest/chroot.ts";
import { runInside } from "../vm/guest/inside.ts";
import { seconds } from "../vm/patience.ts";
import { table } from "./figures.ts";
import type { Subject } from "./subject.ts";

/** The load of the last minute. */
export const load = (): string => (loadavg()[0] ?? 0).toFixed(2);

/** What the figures were measured on and with: they hold for that only. */
export async function environment({ guest, binary, scratch }: Subject, loads: readonly string[]): Promise<string> {
  const [first = ""] = (await run(["qemu-system-x86_64", "--version"], limits("QEMU's version"))).split("\n");
  const processors = cpus();
  return table(
    ["", "measured on"],
    [
      ["date", new Date().toISOString().slice(0, 10)],
      ["kernel", readFileSync("/proc/sys/kernel/osrelease", "utf8").trim()],
      ["processor", `${processors.length} × ${processors[0]?.model.trim() ?? "unknown"}`],
      ["memory", `${Math.round(totalmem() / 2 ** 30)} GiB`],
      ["load average before each part", loads.join(" · ")],
      ["latchkey", (await run([binary, "--version"], limits("our version"))).trim()],
      ["bcachefs-tools", await toolVersion(guest, scratch)],
      ["Bun", Bun.version],
      ["QEMU", /version (\S+)/.exec(first)?.[1] ?? first],
      ["guest kernel", guest.kernelVersion],
    ],
  ).replace("| ---: |", "| --- |");
}

const limits = (purpose: string) => ({ purpose, within: seconds(30) });

async function toolVersion(guest: Guest, exchange: string): Promise<string> {
  return (await runInside(guest, "bcachefs version", { ...limits("the tool's version"), exchange })).trim();
}
