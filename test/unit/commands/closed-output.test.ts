import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Glob } from "bun";

test.each(["1", "2"])("a program whose output %s nobody reads any more goes on to its own end", async (descriptor) => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-closed-"));
  try {
    const [ready, tidied] = [join(folder, "ready"), join(folder, "tidied")];
    const program = join(import.meta.dir, "closed-output-program.ts");
    // The reader goes once the program is at work; only then is that one's standard input ended.
    const script = `
      mkfifo "$1/output" "$1/input"
      "$2" "$3" "$4" "$5" < "$1/input" ${descriptor}> "$1/output" &
      exec 8> "$1/input" 9< "$1/output"
      while [ ! -e "$4" ]; do sleep 0.02; done
      exec 9<&- 8>&-
      wait $!`;
    const ended = Bun.spawnSync(["sh", "-c", script, "sh", folder, process.execPath, program, ready, tidied], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 30_000,
    });
    expect(ended.exitCode).toBe(5);
    expect(existsSync(tidied)).toBe(true);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("nothing is written to standard output or error past say() while commands run", () => {
  const root = join(import.meta.dir, "../../..");
  const direct = [...new Glob("src/**/*.ts").scanSync(root)].filter((file) =>
    /process\.std(?:out|err)\.write\(/.test(readFileSync(join(root, file), "utf8")),
  );
  // The help, just before the end.
  expect(direct).toEqual(["src/commands/run-command-line.ts"]);
});
