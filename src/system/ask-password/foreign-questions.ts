import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { oneLine } from "../errors.ts";
import { SecretBytes } from "../secret-bytes.ts";
import { sendDatagram } from "../unix-datagram.ts";
import { AGENTS_FOLDER } from "./agents-asker.ts";

/**
 * The agent's side of systemd's password questions, https://systemd.io/PASSWORD_AGENTS/: what other programs ask, such as
 * systemd-cryptsetup for a volume that latchkey leaves alone, can be answered from the same session.
 */
export interface ForeignQuestion {
  /** The file's path: the question is over when it is gone. */
  readonly file: string;
  readonly message: string;
  /** What is asked for, `cryptsetup:/dev/sda2`; empty when the program does not say. */
  readonly id: string;
  readonly processId: number;
  readonly socket: string;
  /** Microseconds of CLOCK_MONOTONIC after which nobody waits any more; 0 for never. */
  readonly notAfter: number;
}

/** A question is a dozen short lines; the folder holds a handful. */
const MOST_OCTETS = 16 * 1024;
const MOST_QUESTIONS = 64;

/** sun_path of struct sockaddr_un. */
const LONGEST_SOCKET = 107;

/** @returns undefined for what is no question that could be answered */
export function parseQuestion(text: string, file: string): ForeignQuestion | undefined {
  const values = new Map<string, string>();
  let isInAsk = false;
  for (const line of text.slice(0, MOST_OCTETS).split("\n")) {
    const trimmed = line.trim();
    if (/^[#;]/.test(trimmed)) continue;
    if (trimmed.startsWith("[")) isInAsk = trimmed === "[Ask]";
    const equals = trimmed.indexOf("=");
    if (isInAsk && equals > 0) values.set(trimmed.slice(0, equals).trim(), trimmed.slice(equals + 1).trim());
  }
  const socket = values.get("Socket") ?? "";
  const processId = wholeNumber(values.get("PID"));
  const notAfter = wholeNumber(values.get("NotAfter") ?? "0");
  if (!socket.startsWith("/") || new TextEncoder().encode(socket).length > LONGEST_SOCKET) return undefined;
  if (processId === undefined || notAfter === undefined) return undefined;
  return {
    file,
    socket,
    processId,
    notAfter,
    message: oneLine(values.get("Message") ?? "").replace(/\s*:$/, ""),
    id: oneLine(values.get("Id") ?? ""),
  };
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : undefined;
}

export interface ForeignFacts {
  /** Milliseconds of CLOCK_MONOTONIC. */
  readonly now: number;
  isAlive(processId: number): boolean;
}

/** Somebody still waits for the answer. */
export function isOpen({ processId, notAfter }: ForeignQuestion, { now, isAlive }: ForeignFacts): boolean {
  return (notAfter === 0 || notAfter > now * 1000) && (processId === 0 || isAlive(processId));
}

/** The questions that are up, oldest name first; none where there is no such folder. */
export function readForeignQuestions(facts: ForeignFacts, folder: string = AGENTS_FOLDER): readonly ForeignQuestion[] {
  let names: readonly string[];
  try {
    names = readdirSync(folder).sort();
  } catch {
    return [];
  }
  return names
    .filter((name) => name.startsWith("ask."))
    .slice(0, MOST_QUESTIONS)
    .flatMap((name) => readOne(join(folder, name)) ?? [])
    .filter((question) => isOpen(question, facts));
}

function readOne(file: string): ForeignQuestion | undefined {
  try {
    const facts = lstatSync(file);
    if (!facts.isFile() || facts.size > MOST_OCTETS) return undefined;
    return parseQuestion(readFileSync(file, "utf8"), file);
  } catch {
    return undefined; // answered meanwhile
  }
}

export function processIsAlive(processId: number): boolean {
  try {
    process.kill(processId, 0);
    return true;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === "EPERM";
  }
}

const PLUS = 0x2b;

/**
 * Answers a question.
 * @returns false when nobody waits for it any more: somebody else was faster, which is no error
 */
export function answerForeignQuestion({ socket }: ForeignQuestion, secret: SecretBytes): boolean {
  using reply = SecretBytes.allocate(secret.length + 1);
  reply.bytes[0] = PLUS;
  reply.bytes.set(secret.bytes, 1);
  try {
    sendDatagram(socket, reply);
    return true;
  } catch {
    return false;
  }
}
