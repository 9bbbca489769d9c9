import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { cached, removeAsRoot } from "./cache.ts";
import { writeFiles } from "./files.ts";
import type { Guest } from "./guest/chroot.ts";
import { runInside } from "./guest/inside.ts";
import { seconds } from "./patience.ts";
import { rootTree } from "./root-tree.ts";

/** Raise when the recipe below changes. */
const RECIPE = 1;

/**
 * What all test images are locked with, unless a test says otherwise. Long enough to be searched for in memory, and of words that no
 * program has in its messages: "horse battery" found systemd's remarks on batteries.
 */
export const PASSPHRASE = "vexed Quokka 7 jumps over dwarf zebu";

export interface BcachefsOptions {
  /** Undefined: an unencrypted filesystem. */
  readonly passphrase?: string | undefined;
  /** The external UUID, the one of `root=UUID=` and of the key's name. */
  readonly uuid?: string;
  readonly label?: string;
  readonly members?: number;
  readonly megabytes?: number;
}

/** A bcachefs with the tiny root in it, made by the real tool. */
export interface BcachefsImage {
  readonly uuid: string;
  readonly label: string | undefined;
  readonly passphrase: string | undefined;
  /** One file per member, shared by all tests: machines write to a snapshot. */
  readonly members: readonly string[];
}

/**
 * Runs in the guest: the tree gets its busybox, then `bcachefs format` fills the filesystem with it. The passphrase is read
 * twice, by the formatting and by the start of the new filesystem for `--source`. The last part proves that the image is what it
 * is called: `unlock -c` has status 0 for encrypted ones only. The tool (1.13) now and then corrupts its heap and is killed at its end,
 * "unaligned tcache chunk detected": then it is started again.
 */
const FORMAT = `
encrypted=$1; members=$2; size=$3; shift 3
cd /mnt
mkdir -p tree/bin
cp /usr/bin/busybox tree/bin/busybox
for applet in $(busybox --list); do
  [ "$applet" = busybox ] || [ "$applet" = init ] || ln -s busybox "tree/bin/$applet"
done
chown -R 0:0 tree
cat >passphrase
for attempt in 1 2 3; do
  rm -f member*.img
  devices=
  for number in $(seq "$members"); do
    truncate -s "$size" "member$number.img"
    devices="$devices member$number.img"
  done
  status=0
  bcachefs format "$@" --source=/mnt/tree $devices <passphrase || status=$?
  [ "$status" -ge 128 ] || break
done
rm passphrase
[ "$status" = 0 ]
if [ "$encrypted" = yes ]; then bcachefs unlock -c member1.img; else ! bcachefs unlock -c member1.img; fi
chmod 644 member*.img
`;

/** An image with these properties, from the cache or made now (a second or two). */
export async function bcachefsImage(guest: Guest, options: BcachefsOptions): Promise<BcachefsImage> {
  const { passphrase, uuid = "6c617463-6865-4b65-8000-000000000001", label, members = 1, megabytes = 256 } = options;
  const inputs = { RECIPE, FORMAT, rootTree, guest: guest.key, passphrase, uuid, label, members, megabytes };
  const directory = await cached({
    kind: "images",
    name: `bcachefs-${passphrase === undefined ? "plain" : "encrypted"}-${members}`,
    inputs,
    keep: 6,
    within: seconds(180),
    build: async (unfinished) => {
      const tree = join(unfinished, "tree");
      mkdirSync(tree);
      writeFiles(tree, rootTree);
      const encryption = passphrase === undefined ? [] : ["--encrypted"];
      const naming = ["-U", uuid, ...(label === undefined ? [] : ["-L", label])];
      await runInside(guest, FORMAT, {
        purpose: "making a bcachefs image",
        within: seconds(120),
        exchange: unfinished,
        arguments: [encryption.length > 0 ? "yes" : "no", `${members}`, `${megabytes}M`, ...encryption, ...naming],
        log: join(unfinished, "format.log"),
        ...(passphrase === undefined ? {} : { input: `${passphrase}\n${passphrase}\n` }),
      });
      await removeAsRoot(tree);
    },
  });
  const files = Array.from({ length: members }, (_, index) => join(directory, `member${index + 1}.img`));
  return { uuid, label, passphrase, members: files };
}
