import { chmodSync, truncateSync, writeFileSync } from "node:fs";
import { manifest } from "../providers/bcachefs/fixtures.ts";
import { headerBytes } from "../providers/luks/fixtures.ts";
import { Pty } from "../sources/prompt/pty.ts";
import { type Outcome, Sandbox } from "./sandbox.ts";
import type { CommandRecord, Transcript } from "./transcript.ts";

interface Fixture {
  readonly file: string;
  readonly secrets: readonly (string | undefined)[];
}

/** What the manifest knows of an image by name. */
function fixtureOf(name: string): Fixture {
  for (const each of manifest.cases) {
    const device = each.devices.find((one) => one.name === name);
    const secrets = [each.passphrase, each.passphrase_key_hex, each.master_key_hex];
    if (device) return { file: device.image, secrets };
  }
  const damaged = manifest.damaged.find((each) => each.name === name);
  if (!damaged) throw new Error(`no fixture ${name}`);
  return { file: damaged.file, secrets: [damaged.passphrase] };
}

/** Room for LUKS2's default header of 16 MiB, and some data. */
const LUKS_BYTES = 24 * 1024 * 1024;
const luksPassphrase = "correct horse battery staple";
const luksUuid = "4c554b53-0002-4000-8000-000000000001";

/** A real LUKS2 whose key derivation costs nothing. */
function formatLuks(path: string): void {
  writeFileSync(path, "");
  truncateSync(path, LUKS_BYTES);
  const cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
  const args = ["luksFormat", "-q", "--type", "luks2", "--uuid", luksUuid, "--label", "data", ...cheap, path, "-"];
  const { success, stderr } = Bun.spawnSync(["cryptsetup", ...args], { stdin: Buffer.from(luksPassphrase) });
  if (!success) throw new Error(`cryptsetup luksFormat: ${stderr.toString()}`);
}

export interface Replayed extends Outcome {
  /** What is left on the terminal, in lines. */
  readonly screen: readonly string[];
  readonly leftTerminalAsItWas: boolean;
}

/** The machine of a transcript. */
export class Replay implements Disposable {
  /** None of these may ever be printed. */
  readonly secrets: readonly string[];
  readonly #sandbox = new Sandbox();
  readonly #asNobody: boolean;

  constructor({ images, luks, headers, files, unreadable, asNobody }: Transcript) {
    const fixtures = images.map((name) => ({ name, ...fixtureOf(name) }));
    for (const { name, file } of fixtures) this.#sandbox.image(file, `${name}.img`);
    for (const name of luks) formatLuks(this.#sandbox.path(name));
    for (const name of headers) {
      writeFileSync(this.#sandbox.path(`${name}.img`), headerBytes(name as "argon2id"));
      truncateSync(this.#sandbox.path(`${name}.img`), LUKS_BYTES);
    }
    for (const [path, content] of files) this.#sandbox.file(path, content);
    for (const name of unreadable) chmodSync(this.#sandbox.path(name), 0o600);
    const secrets = fixtures.flatMap((fixture) => fixture.secrets).filter((secret) => secret !== undefined);
    this.secrets = luks.length > 0 ? [...secrets, luksPassphrase] : secrets;
    this.#asNobody = asNobody;
  }

  async run({ argv, stdin, dialogue }: CommandRecord): Promise<Replayed> {
    const options = { stdin, asNobody: this.#asNobody };
    const typed = dialogue.filter((line) => line.typed).map(({ text }) => text);
    if (typed.length === 0) {
      return { ...(await this.#sandbox.run(argv, options)), screen: [], leftTerminalAsItWas: true };
    }
    using pty = new Pty();
    const settings = pty.settings();
    const running = this.#sandbox.run(argv, { ...options, terminal: pty });
    await Promise.race([answer(pty, typed), running]);
    const outcome = await running;
    const lines = pty.seen().split(/\r*\n/);
    return {
      ...outcome,
      screen: lines.map((line) => line.trimEnd()).filter((line) => line !== ""),
      leftTerminalAsItWas: pty.settings() === settings,
    };
  }

  [Symbol.dispose](): void {
    this.#sandbox[Symbol.dispose]();
  }
}

/** Types one answer after each question. */
async function answer(pty: Pty, answers: readonly string[]): Promise<void> {
  for (const [index, text] of answers.entries()) {
    while ((pty.seen().match(/: (?=\r|$)/g)?.length ?? 0) <= index) await Bun.sleep(20);
    pty.type(/^\^[A-Z]$/.test(text) ? String.fromCharCode(text.charCodeAt(1) - 64) : `${text}\r`);
  }
}
