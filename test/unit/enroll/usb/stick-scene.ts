import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type FoundStick, findStick } from "../../../../src/enroll/usb/find-stick.ts";
import { ChildKeyReader } from "../../../../src/sources/usb/child-reader.ts";
import { Folder, never } from "../scene.ts";

/** Why tests that mount a stick cannot run here; undefined when they can. */
export function whyNoStick(): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  if (Bun.which("mkfs.ext4") === null || Bun.which("losetup") === null) return "no mkfs.ext4 or losetup";
  if (!readFileSync("/proc/filesystems", "utf8").includes("ext4")) return "this kernel has no ext4";
  return Bun.spawnSync(["losetup", "-f"]).exitCode === 0 ? undefined : "this kernel has no loop devices";
}

export function run(command: readonly string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command]);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  return stdout.toString().trim();
}

export const STICK_UUID = "11111111-2222-4333-8444-555555555555";

/** A stick with an empty ext4, on a loop device, and what reads it. */
export class LoopStick extends Folder {
  readonly device: string;
  readonly reader = new ChildKeyReader();

  constructor() {
    super();
    const image = join(this.path, "stick.img");
    writeFileSync(image, "");
    truncateSync(image, 8 * 1024 ** 2);
    run(["mkfs.ext4", "-q", "-F", "-U", STICK_UUID, image]);
    this.device = run(["losetup", "-f", "--show", image]);
  }

  find(): Promise<FoundStick> {
    return findStick({ device: this.device }, { reader: this.reader, anyBus: true }, never);
  }

  /** A file's bytes as they are on the device; undefined where there is none. */
  async content(path: string): Promise<Buffer | undefined> {
    try {
      using secret = await this.reader.read({ on: this.device, type: "ext4", path }, never);
      return Buffer.from(secret.bytes);
    } catch {
      return undefined;
    }
  }

  override [Symbol.dispose](): void {
    this.reader[Symbol.dispose]();
    run(["losetup", "-d", this.device]);
    super[Symbol.dispose]();
  }
}
