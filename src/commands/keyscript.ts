import { existsSync } from "node:fs";
import { isatty } from "node:tty";
import type { Command } from "commander";
import { loadPlan } from "../config/load.ts";
import type { Plan, SourcePlan, VolumePlan } from "../config/plan.ts";
import { clevisTimeout } from "../config/source-registry.ts";
import { promptOnly } from "../config/toml-sources.ts";
import type { MappingOpener } from "../providers/luks/opener.ts";
import { monotonicClock } from "../system/clock.ts";
import { asLatchkeyError, exitStatus, LatchkeyError, oneLine } from "../system/errors.ts";
import { armDeadMansSwitch, hardenProcess } from "../system/hardening.ts";
import { RunDirectory } from "../system/run-directory.ts";
import { writeSecret } from "../system/write-secret.ts";
import { leaveReport } from "../unlock/handover.ts";
import { unlockVolumes } from "../unlock/unlock.ts";
import { build, version } from "../version.ts";
import { assembleProviders, assembleSources } from "./assemble.ts";
import { abortOnSignals } from "./interrupt.ts";
import { acts, say } from "./run.ts";
import { planFor } from "./volume-argument.ts";

const STDOUT = 1;

/** Seconds the event loop may stand still before the process ends itself, as in `latchkey boot`. */
const DEAD_MANS_SECONDS = 60;

/** In every image of initramfs-tools, and nowhere else. */
const INITRAMFS = "/conf/initramfs.conf";

/** What Debian's scripts tell a keyscript, crypttab(5). */
export interface KeyscriptRequest {
  /** The name of the mapping. */
  readonly name: string;
  /** The device, as a path. */
  readonly source: string;
  /** Keys that were tried already and did not open it. */
  readonly tried: number;
  /** The third field of crypttab; undefined for `none`. */
  readonly keyField: string | undefined;
}

export function registerKeyscript(program: Command): void {
  const command = program
    .command("keyscript")
    .argument("[key]", "the third field of crypttab, as Debian's scripts pass it on")
    .summary("for crypttab's keyscript=: a proven key on standard output")
    .description(
      "Gives Debian's cryptsetup scripts the key of one LUKS volume, which they name in the environment (CRYPTTAB_NAME, CRYPTTAB_SOURCE, CRYPTTAB_TRIED). The key is proven before it is written. crypttab names it as keyscript=latchkey.",
    )
    .option("--config <file>", "configuration file")
    .addHelpText(
      "after",
      "\nExample (a line of /etc/crypttab):\n  root UUID=6e8c49f0-… none luks,initramfs,keyscript=latchkey",
    );
  acts(command, async (key: string | undefined, options: { readonly config?: string }) => {
    hardenProcess();
    const request = readRequest(process.env, key);
    if (isatty(STDOUT)) {
      throw new LatchkeyError("usage/invalid", "standard output is a terminal, and the key would be seen there", {
        hint: "Debian's scripts start this for crypttab's keyscript=latchkey; by hand there is `latchkey unlock`",
      });
    }
    const disarm = armDeadMansSwitch(DEAD_MANS_SECONDS);
    const plan = keyscriptPlan(request, loadPlan({ mode: "boot", configFile: options.config }));
    const status = await giveKey(plan);
    disarm();
    return status;
  });
}

/** @throws LatchkeyError usage/invalid */
export function readRequest(
  environment: Readonly<Record<string, string | undefined>>,
  argument: string | undefined,
): KeyscriptRequest {
  const { CRYPTTAB_NAME: name, CRYPTTAB_SOURCE: source, CRYPTTAB_TRIED: tried = "0" } = environment;
  if (!name || !source) {
    const missing = name ? "CRYPTTAB_SOURCE" : "CRYPTTAB_NAME";
    throw new LatchkeyError("usage/invalid", `${missing} is not in the environment`, {
      hint: "Debian's scripts start this for crypttab's keyscript=latchkey; by hand there is `latchkey unlock`",
    });
  }
  if (!/^\d{1,9}$/.test(tried)) {
    throw new LatchkeyError("usage/invalid", `CRYPTTAB_TRIED is no number: ${oneLine(tried)}`);
  }
  const keyField = environment["CRYPTTAB_KEY"] ?? argument ?? "none";
  return { name, source, tried: Number(tried), keyField: ["", "none", "-"].includes(keyField) ? undefined : keyField };
}

/**
 * The plan for the one volume: as configured, or as crypttab's line alone says. All sources race at the first try, the question
 * with them; when what they gave did not open the volume all the same, only a person is asked.
 * @throws LatchkeyError keyscript/not-luks, keyscript/switched-off, usage/unknown-volume
 */
export function keyscriptPlan(request: KeyscriptRequest, whole: Plan): Plan {
  const { name, source, tried, keyField } = request;
  if (!whole.enabled) {
    throw new LatchkeyError("keyscript/switched-off", `${name}: switched off by rd.latchkey=0`);
  }
  const known = whole.volumes.find((volume) => volume.name === name);
  const volume = known ?? { ...onlyVolume(planFor(source, whole)), name };
  if (volume.kind !== "luks") {
    throw new LatchkeyError("keyscript/not-luks", `${name}: ${source} is no LUKS volume`);
  }
  const withToken = keyField?.endsWith(".jwe") ? withTokenFile(volume.sources, keyField) : volume.sources;
  const sources = tried === 0 ? withToken : withToken.filter(({ kind }) => kind === "prompt" || kind === "remote");
  const { rootMount: _, ...plan } = whole;
  return {
    ...plan,
    // Debian's scripts have waited for the device.
    deviceTimeout: 0,
    memberTimeout: 0,
    pools: [],
    volumes: [
      {
        ...volume,
        sources: sources.length > 0 ? sources : promptOnly,
        luks: { allowDiscards: false, readOnly: false, openOptions: [], ...volume.luks, opener: "latchkey" },
      },
    ],
  };
}

function onlyVolume({ volumes }: Plan): VolumePlan {
  const [volume] = volumes;
  if (!volume) throw new RangeError("a plan for one device has one volume");
  return volume;
}

/** The third field may name a Clevis token. */
function withTokenFile(sources: readonly SourcePlan[], token: string): readonly SourcePlan[] {
  const clevis = sources.find((source) => source.kind === "clevis");
  const timeout = clevis?.timeout ?? clevisTimeout;
  const authority = clevis?.authority === undefined ? {} : { authority: clevis.authority };
  return [{ kind: "clevis", timeout, token, ...authority }, ...sources.filter(({ kind }) => kind !== "clevis")];
}

/** Instead of making the mapping, which is the caller's: the key goes to standard output. */
async function giveKey(plan: Plan): Promise<number> {
  const announce = (line: string): void => say(process.stderr, `latchkey: ${line}`);
  for (const warning of plan.warnings) announce(`warning: ${warning}`);
  const brokenOutput = new AbortController();
  const opener: MappingOpener = {
    open: async (_, { passphrase }) => {
      try {
        await writeSecret(STDOUT, passphrase, "standard output");
      } catch (thrown) {
        brokenOutput.abort(); // no other key could be given either
        throw thrown;
      }
      return { close: async () => undefined };
    },
  };
  const providers = assembleProviders({ opener: () => opener });
  const isBoot = existsSync(INITRAMFS);
  await using assembled = assembleSources(plan, providers, ...(isBoot ? [{ announce }] : []));
  const report = await unlockVolumes(
    { plan, providers, sources: assembled.sources, clock: monotonicClock, version, build, announce },
    AbortSignal.any([abortOnSignals(), brokenOutput.signal]),
  );
  if (isBoot) {
    try {
      const directory = new RunDirectory();
      directory.create();
      leaveReport(directory, report);
    } catch (thrown) {
      announce(asLatchkeyError(thrown).message); // the key is given: a full /run is no reason to fail
    }
  }
  return exitStatus[report.outcome ?? "failed"];
}
