import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RunDirectory } from "../../../src/system/run-directory.ts";

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "latchkey-run-"));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

describe("the run directory", () => {
  test("is made for its owner alone, and its files too", () => {
    const run = new RunDirectory(join(base, "latchkey"));
    run.create();
    run.write("report.json", "{}");
    expect(statSync(run.path).mode & 0o777).toBe(0o700);
    expect(statSync(run.file("report.json")).mode & 0o777).toBe(0o600);
    expect(readFileSync(run.file("report.json"), "utf8")).toBe("{}");
  });

  test("is tightened when it was left open", () => {
    const run = new RunDirectory(base);
    run.create();
    expect(statSync(base).mode & 0o777).toBe(0o700);
  });

  test("a link or a file in its place is refused", () => {
    symlinkSync(tmpdir(), join(base, "link"));
    expect(() => new RunDirectory(join(base, "link")).create()).toThrow("not a directory");
    writeFileSync(join(base, "file"), "");
    expect(() => new RunDirectory(join(base, "file")).create()).toThrow("cannot use");
  });

  test("a file is replaced whole, and no draft stays behind", () => {
    const run = new RunDirectory(base);
    run.write("report.json", "first");
    run.write("report.json", "second");
    expect(readdirSync(base)).toEqual(["report.json"]);
    expect(readFileSync(run.file("report.json"), "utf8")).toBe("second");
  });

  test("a file of which only a part can be written leaves the one from before, and no draft", () => {
    const run = new RunDirectory(base);
    run.write("report.json", "first");
    const module = join(import.meta.dir, "../../../src/system/run-directory.ts");
    const program = `const { RunDirectory } = await import(${JSON.stringify(module)});
      try { new RunDirectory(${JSON.stringify(base)}).write("report.json", "x".repeat(5000)); }
      catch (thrown) { console.log(thrown.code); }`;
    // setrlimit(2), RLIMIT_FSIZE: a write that goes past it is a short one, and the next an error.
    const script = 'trap "" XFSZ; ulimit -f 2; exec "$0" -e "$1"';
    const child = Bun.spawnSync(["sh", "-c", script, process.execPath, program], { stderr: "inherit" });
    expect(child.stdout.toString()).toBe("system/run-directory\n");
    expect(readdirSync(base)).toEqual(["report.json"]);
    expect(readFileSync(run.file("report.json"), "utf8")).toBe("first");
  });
});
