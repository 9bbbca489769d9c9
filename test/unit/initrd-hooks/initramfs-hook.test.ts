import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, renameSync } from "node:fs";
import { InitramfsScene, VERSION } from "./initramfs-scene.ts";

/** The functions of initramfs-tools as far as the hook uses them, each of which says that it was called. */
const hookFunctions = (calls: string): string => `
for name in manual_add_modules auto_add_modules; do
  eval "$name() { echo \\"$name \\$*\\" >> ${calls}; }"
done
copy_exec() {
  echo "copy_exec $*" >> ${calls}
  mkdir -p "$DESTDIR\${1%/*}"
  if [ -e "$1" ]; then cp -p "$1" "$DESTDIR$1"; else : > "$DESTDIR$1"; fi
  \${damage:-:} "$DESTDIR$1"
}
strip_it() { printf '#!/bin/sh\\necho 1.4.5\\n' > "$1"; }
cut_it() { printf 'exit 1' > "$1"; }
`;

/** A system with the program and a configuration, and an image that the packages' hooks have put together. */
class BuildScene extends InitramfsScene {
  constructor(needs = "") {
    super();
    this.script("/hook", this.text("hook.sh"));
    // The hook's own paths lead into the scene, and it appends them to the image's: there they lead back to the image.
    this.put("/tree/init", "");
    this.link(`/tree${this.at("")}`, this.at("/tree"));
    this.put("/usr/share/initramfs-tools/hook-functions", hookFunctions(`${this.stubs.folder}/calls`));
    const answers = [
      '#!/bin/sh\ncase "$*" in',
      `--version) echo "${VERSION}" ;;`,
      `image-needs) echo "${needs}" ;;`,
      "esac\n",
    ];
    this.put("/usr/bin/latchkey", answers.join("\n"), 0o755);
    this.put("/usr/bin/timeout", "", 0o755);
    this.put("/etc/latchkey/latchkey.toml", "prompt_after = '2s'\n");
    this.put("/etc/latchkey/root.key", "a key");
    this.put("/usr/lib/latchkey/cryptroot-unlock", "ours\n", 0o755);
    this.stubs.add("findmnt", "echo ext4");
  }

  async build(environment: Readonly<Record<string, string>> = {}) {
    return await this.run("/hook", { DESTDIR: this.at("/tree"), version: "6.12", ...environment });
  }

  inTree(path: string): string | undefined {
    const file = this.at(`/tree${path}`);
    return existsSync(file) ? readFileSync(file, "utf8") : undefined;
  }
}

describe("the build hook", () => {
  test("brings program, configuration and drivers, and no key", async () => {
    using scene = new BuildScene();
    const run = await scene.build();
    expect(run.status).toBe(0);
    expect(scene.inTree("/usr/bin/latchkey")).toContain(VERSION);
    expect(scene.inTree("/usr/lib/latchkey/version")).toBe(`${VERSION}\n`);
    expect(scene.inTree("/etc/latchkey/latchkey.toml")).toBe("prompt_after = '2s'\n");
    expect(scene.inTree("/etc/latchkey/root.key")).toBeUndefined();
    expect(run.stderr).toContain("W: latchkey: left /etc/latchkey/root.key out");
    expect(run.calls.filter((call) => call.startsWith("manual_add_modules"))).toEqual([
      "manual_add_modules bcachefs chacha20 poly1305 sha256 crc32c crc64 xxhash lz4 lz4hc zstd",
    ]);
  });

  test("brings more where the configuration needs it, and says so at boot", async () => {
    using scene = new BuildScene("luks network tpm usb vfat");
    const run = await scene.build({ MODULES: "dep" });
    const modules = run.calls.filter((call) => /_modules /.test(call)).join("\n");
    for (const wanted of ["dm_crypt", "auto_add_modules net", "tpm_crb", "usb_storage", "nls_cp437"]) {
      expect(modules).toContain(wanted);
    }
    expect(run.calls).toContain("copy_exec /usr/sbin/cryptsetup");
    // With it the network goes down again; there is no busybox here.
    expect(run.calls).toContain("copy_exec /usr/bin/ip");
    expect(scene.inTree("/usr/lib/latchkey/needs")).toBe("luks network tpm usb vfat\n");
  });

  test("does not bring all network drivers where they are already", async () => {
    using scene = new BuildScene("network");
    expect((await scene.build({ MODULES: "most" })).calls).not.toContain("auto_add_modules net");
  });

  test("brings the key file that the configuration wants, with a warning", async () => {
    using scene = new BuildScene();
    const keyFile = scene.at("/etc/latchkey/root.key");
    scene.put(
      "/usr/bin/latchkey",
      `#!/bin/sh\n[ "$1" = --version ] && echo "${VERSION}"\n[ "$2" = --key-files ] && echo ${keyFile}\nexit 0\n`,
      0o755,
    );
    const run = await scene.build();
    expect(run.stderr).toContain("ANYONE WHO READS /boot CAN OPEN THE DISK");
    expect(run.stderr).not.toContain("left");
    expect(scene.inTree("/etc/latchkey/root.key")).toBe("a key");
  });

  test("brings tokens, certificates and headers from wherever they lie, and shouts about none of them", async () => {
    using scene = new BuildScene();
    const [token, header, gone] = [scene.at("/root/x.jwe"), scene.at("/boot/data.hdr"), scene.at("/gone.jwe")];
    scene.put("/root/x.jwe", "a token");
    scene.put("/boot/data.hdr", "a header");
    scene.put(
      "/usr/bin/latchkey",
      `#!/bin/sh\n[ "$1" = --version ] && echo "${VERSION}"\n[ "$2" = --files ] && printf '%s\\n' ${token} ${header} ${gone}\nexit 0\n`,
      0o755,
    );
    const run = await scene.build();
    expect(run.status).toBe(0);
    expect([scene.inTree("/root/x.jwe"), scene.inTree("/boot/data.hdr")]).toEqual(["a token", "a header"]);
    expect(run.stderr).not.toContain("ANYONE WHO READS");
    expect(run.stderr).toContain("W: latchkey: /gone.jwe is wanted in this image, and is not here.");
  });

  test("brings a configuration that is a link, or lies behind one", async () => {
    using scene = new BuildScene();
    renameSync(scene.at("/etc/latchkey"), scene.at("/kept"));
    scene.link("/etc/latchkey", scene.at("/kept"));
    scene.put("/elsewhere.jwe", "a token");
    scene.link("/kept/root.jwe", "../elsewhere.jwe");
    expect((await scene.build()).status).toBe(0);
    expect(scene.inTree("/etc/latchkey/latchkey.toml")).toBe("prompt_after = '2s'\n");
    expect(scene.inTree("/etc/latchkey/root.jwe")).toBe("a token");
    expect(scene.inTree("/etc/latchkey/root.key")).toBeUndefined();
  });

  test.each<[string, string, string, string]>([
    ["is stripped on the system", "echo 1.4.5", "", "answers --version with '1.4.5': it was stripped or is damaged"],
    ["is stripped in the image", "", "strip_it", `answers --version with '1.4.5', not '${VERSION}'`],
    ["is damaged in the image", "", "cut_it", "the copy in the image does not run, and differs from"],
  ])("makes no image when the program %s", async (_, program, damage, message) => {
    using scene = new BuildScene();
    if (program !== "") scene.put("/usr/bin/latchkey", `#!/bin/sh\n${program}\n`, 0o755);
    const run = await scene.build(damage === "" ? {} : { damage });
    expect(run.status).toBe(1);
    expect(run.stderr).toContain(message);
    expect(run.stderr).toContain("E: latchkey: no image is made with a program that does not work");
  });

  test("steps in front of the packages' scripts, which stay in the image", async () => {
    using scene = new BuildScene();
    scene.put("/tree/scripts/local-premount/bcachefs", "theirs\n", 0o755);
    scene.put("/tree/usr/bin/cryptroot-unlock", "Debian's\n", 0o755);
    expect((await scene.build()).status).toBe(0);
    expect(scene.inTree("/usr/lib/latchkey/bcachefs-question")).toBe("theirs\n");
    expect(scene.inTree("/usr/lib/latchkey/debian-cryptroot-unlock")).toBe("Debian's\n");
    expect(scene.inTree("/usr/bin/cryptroot-unlock")).toBe("ours\n");
    expect(scene.inTree("/scripts/local-premount/bcachefs")).toBeUndefined();
  });

  test("warns where the root is a bcachefs and the kernel has none", async () => {
    using scene = new BuildScene();
    scene.stubs.add("findmnt", "echo bcachefs");
    scene.stubs.add("modinfo", "exit 1");
    expect((await scene.build()).stderr).toContain("W: latchkey: kernel 6.12 has no bcachefs module");
  });
});
