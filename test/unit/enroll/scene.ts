import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Enrolled, type EnrolmentMeans, runEnrolment } from "../../../src/enroll/enrolment.ts";
import type { Person } from "../../../src/enroll/person.ts";
import { planEnrolment } from "../../../src/enroll/steps.ts";
import type { Target } from "../../../src/enroll/target.ts";
import { inspectPlace } from "../../../src/enroll/token-store.ts";
import type { Wish } from "../../../src/enroll/wish.ts";
import { BcachefsProvider } from "../../../src/providers/bcachefs/provider.ts";
import { type RunCryptsetup, runCryptsetup } from "../../../src/providers/luks/cryptsetup.ts";
import { Luks2Device } from "../../../src/providers/luks/luks2-device.ts";
import { freeSlot, freeToken, type Luks2Metadata, tokensOfType } from "../../../src/providers/luks/luks2-header.ts";
import { openToken } from "../../../src/sources/clevis/decrypt.ts";
import { parseToken } from "../../../src/sources/clevis/token.ts";
import { tpm2Opener } from "../../../src/sources/clevis/tpm2-open.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";
import { extendPcr } from "../../../src/tpm2/pcrs.ts";
import { contextOf, FakeDevices, FakeKeyring, volumeOf } from "../providers/bcachefs/fake-machine.ts";
import { fixtureBytes, fixtureCase, rememberingDeriver } from "../providers/bcachefs/fixtures.ts";
import { toolsWith } from "../sources/clevis/fixtures.ts";
import type { Swtpm } from "../tpm2/swtpm.ts";

export const never = new AbortController().signal;

/** Why tests with a LUKS2 header cannot run here; undefined when they can. */
export const whyNoLuks = Bun.which("cryptsetup") === null ? "cryptsetup is not installed" : undefined;

export const secretOf = (text: string): SecretBytes => SecretBytes.take(new TextEncoder().encode(text));

export const textOf = (secret: SecretBytes): string => Buffer.from(secret.bytes).toString("latin1");

/** A folder that is gone at the end of the scope. */
export class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "latchkey-enroll-"));

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export const LUKS_PASSPHRASE = "the installer's passphrase";

/** A real LUKS2 header in a file, with a key derivation that costs nothing. */
export class LuksFile extends Folder {
  readonly image = this.file("disk.img");

  constructor(...options: readonly string[]) {
    super();
    this.cryptsetup(["luksFormat", "-q", "--type", "luks2", ...cheap, ...options, "--key-file", "-", this.image]);
  }

  /** With the passphrase on standard input. */
  cryptsetup(args: readonly string[], input = LUKS_PASSPHRASE): string {
    if (args[0] === "luksFormat") writeFileSync(this.image, new Uint8Array(24 * 1024 * 1024));
    const { success, stdout, stderr } = Bun.spawnSync(["cryptsetup", ...args], { stdin: Buffer.from(input) });
    if (!success) throw new Error(`cryptsetup ${args.join(" ")}: ${stderr.toString()}`);
    return stdout.toString();
  }

  device(run: RunCryptsetup = runCryptsetup): Luks2Device {
    return new Luks2Device(this.image, run);
  }

  metadata(): Promise<Luks2Metadata> {
    return this.device().metadata();
  }

  async target(run?: RunCryptsetup): Promise<Target> {
    const metadata = await this.metadata();
    return {
      kind: "luks2",
      facts: {
        kind: "luks2",
        name: "data",
        device: this.image,
        slot: freeSlot(metadata, this.image),
        id: freeToken(metadata, this.image),
      },
      device: this.device(run),
      boundSlots: tokensOfType(metadata, "clevis").flatMap(({ slots }) => slots),
    };
  }
}

const cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];

/** A bcachefs of the fixtures, found as `root`. */
export async function bcachefsTarget(fixture: string, token: string): Promise<Target> {
  const devices = new FakeDevices();
  const { head } = fixtureCase(fixture).devices[0] ?? { head: "" };
  devices.add("/dev/sda2", fixtureBytes(head));
  const provider = new BcachefsProvider({
    devices,
    keyring: new FakeKeyring(),
    deriver: rememberingDeriver,
    sys: "/nonexistent",
  });
  const volume = await provider.find(volumeOf("/dev/sda2"), contextOf());
  const facts = { name: "root", description: volume.description, token, tokenExists: inspectPlace(token) };
  return { kind: "bcachefs", facts: { kind: "bcachefs", ...facts }, volume };
}

/** Says what a test tells it to, and remembers what it was asked. */
export class FakePerson implements Person {
  readonly asked: string[] = [];
  /** What its eyes have seen of secrets. */
  readonly pages: string[] = [];
  readonly answers: (string | boolean | undefined | ((person: FakePerson) => string))[];

  constructor(...answers: readonly (string | boolean | undefined | ((person: FakePerson) => string))[]) {
    this.answers = [...answers];
  }

  confirm(lines: readonly string[], question: string): Promise<boolean> {
    this.asked.push([...lines, question].join("\n"));
    return Promise.resolve(this.answers.shift() === true);
  }

  askSecret(question: string): Promise<SecretBytes | undefined> {
    this.asked.push(question);
    const answer = this.answers.shift();
    const text = typeof answer === "function" ? answer(this) : answer;
    return Promise.resolve(typeof text === "string" ? secretOf(text) : undefined);
  }

  async show<T>(page: readonly (string | SecretBytes)[], during: () => Promise<T>): Promise<T> {
    this.pages.push(
      page.map((part) => (typeof part === "string" ? part : Buffer.from(part.bytes).toString())).join(""),
    );
    return await during();
  }
}

/** Nobody sits there. */
export const nobody: Person = {
  confirm: () => Promise.reject(new LatchkeyError("prompt/no-console", "there is no terminal to ask on")),
  askSecret: () => Promise.reject(new LatchkeyError("prompt/no-console", "there is no terminal to ask on")),
  show: () => Promise.reject(new LatchkeyError("prompt/no-console", "there is no terminal to ask on")),
};

export interface Scene {
  readonly wish: Wish;
  readonly target: Target;
  readonly passphrase?: string;
  readonly person?: Person;
  readonly swtpm?: Swtpm;
  readonly force?: boolean;
  readonly means?: Partial<EnrolmentMeans>;
}

export interface Played {
  readonly said: readonly string[];
  readonly notes: readonly string[];
  readonly enrolled: Enrolled | undefined;
  readonly error: LatchkeyError | undefined;
}

/** Plans and carries out, with a software TPM and the network of this machine. */
export async function play({
  wish,
  target,
  passphrase,
  person = nobody,
  swtpm,
  force = false,
  means,
}: Scene): Promise<Played> {
  const said: string[] = [];
  const notes: string[] = [];
  const openTpm = () => {
    if (!swtpm) throw new LatchkeyError("tpm2/absent", "there is no TPM in this test");
    return swtpm.tpm();
  };
  using given = passphrase === undefined ? undefined : secretOf(passphrase);
  let [enrolled, error]: [Enrolled | undefined, LatchkeyError | undefined] = [undefined, undefined];
  try {
    enrolled = await runEnrolment(planEnrolment(wish, target.facts, { from: "a test", force }), {
      target,
      person,
      passphrase: given,
      openTpm,
      openTools: () => {
        const tpm = swtpm?.tpm();
        return {
          ...toolsWith(tpm ? { tpm2: tpm2Opener(tpm) } : {}),
          [Symbol.asyncDispose]: async () => await tpm?.[Symbol.asyncDispose](),
        };
      },
      say: (line) => said.push(line),
      note: (text) => notes.push(text),
      signal: never,
      ...means,
    });
  } catch (thrown) {
    if (!(thrown instanceof LatchkeyError)) throw thrown;
    error = thrown;
  }
  return { said, notes, enrolled, error };
}

/** Of the fixture `default`. */
export const PASSPHRASE = "correct horse battery staple";

/** What a token file holds, opened anew. */
export async function opens(path: string, swtpm?: Swtpm): Promise<string> {
  await using tpm = swtpm?.tpm();
  const token = parseToken(readFileSync(path, "latin1"));
  using secret = await openToken(token, toolsWith(tpm ? { tpm2: tpm2Opener(tpm) } : {}), never);
  return textOf(secret);
}

/** Extends a PCR in every bank, as firmware or the latch does. */
export async function extend(swtpm: Swtpm, pcr: number): Promise<void> {
  await using tpm = swtpm.tpm();
  await tpm.use(never, (turn) => extendPcr(turn, pcr, "a test"));
}
