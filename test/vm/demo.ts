/**
 * `npm run demo`: a machine whose root is an encrypted bcachefs, made by the real tool, boots in QEMU. latchkey asks, a wrong and
 * the right passphrase are typed, the root is mounted, and the report of that boot is shown.
 */
import { join } from "node:path";
import type { Report } from "../../src/unlock/report.ts";
import { reportText } from "../../src/unlock/report-text.ts";
import { repository } from "./cache.ts";
import { guest } from "./guest/chroot.ts";
import { bcachefsImage, PASSPHRASE } from "./images.ts";
import { buildInitrd } from "./initrd.ts";
import { Machine } from "./machine.ts";

const isTerminal = process.stdout.isTTY;
const say = (text: string): void => console.log(isTerminal ? `\x1b[1;36m${text}\x1b[0m` : text);

say("● getting a Debian machine ready (a few minutes the first time, seconds after that)");
const debian = await guest("dracut");
const image = await bcachefsImage(debian, { passphrase: PASSPHRASE, label: "tank" });
const initrd = await buildInitrd(debian, { stack: "dracut", binary: join(repository, "dist/latchkey") });

say(`● booting it: root=UUID=${image.uuid}, an encrypted bcachefs. What follows is its console.\n`);
/** What the tiny root prints for the tests is not worth showing. */
let isWatching = true;
await using machine = await Machine.start({
  name: "demo",
  guest: debian,
  initrd,
  disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
  commandLine: [`root=UUID=${image.uuid}`, "rootfstype=bcachefs"],
  mirror: { write: (bytes) => isWatching && process.stdout.write(bytes) },
});
await machine.expect(/Passphrase for root/);
await machine.sendLine("a wrong passphrase");
await machine.expect(/Wrong passphrase for root \(.*\), try again/);
await machine.sendLine(PASSPHRASE);
await machine.expect("opened by prompt");
isWatching = false;
const root = await machine.realRoot();
await machine.off();

say(
  `\n\n● the root filesystem runs, ${(root.at / 1000).toFixed(1)} s after power-on (emulated, without hardware help):`,
);
console.log(`  ${root.mounts[0]}`);
say("\n● the report, as `latchkey report` shows it on that machine:\n");
console.log(reportText(root.report as Report));
