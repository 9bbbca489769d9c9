import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { proveRecoveryKey } from "../../../src/enroll/recovery-dialogue.ts";
import { findInMemory } from "../providers/bcachefs/process-memory.ts";
import { errorOf } from "../sources/clevis/make-tokens.ts";
import { Pty } from "../sources/prompt/pty.ts";
import { FakePerson, LUKS_PASSPHRASE, LuksFile, never, play, secretOf, textOf, whyNoLuks } from "./scene.ts";

setDefaultTimeout(60_000);

const KEY = /[cbdefghijklnrtuv]{8}(?:-[cbdefghijklnrtuv]{8}){7}/;
const SHOWN = Array.from({ length: 8 }, (_, group) => "cbdefghi".slice(group) + "cbdefghi".slice(0, group)).join("-");
const TAKES_OFF = "Write it down or photograph it; Enter takes it off the screen";
const ASKS = "Type the recovery key (Enter alone shows it again)";

async function dialogue(person: FakePerson): Promise<string> {
  using key = secretOf(SHOWN);
  using typed = await proveRecoveryKey(key, "data", person, never);
  return textOf(typed);
}

describe("the dialogue about a recovery key", () => {
  test("shows it on a page of its own, and takes what is typed back as it is written", async () => {
    const person = new FakePerson("", SHOWN.toUpperCase().replaceAll("-", " "));
    expect(await dialogue(person)).toBe(SHOWN);
    expect(person.asked).toEqual([TAKES_OFF, ASKS]);
    expect(person.pages.length).toBe(1);
    const [page = ""] = person.pages;
    expect(page).toEndWith(`Recovery key of data:\r\n${SHOWN}\r\n`);
    // A screen of 80 columns and 24 lines holds all of it and the question.
    const lines = page.split("\r\n");
    expect(lines.length).toBeLessThanOrEqual(24);
    expect(Math.max(...lines.map((line) => Bun.stringWidth(line)))).toBeLessThanOrEqual(80);
  });

  test("says which group was mistyped, and shows it again to whoever asks", async () => {
    const wrong = SHOWN.replace("cbdefghi", "cbdefghv");
    const person = new FakePerson("", wrong, "", "", SHOWN);
    expect(await dialogue(person)).toBe(SHOWN);
    expect(person.asked).toEqual([TAKES_OFF, ASKS, `Wrong: group 1 differs. ${ASKS}`, TAKES_OFF, ASKS]);
    expect(person.pages.length).toBe(2);
  });

  test.each([
    ["its page is left", [undefined], "its page was left"],
    ["it is not typed", ["", undefined], "it was not typed back"],
    ["it is typed wrong five times", ["", "1", "2", "3", "4", "5"], "it was typed wrong 5 times"],
  ])("ends without a key put to use when %s", async (_, answers, why) => {
    const error = await errorOf(() => dialogue(new FakePerson(...answers)));
    expect([error.code, error.outcome]).toEqual(["enroll/recovery-unproven", "refused"]);
    expect(error.message).toBe(`the recovery key of data is not put to use: ${why}`);
  });
});

const keyOn = (person: FakePerson): string => KEY.exec(person.pages.at(-1) ?? "")?.[0] ?? "";
const skipped = whyNoLuks === undefined ? "" : ` (skipped: ${whyNoLuks})`;

describe.skipIf(whyNoLuks !== undefined)(`a recovery key${skipped}`, () => {
  test("opens its own slot, is marked as systemd marks it, and is in no file", async () => {
    using disk = new LuksFile();
    const person = new FakePerson(LUKS_PASSPHRASE, "", (self) => keyOn(self).toUpperCase());
    const { error, said } = await play({ wish: { method: "recovery" }, target: await disk.target(), person });
    expect(error).toBeUndefined();
    const key = keyOn(person);
    expect(said.join("\n")).not.toMatch(KEY);
    const { slots, tokens } = await disk.metadata();
    expect([...slots]).toEqual([0, 1]);
    expect(tokens.get(0)).toEqual({ type: "systemd-recovery", keyslots: ["1"] });
    disk.cryptsetup(["open", "--test-passphrase", "--key-slot", "1", "--key-file", "-", disk.image], key);
    expect(readFileSync(disk.image).includes(key)).toBe(false);
    const listing = Bun.which("systemd-cryptenroll");
    if (listing !== null) {
      expect(Bun.spawnSync([listing, disk.image]).stdout.toString()).toMatch(/1 recovery/);
    }
  });

  test("that is not typed back changes nothing", async () => {
    using disk = new LuksFile();
    const before = readFileSync(disk.image);
    const person = new FakePerson(LUKS_PASSPHRASE, "", undefined);
    const { error } = await play({ wish: { method: "recovery" }, target: await disk.target(), person });
    expect(error?.code).toBe("enroll/recovery-unproven");
    expect(readFileSync(disk.image).equals(before)).toBe(true);
  });

  test("leaves nothing on the screen and no copy in the memory of its process", async () => {
    using disk = new LuksFile();
    using pty = new Pty();
    const program = join(import.meta.dir, "recovery-program.ts");
    await using child = Bun.spawn([process.execPath, program, pty.path, disk.image], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
    });
    await pty.shows("Passphrase for data");
    pty.type(`${LUKS_PASSPHRASE}\r`);
    await pty.shows(TAKES_OFF);
    const key = KEY.exec(pty.seen())?.[0] ?? "";
    pty.type("\r");
    await pty.shows(ASKS);
    // The page had a screen of its own, and that was left again before anything was typed.
    const screen = pty.seen();
    expect(screen.indexOf("\x1b[?1049h")).toBeLessThan(screen.indexOf(key));
    expect(screen.lastIndexOf("\x1b[2J\x1b[?1049l")).toBeGreaterThan(screen.indexOf(key));
    pty.type(`${key}\r`);
    for await (const chunk of child.stdout) if (new TextDecoder().decode(chunk).includes("done")) break;
    expect(pty.seen().split(key).length).toBe(2); // shown once, and what is typed is not shown
    const needles = {
      "the recovery key": Buffer.from(key.slice(3, 60)),
      "its first group": Buffer.from(key.slice(0, 17)),
      "the passphrase": Buffer.from(LUKS_PASSPHRASE.slice(2, 22)),
    };
    expect(findInMemory(child.pid, needles)).toEqual([]);
    expect(findInMemory(process.pid, needles).length).toBeGreaterThan(0); // the search finds what is there
    disk.cryptsetup(["open", "--test-passphrase", "--key-slot", "1", "--key-file", "-", disk.image], key);
  });
});
