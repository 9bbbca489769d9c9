/** What latchkey puts into the kernel's keyring beside what bcachefs' own tool puts there, on images made for this. No machine boots. */
import { expect, test } from "bun:test";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "./cache.ts";
import { guest } from "./guest/chroot.ts";
import { runInside } from "./guest/inside.ts";
import { bcachefsImage } from "./images.ts";
import { seconds } from "./patience.ts";
import { runDirectory } from "./run-directory.ts";

/**
 * Both unlock into the user keyring. Reading a key takes possession, so the user keyring is linked into a session of our own.
 * $1: key description; prints the two payloads as hexadecimal text.
 */
const UNLOCK_TWICE = `
cd /mnt
payload() {
  key=$(keyctl search @u user "$1")
  keyctl pipe "$key" | od -An -v -tx1 | tr -d ' \\n'
  echo
  keyctl unlink "$key" @u
}
keyctl link @u @s
bcachefs unlock -f passphrase member1.img || [ "$?" -ge 128 ] # its heap trouble comes after the key is in place
payload "$1"
for member in member*.img; do
  ./latchkey unlock "/mnt/$member" --passphrase-file passphrase >/dev/null
  payload "$1"
done
`;

const cases = [
  { name: "default options", passphrase: "a passphrase of its own 1", members: 1, id: "a1" },
  { name: "UTF-8, and spaces at both ends", passphrase: " pässwörd 日本語 🔑 ", members: 1, id: "a2" },
  { name: "three members, each of which opens it", passphrase: "t", members: 3, id: "a3" },
];

for (const { name, passphrase, members, id } of cases) {
  test(`the payload is that of the real tool: ${name}`, async () => {
    const debian = await guest("dracut");
    const uuid = `6c617463-6865-4b65-8000-0000000000${id}`;
    const image = await bcachefsImage(debian, { passphrase, members, uuid, label: name.slice(0, 20) });
    using directory = runDirectory();
    mkdirSync(directory.files, { recursive: true });
    copyFileSync(join(repository, "dist/latchkey"), join(directory.files, "latchkey"));
    writeFileSync(join(directory.files, "passphrase"), passphrase);
    for (const [index, file] of image.members.entries()) {
      copyFileSync(file, join(directory.files, `member${index + 1}.img`));
    }
    writeFileSync(join(directory.files, "twice.sh"), UNLOCK_TWICE);
    const output = await runInside(debian, 'keyctl session - sh -eu /mnt/twice.sh "$1"', {
      purpose: "unlocking with both tools",
      within: seconds(120),
      exchange: directory.files,
      arguments: [`bcachefs:${uuid}`],
    });
    const payloads = output.split("\n").filter((line) => /^[0-9a-f]{64}$/.test(line));
    expect(payloads).toHaveLength(1 + members);
    expect(new Set(payloads).size).toBe(1);
  }, 600_000);
}
