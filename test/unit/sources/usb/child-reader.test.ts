import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ChildKeyReader } from "../../../../src/sources/usb/child-reader.ts";
import type { KeyPlace } from "../../../../src/sources/usb/key-reader.ts";
import type { LatchkeyError } from "../../../../src/system/errors.ts";
import { sha256Of } from "./fakes.ts";

const never = new AbortController().signal;

const folder = mkdtempSync(join(tmpdir(), "latchkey-reader-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

function run(command: readonly string[], input = ""): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { stdin: Buffer.from(input) });
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  return stdout.toString().trim();
}

/** An ext4 on a loop device, with these files in it, made without mounting it. */
function loopDevice(): { readonly path: string } & Disposable {
  const tree = mkdtempSync(join(folder, "tree-"));
  Bun.spawnSync(["mkdir", join(tree, "keys")]);
  writeFileSync(join(tree, "root.key"), KEY);
  writeFileSync(join(tree, "keys/large.key"), LARGE);
  writeFileSync(join(tree, "empty.key"), "");
  writeFileSync(join(tree, "sparse.key"), "");
  truncateSync(join(tree, "sparse.key"), 1024 ** 3);
  symlinkSync("root.key", join(tree, "link.key"));
  symlinkSync("keys", join(tree, "there"));
  run(["mkfifo", join(tree, "pipe.key")]);
  const image = join(folder, `${crypto.randomUUID()}.img`);
  writeFileSync(image, "");
  truncateSync(image, 24 * 1024 ** 2);
  run(["mkfs.ext4", "-q", "-F", "-U", "11111111-2222-4333-8444-555555555555", "-d", tree, image]);
  const path = run(["losetup", "-f", "--show", image]);
  return { path, [Symbol.dispose]: () => void Bun.spawnSync(["losetup", "-d", path]) };
}

const KEY = `a key that stands in no other file: ${crypto.randomUUID()}\n`;
const LARGE = `${"0123456789abcdef".repeat((8 * 1024 * 1024) / 16 - 1)}the last octets`;

function whyNoLoop(): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  if (Bun.which("mkfs.ext4") === null || Bun.which("losetup") === null) return "no mkfs.ext4 or losetup";
  if (!readFileSync("/proc/filesystems", "utf8").includes("ext4")) return "this kernel has no ext4";
  return Bun.spawnSync(["losetup", "-f"]).exitCode === 0 ? undefined : "this kernel has no loop devices";
}
const reason = whyNoLoop();

const codeOf = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => "no error",
    (thrown: LatchkeyError) => `${thrown.code}: ${thrown.message}`,
  );

describe.skipIf(reason !== undefined)(`a real filesystem (${reason ?? "on a loop device"})`, () => {
  test("is told without mounting it, and its files are read whole", async () => {
    using device = loopDevice();
    using reader = new ChildKeyReader();
    const { filesystems } = await reader.identify(device.path, undefined, never);
    expect(filesystems).toEqual([{ type: "ext4", uuid: "11111111-2222-4333-8444-555555555555" }]);
    for (const [path, content] of [
      ["root.key", KEY],
      ["keys/large.key", LARGE],
    ] as const) {
      using key = await reader.read({ on: device.path, type: "ext4", path }, never);
      expect(key.length).toBe(content.length);
      expect(Bun.SHA256.hash(key.bytes, "hex")).toBe(sha256Of(content));
    }
    expect(readFileSync("/proc/self/mounts", "utf8")).not.toContain(device.path);
  });

  test("gives nothing that is no key file, and says why", async () => {
    using device = loopDevice();
    using reader = new ChildKeyReader();
    const why = (path: string) => codeOf(reader.read({ on: device.path, type: "ext4", path }, never));
    const { path } = device;
    expect(await why("nope.key")).toBe(`key-file/missing: there is no nope.key on ${path}`);
    expect(await why("root.key/x")).toBe(`key-file/missing: there is no root.key/x on ${path}`);
    expect(await why("link.key")).toBe(
      `key-file/not-regular: link.key on ${path} is a symbolic link, or lies behind one`,
    );
    expect(await why("there/large.key")).toStartWith("key-file/not-regular: there/large.key on ");
    expect(await why("keys")).toBe(`key-file/not-regular: keys on ${path} is a directory, not a key file`);
    expect(await why("pipe.key")).toBe(`key-file/not-regular: pipe.key on ${path} is no regular file, not a key file`);
    expect(await why("empty.key")).toBe(`key-file/bad-format: empty.key on ${path} is empty`);
    expect(await why("sparse.key")).toBe(
      `key-file/too-large: sparse.key on ${path} has 1073741824 bytes, and a key has at most 8388608`,
    );
    expect(await why("../../etc/passwd")).toBe(`key-file/not-regular: ../../etc/passwd leads out of ${path}`);
    expect(await why("/etc/passwd")).toBe(`key-file/not-regular: /etc/passwd leads out of ${path}`);
    using key = await reader.read({ on: path, type: "ext4", path: "root.key" }, never);
    expect(key.length).toBe(KEY.length);
  });

  test("of another type than said, or damaged, is not mounted, and the reader lives on", async () => {
    using device = loopDevice();
    using reader = new ChildKeyReader();
    const wrong = await codeOf(reader.read({ on: device.path, type: "vfat", path: "root.key" }, never));
    expect(wrong).toMatch(/^key-file\/(no-driver|mount-failed): /);
    run(["dd", "if=/dev/urandom", `of=${device.path}`, "bs=1024", "seek=2", "count=40", "conv=fsync,notrunc"]);
    expect(await codeOf(reader.read({ on: device.path, type: "ext4", path: "root.key" }, never))).toMatch(
      /^key-file\/(mount-failed|unreadable|missing): /,
    );
    expect((await reader.identify(device.path, undefined, never)).filesystems).toHaveLength(1);
  });

  test("is not written to: its bytes are what they were", async () => {
    using device = loopDevice();
    using reader = new ChildKeyReader();
    const before = sha256Of(run(["sha256sum", device.path]));
    (await reader.read({ on: device.path, type: "ext4", path: "root.key" }, never))[Symbol.dispose]();
    expect(sha256Of(run(["sha256sum", device.path]))).toBe(before);
  });

  test("bytes from the middle of a device are those that were asked for", async () => {
    using device = loopDevice();
    using reader = new ChildKeyReader();
    const all = readFileSync(device.path);
    for (const [offset, size] of [
      [1024 + 56, 2],
      [0, 1],
      [4095, 4098],
      [4096, 4096],
      [1_000_000, 300_000],
    ] as const) {
      using key = await reader.read({ on: device.path, offset, size }, never);
      expect(Buffer.from(key.bytes).equals(all.subarray(offset, offset + size))).toBe(true);
    }
    expect(await codeOf(reader.read({ on: device.path, offset: all.length - 10, size: 11 }, never))).toStartWith(
      "key-file/unreadable: ",
    );
  });
});

describe("a reader that does not do as it should", () => {
  const program = (body: string): readonly string[] => {
    const file = join(folder, `${crypto.randomUUID()}.sh`);
    writeFileSync(file, body);
    return ["sh", file];
  };
  const place: KeyPlace = { on: "/dev/sdb1", type: "vfat", path: "root.key" };

  test("that hangs is left behind after its limit, and another one is started for the next", async () => {
    const once = join(folder, "once");
    const command = program(
      `if [ -e ${once} ]; then read job; echo '{"is":"identity","identity":{"filesystems":[]}}'; cat >/dev/null; else : >${once}; exec sleep 600; fi`,
    );
    using reader = new ChildKeyReader({ command, answerLimit: 200 });
    expect(await codeOf(reader.identify("/dev/sdb1", undefined, never))).toBe(
      "key-file/no-answer: /dev/sdb1 did not answer within 0.2 s, and is not waited for",
    );
    using patient = new ChildKeyReader({ command });
    expect(await patient.identify("/dev/sdb1", undefined, never)).toEqual({ filesystems: [] });
  });

  test("that nobody waits for any longer is left behind at once", async () => {
    using reader = new ChildKeyReader({ command: program("exec sleep 600") });
    const stop = new AbortController();
    const end = codeOf(reader.read(place, stop.signal));
    stop.abort();
    expect(await end).toBe("key-file/no-answer: /dev/sdb1 is not waited for any longer");
  });

  test.each([
    ["that ends", "exit 3", "internal/defect"],
    [
      "that answers something else",
      `read job; echo '{"is":"identity","identity":{"filesystems":[]}}'`,
      "internal/defect",
    ],
    [
      "that says an error nobody knows",
      `read job; echo '{"is":"failed","code":"x/y","message":"m"}'`,
      "internal/defect: m",
    ],
    ["that says no JSON", "read job; echo nonsense", "internal/defect"],
    ["that claims a key larger than any", `read job; echo '{"is":"read","length":99999999}'`, ""],
  ])("%s gives an error, not a key", async (_, body, error) => {
    using reader = new ChildKeyReader({ command: program(body) });
    const code = await codeOf(reader.read(place, never));
    expect(code).toStartWith(error);
    expect(code).not.toBe("no error");
  });

  test("three at once at the most: the fourth waits for its turn, and gets it", async () => {
    const count = join(folder, "count");
    const command = program(
      `echo x >>${count}; while read job; do echo '{"is":"identity","identity":{"filesystems":[]}}'; done`,
    );
    using reader = new ChildKeyReader({ command });
    await Promise.all([1, 2, 3, 4, 5, 6].map((n) => reader.identify(`/dev/sd${n}`, undefined, never)));
    expect(readFileSync(count, "utf8")).toBe("x\n".repeat(3));
  });
});
