import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { WritableFolder } from "../../../../src/system/writable-folder.ts";
import { LoopStick, whyNoStick } from "../../enroll/usb/stick-scene.ts";
import { findInMemory } from "../../providers/bcachefs/process-memory.ts";

const subject = join(import.meta.dir, "memory-subject.ts");

/** The processes that a process has started. */
function childrenOf(pid: number): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((each) => {
      try {
        return (
          readFileSync(`/proc/${each}/stat`, "utf8")
            .replace(/^.*\) /s, "")
            .split(" ")[1] === String(pid)
        );
      } catch {
        return false;
      }
    });
}

/** Where the key is found: in the process that wanted it, or in the one that read it. */
async function foundAfterReading(device: string, key: Uint8Array, mode: "hold" | "let-go") {
  const sha256 = Bun.SHA256.hash(key, "hex");
  const child = Bun.spawn([process.execPath, subject, device, sha256, mode], { stdout: "pipe", stderr: "inherit" });
  try {
    const { value } = await child.stdout.getReader().read();
    expect(new TextDecoder().decode(value)).toBe(`read ${key.length}\n`);
    // Without the first eight octets, which an allocator writes over when it takes memory back.
    const trace = Uint8Array.from(key).subarray(8);
    const hex = Buffer.from(Buffer.from(key).toString("hex")).subarray(8);
    const readers = childrenOf(child.pid);
    expect(readers).toHaveLength(1);
    return [child.pid, ...readers].map((pid) =>
      findInMemory(pid, { key: trace, "in hex": hex }).map(({ what }) => what),
    );
  } finally {
    child.kill();
    await child.exited;
  }
}

const whyNot = whyNoStick();
describe.skipIf(whyNot !== undefined)(`after a key was read from a stick (${whyNot ?? "on a loop device"})`, () => {
  test("no copy of it is left, neither here nor in the process that read it", async () => {
    using stick = new LoopStick();
    const key = crypto.getRandomValues(new Uint8Array(64));
    {
      using folder = WritableFolder.mount(stick.device, "ext4");
      using secret = SecretBytes.take(Uint8Array.from(key));
      folder.create("root.key", secret);
    }
    const [held] = await foundAfterReading(stick.device, key, "hold");
    if (held?.length === 0) return; // this machine does not let us look into a child
    expect(held).toEqual(["key"]);
    expect(await foundAfterReading(stick.device, key, "let-go")).toEqual([[], []]);
  }, 30_000);
});
