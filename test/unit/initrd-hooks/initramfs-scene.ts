import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { initramfsToolsFiles } from "../../../src/stacks/initramfs-tools/files.ts";
import { type ScriptRun, StubPrograms } from "./stub-programs.ts";

export const dash = ["/usr/bin/dash", "/bin/dash", "/bin/sh"].find((path) => existsSync(path)) ?? "sh";

export const VERSION = "latchkey 1.0.0 (build this)";
export const UUID = "6c617463-6865-4b65-8000-000000000001";

const texts = join(import.meta.dir, "../../../initrd-hooks/initramfs-tools");

/**
 * An image of initramfs-tools in a folder: the scripts are those that are carried, except that all their absolute paths lead into
 * the folder. The programs they call are stubs, and nothing else can be called.
 */
export class InitramfsScene implements Disposable {
  readonly stubs = new StubPrograms();

  constructor() {
    for (const { text, inImage } of initramfsToolsFiles) for (const path of inImage) this.script(path, text);
    for (const name of ["rm", "mkdir", "rmdir", "cat", "cp", "mv", "tr", "sed", "readlink", "cmp", "find"]) {
      this.stubs.add(name, `exec "$(PATH=/usr/bin:/bin command -v ${name})" "$@"`);
    }
    for (const name of ["mount", "umount", "ip", "stty", "sleep"]) this.stubs.add(name);
    this.stubs.add("blkid", 'case "$*" in', `*UUID*) echo ${UUID} ;;`, "*TYPE*) echo bcachefs ;;", "esac");
    this.stubs.add("timeout", "shift 3", 'exec "$@"');
    // What the boot scripts use of initramfs-tools' own functions. A panic is told, and its shell is left at once.
    this.put(
      "/scripts/functions",
      `resolve_device() { case $1 in UUID=*) echo /dev/vda ;; *) return 1 ;; esac; }
panic() { echo "panic $*" >> "${this.stubs.folder}/calls"; ${this.at("/panic-shell")}; }
configure_networking() { echo "configure_networking\${IP:+ $IP}" >> "${this.stubs.folder}/calls"; }
`,
    );
    this.script("/panic-shell", "#!/bin/sh\n");
    this.put("/dev/kmsg", "");
    for (const name of ["lo", "eth0"]) this.put(`/sys/class/net/${name}/address`, "");
    this.put("/proc/cmdline", "root=UUID=1 quiet\n");
    this.put("/proc/keys", "");
    this.put("/dev/console", "");
    this.put("/usr/lib/latchkey/version", `${VERSION}\n`);
    this.put("/usr/lib/latchkey/needs", "\n");
    this.program();
    for (const folder of ["/run/latchkey", "/conf", "/lib/cryptsetup"]) mkdirSync(this.at(folder), { recursive: true });
  }

  at(path: string): string {
    return join(this.stubs.folder, "image", path);
  }

  put(path: string, text: string, mode = 0o644): void {
    mkdirSync(dirname(this.at(path)), { recursive: true });
    writeFileSync(this.at(path), text);
    chmodSync(this.at(path), mode);
  }

  link(path: string, target: string): void {
    mkdirSync(dirname(this.at(path)), { recursive: true });
    symlinkSync(target, this.at(path));
  }

  remove(path: string): void {
    rmSync(this.at(path), { recursive: true, force: true });
  }

  /** A script of ours, which sees this folder as its root. */
  script(path: string, text: string): void {
    const [first = "", ...lines] = text.split("\n");
    const folders = "scripts|run|proc|sys|usr|lib|conf|bin|sbin|etc|cryptroot|dev/console|dev/kmsg|dev/mapper";
    const rest = lines.join("\n").replace(new RegExp(`(?<![\\w.}"$*-])/(?=(?:${folders})\\b)`, "g"), `${this.at("/")}`);
    const quoted = rest.replace(new RegExp(`"/(?=(?:${folders})\\b)`, "g"), `"${this.at("/")}`);
    this.put(path, `${first}\n${quoted}`, 0o755);
  }

  /** The carried text of that name, to be put somewhere. */
  text(name: string): string {
    return readFileSync(join(texts, name), "utf8");
  }

  /** The program: says its version, and otherwise does as the test wants, having noted how it was called. */
  program(...boot: readonly string[]): void {
    const lines = [
      "#!/bin/sh",
      `if [ "$1" = --version ]; then echo "${VERSION}"; exit 0; fi`,
      `echo "latchkey $*\${BUN_OPTIONS+ with BUN_OPTIONS}" >> "${this.stubs.folder}/calls"`,
      ...boot,
    ];
    this.script("/usr/bin/latchkey", `${lines.join("\n")}\n`);
  }

  /** Runs one of the image's scripts as the boot does. @returns without the calls of programs that every script makes */
  async run(path: string, environment: Readonly<Record<string, string>> = {}, ...words: string[]): Promise<ScriptRun> {
    const run = await this.stubs.run([dash, this.at(path), ...words], { ROOT: "UUID=1", ...environment });
    const image = this.at("/");
    const uninteresting = /^$|^\s|^(?:rm|mkdir|cat|cp|mv|tr|sed|readlink|cmp|find|blkid|timeout|sleep) /;
    return {
      ...run,
      stderr: run.stderr.replaceAll(image, "/"),
      calls: run.calls.map((call) => call.replaceAll(image, "/")).filter((call) => !uninteresting.test(call)),
    };
  }

  [Symbol.dispose](): void {
    this.stubs[Symbol.dispose]();
  }
}
