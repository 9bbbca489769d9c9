import { printDeviceReference } from "../../config/device-reference.ts";
import type { SourceKind, UsbPlan, VolumePlan } from "../../config/plan.ts";
import { parseToml } from "../../config/toml.ts";
import { findTables, type Pair, type Span, type Table } from "./toml-spans.ts";

/** A stick as the configuration has it. */
export interface StickEntry {
  readonly uuid: string;
  /** Of the key file, on the stick. */
  readonly path: string;
  readonly sha256: string;
  /** Only where it is not the usual one. */
  readonly format?: UsbPlan["format"];
  readonly anyBus?: boolean;
}

/** What is known of the volume, for a file that does not name it yet. */
export type KnownVolume = Pick<VolumePlan, "name" | "kind" | "devices"> & {
  readonly sources: readonly SourceKind[];
};

/**
 * latchkey.toml with one more stick for a volume: comments, order and everything else stay as they are. The result was parsed and
 * says what it should; undefined where the file is written in a way that cannot be edited safely, and a person has to do it.
 */
export function addStick(text: string, volume: KnownVolume, stick: StickEntry): string | undefined {
  const tables = findTables(text);
  if (!tables || mentionsElsewhere(tables, volume.name)) return undefined;
  const table = tables.find(({ path, isItem }) => isPath(path, ["volumes", volume.name]) && !isItem);
  const edited = table ? addTo(text, tables, table, volume, stick) : withNewTable(text, volume, stick);
  return edited !== undefined && isAsMeant(text, edited, volume.name, stick, "there") ? edited : undefined;
}

/** The same without the stick that has this UUID. */
export function removeStick(text: string, volume: string, stick: StickEntry): string | undefined {
  const tables = findTables(text);
  const table = tables?.find(({ path, isItem }) => isPath(path, ["volumes", volume]) && !isItem);
  if (!tables || !table) return undefined;
  const edited = removeFrom(text, tables, table, stick);
  return edited !== undefined && isAsMeant(text, edited, volume, stick, "gone") ? edited : undefined;
}

/** One line, as a person would write it. */
export function stickLine({ uuid, path, sha256, format, anyBus }: StickEntry): string {
  const rest = [...(format === undefined ? [] : [`format = "${format}"`]), ...(anyBus ? ["any_bus = true"] : [])];
  return `{ ${[`uuid = ${quote(uuid)}`, `path = ${quote(path)}`, `sha256 = "${sha256}"`, ...rest].join(", ")} }`;
}

/** Replaces from the end on, so that the places before stay right. */
function replaced(text: string, ...changes: readonly (Span & { readonly by: string })[]): string {
  return changes
    .toSorted((one, other) => other.start - one.start)
    .reduce((result, { start, end, by }) => result.slice(0, start) + by + result.slice(end), text);
}

const inserted = (at: number, by: string) => ({ start: at, end: at, by });

function addTo(
  text: string,
  tables: readonly Table[],
  table: Table,
  volume: KnownVolume,
  stick: StickEntry,
): string | undefined {
  const sources = pairOf(table, "sources");
  const usb = pairOf(table, "usb");
  const sub = tables.filter(({ path }) => isPath(path, ["volumes", volume.name, "usb"]));
  const end = endOf(table);
  const sourcesChange = sources
    ? nameUsb(text, sources)
    : inserted(lineEnd(text, end), `\nsources = ${sourceList(volume.sources)}`);
  if (sourcesChange === undefined) return undefined;
  const changes = sourcesChange === "named" ? [] : [sourcesChange];
  const last = sub.at(-1);
  if (last)
    return replaced(
      text,
      ...changes,
      ...asItem(text, last),
      inserted(lineEnd(text, endOf(last)), block(volume.name, stick)),
    );
  if (!usb) {
    const at = sources?.span.end ?? end;
    // After what is inserted at the same place: replaced() applies it first.
    return replaced(text, inserted(lineEnd(text, at), `\nusb = ${stickLine(stick)}`), ...changes);
  }
  const change = oneMore(text, usb, stick);
  return change && replaced(text, ...changes, ...change);
}

/** `sources` with `usb` in it, before the question. */
function nameUsb(text: string, sources: Pair): ReturnType<typeof inserted> | "named" | undefined {
  const { items } = sources;
  if (!items) return undefined;
  const names = items.map(({ start, end }) => text.slice(start, end).slice(1, -1));
  if (names.includes("usb")) return "named";
  const prompt = items[names.indexOf("prompt")];
  if (prompt) return inserted(prompt.start, '"usb", ');
  const last = items.at(-1);
  return last ? inserted(last.end, ', "usb"') : inserted(sources.value.start + 1, '"usb"');
}

function sourceList(kinds: readonly SourceKind[]): string {
  const before = kinds.filter((kind) => kind !== "prompt" && kind !== "usb");
  const names = [...before, "usb", ...(kinds.includes("prompt") || kinds.length === 0 ? ["prompt"] : [])];
  return `[${names.map((name) => `"${name}"`).join(", ")}]`;
}

/** One stick becomes a list of two; a list gets another line, or another item on its line. */
function oneMore(text: string, { value, items }: Pair, stick: StickEntry) {
  if (!items) {
    if (text[value.start] !== "{") return undefined;
    const first = text.slice(value.start, value.end);
    return [{ ...value, by: `[\n  ${first},\n  ${stickLine(stick)},\n]` }];
  }
  const last = items.at(-1);
  const close = value.end - 1;
  if (!last) return [inserted(close, stickLine(stick))];
  const tail = text.slice(last.end, close);
  if (!tail.includes("\n")) return [inserted(last.end, `, ${stickLine(stick)}`)];
  const hasComma = /^\s*,/.test(tail);
  const bracketLine = text.lastIndexOf("\n", close) + 1;
  return [
    ...(hasComma ? [] : [inserted(last.end, ",")]),
    inserted(bracketLine, `${indentOf(text, last.start)}${stickLine(stick)},\n`),
  ];
}

/** `[volumes.root.usb]` has to be `[[volumes.root.usb]]` when there are two. */
function asItem(text: string, { header, isItem }: Table) {
  if (isItem || !header) return [];
  return [{ ...header, by: `[${text.slice(header.start, header.end)}]` }];
}

function block(volume: string, stick: StickEntry): string {
  const lines = stickLine(stick)
    .slice(2, -2)
    .split(/, (?=[a-z_0-9]+ = )/);
  return `\n\n[[volumes.${keyText(volume)}.usb]]\n${lines.join("\n")}`;
}

function withNewTable(text: string, volume: KnownVolume, stick: StickEntry): string {
  const devices = volume.devices.map((device) => quote(printDeviceReference(device)));
  const lines = [
    `[volumes.${keyText(volume.name)}]`,
    `kind = "${volume.kind}"`,
    `device = ${devices.length === 1 ? devices[0] : `[${devices.join(", ")}]`}`,
    `sources = ${sourceList(volume.sources)}`,
    `usb = ${stickLine(stick)}`,
  ];
  const before = text === "" ? "" : text.endsWith("\n") ? `${text}\n` : `${text}\n\n`;
  return `${before}${lines.join("\n")}\n`;
}

function removeFrom(text: string, tables: readonly Table[], table: Table, stick: StickEntry): string | undefined {
  const usb = pairOf(table, "usb");
  const sub = tables.filter(({ path }) => isPath(path, [...table.path, "usb"]));
  const sources = pairOf(table, "sources");
  const names = (span: Span, value: string): boolean =>
    text.slice(span.start, span.end).toLowerCase().includes(quote(value).toLowerCase());
  // The plan has the path without the slash that it may begin with.
  const isIt = (...spans: readonly Span[]): boolean =>
    spans.some((span) => names(span, stick.uuid)) &&
    spans.some((span) => names(span, stick.path) || names(span, `/${stick.path}`));
  if (usb?.items) {
    const index = usb.items.findIndex((item) => isIt(item));
    if (index < 0) return undefined;
    if (usb.items.length > 1) return replaced(text, { ...itemWithComma(text, usb.items, index), by: "" });
  } else if (sub.length > 0) {
    const mine = sub.find((each) => isIt(...each.pairs.map(({ value }) => value)));
    if (!mine?.header) return undefined;
    const span = { start: lineStart(text, mine.header.start), end: nextLine(text, endOf(mine)) };
    return replaced(text, { ...span, by: "" }, ...(sub.length > 1 ? [] : unnamed(text, sources)));
  }
  if (!usb || (!usb.items && !isIt(usb.value))) return undefined;
  const span = { start: lineStart(text, usb.span.start), end: nextLine(text, usb.span.end) };
  return replaced(text, { ...span, by: "" }, ...unnamed(text, sources));
}

/** `sources` without `usb`; a list that would be empty asks. */
function unnamed(text: string, sources: Pair | undefined) {
  const items = sources?.items ?? [];
  const index = items.findIndex(({ start, end }) => text.slice(start, end).slice(1, -1) === "usb");
  const item = items[index];
  if (!item) return [];
  if (items.length === 1) return [{ ...item, by: '"prompt"' }];
  return [{ ...itemWithComma(text, items, index), by: "" }];
}

/** The item with the comma after it, or before it where it is the last. */
function itemWithComma(text: string, items: readonly Span[], index: number): Span {
  const item = items[index] ?? { start: 0, end: 0 };
  const next = items[index + 1];
  if (next) return { start: item.start, end: next.start };
  const before = items[index - 1];
  const hasComma = /^\s*,/.exec(text.slice(item.end));
  return { start: before?.end ?? item.start, end: hasComma && !before ? item.end + hasComma[0].length : item.end };
}

/** Dotted keys and inline tables say the same in ways that are not edited here. */
function mentionsElsewhere(tables: readonly Table[], volume: string): boolean {
  return tables.some(({ path, pairs, isItem }) =>
    isPath(path, ["volumes", volume])
      ? isItem || pairs.some(({ key }) => key.length > 1 && (key[0] === "usb" || key[0] === "sources"))
      : pairs.some(({ key }) => {
          const whole = [...path, ...key];
          return whole[0] === "volumes" && (whole.length === 1 || whole[1] === volume) && path.length < 2;
        }),
  );
}

/** The edit says what it should and nothing else: parsed again, with no new mistake, and the other volumes as they were. */
function isAsMeant(
  before: string,
  after: string,
  volume: string,
  stick: StickEntry,
  wanted: "there" | "gone",
): boolean {
  const [old, edited] = [parseToml(before, "before"), parseToml(after, "after")];
  const errors = ({ problems }: typeof old): number => problems.filter(({ severity }) => severity === "error").length;
  const others = ({ volumes }: typeof old) =>
    JSON.stringify(volumes.filter(({ name }) => name !== volume).map(({ origin: _, ...rest }) => rest));
  const sticksOf = ({ volumes }: typeof old): readonly UsbPlan[] =>
    (volumes.find(({ name }) => name === volume)?.sources ?? []).flatMap((source) =>
      source.kind === "usb" ? [source] : [],
    );
  const hasIt = sticksOf(edited).some(
    ({ place, sha256 }) =>
      place.by === "filesystem" &&
      place.uuid.toLowerCase() === stick.uuid.toLowerCase() &&
      place.path === stick.path &&
      sha256 === stick.sha256,
  );
  const difference = sticksOf(edited).length - sticksOf(old).length;
  return (
    errors(edited) <= errors(old) &&
    others(edited) === others(old) &&
    (wanted === "there" ? hasIt && difference === 1 : !hasIt && difference === -1)
  );
}

function pairOf({ pairs }: Table, name: string): Pair | undefined {
  return pairs.find(({ key }) => isPath(key, [name]));
}

function isPath(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((step, index) => step === other[index]);
}

/** Where the table's own lines end: after its last pair, or its header. */
function endOf({ pairs, header }: Table): number {
  return pairs.at(-1)?.span.end ?? header?.end ?? 0;
}

/** Before the line's newline: after a comment that stands behind a value. */
function lineEnd(text: string, at: number): number {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end;
}

function lineStart(text: string, at: number): number {
  return text.lastIndexOf("\n", at - 1) + 1;
}

function nextLine(text: string, at: number): number {
  return Math.min(text.length, lineEnd(text, at) + 1);
}

function indentOf(text: string, at: number): string {
  return /^[ \t]*/.exec(text.slice(lineStart(text, at), at))?.[0] || "  ";
}

function keyText(name: string): string {
  return /^[A-Za-z0-9_-]+$/.test(name) ? name : quote(name);
}

/** A basic string of TOML: JSON's is one. */
function quote(text: string): string {
  return JSON.stringify(text);
}
