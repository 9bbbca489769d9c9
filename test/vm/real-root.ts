import type { Console } from "./console.ts";
import { seconds } from "./patience.ts";
import { rootSays } from "./root-tree.ts";

/** What the tiny root said about itself. */
export interface RealRoot {
  /** Milliseconds from the start of QEMU, by the host's clock. */
  readonly at: number;
  /** The guest's own clock; only exact when it counts instructions. */
  readonly uptimeSeconds: number;
  /** The lines of /proc/mounts. */
  readonly mounts: readonly string[];
  /** The content of latchkey's report.json, or undefined when there was none. */
  readonly report: unknown;
}

/** Waits for the real root and collects what it says. */
export async function readRealRoot(console: Console, limit = seconds(240)): Promise<RealRoot> {
  const reached = await console.expect(rootSays.reached, { within: limit });
  const uptime = await console.expect(/vm: uptime ([\d.]+)\n/, { within: seconds(60) });
  const rest = await console.expect(new RegExp(`[\\s\\S]*${rootSays.ready}`), { within: seconds(60) });
  const text = rest.match[0];
  const mounts = between(text, rootSays.beginMounts, rootSays.endMounts);
  const report = between(text, rootSays.beginReport, rootSays.endReport);
  return {
    at: reached.at,
    uptimeSeconds: Number(uptime.match[1]),
    mounts: mounts?.trim().split("\n") ?? [],
    report: report === undefined ? undefined : JSON.parse(report),
  };
}

function between(text: string, begin: string, end: string): string | undefined {
  const from = text.indexOf(begin);
  const to = text.indexOf(end, from);
  return from === -1 || to === -1 ? undefined : text.slice(from + begin.length, to);
}
