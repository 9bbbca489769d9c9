import { thumbprint } from "../../jose/ec-jwk.ts";
import type { JsonObject } from "../../jose/json.ts";
import { quote } from "../../jose/malformed.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import { type PcrSelection, pcrWords } from "../../tpm2/pcr-selection.ts";
import { pcrPolicyDigest } from "../../tpm2/policy.ts";
import { comparePcrs, type SealedObject, tryLoading } from "../../tpm2/sealed-object.ts";
import { chooseTcti } from "../../tpm2/tcti.ts";
import { Tpm, type TpmTurn } from "../../tpm2/tpm.ts";
import { sameBytes } from "../../tpm2/wire.ts";
import { findClevis } from "./fallback.ts";
import type { HttpExchange } from "./http.ts";
import { machineTools } from "./machine-tools.ts";
import { fetchAdvertisement } from "./tang-advertisement.ts";
import type { TangPin } from "./tang-pin.ts";
import type { Share, Token } from "./token.ts";
import { parseTpm2Pin } from "./tpm2-pin.ts";

/** Will it open at the next boot? `perhaps`: that cannot be told from the running system. */
export type Opens = "yes" | "perhaps" | "no";

/** A token, or a share of one, against the TPM and the servers of today. It holds no secret. */
export interface Readiness {
  /** `tpm2`, `tang http://…`, `sss`: for messages. */
  readonly what: string;
  readonly opens: Opens;
  /** One clause: why it does, or does not. */
  readonly reason: string;
  readonly hint?: string;
  readonly shares?: readonly Readiness[];
}

/** What a token is held against. */
export interface ReadinessMeans {
  /** Absent: its address cannot be used, for the reason thrown. */
  tpm(): Tpm;
  http(): HttpExchange;
  /** Is the program of this pin installed? */
  hasClevisPin(pin: string): boolean;
  /** `policy.seal_pcr_after_unlock`. */
  readonly latch: number | undefined;
}

/** Milliseconds that a TPM has for one token: the slowest take a second for a primary key. */
const TPM_LIMIT = 15_000;
/** Milliseconds for the TPM's device node: on a system that is up it is there, or there is none. */
const DEVICE_WAIT = 100;
/** Milliseconds for a Tang server: one in reach answers in a few. */
const TANG_LIMIT = 3_000;

/** The machine's own TPM and network; dispose it to leave nothing in the TPM. */
export function machineReadiness(settings: {
  readonly tcti: string | undefined;
  readonly authorityFile: string | undefined;
  readonly latch: number | undefined;
}): ReadinessMeans & AsyncDisposable {
  const { tcti, authorityFile, latch } = settings;
  const scope = new AsyncDisposableStack();
  let tpm: Tpm | undefined;
  let http: HttpExchange | undefined;
  return {
    tpm: () => {
      tpm ??= scope.use(new Tpm(chooseTcti(tcti, process.env), { deviceWait: DEVICE_WAIT }));
      return tpm;
    },
    http: () => {
      const authority = authorityFile === undefined ? {} : { authorityFile };
      http ??= scope.use(machineTools({ tangPatience: 0, ...authority })).http;
      return http;
    },
    hasClevisPin: (pin) => findClevis()?.has(pin) === true,
    latch,
    [Symbol.asyncDispose]: () => scope.disposeAsync(),
  };
}

/** Holds a token against the machine without opening it: nothing is unsealed, and a Tang server is asked for its keys only. */
export async function tokenReadiness({ pin }: Token, means: ReadinessMeans, signal: AbortSignal): Promise<Readiness> {
  switch (pin.kind) {
    case "tpm2":
      return await guarded("tpm2", async () => await tpm2Readiness(pin.data, means, signal));
    case "tang":
      return await guarded(`tang ${pin.url}`, async () => await tangReadiness(pin, means, signal));
    case "sss": {
      const shares: Readiness[] = [];
      // One after the other: a TPM does one thing at a time, and few tokens have more than one server.
      for (const share of pin.shares) shares.push(await shareReadiness(share, means, signal));
      return thresholdReadiness(pin.threshold, shares);
    }
    case "null":
      return { what: "null", opens: "yes", reason: "the key is in the token itself, so it protects nothing" };
    case "other": {
      const what = `pin ${quote(pin.name)}`;
      return means.hasClevisPin(pin.name)
        ? { what, opens: "perhaps", reason: "it is left to the installed clevis, which is not asked here" }
        : { what, opens: "no", reason: "latchkey does not know it, and no clevis for it is installed" };
    }
  }
}

async function shareReadiness(share: Share, means: ReadinessMeans, signal: AbortSignal): Promise<Readiness> {
  if ("token" in share) return await tokenReadiness(share.token, means, signal);
  return { what: "share", opens: "no", reason: share.error.message };
}

/** Enough shares that open, or that may. */
export function thresholdReadiness(threshold: number, shares: readonly Readiness[]): Readiness {
  const sure = shares.filter(({ opens }) => opens === "yes").length;
  const possible = shares.filter(({ opens }) => opens !== "no").length;
  const opens = sure >= threshold ? "yes" : possible >= threshold ? "perhaps" : "no";
  const reason = `${threshold} of ${shares.length} shares are needed, and ${sure} ${sure === 1 ? "opens" : "open"} now`;
  return { what: "sss", opens, reason, shares };
}

/** What cannot be asked is an answer, too. */
async function guarded(what: string, look: () => Promise<Omit<Readiness, "what">>): Promise<Readiness> {
  try {
    return { what, ...(await look()) };
  } catch (thrown) {
    const { message, hint, code } = asLatchkeyError(thrown);
    // A server that is away for a moment, or a network that is up only later, says little of the next boot.
    const isPassing = code.startsWith("tang/") && code !== "tang/ca-unreadable";
    const reason = message.replace(`${what.replace(/^tang /, "tang server ")}: `, ""); // the server is named already
    return { what, opens: isPassing ? "perhaps" : "no", reason, ...(hint === undefined ? {} : { hint }) };
  }
}

async function tangReadiness(
  pin: TangPin,
  means: ReadinessMeans,
  signal: AbortSignal,
): Promise<Omit<Readiness, "what">> {
  const http = means.http();
  const quick: HttpExchange = (request) => http({ ...request, timeLimit: Math.min(request.timeLimit, TANG_LIMIT) });
  const { exchangeKey } = await fetchAdvertisement(pin.url, quick, signal);
  if (thumbprint(exchangeKey) === thumbprint(pin.serverKey)) {
    return { opens: "yes", reason: "the server answers, and has the key that the token is bound to" };
  }
  return {
    opens: "perhaps",
    reason: "the server answers, and advertises another key than the one that the token is bound to",
    hint: "its keys were rotated: enrol again with `latchkey enroll tang` before the old key is deleted there",
  };
}

async function tpm2Readiness(
  header: JsonObject,
  means: ReadinessMeans,
  signal: AbortSignal,
): Promise<Omit<Readiness, "what">> {
  const { sealed } = parseTpm2Pin(header); // before the TPM is opened: a broken token needs none
  const limit = AbortSignal.timeout(TPM_LIMIT);
  const tpm = means.tpm();
  try {
    return await tpm.use(AbortSignal.any([signal, limit]), async (turn) => {
      await tryLoading(turn, sealed);
      const { selection } = sealed;
      if (!selection) return { opens: "yes", reason: "this machine's TPM opens it, whatever system runs" };
      return judgePcrs(selection, await pcrState(turn, sealed, selection, means.latch), means.latch);
    });
  } catch (thrown) {
    if (!limit.aborted) throw thrown;
    throw new LatchkeyError("tpm2/interrupted", `the TPM ${tpm.name} did not answer within ${TPM_LIMIT / 1000} s`);
  }
}

/** Two ways to read the PCRs: as they are, and with those that the boot closes put back to the zeros of a start. */
export interface PcrState {
  readonly matchesNow: boolean;
  readonly matchesAtStart: boolean;
}

async function pcrState(
  turn: TpmTurn,
  sealed: SealedObject,
  selection: PcrSelection,
  latch: number | undefined,
): Promise<PcrState> {
  const { matches, values } = await comparePcrs(turn, sealed, selection);
  const latches = closedAtBoot(selection, latch);
  const atStart = values.map((value, index) => {
    const pcr = selection.pcrs[index];
    return pcr !== undefined && latches.includes(pcr) ? new Uint8Array(value.length) : value;
  });
  const digest = pcrPolicyDigest(sealed.hash, selection, atStart);
  return { matchesNow: matches, matchesAtStart: sameBytes(digest, sealed.public.authPolicy) };
}

/** What moves on all the time: PCR 10 with each file that IMA measures, PCR 11 with each phase of the boot (systemd-pcrphase). */
const MOVING_PCRS = [10, 11];
/** Zeros until the root is open: systemd measures volume keys and the machine into it, and latchkey may close it. */
const SYSTEM_IDENTITY_PCR = 15;

function closedAtBoot({ pcrs }: PcrSelection, latch: number | undefined): readonly number[] {
  return pcrs.filter((pcr) => pcr === SYSTEM_IDENTITY_PCR || pcr === latch);
}

const ENROL_AGAIN =
  "after an update of firmware, Secure Boot keys or boot loader: enrol again with `latchkey enroll tpm2`; the next boot asks";

/** What the PCRs of the running system say of the next boot's initrd. */
export function judgePcrs(
  selection: PcrSelection,
  { matchesNow, matchesAtStart }: PcrState,
  latch: number | undefined,
): Omit<Readiness, "what"> {
  const { bank, pcrs } = selection;
  const words = pcrWords(pcrs);
  const moving = pcrs.filter((pcr) => MOVING_PCRS.includes(pcr));
  if (moving.length > 0) {
    const now = matchesNow ? "the token fits them now" : "the token does not fit them now";
    const move = moving.length === 1 ? "moves on" : "move on";
    return {
      opens: "perhaps",
      reason: `sealed to ${words} of bank ${bank.name}: ${now}, and ${pcrWords(moving)} ${move} within each start, so that this says nothing of the initrd`,
    };
  }
  const closed = closedAtBoot(selection, latch);
  if (matchesAtStart) {
    const how = closed.length > 0 ? `, with ${pcrWords(closed)} as it is when the machine starts` : "";
    return {
      opens: "yes",
      reason: `${words} of bank ${bank.name} ${pcrs.length === 1 ? "is" : "are"} as sealed${how}`,
    };
  }
  if (matchesNow) {
    return {
      opens: "no",
      reason: `it was sealed to ${pcrWords(closed)} as it is now, and in the initrd nothing has extended it yet`,
      hint: "enrol again with `latchkey enroll tpm2`",
    };
  }
  const differs = pcrs.length === 1 ? `${words} differs` : `one or more of ${words} differ`;
  return {
    opens: "no",
    reason: `${differs} from what the token was sealed to (bank ${bank.name})`,
    hint: ENROL_AGAIN,
  };
}
