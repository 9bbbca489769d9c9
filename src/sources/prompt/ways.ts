import { accessSync, closeSync, constants, existsSync, openSync } from "node:fs";
import { AgentsAsker } from "../../system/ask-password/agents-asker.ts";
import type { Asker, Way } from "../../system/ask-password/asker.ts";
import { ASKPASS_PATHS, AskpassAsker } from "../../system/ask-password/askpass-asker.ts";
import { ConsoleAsker } from "../../system/ask-password/console-asker.ts";

/** What decides how a person is asked. */
export interface MachineFacts {
  /** latchkey was started from a terminal: /dev/tty opens. */
  readonly hasTerminal: boolean;
  /** systemd is the init system. */
  readonly runsSystemd: boolean;
  /** A password agent is there that puts systemd's questions on a screen. */
  readonly hasAgent: boolean;
  /** Debian's askpass is there. */
  readonly hasAskpass: boolean;
}

/**
 * The ways to ask on this machine: the next is taken when one turns out not to work. The console comes last everywhere,
 * because a question in the wrong place is better than none.
 */
export function chooseWays(facts: MachineFacts): readonly [Way, ...Way[]] {
  // By hand: the person is at that terminal. At boot no terminal controls us, and /dev/tty does not open.
  if (facts.hasTerminal) return ["terminal"];
  // A question to agents that are not there would wait for ever, unseen.
  if (facts.runsSystemd && facts.hasAgent) return ["agents", "console"];
  if (!facts.runsSystemd && facts.hasAskpass) return ["askpass", "console"];
  return ["console"];
}

const TERMINAL = "/dev/tty";
const CONSOLE = "/dev/console";

/** There if and only if systemd is the init system, sd_booted(3). */
const SYSTEMD = "/run/systemd/system";

/** Units that start an agent when a question appears; distributions and NixOS differ in the folder. */
const UNIT_FOLDERS = ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const AGENT_UNITS = ["systemd-ask-password-console.path", "systemd-ask-password-plymouth.path"];

export function readMachineFacts(): MachineFacts {
  return {
    hasTerminal: opens(TERMINAL),
    runsSystemd: existsSync(SYSTEMD),
    hasAgent: UNIT_FOLDERS.some((folder) => AGENT_UNITS.some((unit) => existsSync(`${folder}/${unit}`))),
    hasAskpass: isExecutable(ASKPASS_PATHS.program),
  };
}

export function openWay(way: Way): Asker {
  switch (way) {
    case "agents":
      return new AgentsAsker();
    case "askpass":
      return new AskpassAsker();
    case "terminal":
      return new ConsoleAsker("terminal", TERMINAL);
    case "console":
      return new ConsoleAsker("console", CONSOLE);
  }
}

/** A process without a controlling terminal gets ENXIO, tty(4). */
function opens(path: string): boolean {
  try {
    closeSync(openSync(path, constants.O_RDWR | constants.O_NOCTTY));
    return true;
  } catch {
    return false;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
