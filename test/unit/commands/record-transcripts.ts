/**
 * `bun test/unit/commands/record-transcripts.ts FILE…` runs the commands of transcripts and writes down what they say now. For
 * after a change of words: what it wrote is to be read before it is kept.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { Replay, type Replayed } from "./replay.ts";
import { type CommandRecord, readTranscript } from "./transcript.ts";

function marked(mark: string, text: string): string {
  const lines = text.split("\n").slice(0, -1);
  return lines.map((line) => `${`${mark} ${line}`.trimEnd()}\n`).join("");
}

function blockOf({ line, dialogue }: CommandRecord, { screen, stdout, stderr, status }: Replayed): string {
  const typed = dialogue.filter((each) => each.typed).map(({ text }) => `tty< ${text}\n`);
  const shown = screen.map((text, index) => `tty> ${text}\n${typed[index] ?? ""}`).join("");
  return `$ ${line.trimEnd()}\n${shown}${marked("1|", stdout)}${marked("2|", stderr)}exit ${status}\n`;
}

for (const path of process.argv.slice(2)) {
  const transcript = readTranscript(path);
  using replay = new Replay(transcript);
  const text = readFileSync(path, "utf8");
  const [setUp = ""] = text.split(/^(?=\$ latchkey)/m);
  const [files = ""] = /^-- .+ --$.*/ms.exec(text) ?? [];
  const blocks: string[] = [];
  for (const command of transcript.commands) blocks.push(blockOf(command, await replay.run(command)));
  writeFileSync(path, [setUp.trimEnd(), "", ...blocks, files].join("\n").trimEnd().concat("\n"));
}
process.exit(0); // derivations left behind do not matter
