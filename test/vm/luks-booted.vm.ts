/** LUKS volumes of a system that is up: latchkey@NAME.service opens what crypttab leaves to be asked for. */
import { expect } from "bun:test";
import { join } from "node:path";
import { startBooted } from "./booted-root.ts";
import { repository } from "./cache.ts";
import { vmCase } from "./case.ts";
import type { Files } from "./files.ts";
import { guest } from "./guest/chroot.ts";
import { PASSPHRASE } from "./images.ts";
import { luksImage } from "./images-luks.ts";

const binary = process.env["LATCHKEY_BINARY"] ?? join(repository, "dist/latchkey");
const HEADER = "/etc/latchkey/media.hdr";
const QUESTION = /Passphrase for .*:/;

/** A mount that has latchkey open what it lies on, as fstab's x-systemd.requires= does. */
const mount = (device: string, where: string, type: string, more: { unit?: string; options?: string }): Files => ({
  [`/etc/systemd/system/${where}.mount`]: `[Unit]
${more.unit === undefined ? "" : `Requires=${more.unit}\nAfter=${more.unit}`}
[Mount]
What=/dev/mapper/${device}
Where=/${where}
Type=${type}
${more.options === undefined ? "" : `Options=${more.options}`}
`,
});

vmCase(
  "LUKS: latchkey@ opens a detached header for its mount, a pool with one question, and a degraded one",
  async (name) => {
    const debian = await guest("initramfs-tools");
    const single = await luksImage(debian);
    const pool = await luksImage(debian, { passphrases: [PASSPHRASE, PASSPHRASE] });
    const lost = await luksImage(debian, { passphrases: [PASSPHRASE, PASSPHRASE], series: 4 });
    const members = [
      ...pool.members.map(({ uuid }, index) => `d${index + 1} UUID=${uuid}`),
      ...lost.members.map(({ uuid }, index) => `e${index + 1} UUID=${uuid}`),
    ];
    await using machine = await startBooted(name, {
      binary,
      files: {
        "/etc/crypttab": [
          `media /dev/disk/by-id/virtio-media none luks,noauto,header=${HEADER}`,
          ...members.map((member) => `${member} none luks,noauto`),
          "",
        ].join("\n"),
        "/etc/latchkey/latchkey.toml": '[pools.data]\nvolumes = ["d1", "d2"]\n[pools.lost]\nvolumes = ["e1", "e2"]\n',
        ...mount("media", "media", "ext4", { unit: "latchkey@media.service" }),
        ...mount("e1", "srv", "btrfs", { options: "degraded" }),
      },
      disks: [
        { file: single.members[0]?.file ?? "", serial: "media" },
        ...pool.members.map(({ file }, index) => ({ file, serial: `d${index + 1}` })),
        { file: lost.members[0]?.file ?? "", serial: "e1" },
      ],
    });
    const disk = "/dev/disk/by-id/virtio-media";
    await machine.shell(
      `cryptsetup luksHeaderBackup --header-backup-file ${HEADER} ${disk} && ` +
        `dd if=/dev/zero of=${disk} bs=1M count=1 conv=notrunc status=none && ! cryptsetup isLuks ${disk}`,
    );

    await machine.sendLine("systemctl start media.mount; echo vm: started");
    await machine.expect(/Passphrase for media/);
    await machine.sendLine(PASSPHRASE);
    await machine.expect("vm: started\n");
    expect(await machine.shell("findmnt -no SOURCE,FSTYPE /media; systemctl is-active latchkey@media")).toMatch(
      /\/dev\/mapper\/media +ext4\s+active/,
    );
    await machine.shell("systemctl stop media.mount latchkey@media && [ ! -e /dev/mapper/media ]");

    await machine.sendLine("systemctl start latchkey@d1 latchkey@d2; echo vm: started");
    await machine.expect(QUESTION);
    await machine.sendLine(PASSPHRASE);
    await machine.expect("vm: started\n");
    expect(await machine.shell("systemctl is-active latchkey@d1 latchkey@d2; ls /dev/mapper")).toMatch(
      /active\s+active\s[\s\S]*d1\s+d2/,
    );
    expect(machine.console.text.match(/Passphrase for/g)).toHaveLength(2);
    await machine.shell("mount /dev/mapper/d1 /mnt");

    const degraded = await machine.shell(
      `printf %s '${PASSPHRASE}' | latchkey unlock lost --allow-degraded --passphrase-file - && ` +
        "systemctl start srv.mount && findmnt -no OPTIONS /srv",
    );
    expect(degraded).toMatch(/\bdegraded\b/);
  },
);
