import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Glob } from "bun";
import { whyNoLuks } from "../enroll/scene.ts";
import { Replay } from "./replay.ts";
import { whyNoKeys, whyNoSandbox } from "./sandbox.ts";
import { readTranscript, type Transcript } from "./transcript.ts";

const folder = join(import.meta.dir, "transcripts");
/** Milliseconds for a whole transcript on a machine that is busy with virtual machines. */
const LIMIT = 240_000;

async function replayAll(transcript: Transcript): Promise<void> {
  using replay = new Replay(transcript);
  for (const command of transcript.commands) {
    const { stdout, stderr, status, screen, leftTerminalAsItWas } = await replay.run(command);
    const { line, dialogue } = command;
    const expectedScreen = dialogue.filter(({ typed }) => !typed).map(({ text }) => text.trimEnd());
    expect({ line, stdout, stderr, status, screen }).toEqual({
      line,
      stdout: command.stdout,
      stderr: command.stderr,
      status: command.status,
      screen: expectedScreen,
    });
    expect(leftTerminalAsItWas).toBe(true);
    for (const secret of replay.secrets) expect([stdout, stderr, ...screen].join("\n")).not.toContain(secret);
  }
}

const whyNot = whyNoSandbox === undefined ? "" : ` (skipped: ${whyNoSandbox})`;
describe.skipIf(whyNoSandbox !== undefined)(`the command line says what its transcripts say${whyNot}`, () => {
  for (const file of [...new Glob("**/*.txt").scanSync(folder)].sort()) {
    const transcript = readTranscript(join(folder, file));
    const missing =
      (transcript.needsKeyring ? whyNoKeys : undefined) ?? (transcript.luks.length > 0 ? whyNoLuks : undefined);
    const name = `${file}: ${transcript.name}${missing === undefined ? "" : ` (skipped: ${missing})`}`;
    test.skipIf(missing !== undefined)(name, async () => await replayAll(transcript), LIMIT);
  }
});
