import { oneLine } from "../system/errors.ts";
import { printDeviceReference } from "./device-reference.ts";
import { formatDuration } from "./duration.ts";
import type {
  LeftToSystem,
  LuksPlan,
  Plan,
  PoolPlan,
  RemotePlan,
  RootMountPlan,
  SourcePlan,
  VolumePlan,
} from "./plan.ts";
import { printOrigin } from "./problems.ts";

/** A line of a block: what, and its value; several values stand below each other. */
type Row = readonly [label: string, ...values: readonly string[]];

/** The plan as a person reads it: what `--dry-run` prints, and the same plan that a real run carries out. */
export function planToText(plan: Plan): string {
  const blocks = [
    block("plan", planRows(plan)),
    ...plan.volumes.map((volume) => block(`volume ${volume.name}`, volumeRows(volume))),
    ...plan.pools.map((pool) => block(`pool ${pool.name}`, poolRows(pool, plan))),
    ...(plan.rootMount === undefined ? [] : [block("root mount", mountRows(plan.rootMount))]),
    ...(plan.leftToSystem.length === 0 ? [] : [block("left to the system", plan.leftToSystem.map(leftRow))]),
    ...(plan.warnings.length === 0 ? [] : [["warnings", ...plan.warnings.map((line) => `  ${oneLine(line)}`)]]),
  ];
  return `${blocks.map((lines) => lines.join("\n")).join("\n\n")}\n`;
}

function planRows(plan: Plan): readonly Row[] {
  if (!plan.enabled) return [["latchkey", "off (rd.latchkey=0): everything below is left to the system"]];
  const rows: Row[] = [
    ["question", `after ${formatDuration(plan.promptAfter)} at the latest`],
    ["devices", `waited for up to ${formatDuration(plan.deviceTimeout)}`],
    ["members", `further ones waited for up to ${formatDuration(plan.memberTimeout)}, ${missingMembers(plan)}`],
  ];
  if (plan.volumes.length === 0) rows.unshift(["volumes", "none: there is nothing for latchkey to open"]);
  if (plan.remote) rows.push(["remote", remoteText(plan.remote)]);
  if (plan.debug) rows.push(["debug", "on"]);
  return rows;
}

function remoteText({ start, server, network, port }: RemotePlan): string {
  const when = start === "always" ? "from the start" : "with the question";
  return `ssh on port ${port} ${when}, server ${server}, network ${network}`;
}

function missingMembers({ policy }: Plan): string {
  return policy.allowDegraded ? "then done without" : "then an error";
}

function volumeRows(volume: VolumePlan): readonly Row[] {
  const { kind, certainty, devices, sources, isRoot, requireEncrypted, luks, isOnDemand, origin } = volume;
  return [
    ["kind", certainty === "stated" ? kind : `${kind}, if the device holds one`],
    ["device", ...devices.map(printDeviceReference)],
    ["sources", sources.map(sourceText).join(", ")],
    ...(luks ? luksRows(luks) : []),
    ...(isOnDemand ? ([["at boot", "left alone: it is opened when somebody asks for it"]] as const) : []),
    ["unencrypted", requireEncrypted ? "refused" : "accepted"],
    ...(isRoot ? ([["mounted as", "the root filesystem"]] as const) : []),
    ["named in", printOrigin(origin)],
  ];
}

function sourceText(source: SourcePlan): string {
  switch (source.kind) {
    case "clevis":
      return source.inHeader === "if-any" ? "clevis if the header has a token" : source.kind;
    case "usb":
      return `usb ${source.place.by === "filesystem" ? source.place.uuid : source.place.partuuid}`;
    case "keyfile":
      return `keyfile ${source.path}`;
    case "vault":
      return `vault ${source.volume}`;
    default:
      return source.kind;
  }
}

function luksRows({ opener, header, keySlot, allowDiscards, readOnly, openOptions }: LuksPlan): readonly Row[] {
  const mapping = [
    ...(header === undefined ? [] : [`header ${header}`]),
    ...(keySlot === undefined ? [] : [`key slot ${keySlot} only`]),
    ...(allowDiscards ? ["discards passed on"] : []),
    ...(readOnly ? ["read-only"] : []),
    ...openOptions,
  ];
  return [
    ["opened by", opener === "systemd" ? "systemd-cryptsetup, with the key from latchkey" : "latchkey"],
    ...(mapping.length === 0 ? [] : ([["mapping", mapping.join(", ")]] as const)),
  ];
}

function poolRows({ volumes, origin }: PoolPlan, { policy }: Plan): readonly Row[] {
  return [
    ["volumes", volumes.join(", ")],
    ["opened", "when every member has accepted the same credential, together or not at all"],
    ["without one", policy.allowDegraded ? "opened all the same (degraded)" : "not opened"],
    ["named in", printOrigin(origin)],
  ];
}

function mountRows({ options, readOnly, subdirectory }: RootMountPlan): readonly Row[] {
  return [
    ["options", [readOnly ? "ro" : "rw", ...options].join(",")],
    ...(subdirectory === undefined ? [] : ([["directory", subdirectory]] as const)),
  ];
}

function leftRow({ name, reason, origin }: LeftToSystem): Row {
  return [name, `${reason} (${printOrigin(origin)})`];
}

/** A heading and its rows, the values in one column. Words from files cannot break a line. */
function block(heading: string, rows: readonly Row[]): readonly string[] {
  const width = Math.max(...rows.map(([label]) => oneLine(label).length));
  return [
    oneLine(heading),
    ...rows.flatMap(([label, ...values]) =>
      values.map((value, index) => `  ${(index === 0 ? oneLine(label) : "").padEnd(width)}  ${oneLine(value)}`),
    ),
  ];
}
