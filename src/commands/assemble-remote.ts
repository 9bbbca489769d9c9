import { rmSync } from "node:fs";
import { hostname } from "node:os";
import type { Plan } from "../config/plan.ts";
import { readTextFile } from "../config/read-text.ts";
import { announceAddresses } from "../sources/remote/announcer.ts";
import { openDoor } from "../sources/remote/door.ts";
import { AGENT_SOCKET } from "../sources/remote/places.ts";
import { RemoteSource } from "../sources/remote/remote-source.ts";
import type { Source } from "../sources/source.ts";
import { monotonicClock } from "../system/clock.ts";
import { asLatchkeyError } from "../system/errors.ts";
import { readImageFacts } from "../system/remote-image.ts";
import { RunDirectory } from "../system/run-directory.ts";
import { StreamListener } from "../system/unix-stream.ts";

const ROOT = 0;

/** The source `remote` of a boot. By hand there is none: whoever runs a command is asked where he is. */
export function remoteSources(plan: Plan, announce: (line: string) => void): readonly Source[] {
  const volumes = plan.volumes
    .filter(({ sources }) => sources.some(({ kind }) => kind === "remote"))
    .map(({ name }) => name);
  if (!plan.remote || volumes.length === 0) return [];
  const source = new RemoteSource({
    volumes,
    start: plan.remote.start,
    clock: monotonicClock,
    trusted: new Set([ROOT]),
    host: hostName(),
    listen,
    openDoor,
    announce: async (signal) => {
      try {
        await announceAddresses({ clock: monotonicClock, facts: readImageFacts(), announce }, signal);
      } catch (thrown) {
        announce(`remote: ${asLatchkeyError(thrown).message}`);
        throw thrown;
      }
    },
  });
  return [source];
}

/** @throws LatchkeyError */
function listen(): StreamListener {
  new RunDirectory().create();
  // Of an earlier run, before an emergency shell was left.
  rmSync(AGENT_SOCKET, { force: true });
  return StreamListener.bind(AGENT_SOCKET);
}

/** Names that the kernel and systemd give a machine that has none. */
const NAMELESS = new Set(["", "(none)", "localhost", "localhost.localdomain"]);

function hostName(): string {
  const name = hostname();
  if (!NAMELESS.has(name)) return name;
  try {
    return readTextFile("/etc/hostname")?.trim() || "this machine";
  } catch {
    return "this machine";
  }
}
