/** LUKS disks with the tiny root in them, made by the real tools; tokens in their headers by clevis itself or by latchkey. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startSwtpm } from "../unit/tpm2/swtpm.ts";
import { cached, contentHash, lock, removeAsRoot } from "./cache.ts";
import { asRoot, run } from "./command.ts";
import { writeFiles } from "./files.ts";
import type { Guest } from "./guest/chroot.ts";
import { runInside } from "./guest/inside.ts";
import { PASSPHRASE } from "./images.ts";
import { seconds } from "./patience.ts";
import { rootTree } from "./root-tree.ts";

/** Raise when the recipes below change. */
const RECIPE = 1;

/** A Clevis token for a TPM with PCR 14 in each member's LUKS2 header, another one each time, and by whom. */
export type TokenMaker = { readonly by: "clevis" } | { readonly by: "latchkey"; readonly binary: string };

export interface LuksOptions {
  /** Of each member, and so how many there are; several hold a btrfs raid1, one an ext4. */
  readonly passphrases?: readonly string[];
  readonly version?: 1 | 2;
  /** A digit: images of another series have other UUIDs. */
  readonly series?: number;
  /** In the LUKS2 headers. */
  readonly label?: string;
  /** An LVM volume group of this name inside, with a logical volume "root" that holds the ext4. One member only. */
  readonly volumeGroup?: string;
  readonly token?: TokenMaker;
}

export interface LuksMember {
  /** Shared by all tests: machines write to a snapshot. */
  readonly file: string;
  /** Of the LUKS header. */
  readonly uuid: string;
  readonly passphrase: string;
}

export interface LuksImage {
  /** Of the filesystem inside. */
  readonly uuid: string;
  readonly members: readonly LuksMember[];
}

const TREE = `
cd /mnt
mkdir -p tree/bin
cp /usr/bin/busybox tree/bin/busybox
for applet in $(busybox --list); do
  [ "$applet" = busybox ] || [ "$applet" = init ] || ln -s busybox "tree/bin/$applet"
done
chown -R 0:0 tree
uuid=$1; version=$2; label=$3; group=$4; shift 4
`;

/**
 * The filesystem takes the first part of the file, then the whole is encrypted where it lies; no mapping is needed for that. The
 * key derivation is the cheapest there is: the default costs two seconds for each guess in an emulated machine.
 */
const ENCRYPT = `
number=0
for member in "$@"; do
  number=$((number + 1))
  cryptsetup reencrypt --encrypt --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \\
    --reduce-device-size 32M --uuid "$member" --key-file "passphrase$number" "member$number.img"
  if [ -n "$label" ]; then cryptsetup config --label "$label" "member$number.img"; fi
  if [ "$version" = 1 ]; then cryptsetup convert --batch-mode --type luks1 "member$number.img"; fi
  cryptsetup open --test-passphrase --key-file "passphrase$number" "member$number.img"
  chmod 644 "member$number.img"
done
`;

const EXT4 = `${TREE}
truncate -s 96M member1.img
mkfs.ext4 -q -F -d tree -U "$uuid" member1.img 60M
${ENCRYPT}`;

/**
 * LVM writes its labels to block devices only, and needs no device mapper where nothing is activated. Its first logical volume
 * begins where the first extent does, so that the filesystem can be made without it.
 */
const LVM = `${TREE}
truncate -s 64M member1.img
loop=$(losetup --find --show member1.img)
trap 'losetup -d "$loop"' EXIT
settings='global{activation=0 use_lvmpolld=0 event_activation=0} devices{use_devicesfile=0} backup{backup=0 archive=0}'
lvm pvcreate -q -q --config "$settings" "$loop"
lvm vgcreate -q -q --config "$settings" "$group" "$loop"
lvm lvcreate -q -q --config "$settings" --activate n --zero n --wipesignatures n --extents 100%FREE --name root "$group"
start=$(lvm pvs --config "$settings" --noheadings --nosuffix --units b --options pe_start "$loop" | tr -d ' ')
losetup -d "$loop"
trap - EXIT
mkfs.ext4 -q -F -d tree -U "$uuid" -E "offset=$start" member1.img 56M
truncate -s 96M member1.img
${ENCRYPT}`;

/** mkfs.btrfs fills one device only (--rootdir): several are mounted, so the host's kernel needs btrfs and loop devices. */
const BTRFS = `${TREE}
loops=
trap 'for loop in $loops; do losetup -d "$loop"; done' EXIT
devices=
number=0
for member in "$@"; do
  number=$((number + 1))
  truncate -s 192M "member$number.img"
  loop=$(losetup --find --show "member$number.img")
  loops="$loops $loop"
  devices="$devices,device=$loop"
done
mkfs.btrfs -q -f -U "$uuid" -m raid1 -d raid1 -b 150M $loops
mkdir /run/filling
mount -t btrfs -o "\${devices#,}" "$loop" /run/filling
cp -a tree/. /run/filling/
umount /run/filling
btrfs device scan --forget
for loop in $loops; do losetup -d "$loop"; done
loops=
${ENCRYPT}`;

/** An image with these properties, from the cache or made now (a second or two; with a token three more). */
export async function luksImage(guest: Guest, options: LuksOptions = {}): Promise<LuksImage> {
  const { passphrases = [PASSPHRASE], version = 2, series = 1, label = "", volumeGroup, token } = options;
  const kind = volumeGroup !== undefined ? "lvm" : passphrases.length === 1 ? "ext4" : "btrfs";
  const uuid = `6c617463-6865-4b65-8000-0000000f5${series}${passphrases.length}0`;
  const uuids = passphrases.map(
    (_, index) => `6c617463-6865-4b65-8000-0000001f5${series}${passphrases.length}${index + 1}`,
  );
  const script = { ext4: EXT4, lvm: LVM, btrfs: BTRFS }[kind];
  const maker = token?.by === "latchkey" ? { by: token.by, binary: contentHash(token.binary) } : token;
  const directory = await cached({
    kind: "images",
    name: `luks${version}-${kind}${token === undefined ? "" : `-${token.by}`}`,
    inputs: {
      RECIPE,
      script,
      rootTree,
      guest: guest.key,
      passphrases,
      version,
      uuids,
      uuid,
      label,
      volumeGroup,
      maker,
    },
    keep: 6,
    within: seconds(180),
    build: async (unfinished) => {
      const tree = join(unfinished, "tree");
      mkdirSync(tree);
      writeFiles(tree, rootTree);
      const keys = passphrases.map((passphrase, index) => {
        const file = join(unfinished, `passphrase${index + 1}`);
        writeFileSync(file, passphrase);
        return file;
      });
      // The kernel knows a btrfs by its UUID, and these have the same: one at a time.
      using _ = await lock("luks-images", seconds(180));
      await runInside(guest, script, {
        purpose: `making a LUKS${version} image with ${kind}`,
        within: seconds(120),
        exchange: unfinished,
        arguments: [uuid, `${version}`, label, volumeGroup ?? "", ...uuids],
        log: join(unfinished, "make.log"),
      });
      for (const [index, key] of keys.entries()) {
        const member = join(unfinished, `member${index + 1}.img`);
        if (token) await addToken(token, member, key, join(unfinished, "make.log"));
      }
      for (const file of keys) rmSync(file);
      await removeAsRoot(tree);
    },
  });
  const members = uuids.map((member, index) => ({
    file: join(directory, `member${index + 1}.img`),
    uuid: member,
    passphrase: passphrases[index] ?? "",
  }));
  return { uuid, members };
}

/** Sealed to the TPM of the fixtures (tokens.ts gives its state to machines) while its PCR 14 is zero, as it is in a guest. */
async function addToken(token: TokenMaker, file: string, key: string, log: string): Promise<void> {
  await using swtpm = await startSwtpm({ state: "fixture", socket: "tcp" });
  const command =
    token.by === "clevis"
      ? ["clevis", "luks", "bind", "-y", "-k", key, "-d", file, "tpm2", '{"pcr_bank":"sha256","pcr_ids":"14"}']
      : [token.binary, "enroll", "tpm2", "--pcrs", "14", "--passphrase-file", key, file];
  await run(asRoot(["env", `TPM2TOOLS_TCTI=${swtpm.tcti}`, ...command]), {
    purpose: `a token by ${token.by}`,
    within: seconds(60),
    log,
  });
}
