import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { readConfiguration, writeConfiguration } from "../../../../src/enroll/usb/configuration-store.ts";
import type { KnownVolume } from "../../../../src/enroll/usb/edit-configuration.ts";
import { enrolStick, STICK_TOKEN, type StickMeans } from "../../../../src/enroll/usb/enrol-stick.ts";
import { revokeStick } from "../../../../src/enroll/usb/revoke-stick.ts";
import { tokensOfType } from "../../../../src/providers/luks/luks2-header.ts";
import type { LatchkeyError } from "../../../../src/system/errors.ts";
import { WritableFolder } from "../../../../src/system/writable-folder.ts";
import { bcachefsTarget, FakePerson, LUKS_PASSPHRASE, LuksFile, never, secretOf, whyNoLuks } from "../scene.ts";
import { LoopStick, STICK_UUID, whyNoStick } from "./stick-scene.ts";

setDefaultTimeout(60_000);

const whyNot = whyNoStick() ?? whyNoLuks;

const codeOf = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => "no error",
    (thrown: LatchkeyError) => thrown.code,
  );

const volume: KnownVolume = {
  name: "data",
  kind: "luks",
  devices: [{ by: "path", path: "/dev/sda2" }],
  sources: ["prompt"],
};

const CONFIGURATION = '# mine\n[volumes.data]\nkind = "luks" # the disk\ndevice = "/dev/sda2"\n';

interface Scene {
  readonly stick: LoopStick;
  readonly disk: LuksFile;
  readonly file: string;
  readonly lines: string[];
  readonly notes: string[];
  means(overrides?: Partial<StickMeans>): Promise<StickMeans>;
}

async function inScene(work: (scene: Scene) => Promise<void>): Promise<void> {
  using stick = new LoopStick();
  using disk = new LuksFile();
  using passphrase = secretOf(LUKS_PASSPHRASE);
  const file = disk.file("latchkey.toml");
  writeFileSync(file, CONFIGURATION, { mode: 0o640 });
  const lines: string[] = [];
  const notes: string[] = [];
  await work({
    stick,
    disk,
    file,
    lines,
    notes,
    means: async (overrides = {}) => ({
      target: await disk.target(),
      volume,
      stick: await stick.find(),
      path: "data.key",
      passphrase,
      person: undefined,
      reader: stick.reader,
      configuration: {
        file,
        read: () => readConfiguration(file),
        write: (text) => writeConfiguration(file, text),
      },
      openFolder: ({ device, type }) => WritableFolder.mount(device, type),
      say: (line) => lines.push(line),
      note: (text) => notes.push(text),
      signal: never,
      ...overrides,
    }),
  });
}

describe.skipIf(whyNot !== undefined)(`a stick for a LUKS volume (${whyNot ?? "all tools are here"})`, () => {
  test("gets a key of its own in a slot of its own, and the configuration names it", async () => {
    await inScene(async ({ stick, disk, file, lines, means }) => {
      const enrolled = await enrolStick(await means());
      const key = (await stick.content("data.key")) ?? Buffer.alloc(0);
      expect(key).toHaveLength(64);
      expect(enrolled.slot).toBe(1);
      expect(enrolled.entry).toMatchObject({ uuid: STICK_UUID, path: "data.key", anyBus: true });
      // What is on the stick opens the slot, by cryptsetup's own word.
      writeFileSync(disk.file("key"), key);
      disk.cryptsetup(["open", "--test-passphrase", "--key-slot", "1", "--key-file", disk.file("key"), disk.image]);
      const [token] = tokensOfType(await disk.metadata(), STICK_TOKEN);
      expect(token?.slots).toEqual([1]);
      expect(token?.json).toMatchObject({ uuid: STICK_UUID, path: "data.key", sha256: enrolled.entry.sha256 });
      expect(readFileSync(file, "utf8")).toBe(
        `${CONFIGURATION}sources = ["usb", "prompt"]\nusb = { uuid = "${STICK_UUID}", path = "data.key", sha256 = "${enrolled.entry.sha256}", any_bus = true }\n`,
      );
      expect(readFileSync(`${file}.old`, "utf8")).toBe(CONFIGURATION);
      expect(statSync(file).mode & 0o777).toBe(0o640);
      expect(lines.filter((line) => !line.startsWith(" ") && line !== "")).toEqual([
        "make a random key of 64 bytes",
        "show what is on the stick and what changes, and ask",
        `write data.key to the stick ${STICK_UUID} (${stick.device})`,
        "unmount it, and read the key from the device again, as the boot will",
        `add key slot 1 to ${disk.image}`,
        `prove on ${disk.image} that what was read opens key slot 1`,
        `mark key slot 1 as this stick's, by token 0`,
        `write the stick into ${file}`,
      ]);
      expect(readFileSync("/proc/self/mounts", "utf8")).not.toContain(stick.device);
    });
  });

  test("is shown with what is on it, and nothing is written before a person says yes", async () => {
    await inScene(async ({ stick, disk, file, means }) => {
      {
        using folder = WritableFolder.mount(stick.device, "ext4");
        using text = secretOf("holiday");
        folder.create("photo.jpg", text);
      }
      const person = new FakePerson(false);
      expect(await codeOf(enrolStick(await means({ person })))).toBe("enroll/not-confirmed");
      const shown = person.asked.join("\n");
      expect(shown).toContain("on it:       lost+found, photo.jpg");
      expect(shown).toContain(`filesystem:  ext4 ${STICK_UUID}`);
      expect(shown).toContain('+ sources = ["usb", "prompt"]');
      expect(shown).toContain(`Write data.key to ${stick.device}, and these lines to ${file}?`);
      expect(await stick.content("data.key")).toBeUndefined();
      expect((await disk.metadata()).slots.size).toBe(1);
      expect(readFileSync(file, "utf8")).toBe(CONFIGURATION);
    });
  });

  test("keeps a file that is there", async () => {
    await inScene(async ({ stick, means }) => {
      {
        using folder = WritableFolder.mount(stick.device, "ext4");
        using text = secretOf("mine");
        folder.create("data.key", text);
      }
      expect(await codeOf(enrolStick(await means()))).toBe("enroll/key-exists");
      expect((await stick.content("data.key"))?.toString()).toBe("mine");
    });
  });

  test("that gives back something else is not enrolled, and the key is taken off it", async () => {
    await inScene(async ({ stick, disk, file, lines, means }) => {
      const lying = {
        prepare: () => undefined,
        identify: stick.reader.identify.bind(stick.reader),
        read: () => Promise.resolve(secretOf("something else")),
      };
      expect(await codeOf(enrolStick(await means({ reader: lying })))).toBe("enroll/proof-failed");
      expect(await stick.content("data.key")).toBeUndefined();
      expect((await disk.metadata()).slots.size).toBe(1);
      expect(readFileSync(file, "utf8")).toBe(CONFIGURATION);
      expect(lines.at(-1)).toBe(`undo: take data.key off the stick ${STICK_UUID}`);
    });
  });

  test("whose lines cannot be written is taken out again: slot, token and key file", async () => {
    await inScene(async ({ stick, disk, lines, means }) => {
      const whole = await means();
      const configuration = {
        ...whole.configuration,
        write: () => {
          throw Object.assign(new Error("full"), { code: "ENOSPC" });
        },
      };
      expect(await codeOf(enrolStick({ ...whole, configuration }))).toBe("internal/defect");
      const { slots, tokens } = await disk.metadata();
      expect([slots.size, tokens.size]).toEqual([1, 0]);
      expect(await stick.content("data.key")).toBeUndefined();
      expect(lines.slice(-3).map((line) => line.replace(/ (out of|off) .*/, ""))).toEqual([
        "undo: take token 0",
        "undo: take key slot 1",
        "undo: take data.key",
      ]);
    });
  });

  test("beside a file that a person has to edit is a key all the same, and the lines are told", async () => {
    await inScene(async ({ file, notes, means }) => {
      writeFileSync(file, 'volumes = { data = { kind = "luks", device = "/dev/sda2" } }\n');
      const enrolled = await enrolStick(await means());
      expect(enrolled.isConfigured).toBe(false);
      expect(notes.join()).toContain(
        `usb = { uuid = "${STICK_UUID}", path = "data.key", sha256 = "${enrolled.entry.sha256}"`,
      );
      expect(existsSync(`${file}.old`)).toBe(false);
    });
  });

  test("is shut out again: its slot, its token, its file and its lines", async () => {
    await inScene(async ({ stick, disk, file, means }) => {
      const enrolling = await means();
      const { entry } = await enrolStick(enrolling);
      const after = readFileSync(file, "utf8");
      const person = new FakePerson(false, true);
      const revoking = {
        ...(await means({ person })),
        entry,
        volume: "data",
        openFolder: () => WritableFolder.mount(stick.device, "ext4"),
        passphrase: async () => enrolling.passphrase,
      };
      expect(await codeOf(revokeStick(revoking))).toBe("enroll/not-confirmed");
      expect((await disk.metadata()).slots.size).toBe(2);
      expect(readFileSync(file, "utf8")).toBe(after);
      const revoked = await revokeStick(revoking);
      expect(revoked).toMatchObject({ slots: [1], isErased: true, isConfigured: false });
      const { slots, tokens } = await disk.metadata();
      expect([[...slots], tokens.size]).toEqual([[0], 0]);
      expect(await stick.content("data.key")).toBeUndefined();
      expect(readFileSync(file, "utf8")).toBe(`${CONFIGURATION}sources = ["prompt"]\n`);
      expect(person.asked.join("\n")).toContain(
        `${disk.image}: key slot 1 is taken out\nthe stick: data.key is erased\n`,
      );
    });
  });

  test("that is lost is shut out without it, and no other stick's slot is touched", async () => {
    await inScene(async ({ disk, notes, means }) => {
      const first = await enrolStick(await means());
      await enrolStick(await means({ path: "other.key" }));
      const revoking = await means();
      const { openFolder: _, ...rest } = revoking;
      const revoked = await revokeStick({
        ...rest,
        entry: first.entry,
        volume: "data",
        passphrase: async () => revoking.passphrase,
      });
      expect(revoked).toMatchObject({ slots: [1], isErased: false });
      expect([...(await disk.metadata()).slots]).toEqual([0, 2]);
      expect(notes.join()).not.toContain("no key slot");
    });
  });
});

const whyNoBcachefs = whyNoStick();
describe.skipIf(whyNoBcachefs !== undefined)(
  `a stick for a bcachefs (${whyNoBcachefs ?? "all tools are here"})`,
  () => {
    const PASSPHRASE = "correct horse battery staple";

    async function inBcachefs(
      passphrase: string,
      work: (means: StickMeans, stick: LoopStick, notes: string[]) => Promise<void>,
    ) {
      await inScene(async ({ stick, file, notes, means }) => {
        writeFileSync(file, "");
        using secret = secretOf(passphrase);
        const target = await bcachefsTarget("default", `${file}.jwe`);
        const own: KnownVolume = { ...volume, name: "root", kind: "bcachefs" };
        await work(await means({ target, volume: own, passphrase: secret, path: "root.key" }), stick, notes);
      });
    }

    test("holds its passphrase as a line of text, and that is said plainly", async () => {
      await inBcachefs(PASSPHRASE, async (means, stick, notes) => {
        const enrolled = await enrolStick(means);
        expect((await stick.content("root.key"))?.toString()).toBe(PASSPHRASE);
        expect(enrolled.slot).toBeUndefined();
        expect(notes).toEqual(["whoever has this stick has the passphrase of root, in clear; a bcachefs has only one"]);
        expect(readFileSync(means.configuration.file, "utf8")).toContain('sources = ["usb", "prompt"]');
      });
    });

    test("is not made of a passphrase that no line of text can hold", async () => {
      await inBcachefs("two\nlines", async (means, stick) => {
        expect(await codeOf(enrolStick(means))).toBe("key-file/bad-format");
        expect(await stick.content("root.key")).toBeUndefined();
      });
    });
  },
);
