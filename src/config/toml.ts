import { parse, TomlError } from "smol-toml";
import { z } from "zod";
import type { LeftToSystem, PoolPlan, RemotePlan } from "./plan.ts";
import { type Problem, ProblemList } from "./problems.ts";
import { type SourceEntry, sourcesOfThisVersion } from "./source-registry.ts";
import { locateKeys } from "./toml-lines.ts";
import { readRemote } from "./toml-remote.ts";
import { type Document, isTable, originOf, readTable, wrong } from "./toml-table.ts";
import { duration, pcrNumber, yesOrNo } from "./toml-values.ts";
import { readVolumes, type StatedVolume } from "./toml-volumes.ts";
import { parseVolumeName } from "./volume-name.ts";

/** What latchkey.toml says. Keys that are missing or wrong are left out: their defaults are the plan's business. */
export interface TomlConfiguration {
  readonly file: string;
  /** Milliseconds. */
  readonly promptAfter?: number;
  readonly deviceTimeout?: number;
  readonly memberTimeout?: number;
  readonly requireEncrypted?: boolean;
  readonly allowDegraded?: boolean;
  readonly tpm?: string;
  readonly sealPcrAfterUnlock?: number;
  /** Present when there is a table `[remote]`. */
  readonly remote?: RemotePlan;
  readonly volumes: readonly StatedVolume[];
  readonly leftToSystem: readonly LeftToSystem[];
  readonly pools: readonly PoolPlan[];
  readonly problems: readonly Problem[];
}

const maxPools = 64;
/** Tables in tables in lists: no setting needs more. */
const maxInlineDepth = 16;

const topShape = {
  prompt_after: duration,
  device_timeout: duration,
  member_timeout: duration,
  volumes: z.unknown(),
  pools: z.unknown(),
  policy: z.unknown(),
  tpm: z.string({ error: 'expected a TCTI string in quotes, like "device:/dev/tpmrm0"' }),
  remote: z.unknown(),
} as const;
const policyShape = { require_encrypted: yesOrNo, allow_degraded: yesOrNo, seal_pcr_after_unlock: pcrNumber } as const;
const poolShape = {
  volumes: z.array(z.string({ error: "expected the name of a volume in quotes" }), {
    error: "expected a list of names of volumes",
  }),
} as const;

/** Reads latchkey.toml. Never throws: what is wrong is in `problems`, and the rest of the file still counts. */
export function parseToml(
  text: string,
  file: string,
  registry: readonly SourceEntry[] = sourcesOfThisVersion,
): TomlConfiguration {
  const problems = new ProblemList();
  const tree = parseTree(text, file, problems);
  const document: Document = { file, problems, lines: locateKeys(tree === undefined ? "" : text) };
  const top = readTable(tree ?? {}, topShape, [], document);
  const policy = top.policy === undefined ? {} : readTable(top.policy, policyShape, ["policy"], document);
  const { volumes, leftToSystem } = readVolumes(top.volumes ?? {}, registry, document);
  const pools = readPools(top.pools ?? {}, document);
  return {
    file,
    ...(top.prompt_after === undefined ? {} : { promptAfter: top.prompt_after }),
    ...(top.device_timeout === undefined ? {} : { deviceTimeout: top.device_timeout }),
    ...(top.member_timeout === undefined ? {} : { memberTimeout: top.member_timeout }),
    ...(policy.require_encrypted === undefined ? {} : { requireEncrypted: policy.require_encrypted }),
    ...(policy.allow_degraded === undefined ? {} : { allowDegraded: policy.allow_degraded }),
    ...(top.tpm === undefined ? {} : { tpm: top.tpm }),
    ...(policy.seal_pcr_after_unlock === undefined ? {} : { sealPcrAfterUnlock: policy.seal_pcr_after_unlock }),
    ...(top.remote === undefined ? {} : { remote: readRemote(top.remote, document) }),
    volumes,
    leftToSystem,
    pools,
    problems: problems.all.toSorted((one, other) => (one.origin.line ?? 0) - (other.origin.line ?? 0)),
  };
}

function parseTree(text: string, file: string, problems: ProblemList): unknown {
  try {
    return parse(text, { maxDepth: maxInlineDepth });
  } catch (thrown) {
    // Only the first line of the parser's message: below it follows a piece of the file, which may hold anything.
    const [reason] = thrown instanceof Error ? thrown.message.split("\n") : [];
    problems.add({
      severity: "error",
      code: "config/syntax",
      origin: thrown instanceof TomlError ? { file, line: thrown.line } : { file },
      text: `not TOML: ${(reason ?? "cannot be parsed").replace(/^Invalid TOML document: |\.$/g, "")}`,
    });
    return undefined;
  }
}

function readPools(value: unknown, document: Document): readonly PoolPlan[] {
  if (!isTable(value)) {
    wrong(document, ["pools"], "expected a table for each pool, like [pools.data]");
    return [];
  }
  const entries = Object.entries(value);
  if (entries.length > maxPools) wrong(document, ["pools"], `more than ${maxPools} pools`);
  return entries.slice(0, maxPools).flatMap(([name, content]) => {
    const path = ["pools", name];
    const named = parseVolumeName(name);
    if ("problem" in named) {
      wrong(document, path, named.problem);
      return [];
    }
    const { volumes } = readTable(content, poolShape, path, document);
    if (isTable(content) && !Object.hasOwn(content, "volumes")) wrong(document, [...path, "volumes"], "missing");
    if (volumes?.length === 0) wrong(document, [...path, "volumes"], "names no volume");
    if (volumes === undefined || volumes.length === 0) return [];
    return [{ name, volumes: [...new Set(volumes)], origin: originOf(document, [...path, "volumes"]) }];
  });
}
