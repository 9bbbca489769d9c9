import { describe, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";
import { manifest } from "../providers/bcachefs/fixtures.ts";
import { Pty } from "../sources/prompt/pty.ts";
import { type Outcome, removeKey, Sandbox, whyNoKeys, whyNoSandbox } from "./sandbox.ts";
import { type CommandRecord, readTranscript, type Transcript } from "./transcript.ts";

const folder = join(import.meta.dir, "transcripts");

/** What the manifest knows of an image by name. */
function fixtureOf(name: string): { file: string; uuid: string | undefined; secrets: readonly (string | undefined)[] } {
  for (const each of manifest.cases) {
    const device = each.devices.find((one) => one.name === name);
    const secrets = [each.passphrase, each.passphrase_key_hex, each.master_key_hex];
    if (device) return { file: device.image, uuid: each.external_uuid, secrets };
  }
  const damaged = manifest.damaged.find((each) => each.name === name);
  if (!damaged) throw new Error(`no fixture ${name}`);
  return { file: damaged.file, uuid: damaged.external_uuid, secrets: [damaged.passphrase] };
}

/** Says what a person at the terminal says, when the terminal shows what that person waits for. */
async function converse(pty: Pty, { dialogue }: CommandRecord): Promise<void> {
  let from = 0;
  for (const { typed, text } of dialogue) {
    if (typed) {
      pty.type(/^\^[A-Z]$/.test(text) ? String.fromCharCode(text.charCodeAt(1) - 64) : `${text}\r`);
      continue;
    }
    for (let found = -1; found < 0; await Bun.sleep(20)) {
      found = pty.seen().indexOf(text.trimEnd(), from);
      if (found >= 0) from = found + text.length;
    }
  }
}

/** What is left on the screen, in lines. */
function screen(pty: Pty): readonly string[] {
  const lines = pty.seen().split(/\r*\n/);
  return lines.map((line) => line.trimEnd()).filter((line) => line !== "");
}

async function replay(sandbox: Sandbox, command: CommandRecord, { asNobody }: Transcript): Promise<Outcome> {
  const { argv, stdin, dialogue } = command;
  if (dialogue.length === 0) return await sandbox.run(argv, { stdin, asNobody });
  using pty = new Pty();
  const settings = pty.settings();
  const running = sandbox.run(argv, { terminal: pty, asNobody });
  await Promise.race([converse(pty, command), running]);
  const outcome = await running;
  expect(screen(pty)).toEqual(dialogue.filter(({ typed }) => !typed).map(({ text }) => text.trimEnd()));
  expect(pty.settings()).toBe(settings);
  return outcome;
}

async function replayAll(transcript: Transcript): Promise<void> {
  using sandbox = new Sandbox();
  const fixtures = transcript.images.map((name) => ({ name, ...fixtureOf(name) }));
  const uuids = fixtures.flatMap(({ uuid }) => uuid ?? []);
  const secrets = fixtures.flatMap((fixture) => fixture.secrets).filter((secret) => secret !== undefined);
  for (const { name, file } of fixtures) sandbox.image(file, `${name}.img`);
  for (const [path, content] of transcript.files) sandbox.file(path, content);
  for (const name of transcript.unreadable) chmodSync(sandbox.path(name), 0o600);
  uuids.forEach(removeKey);
  try {
    for (const command of transcript.commands) {
      const { stdout, stderr, status } = await replay(sandbox, command, transcript);
      expect({ command: command.line, stdout, stderr, status }).toEqual({
        command: command.line,
        stdout: command.stdout,
        stderr: command.stderr,
        status: command.status,
      });
      for (const secret of secrets) expect(stdout + stderr).not.toContain(secret);
    }
  } finally {
    uuids.forEach(removeKey);
  }
}

const whyNot = whyNoSandbox === undefined ? "" : ` (skipped: ${whyNoSandbox})`;
describe.skipIf(whyNoSandbox !== undefined)(`the command line says what its transcripts say${whyNot}`, () => {
  for (const file of [...new Glob("**/*.txt").scanSync(folder)].sort()) {
    const transcript = readTranscript(join(folder, file));
    const missing = transcript.needsKeyring ? whyNoKeys : undefined;
    const name = `${file}: ${transcript.name}${missing === undefined ? "" : ` (skipped: ${missing})`}`;
    test.skipIf(missing !== undefined)(name, async () => await replayAll(transcript), 240_000);
  }
});
