import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cached } from "../vm/cache.ts";
import { journalOnFailure, unit } from "../vm/fault.ts";
import { type Files, overlay } from "../vm/files.ts";
import type { Guest } from "../vm/guest/chroot.ts";
import { runInside } from "../vm/guest/inside.ts";
import { PASSPHRASE } from "../vm/images.ts";
import { buildInitrd } from "../vm/initrd.ts";
import { Machine, type MachineOptions } from "../vm/machine.ts";
import { seconds } from "../vm/patience.ts";
import { type Comparison, comparisonTable, many } from "./figures.ts";
import { type PoolPlan, type PoolRun, type PoolRuns, poolSays } from "./pool-inside.ts";
import type { Subject } from "./subject.ts";

const MEMBERS = 4;
const ROUNDS = 5;
const PROCESSORS = 2;
/**
 * What each key derivation takes. cryptsetup would choose 1 GiB and as many passes as take two seconds, on four lanes at most; emulated
 * that would be minutes. Four of these fit beside each other into the machine, as four of those into one of 6 GiB.
 */
const ARGON2 = { mebibytes: 64, passes: 4, lanes: 2 } as const;
const MACHINE_MEGABYTES = 2048;
const LIMIT = seconds(900);

const names = Array.from({ length: MEMBERS }, (_, index) => `d${index + 1}`);
const uuidOf = (name: string): string => `6c617463-6865-4b65-8000-0000000be9${name}`;
const deviceOf = (name: string): string => `/dev/disk/by-id/virtio-${name}`;
const KEY = "/pool/passphrase";

/** Raise when it changes. */
const RECIPE = 1;
const FORMAT = `
key=$1; memory=$2; passes=$3; lanes=$4; shift 4
cd /mnt
printf %s "$key" >key
for member in "$@"; do
  truncate -s 20M "\${member%%=*}.img"
  cryptsetup luksFormat --batch-mode --type luks2 --uuid "\${member#*=}" --pbkdf argon2id --pbkdf-memory "$memory" \\
    --pbkdf-force-iterations "$passes" --pbkdf-parallel "$lanes" "\${member%%=*}.img" key
  chmod 644 "\${member%%=*}.img"
done
rm key
`;

/** Four LUKS2 volumes with one passphrase, from the cache or made now. */
async function poolImages(guest: Guest): Promise<readonly string[]> {
  const given = [PASSPHRASE, `${ARGON2.mebibytes * 1024}`, `${ARGON2.passes}`, `${ARGON2.lanes}`];
  const members = names.map((name) => `${name}=${uuidOf(name)}`);
  const directory = await cached({
    kind: "images",
    name: "luks2-pool",
    inputs: { RECIPE, FORMAT, guest: guest.key, given, members },
    keep: 2,
    within: seconds(180),
    build: async (unfinished) => {
      await runInside(guest, FORMAT, {
        purpose: "making a pool of LUKS volumes",
        within: seconds(180),
        exchange: unfinished,
        arguments: [...given, ...members],
      });
    },
  });
  return names.map((name) => join(directory, `${name}.img`));
}

const latchkey = "latchkey unlock";
const inARow = "cryptsetup open in a row";
const verifyFirst = "verify in a row, then open in a row";

/** The ways by turns, so many times. */
function poolPlan(rounds: number, isWarmedUp: boolean): PoolPlan {
  const open = names.map((name) => ["cryptsetup", "open", "--key-file", KEY, deviceOf(name), name]);
  const verify = names.map((name) => ["cryptsetup", "open", "--test-passphrase", "--key-file", KEY, deviceOf(name)]);
  return {
    openings: [
      { name: latchkey, commands: [["latchkey", "unlock", "data", "--passphrase-file", KEY]] },
      { name: inARow, commands: open },
      { name: verifyFirst, commands: [...verify, ...open] },
    ],
    rounds,
    isWarmedUp,
    mappings: names,
  };
}

async function filesInside(plan: PoolPlan): Promise<Files> {
  const program = await Bun.build({ entrypoints: [join(import.meta.dir, "pool-inside.ts")], target: "bun" });
  const [bundle] = program.outputs;
  if (!program.success || !bundle) throw new AggregateError(program.logs, "pool-inside.ts cannot be bundled");
  const volumes = names.map((name) => `[volumes.${name}]\nkind = "luks"\ndevice = "UUID=${uuidOf(name)}"\n`);
  const list = names.map((name) => `"${name}"`).join(", ");
  return {
    "/pool/bun": { content: readFileSync(process.execPath), mode: 0o755 },
    "/pool/inside.js": await bundle.text(),
    "/pool/plan.json": JSON.stringify(plan),
    [KEY]: PASSPHRASE,
    "/etc/latchkey/latchkey.toml": `${volumes.join("\n")}\n[pools.data]\nvolumes = [${list}]\n`,
    // By itself latchkey would open them at once; no line of crypttab asks systemd to.
    "/etc/systemd/system/latchkey.service": { link: "/dev/null" },
    ...unit(
      "vm-pool.service",
      `[Unit]
DefaultDependencies=no
After=systemd-udevd.service systemd-udev-trigger.service
[Service]
Environment=PATH=/usr/sbin:/usr/bin
ExecStartPre=-udevadm settle --timeout=60
ExecStartPre=-modprobe dm_crypt
ExecStart=/pool/bun /pool/inside.js /pool/plan.json
StandardOutput=file:/dev/ttyS0
StandardError=file:/dev/ttyS0
TimeoutStartSec=infinity
`,
    ),
  };
}

type Clock = NonNullable<MachineOptions["clock"]>;

/** Carries out the plan in an initrd. */
async function poolRuns({ guest, binary }: Subject, clock: Clock, plan: PoolPlan): Promise<PoolRuns> {
  const images = await poolImages(guest);
  const initrd = await buildInitrd(guest, {
    stack: "dracut",
    binary,
    install: ["/usr/sbin/cryptsetup", "/usr/bin/udevadm", "/usr/sbin/modprobe"],
  });
  await using machine = await Machine.start({
    name: `bench-pool-${clock}`,
    guest,
    initrd,
    overlays: [overlay({ ...(await filesInside(plan)), ...journalOnFailure })],
    disks: images.map((file, index) => ({ file, serial: names[index] ?? "" })),
    memoryMegabytes: MACHINE_MEGABYTES,
    processors: PROCESSORS,
    clock,
    // Nobody gives up waiting for a root that does not come.
    commandLine: ["root=/dev/disk/by-id/none", "rootfstype=ext4", "rd.retry=3600"],
    lifetime: LIMIT,
  });
  const { match } = await machine.expect(new RegExp(`${poolSays.begin}\n([\\s\\S]*?)\n${poolSays.end}`), {
    within: LIMIT,
    unless: [poolSays.failed, /Kernel panic - not syncing/, /emergency mode/],
  });
  return JSON.parse(match[1] ?? "") as PoolRuns;
}

/** Opening a pool of four LUKS2 volumes, in an initrd. */
export async function poolBenchmark(subject: Subject): Promise<string> {
  const rounds = subject.pairs(ROUNDS);
  const counted = await poolRuns(subject, "instructions", poolPlan(1, false));
  const timed = await poolRuns(subject, "host", poolPlan(rounds, true));
  const tables = [inARow, verifyFirst].map((other) => {
    return comparisonTable(
      [latchkey, other],
      [
        row(COUNTED, counted, other, "wallMs"),
        row("wall, s", timed, other, "wallMs"),
        row("processor, s", timed, other, "cpuMs"),
      ],
    );
  });
  return `## Opening a pool

Four LUKS2 volumes with one passphrase in a file, Argon2id with ${ARGON2.mebibytes} MiB, ${ARGON2.passes} passes and ${ARGON2.lanes} lanes each, in an initrd;
from the start of the first process to the end of the last. Instructions: of a machine that counts them, with one processor, once. Seconds: of
one with ${PROCESSORS} emulated processors, ${many(rounds, "round")} of all three ways by turns.
\`latchkey unlock POOL\` proves the passphrase on every member before it opens the first, as many at a time as there are processors, and has udev
look at the members again once all are open. Four times \`cryptsetup open\` proves nothing beforehand; whoever wants that calls
\`cryptsetup open --test-passphrase\` for each first.

${tables.join("\n\n")}
`;
}

const COUNTED = "thousand million instructions";

function row(what: string, runs: PoolRuns, other: string, quantity: keyof PoolRun): Comparison {
  const column = (name: string) => (runs[name] ?? []).map((run) => run[quantity] / 1000);
  return { what, ours: column(latchkey), theirs: column(other), digits: 1 };
}
