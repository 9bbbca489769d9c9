import { usualToken } from "../config/load.ts";
import type { Plan, SourceKind, VolumeKind } from "../config/plan.ts";
import { kernelKeyring } from "../keyutils-ffi/keyring.ts";
import { WorkerKeyDeriver } from "../providers/bcachefs/derive.ts";
import type { Destination } from "../providers/bcachefs/keys.ts";
import { BcachefsProvider } from "../providers/bcachefs/provider.ts";
import type { Provider } from "../providers/provider.ts";
import { ClevisSource } from "../sources/clevis/clevis-source.ts";
import { machineTools } from "../sources/clevis/machine-tools.ts";
import { readTokenFile } from "../sources/clevis/token-file.ts";
import { PromptSource } from "../sources/prompt/prompt-source.ts";
import { chooseWays, openWay, readMachineFacts } from "../sources/prompt/ways.ts";
import type { Source } from "../sources/source.ts";
import { SystemBlockDevices } from "../system/block-devices.ts";
import { monotonicClock } from "../system/clock.ts";
import { asLatchkeyError, type LatchkeyError } from "../system/errors.ts";

/** The providers of this machine, over the real devices and the kernel's keyrings. */
export function assembleProviders(options: { keyring?: Destination } = {}): ReadonlyMap<VolumeKind, Provider> {
  const bcachefs = new BcachefsProvider({
    devices: new SystemBlockDevices(),
    keyring: kernelKeyring,
    destination: options.keyring ?? "user",
    deriver: new WorkerKeyDeriver(),
    clock: monotonicClock,
  });
  return new Map([[bcachefs.kind, bcachefs]]);
}

/** The sources of one run, and what they share: dispose it to leave nothing in the TPM. */
export interface Assembled extends AsyncDisposable {
  readonly sources: readonly Source[];
}

type MakeSource = (plan: Plan, scope: AsyncDisposableStack) => readonly Source[];

/** How each kind of source is made from the plan; a source that joins adds its entry. */
const makers: Partial<Record<SourceKind, MakeSource>> = {
  clevis: (plan, scope) => {
    const wanted = plan.volumes.flatMap(({ name, sources }) =>
      sources.flatMap((source) => (source.kind === "clevis" ? [{ name, source }] : [])),
    );
    if (wanted.length === 0) return [];
    const tcti = plan.tpm === undefined ? {} : { tcti: plan.tpm };
    const shared = scope.use(machineTools({ tangPatience: 0, ...tcti }));
    return wanted.map(({ name, source: { authority, timeout, token = usualToken(name) } }) => {
      const findTokens = () => Promise.try(() => [readTokenFile(token)]);
      try {
        const tools =
          authority === undefined
            ? shared
            : scope.use(machineTools({ tangPatience: 0, ...tcti, authorityFile: authority }));
        return new ClevisSource({ volumes: [name], findTokens, timeLimit: timeout, tools });
      } catch (thrown) {
        return new UnusableSource("clevis", [name], asLatchkeyError(thrown));
      }
    });
  },
  prompt: (plan) => {
    const volumes = volumesWith(plan, "prompt");
    if (volumes.length === 0) return [];
    return [new PromptSource({ volumes, ways: chooseWays(readMachineFacts()), openWay, clock: monotonicClock })];
  },
};

/** The sources the plan names. */
export function assembleSources(plan: Plan): Assembled {
  const scope = new AsyncDisposableStack();
  const kinds = Object.keys(makers) as readonly (keyof typeof makers)[];
  const sources = kinds.flatMap((kind) => {
    try {
      return makers[kind]?.(plan, scope) ?? [];
    } catch (thrown) {
      return [new UnusableSource(kind, volumesWith(plan, kind), asLatchkeyError(thrown))];
    }
  });
  return { sources, [Symbol.asyncDispose]: () => scope.disposeAsync() };
}

/** A source that could not even be made, such as for a wrong address of the TPM: the others run all the same. */
class UnusableSource implements Source {
  readonly kind: SourceKind;
  readonly name: string;
  readonly isQuestion = false;
  readonly volumes: readonly string[];
  readonly #reason: LatchkeyError;

  constructor(kind: SourceKind, volumes: readonly string[], reason: LatchkeyError) {
    this.kind = kind;
    this.name = kind;
    this.volumes = volumes;
    this.#reason = reason;
  }

  run(): Promise<void> {
    return Promise.reject(this.#reason);
  }
}

function volumesWith(plan: Plan, kind: SourceKind): readonly string[] {
  return plan.volumes.filter((volume) => volume.sources.some((source) => source.kind === kind)).map(({ name }) => name);
}
