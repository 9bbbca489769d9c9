import { afterEach, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, lstatSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { keyFile, runCryptsetup } from "../../../src/providers/luks/cryptsetup.ts";
import { errorOf } from "../sources/clevis/make-tokens.ts";
import { Folder, secretOf } from "./scene.ts";

const path = process.env["PATH"];
afterEach(() => {
  process.env["PATH"] = path;
});

/** A program in cryptsetup's place. */
function stub(folder: Folder, script: string): void {
  writeFileSync(folder.file("cryptsetup"), `#!/bin/sh\n${script}\n`);
  chmodSync(folder.file("cryptsetup"), 0o755);
  process.env["PATH"] = `${folder.path}:${path}`;
}

describe("cryptsetup", () => {
  test("gets each secret as a file of its own that has no name, and nowhere else", async () => {
    using folder = new Folder();
    stub(folder, 'echo "args: $*"; env; cat; echo; cat "$2"; echo; cat "$3"; ls -l /proc/$$/fd >&2');
    using one = secretOf("first secret");
    using other = secretOf("second secret\n");
    const { status, output, complaint } = await runCryptsetup({
      args: ["luksAddKey", keyFile(0), keyFile(1)],
      secrets: [one, other],
      input: "no secret",
    });
    expect(status).toBe(0);
    const [told = "", first, second, ...rest] = output.split(/\n(?=first secret)|\n(?=second secret)/);
    expect([first, second, ...rest]).toEqual(["first secret", "second secret\n"]);
    expect(told).toStartWith("args: luksAddKey /proc/self/fd/3 /proc/self/fd/4\n");
    expect(told).toEndWith("\nno secret");
    expect(told).not.toMatch(/first|second/);
    expect(complaint).toMatch(/-> |fd/);
  });

  test("may read a secret twice, as it does where it tries several slots", async () => {
    using folder = new Folder();
    stub(folder, 'cat "$2"; cat "$2"');
    using secret = secretOf("secret");
    const { output } = await runCryptsetup({ args: ["open", keyFile(0)], secrets: [secret] });
    expect(output).toBe("secretsecret");
  });

  test("leaves nothing open here", async () => {
    using folder = new Folder();
    stub(folder, "true");
    using secret = secretOf("secret");
    await runCryptsetup({ args: ["open"], secrets: [secret, secret] });
    const open = readdirSync("/proc/self/fd").flatMap((name) => {
      const file = `/proc/self/fd/${name}`;
      return existsSync(file) || lstatSync(file, { throwIfNoEntry: false }) ? readlinkSync(file) : [];
    });
    expect(open.filter((target) => target.startsWith("/memfd:latchkey"))).toEqual([]);
  });

  test("tells its status and the last of its words on one line", async () => {
    using folder = new Folder();
    stub(folder, 'printf "first\\nsecond\\007 line\\n" >&2; exit 5');
    expect(await runCryptsetup({ args: ["open"] })).toEqual({ status: 5, output: "", complaint: "second  line" });
  });

  test("has no terminal to ask on, and nothing on standard input", async () => {
    using folder = new Folder();
    stub(folder, "cat; (: < /dev/tty) 2>/dev/null && echo terminal; ps -o pgid= -p $$");
    const { output } = await runCryptsetup({ args: ["open"] });
    expect(output).not.toContain("terminal");
    expect(Number(output.trim())).not.toBe(process.pid);
  });

  test("is ended when it is no longer wanted", async () => {
    using folder = new Folder();
    stub(folder, `echo > ${folder.file("started")}; exec sleep 60`);
    const controller = new AbortController();
    const ending = errorOf(() => runCryptsetup({ args: ["open"], signal: controller.signal }));
    while (!existsSync(folder.file("started"))) await Bun.sleep(5);
    controller.abort();
    expect((await ending).code).toBe("enroll/interrupted");
  });

  test("that is not installed is named", async () => {
    using folder = new Folder();
    process.env["PATH"] = folder.path;
    const error = await errorOf(() => runCryptsetup({ args: ["open"] }));
    expect([error.code, error.outcome]).toEqual(["luks/tool-missing", "unavailable"]);
  });
});
