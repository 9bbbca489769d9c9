import type { Plan } from "../config/plan.ts";
import { SystemMappings } from "../providers/luks/mappings.ts";
import type { MappingOpener } from "../providers/luks/opener.ts";
import { type CryptsetupUnits, systemUnits } from "../providers/luks/systemd-lane/cryptsetup-unit.ts";
import { KeySockets } from "../providers/luks/systemd-lane/key-sockets.ts";
import { SystemdLane } from "../providers/luks/systemd-lane/lane.ts";
import { monotonicClock } from "../system/clock.ts";
import { asLatchkeyError } from "../system/errors.ts";
import type { RunDirectory } from "../system/run-directory.ts";
import type { VolumeStanding } from "../unlock/report.ts";

/** Says where latchkey listens; initrd-hooks/dracut/latchkey-listening.sh waits for it. */
const MARK = "listening";

/** The sockets for systemd-cryptsetup, as `latchkey boot` needs them; disposing gives their volumes back to systemd. */
export interface Listening extends Disposable {
  readonly systemdOpener: (otherwise: MappingOpener) => MappingOpener;
  /**
   * Nothing more will be tried on this volume. One that is missing, and that its pool is opened without, systemd waits for no longer
   * either: without `nofail` that would hold up the root until its own limit.
   */
  release(volume: string, standing: VolumeStanding): void;
}

/** One line on what happens to a volume. `problem`: worth a person's attention; otherwise of use in the report. */
export type Note = (kind: "event" | "problem", text: string, volume: string | null) => void;

/** Tests bring their own. */
interface SystemdMeans {
  readonly units?: CryptsetupUnits;
  /** Where the sockets are. */
  readonly folder?: string;
}

/**
 * Listens for the volumes that systemd-cryptsetup is about to open, and says so to whoever waits for it. Never throws: where
 * it cannot listen, systemd-cryptsetup asks by itself.
 */
export function listenForSystemd(
  plan: Plan,
  directory: RunDirectory,
  note: Note,
  { units = systemUnits, folder }: SystemdMeans = {},
): Listening {
  const volumes = plan.volumes.filter(({ luks, isOnDemand }) => luks?.opener === "systemd" && !isOnDemand);
  const sockets = KeySockets.listen({
    volumes: volumes.map(({ name }) => name),
    clock: monotonicClock,
    note,
    ...(folder === undefined ? {} : { folder }),
  });
  const mark = (paths: readonly string[]): void => {
    try {
      directory.create();
      directory.write(MARK, paths.map((path) => `${path}\n`).join(""));
    } catch (thrown) {
      note("problem", asLatchkeyError(thrown).message, null);
    }
  };
  mark(sockets.paths);
  let isOver = false;
  return {
    systemdOpener: (otherwise) =>
      new SystemdLane({
        sockets,
        mappings: new SystemMappings(),
        units,
        isRunning,
        otherwise,
        clock: monotonicClock,
        note: (text, volume) => note("problem", text, volume),
      }),
    release: (volume, standing) => {
      sockets.release(volume);
      if (standing !== "missing" || !volumes.some(({ name }) => name === volume)) return;
      units.giveUp(volume).then(
        () => note("event", "systemd waits for it no longer", volume),
        (thrown: unknown) => note("event", asLatchkeyError(thrown).message, volume),
      );
    },
    [Symbol.dispose]: () => {
      if (isOver) return;
      isOver = true;
      sockets[Symbol.dispose]();
      // Empty, not gone: whoever comes now need not wait.
      mark([]);
    },
  };
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false; // we are root: there is none
  }
}
