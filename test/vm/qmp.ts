import { connect, type Socket } from "node:net";
import { seconds, within } from "./patience.ts";

/** Something QEMU reports by itself, such as SHUTDOWN or DEVICE_DELETED. */
export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

interface QmpMessage {
  readonly QMP?: unknown;
  readonly event?: string;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly id?: number;
}

type Waiter = (message: QmpMessage) => void;

const CONNECT_POLL_MS = 25;

/** The machine protocol of QEMU: JSON lines over a socket, answers matched to commands by id. */
export class Qmp implements Disposable {
  readonly #socket: Socket;
  readonly #answers = new Map<number, Waiter>();
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  #unfinishedLine = "";
  #lastId = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.#receive(text));
    socket.on("error", () => this.#lose());
    socket.on("close", () => this.#lose());
  }

  /** Connects as soon as QEMU listens; gives up when QEMU ends first. */
  static async connect(path: string, ended: Promise<string>): Promise<Qmp> {
    const end = performance.now() + seconds(20);
    let why: string | undefined;
    void ended.then((words) => {
      why = words;
    });
    for (;;) {
      const socket = await open(path);
      if (why !== undefined) throw new Error(why);
      if (socket) {
        const qmp = new Qmp(socket);
        await qmp.execute("qmp_capabilities");
        return qmp;
      }
      if (performance.now() > end) throw new Error(`QEMU does not listen on ${path}`);
      await Bun.sleep(CONNECT_POLL_MS);
    }
  }

  /** Sends a command and gives what it returns. */
  execute(command: string, commandArguments: Record<string, unknown> = {}, limit = seconds(20)): Promise<unknown> {
    this.#lastId += 1;
    const id = this.#lastId;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#answers.set(id, (message) => {
        if (message.error) reject(new Error(`QMP ${command}: ${message.error.desc}`));
        else resolve(message.return);
      });
    });
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: commandArguments, id })}\n`);
    return within(limit, `QMP ${command}`, answer).finally(() => this.#answers.delete(id));
  }

  /** Calls `listener` for each event from now on, until the returned scope ends. */
  on(listener: (event: QmpEvent) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #receive(text: string): void {
    const lines = (this.#unfinishedLine + text).split("\n");
    this.#unfinishedLine = lines.pop() ?? "";
    for (const line of lines) {
      if (line.trim() === "") continue;
      const message = JSON.parse(line) as QmpMessage;
      if (message.event !== undefined) {
        for (const listener of this.#listeners) listener({ event: message.event, data: message.data ?? {} });
      } else if (message.id !== undefined) this.#answers.get(message.id)?.(message);
    }
  }

  #lose(): void {
    const error = { class: "Disconnected", desc: "QEMU has gone" };
    for (const answer of this.#answers.values()) answer({ error });
  }
}

function open(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.removeAllListeners();
      resolve(socket);
    });
    socket.once("error", () => resolve(undefined));
  });
}
