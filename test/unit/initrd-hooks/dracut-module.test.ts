import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { StubPrograms } from "./stub-programs.ts";

const setup = join(import.meta.dir, "../../../initrd-hooks/dracut/module-setup.sh");

/** dracut's functions as far as the module uses them, each of which says that it was called. */
const STUB_DRACUT = `
for name in inst_simple inst_script inst_hook inst_multiple inst_libdir_file dwarn derror dfatal push_host_devs; do
  eval "$name() { echo \\"$name \\$*\\"; }"
done
require_binaries() { echo "require_binaries $*"; return "\${missing:-0}"; }
instmods() { echo "instmods hostonly=\${hostonly-unset} $*"; }
inst_binary() { mkdir -p "$initdir/usr/bin"; cp "$dracutsysrootdir$1" "$initdir$1"; \${damage:-true} "$initdir$1"; }
strip_it() { printf '#!/bin/sh\\necho 1.4.5\\n' > "$1"; }
cut_it() { printf 'nonsense' > "$1"; chmod 644 "$1"; }
systemctl_stub() { echo "systemctl $*"; }
SYSTEMCTL=systemctl_stub
systemdutildir=/usr/lib/systemd systemdsystemunitdir=/usr/lib/systemd/system moddir=/moddir kernel=6.12
declare -A host_fs_types
do_strip=yes
`;

async function inModule(script: string, prepare: (stubs: StubPrograms) => void = () => undefined) {
  using stubs = new StubPrograms();
  for (const name of ["mkdir", "cp", "chmod", "find", "sha256sum", "grep"])
    stubs.add(name, `exec /usr/bin/${name} "$@"`);
  stubs.put("main.sh", `${STUB_DRACUT}\n. ${setup}\n${script}\n`);
  prepare(stubs);
  const folders = { initdir: join(stubs.folder, "image"), dracutsysrootdir: join(stubs.folder, "system") };
  const { stdout, stderr, status } = await stubs.run(["/bin/bash", join(stubs.folder, "main.sh")], folders);
  return { lines: stdout.trim().split("\n"), stderr, status };
}

/** A system with a program that answers `answer` to --version, and a configuration. */
const system = (answer: string) => (stubs: StubPrograms) => {
  const { folder } = stubs;
  const made = Bun.spawnSync(["/bin/mkdir", "-p", `${folder}/system/usr/bin`, `${folder}/system/etc/latchkey`]);
  expect(made.exitCode).toBe(0);
  stubs.put("system/usr/bin/latchkey", `#!/bin/sh\necho "${answer}"\n`);
  Bun.spawnSync(["/bin/chmod", "755", `${folder}/system/usr/bin/latchkey`]);
  stubs.put("system/etc/latchkey/latchkey.toml", "");
  stubs.put("system/etc/latchkey/root.key", "");
};

/** A system whose program says that volumes and tokens need this. */
const needing = (needs: string) => (stubs: StubPrograms) => {
  stubs.add("findmnt", "echo ext4");
  Bun.spawnSync(["/bin/mkdir", "-p", `${stubs.folder}/system/usr/bin`]);
  stubs.put("system/usr/bin/latchkey", `#!/bin/sh\necho "${needs}"\n`);
  Bun.spawnSync(["/bin/chmod", "755", `${stubs.folder}/system/usr/bin/latchkey`]);
};

describe("the dracut module", () => {
  test("joins every image of a system with latchkey and systemd, and none that only mounts", async () => {
    const run = await inModule("check; echo $?; missing=1; check; echo $?; missing=0; mount_needs=1; check; echo $?");
    expect(run.lines.filter((line) => /^\d$/.test(line))).toEqual(["0", "1", "1"]);
    expect(run.lines[0]).toBe("require_binaries /usr/bin/latchkey /usr/lib/systemd/systemd systemd-ask-password");
  });

  test("names the members of a bcachefs root to a hostonly image, and nothing to others", async () => {
    const device = Bun.spawnSync([
      "/bin/sh",
      "-c",
      "for d in /dev/vda /dev/sda /dev/loop0; do [ -b $d ] && echo $d; done",
    ]);
    const [disk = "/dev/none"] = device.stdout.toString().split("\n");
    const root = (type: string, source: string) => (stubs: StubPrograms) =>
      stubs.add("findmnt", `echo "${type} ${source}"`);
    const show = "check; declare -p host_fs_types";
    const members = await inModule(`hostonly=yes; ${show}`, root("bcachefs", `${disk}:/dev/null`));
    expect(members.lines.slice(1)).toEqual(
      // /dev/null is no disk
      disk === "/dev/none"
        ? ["declare -A host_fs_types"]
        : [`push_host_devs ${disk}`, `declare -A host_fs_types=([${disk}]="bcachefs" )`],
    );
    expect((await inModule(`hostonly=yes; ${show}`, root("ext4", disk))).lines.slice(1)).toEqual([
      "declare -A host_fs_types",
    ]);
    expect((await inModule(`hostonly=; ${show}`, root("bcachefs", disk))).lines.slice(1)).toEqual([
      "declare -A host_fs_types",
    ]);
  });

  test("depends only on modules that this release has", async () => {
    const run = await inModule("depends; echo $?", (stubs) => {
      Bun.spawnSync([
        "/bin/mkdir",
        "-p",
        `${stubs.folder}/modules.d/10systemd`,
        `${stubs.folder}/modules.d/77dracut-systemd`,
      ]);
      stubs.put("main.sh", `dracutbasedir=${stubs.folder}\n${readFileSync(`${stubs.folder}/main.sh`, "utf8")}`);
    });
    expect(run.lines).toEqual(["systemd", "dracut-systemd", "0"]);
  });

  test("brings the filesystem and its crypto, whatever this machine runs from", async () => {
    const run = await inModule("hostonly=yes; installkernel; echo $?", (stubs) => stubs.add("findmnt", "echo ext4"));
    expect(run.lines).toContain("instmods hostonly= bcachefs");
    expect(run.lines.join("\n")).toContain("crypto-chacha20 crypto-poly1305");
    expect(run.lines.at(-1)).toBe("0");
  });

  test.each([
    ["0", "0", ["crypt", "systemd-cryptsetup"]],
    ["0", "255", ["crypt", "systemd-cryptsetup"]],
    ["0", "1", ["crypt"]],
    ["1", "1", []],
  ])(
    "asks for dracut's LUKS modules where volumes want them and they work (%s, %s)",
    async (crypt, systemds, wanted) => {
      const check = `module_check() { case $1 in crypt) return ${crypt} ;; systemd-cryptsetup) return ${systemds} ;; esac; }`;
      const run = (needs: string) => inModule(`${check}; depends; installkernel`, needing(needs));
      const concerned = (lines: readonly string[]) => lines.filter((line) => /^(systemd-)?crypt|dm_crypt/.test(line));
      const lines = concerned((await run("luks tpm")).lines);
      expect(lines.slice(0, -1)).toEqual([...wanted]);
      expect(lines.at(-1)).toStartWith("instmods hostonly= dm_mod dm_crypt drbg algif_skcipher crypto-aes");
      expect(concerned((await run("tpm")).lines)).toEqual([]);
    },
  );

  test.each([
    ["usb vfat exfat", ["usb_storage uas", "vfat nls_cp437", "exfat"]],
    ["usb ext4", ["usb_storage uas", "ext4"]],
    ["iso9660 usb", ["usb_storage uas", "isofs"]],
    ["tpm", []],
  ])("brings the drivers that the configured sticks need, and no others (%s)", async (needs, wanted) => {
    const { lines } = await inModule("hostonly=yes; installkernel", needing(needs));
    const drivers = lines.filter((line) => /usb_storage| vfat|exfat|ext4|isofs/.test(line));
    expect(drivers).toHaveLength(wanted.length);
    for (const [index, part] of wanted.entries()) {
      expect(drivers[index]).toStartWith("instmods hostonly= ");
      expect(drivers[index]).toContain(part);
    }
  });

  test("brings a key file that the configuration names, and shouts", async () => {
    const run = await inModule("install", (stubs) => {
      system("latchkey 1 (build x)")(stubs);
      const program = `case $2 in --key-files) echo /etc/latchkey/root.key ;; *) echo "latchkey 1 (build x)" ;; esac`;
      stubs.put("system/usr/bin/latchkey", `#!/bin/sh\n${program}\n`);
      stubs.put("system/etc/latchkey/other.key", "");
    });
    expect(run.lines).toContain("inst_simple /etc/latchkey/root.key");
    expect(run.lines).toContain("dwarn latchkey: ANYONE WHO READS /boot CAN OPEN THE DISK with it.");
    expect(run.lines.filter((line) => line.includes(" out: "))).toEqual([
      "dwarn latchkey: left /etc/latchkey/other.key out: a key does not belong in an image that anyone with the disk can read.",
    ]);
  });

  test("brings tokens, certificates and headers from wherever they lie, and shouts about none of them", async () => {
    const run = await inModule("install", (stubs) => {
      system("latchkey 1 (build x)")(stubs);
      const program = `case $2 in
--files) printf '%s\\n' /root/x.jwe /boot/data.hdr /gone.jwe /etc/latchkey/odd.key ;;
--key-files) ;;
*) echo "latchkey 1 (build x)" ;;
esac`;
      stubs.put("system/usr/bin/latchkey", `#!/bin/sh\n${program}\n`);
      for (const folder of ["root", "boot"]) mkdirSync(join(stubs.folder, "system", folder));
      for (const file of ["root/x.jwe", "boot/data.hdr", "etc/latchkey/odd.key"]) stubs.put(`system/${file}`, "");
    });
    for (const file of ["/root/x.jwe", "/boot/data.hdr", "/etc/latchkey/odd.key"]) {
      expect(run.lines).toContain(`inst_simple ${file}`);
    }
    expect(run.lines.filter((line) => line.startsWith("dwarn"))).toEqual([
      "dwarn latchkey: /gone.jwe is wanted in this image, and is not here.",
      "dwarn latchkey: left /etc/latchkey/root.key out: a key does not belong in an image that anyone with the disk can read.",
    ]);
  });

  test("brings a configuration that is a link, or lies behind one", async () => {
    const run = await inModule("install", (stubs) => {
      system("latchkey 1 (build x)")(stubs);
      const [etc, kept] = [join(stubs.folder, "system/etc"), join(stubs.folder, "system/kept")];
      renameSync(join(etc, "latchkey"), kept);
      symlinkSync(kept, join(etc, "latchkey"));
      stubs.put("system/elsewhere.jwe", "");
      symlinkSync("../elsewhere.jwe", join(kept, "root.jwe"));
    });
    const copied = run.lines.filter((line) => line.startsWith("inst_simple /etc/"));
    expect(copied.sort()).toEqual(["inst_simple /etc/latchkey/latchkey.toml", "inst_simple /etc/latchkey/root.jwe"]);
  });

  test("says so when the kernel has no bcachefs and the root is one", async () => {
    const run = await inModule("installkernel", (stubs) => {
      stubs.add("findmnt", "echo bcachefs");
      stubs.add("modinfo", "exit 1");
    });
    expect(run.lines.join("\n")).toContain("derror latchkey: kernel 6.12 has no bcachefs module");
  });

  test("brings the program unstripped, units, configuration and the second question, and no key", async () => {
    const run = await inModule("install; echo strip=$do_strip", system("latchkey 1 (build x)"));
    expect(run.status).toBe(0);
    expect(run.lines.at(-1)).toBe("strip=no");
    for (const line of [
      "inst_simple /etc/latchkey/latchkey.toml",
      "dwarn latchkey: left /etc/latchkey/root.key out: a key does not belong in an image that anyone with the disk can read.",
      "inst_multiple -o bcachefs mount.bcachefs",
      "inst_simple /moddir/latchkey.service /usr/lib/systemd/system/latchkey.service",
      "inst_simple /moddir/sysroot-latchkey.conf /usr/lib/systemd/system/sysroot.mount.d/latchkey.conf",
      "inst_script /moddir/latchkey-fallback.sh /usr/lib/latchkey/fallback",
      "inst_multiple -o cryptsetup sleep",
      "inst_simple /moddir/cryptsetup-latchkey.conf /usr/lib/systemd/system/systemd-cryptsetup@.service.d/latchkey.conf",
      "inst_script /moddir/latchkey-listening.sh /usr/lib/latchkey/listening",
    ]) {
      expect(run.lines).toContain(line);
    }
    expect(
      run.lines.filter((line) => line.startsWith("systemctl")).map((line) => line.split(" ").slice(-3).join(" ")),
    ).toEqual(["add-wants initrd.target latchkey.service", "add-wants initrd.target latchkey-fallback.service"]);
  });

  test.each<[string, string, string, string]>([
    ["is stripped on the system", "1.4.5", "true", "/usr/bin/latchkey answers --version with '1.4.5'"],
    [
      "is stripped in the image",
      "latchkey 1 (build x)",
      "strip_it",
      "the copy in the image answers --version with '1.4.5'",
    ],
    ["is damaged in the image", "latchkey 1 (build x)", "cut_it", "the copy in the image does not run, and differs"],
  ])("makes no image when the program %s", async (_, answer, damage, message) => {
    const run = await inModule(`damage=${damage}; install; echo not reached`, system(answer));
    expect(run.status).toBe(1);
    expect(run.lines.join("\n")).toContain(`dfatal latchkey: ${message}`);
    expect(run.lines).not.toContain("not reached");
  });

  /** A program that says the source remote is configured, and what `image-remote` came to. */
  const withRemote = (imageRemote: string) => (stubs: StubPrograms) => {
    system("latchkey 1 (build x)")(stubs);
    stubs.put(
      "system/usr/bin/latchkey",
      `#!/bin/sh
case $1 in
  --version) echo "latchkey 1 (build x)" ;;
  image-needs) [ "\${2-}" ] || echo "luks remote" ;;
  image-remote) ${imageRemote} ;;
esac
`,
    );
    for (const name of ["passwd", "group"])
      stubs.put(`system/etc/${name}`, "systemd-network:x:998:998::/:/usr/sbin/nologin\n");
    Bun.spawnSync(["/bin/chmod", "755", `${stubs.folder}/system/usr/bin/latchkey`]);
  };
  const networkd = 'dracut_module_included() { [[ "$1" == systemd-networkd ]]; }';

  test("brings the SSH server that the program chose, and a network that waits to be asked for", async () => {
    const run = await inModule(
      `${networkd}; install`,
      withRemote("echo program /usr/sbin/sshd; echo program /usr/lib/openssh/sshd-session"),
    );
    expect(run.status).toBe(0);
    for (const line of [
      "inst_multiple /usr/sbin/sshd",
      "inst_multiple /usr/lib/openssh/sshd-session",
      "inst_simple /moddir/latchkey-sshd.service /usr/lib/systemd/system/latchkey-sshd.service",
      "inst_simple /moddir/networkd-latchkey.conf /usr/lib/systemd/system/systemd-networkd.service.d/latchkey.conf",
      "inst_script /moddir/latchkey-remote-start.sh /usr/lib/latchkey/remote-start",
    ]) {
      expect(run.lines).toContain(line);
    }
    // Nothing starts the server but latchkey.
    expect(run.lines.filter((line) => line.startsWith("systemctl") && /sshd|network/.test(line))).toEqual([]);
  });

  test("brings systemd-networkd by itself where no network of dracut's is in the image, and starts none of it", async () => {
    const run = await inModule(
      "dracut_module_included() { false; }; module_check() { return 255; }; mkdir -p $initdir/etc; install; read -r line < $initdir/etc/passwd; echo its user: $line",
      withRemote("echo program /usr/sbin/dropbear"),
    );
    expect(run.status).toBe(0);
    expect(run.lines.join("\n")).toContain(
      "systemd-network-generator /usr/lib/systemd/system/systemd-networkd.service",
    );
    expect(run.lines.filter((line) => line.startsWith("systemctl") && /sshd|network/.test(line))).toEqual([]);
    expect(run.lines.join("\n")).not.toContain("neednet");
    expect(run.lines).toContain("its user: systemd-network:x:998:998::/:/usr/sbin/nologin");
  });

  test("says that the network comes with every boot where another program than systemd-networkd brings it", async () => {
    const run = await inModule(
      'dracut_module_included() { [[ "$1" == network-manager ]]; }; install',
      withRemote("echo program /usr/sbin/dropbear"),
    );
    expect(run.status).toBe(0);
    expect(run.lines.join("\n")).toContain("dwarn latchkey: not systemd-networkd but another program");
  });

  test("brings no SSH server where the source remote is not configured", async () => {
    const run = await inModule(`${networkd}; install`, system("latchkey 1 (build x)"));
    expect(run.lines.filter((line) => /sshd|networkd/.test(line))).toEqual([]);
  });

  test.each([
    ["nobody could log in", networkd, "exit 78", "no image is made without the SSH server"],
    [
      "nothing can bring the network up",
      "dracut_module_included() { false; }",
      "echo program /usr/sbin/sshd",
      "the source remote wants the network",
    ],
  ])("makes no image when %s", async (_, included, imageRemote, message) => {
    const run = await inModule(`${included}; install; echo not reached`, withRemote(imageRemote));
    expect(run.status).toBe(1);
    expect(run.lines.join("\n")).toContain(message);
    expect(run.lines).not.toContain("not reached");
  });

  test("wants the drivers for its own systemd-networkd, and what dracut has where that is not to be had", async () => {
    const modules = (works: string, binaries: string) =>
      `module_check() { [[ " ${works} " == *" $1 "* ]] && return 255; return 1; }
       require_binaries() { ${binaries}; }; depends`;
    const wanted = async (works: string, binaries = "true") => {
      const run = await inModule(modules(works, binaries), withRemote(""));
      return run.lines.filter((line) => /network/.test(line) && !line.includes(" "));
    };
    expect(await wanted("kernel-network-modules network network-manager")).toEqual(["kernel-network-modules"]);
    expect(await wanted("kernel-network-modules network network-manager", "false")).toEqual(["network"]);
    expect(await wanted("network network-manager")).toEqual(["network"]);
    expect(await wanted("network")).toEqual([]);
  });
});
