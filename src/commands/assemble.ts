import { usualToken } from "../config/load.ts";
import type { Plan, SourceKind, VolumeKind } from "../config/plan.ts";
import { kernelKeyring } from "../keyutils-ffi/keyring.ts";
import { WorkerKeyDeriver } from "../providers/bcachefs/derive.ts";
import type { Destination } from "../providers/bcachefs/keys.ts";
import { BcachefsProvider } from "../providers/bcachefs/provider.ts";
import { runCryptsetup } from "../providers/luks/cryptsetup.ts";
import { CryptsetupOpener } from "../providers/luks/cryptsetup-opener.ts";
import { LuksTool } from "../providers/luks/luks-tool.ts";
import { SystemMappings } from "../providers/luks/mappings.ts";
import type { MappingOpener } from "../providers/luks/opener.ts";
import { LuksProvider } from "../providers/luks/provider.ts";
import type { Provider, Providers } from "../providers/provider.ts";
import { ClevisSource } from "../sources/clevis/clevis-source.ts";
import { machineTools } from "../sources/clevis/machine-tools.ts";
import { type FoundToken, readTokenFile } from "../sources/clevis/token-file.ts";
import { PromptSource } from "../sources/prompt/prompt-source.ts";
import { chooseWays, openWay, readMachineFacts } from "../sources/prompt/ways.ts";
import type { Source } from "../sources/source.ts";
import { SystemBlockDevices } from "../system/block-devices.ts";
import { monotonicClock } from "../system/clock.ts";
import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";
import { type AfterOpening, afterOpening } from "../unlock/after-opening.ts";
import { keyFileSources, usbSources, vaultSources } from "./assemble-key-files.ts";
import { remoteSources } from "./assemble-remote.ts";

export interface ProviderOptions {
  /** Where a bcachefs key goes. */
  readonly keyring?: Destination;
  /** Makes the mappings that systemd-cryptsetup has the job of; without it latchkey makes them. */
  readonly systemdOpener?: (otherwise: MappingOpener) => MappingOpener;
  /** Does something else with a LUKS volume's key than make a mapping; `otherwise` makes one. */
  readonly opener?: (otherwise: MappingOpener) => MappingOpener;
}

/** The providers of this machine, over the real devices and the kernel's keyrings. */
export function assembleProviders(options: ProviderOptions = {}): ReadonlyMap<VolumeKind, Provider> {
  const devices = new SystemBlockDevices();
  const bcachefs = new BcachefsProvider({
    devices,
    keyring: kernelKeyring,
    destination: options.keyring ?? "user",
    deriver: new WorkerKeyDeriver(),
    clock: monotonicClock,
  });
  const tool = new LuksTool(runCryptsetup);
  const mappings = new SystemMappings();
  const maker = new CryptsetupOpener({ tool, mappings, clock: monotonicClock });
  const latchkey = options.opener?.(maker) ?? maker;
  const luks = new LuksProvider({
    devices,
    tool,
    mappings,
    openers: { latchkey, systemd: options.systemdOpener?.(latchkey) ?? latchkey },
    keyring: kernelKeyring,
    clock: monotonicClock,
  });
  return new Map<VolumeKind, Provider>([
    [bcachefs.kind, bcachefs],
    [luks.kind, luks],
  ]);
}

/** What is done once a group is open, over the real devices and mappings. */
export function assembleAfterOpening(): AfterOpening {
  return afterOpening(assembleMappings());
}

/** The mappings of this machine, to look into. */
export function assembleMappings() {
  return { devices: new SystemBlockDevices(), mappings: new SystemMappings(), clock: monotonicClock };
}

/** The sources of one run, and what they share: dispose it to leave nothing in the TPM. */
export interface Assembled extends AsyncDisposable {
  readonly sources: readonly Source[];
}

/** What sources have while the machine boots and not when a person runs a command. */
export interface BootWays {
  /** A line for the console. */
  announce(line: string): void;
}

type MakeSource = (
  plan: Plan,
  scope: AsyncDisposableStack,
  providers: Providers,
  boot: BootWays | undefined,
) => readonly Source[];

/** How each kind of source is made from the plan; a source that joins adds its entry. */
const makers: Partial<Record<SourceKind, MakeSource>> = {
  clevis: (plan, scope, providers) => {
    const wanted = plan.volumes.flatMap(({ name, kind, sources }) =>
      sources.flatMap((source) => (source.kind === "clevis" ? [{ name, source, provider: providers.get(kind) }] : [])),
    );
    if (wanted.length === 0) return [];
    const tcti = plan.tpm === undefined ? {} : { tcti: plan.tpm };
    const shared = scope.use(machineTools({ tangPatience: 0, ...tcti }));
    return wanted.map(({ name, provider, source }) => {
      const { authority, timeout, inHeader, token = usualToken(name) } = source;
      const findTokens = (signal: AbortSignal) =>
        inHeader === undefined
          ? Promise.try(() => [readTokenFile(token)])
          : tokensInHeader(name, inHeader, provider, signal);
      try {
        const tools =
          authority === undefined
            ? shared
            : scope.use(machineTools({ tangPatience: 0, ...tcti, authorityFile: authority }));
        const opensAlone = inHeader !== undefined;
        return new ClevisSource({ volumes: [name], opensAlone, findTokens, timeLimit: timeout, tools });
      } catch (thrown) {
        return new UnusableSource("clevis", [name], asLatchkeyError(thrown));
      }
    });
  },
  usb: usbSources,
  keyfile: keyFileSources,
  vault: vaultSources,
  remote: (plan, _scope, _providers, boot) => (boot ? remoteSources(plan, boot.announce) : []),
  prompt: (plan, _scope, _providers, boot) => {
    // By hand the person is here: what is answered from afar at boot is asked on this terminal.
    const volumes = boot ? volumesWith(plan, "prompt") : volumesWith(plan, "prompt", "remote");
    if (volumes.length === 0) return [];
    const tries = new Map(
      plan.volumes.flatMap(({ name, luks }) => (luks?.tries === undefined ? [] : [[name, luks.tries] as const])),
    );
    return [new PromptSource({ volumes, ways: chooseWays(readMachineFacts()), openWay, clock: monotonicClock, tries })];
  },
};

/** @throws LatchkeyError token/unreadable when somebody asked for a token and there is none */
async function tokensInHeader(
  volume: string,
  inHeader: "required" | "if-any",
  provider: Provider | undefined,
  signal: AbortSignal,
): Promise<readonly FoundToken[]> {
  const tokens = (await provider?.headerTokens?.(volume, "clevis", signal)) ?? [];
  if (tokens.length > 0 || inHeader === "if-any" || signal.aborted) return tokens;
  throw new LatchkeyError("token/unreadable", `${volume}: there is no Clevis token in its LUKS2 header`, {
    hint: "`latchkey enroll` puts one there; a token in a file is named by clevis = { token = … }",
  });
}

/**
 * The sources the plan names.
 * @param providers those of the same run: tokens may lie in what they find
 * @param boot present while the machine boots
 */
export function assembleSources(plan: Plan, providers: Providers, boot?: BootWays): Assembled {
  const scope = new AsyncDisposableStack();
  const kinds = Object.keys(makers) as readonly (keyof typeof makers)[];
  const sources = kinds.flatMap((kind) => {
    try {
      return makers[kind]?.(plan, scope, providers, boot) ?? [];
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

function volumesWith(plan: Plan, ...kinds: readonly SourceKind[]): readonly string[] {
  return plan.volumes
    .filter((volume) => volume.sources.some((source) => kinds.includes(source.kind)))
    .map(({ name }) => name);
}
