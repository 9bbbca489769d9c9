/** A root on LUKS with latchkey in a dracut initrd: systemd-cryptsetup makes the mappings and gets its keys from latchkey. */
import { expect } from "bun:test";
import { join } from "node:path";
import type { Report } from "../../src/unlock/report.ts";
import { repository } from "./cache.ts";
import { vmCase } from "./case.ts";
import { damagedBinary, journalOnFailure, kill } from "./fault.ts";
import { type Files, overlay } from "./files.ts";
import { guest } from "./guest/chroot.ts";
import { PASSPHRASE } from "./images.ts";
import { type LuksImage, type LuksMember, type LuksOptions, luksImage } from "./images-luks.ts";
import { buildInitrd, type InitrdOptions, smallMachineDrivers } from "./initrd.ts";
import { Machine, type MachineOptions } from "./machine.ts";
import { describeFindings, findInMemory } from "./memory.ts";
import { seconds } from "./patience.ts";
import { rootSays } from "./root-tree.ts";
import { tpmState } from "./tokens.ts";

const binary = process.env["LATCHKEY_BINARY"] ?? join(repository, "dist/latchkey");
const WRONG_PASSPHRASE = "grumpy Wombat 4 naps under violet fig";
/** Milliseconds in which systemd-cryptsetup has tried a cached passphrase; it takes a second or two. */
const CACHED_IS_TRIED = seconds(6);
/** systemd-cryptsetup's own question. */
const NATIVE_QUESTION = /Please enter (?:LUKS )?passphrase for disk/i;

/** With all that dracut brings for a btrfs. */
const forBtrfs: Partial<InitrdOptions> = { add: ["btrfs"], drivers: [...smallMachineDrivers, "btrfs"] };

interface Differences extends Partial<Omit<MachineOptions, "name" | "guest" | "initrd" | "overlays">> {
  readonly files?: Files;
  readonly initrd?: Partial<InitrdOptions>;
}

const image = async (options: LuksOptions = {}): Promise<LuksImage> => luksImage(await guest("dracut"), options);

async function start(name: string, luks: LuksImage, differences: Differences = {}): Promise<Machine> {
  const { files = {}, initrd = {}, ...others } = differences;
  const dracut = await guest("dracut");
  return Machine.start({
    name,
    guest: dracut,
    initrd: await buildInitrd(dracut, { stack: "dracut", binary, ...initrd }),
    overlays: [overlay({ ...files, ...journalOnFailure })],
    disks: luks.members.map(({ file }, index) => ({ file, serial: `root${index}` })),
    commandLine: [`root=UUID=${luks.uuid}`, ...luks.members.map(({ uuid }) => `rd.luks.uuid=${uuid}`)],
    ...others,
  });
}

/** crypttab for the members, as `d1`, `d2` and so on, or under one name. */
const crypttab = (
  members: readonly LuksMember[],
  options: string,
  name = (index: number) => `d${index + 1}`,
): Files => ({
  "/etc/crypttab": members.map(({ uuid }, index) => `${name(index)} UUID=${uuid} none ${options}\n`).join(""),
});

const POOL = '[pools.data]\nvolumes = ["d1", "d2"]\n';

const reportOf = async (machine: Machine): Promise<Report> => (await machine.realRoot()).report as Report;

const openedBy = (report: Report): readonly unknown[] => report.volumes.map(({ name, opened_by }) => [name, opened_by]);

vmCase(
  "LUKS: a wrong passphrase is told, the right one opens the root through systemd, and no copy of either is left",
  async (name) => {
    const luks = await image();
    const [member] = luks.members;
    await using machine = await start(name, luks, { atRoot: "hold" });
    const mapping = `luks-${member?.uuid}`;
    await machine.expect(/Passphrase for luks-\S+ \(LUKS2/);
    await machine.sendLine(WRONG_PASSPHRASE);
    await machine.expect(/Wrong passphrase for luks-\S+ .*try again/);
    await machine.sendLine(PASSPHRASE);
    const { mounts, report } = await machine.realRoot();
    expect(mounts[0]).toContain(`/dev/mapper/${mapping} / ext4`);
    expect((report as Report).attempts.map(({ verdict }) => verdict)).toEqual(["wrong-credential", "opened"]);
    expect((report as Report).events.map(({ text }) => text)).toContain("systemd-cryptsetup waits for its key");
    expect(JSON.stringify(report)).not.toContain(PASSPHRASE);
    expect(machine.console.text).not.toMatch(NATIVE_QUESTION);
    expect(machine.console.text).not.toContain("latchkey opens it itself");
    await machine.expect(rootSays.holding);
    const memory = await machine.saveMemory();
    for (const secret of [PASSPHRASE, WRONG_PASSPHRASE]) {
      const findings = await findInMemory(memory, new TextEncoder().encode(secret), "the passphrase");
      expect(describeFindings(findings)).toBe("");
    }
  },
);

vmCase("LUKS1 from crypttab, with options of both dialects, keeps its name; nofail holds up nothing", async (name) => {
  const luks = await image({ version: 1 });
  const data = await image({ series: 2, passphrases: [WRONG_PASSPHRASE] });
  const root = crypttab(luks.members, "luks,initramfs,x-initrd.attach,discard,tries=5,loud,noearly", () => "cryptroot");
  await using machine = await start(name, luks, {
    files: { "/etc/crypttab": `${root["/etc/crypttab"]}data UUID=${data.members[0]?.uuid} none luks,nofail\n` },
    disks: [...luks.members, ...data.members].map(({ file }, index) => ({ file, serial: `disk${index}` })),
    commandLine: [`root=UUID=${luks.uuid}`],
  });
  await machine.expect(/Passphrase for .*cryptroot/);
  await machine.sendLine(PASSPHRASE);
  // Nobody knows the other one's passphrase here.
  await machine.expect(/data: nothing has opened it.* latchkey@data\.service/);
  const { mounts, report } = await machine.realRoot();
  expect(mounts[0]).toContain("/dev/mapper/cryptroot / ext4");
  expect((report as Report).outcome).toBe("done");
  expect((report as Report).volumes).toMatchObject([
    { name: "cryptroot", standing: "opened", opened_by: "prompt" },
    { name: "data", standing: "deferred" },
  ]);
  expect(machine.console.text).not.toMatch(/enter (?:LUKS )?passphrase for disk.*cryptroot/i);
});

for (const token of [{ by: "clevis" }, { by: "latchkey", binary }] as const) {
  vmCase(`LUKS: a TPM token in the header, made by ${token.by}, opens the root with nobody there`, async (name) => {
    using tpm = tpmState();
    const luks = await image({ token });
    await using machine = await start(name, luks, {
      tpm: { state: tpm.directory },
      // An emulated machine may take longer than the usual two seconds, after which the question appears.
      files: { "/etc/latchkey/latchkey.toml": 'prompt_after = "2m"\n' },
    });
    expect(openedBy(await reportOf(machine))).toEqual([[`luks-${luks.members[0]?.uuid}`, "clevis"]]);
    expect(machine.console.text).not.toMatch(/[Pp]assphrase for/);
  });
}

vmCase("LUKS: a btrfs of two members opens with the token that clevis put into the header of each", async (name) => {
  using tpm = tpmState();
  // No credential opens both: the token in a header holds a key of that disk alone, and so are the passphrases here.
  const luks = await image({ passphrases: [PASSPHRASE, WRONG_PASSPHRASE], token: { by: "clevis" } });
  await using machine = await start(name, luks, {
    tpm: { state: tpm.directory },
    files: { ...crypttab(luks.members, "luks"), "/etc/latchkey/latchkey.toml": `prompt_after = "2m"\n${POOL}` },
    initrd: forBtrfs,
    commandLine: [`root=UUID=${luks.uuid}`],
  });
  const report = await reportOf(machine);
  expect(openedBy(report)).toEqual([
    ["d1", "clevis"],
    ["d2", "clevis"],
  ]);
  expect(report.attempts.every(({ verdict }) => verdict === "opened")).toBe(true);
  expect(machine.console.text).not.toMatch(/[Pp]assphrase for/);
});

/** A disk of no use, whose arrival is the signal for a fault. */
const signalDisk = (luks: LuksImage) => ({ file: luks.members[0]?.file ?? "", serial: "now", isLate: true });
const whenSignalled = "/dev/disk/by-id/virtio-now";

vmCase("LUKS: when latchkey is killed at its question, systemd-cryptsetup asks and opens the root", async (name) => {
  const [luks, other] = [await image(), await image({ series: 2 })];
  await using machine = await start(name, luks, {
    files: kill({ process: "latchkey", whenThere: whenSignalled }),
    disks: [{ file: luks.members[0]?.file ?? "", serial: "root0" }, signalDisk(other)],
  });
  await machine.expect(/Passphrase for luks-/);
  await machine.plug("now");
  await machine.expect("vm: fault: killed latchkey");
  await machine.expect(NATIVE_QUESTION);
  await machine.sendLine(PASSPHRASE);
  expect((await machine.realRoot()).mounts[0]).toContain("/ ext4");
});

vmCase("LUKS: with no program in the image systemd-cryptsetup asks at once and opens the root", async (name) => {
  const luks = await image();
  await using machine = await start(name, luks, { files: await damagedBinary("missing", binary) });
  await machine.expect(NATIVE_QUESTION);
  await machine.sendLine(PASSPHRASE);
  expect((await machine.realRoot()).report).toBeUndefined();
  expect(machine.console.text).not.toContain("not listening after");
});

vmCase("LUKS: one question opens a btrfs of two members", async (name) => {
  const luks = await image({ passphrases: [PASSPHRASE, PASSPHRASE] });
  const files = { ...crypttab(luks.members, "luks"), "/etc/latchkey/latchkey.toml": POOL };
  await using machine = await start(name, luks, { files, initrd: forBtrfs, commandLine: [`root=UUID=${luks.uuid}`] });
  await machine.expect(/Passphrase for .*d1.*d2|Passphrase for .*data/);
  await machine.sendLine(PASSPHRASE);
  const { mounts, report } = await machine.realRoot();
  expect(mounts[0]).toMatch(/^\/dev\/(?:mapper\/d[12]|dm-[01]) \/ btrfs/);
  expect(openedBy(report as Report)).toEqual([
    ["d1", "prompt"],
    ["d2", "prompt"],
  ]);
  expect(machine.console.text.match(/assphrase for/g)).toHaveLength(1);
});

vmCase(
  "LUKS: a member with another passphrase is named, none is opened, and systemd asks when latchkey ends",
  async (name) => {
    const luks = await image({ passphrases: [PASSPHRASE, WRONG_PASSPHRASE] });
    const other = await image({ series: 2 });
    await using machine = await start(name, luks, {
      files: {
        ...crypttab(luks.members, "luks"),
        "/etc/latchkey/latchkey.toml": POOL,
        ...kill({ process: "latchkey", whenThere: whenSignalled, signal: "TERM" }),
      },
      initrd: forBtrfs,
      disks: [...luks.members.map(({ file }, index) => ({ file, serial: `root${index}` })), signalDisk(other)],
      commandLine: [`root=UUID=${luks.uuid}`],
    });
    await machine.expect(/Passphrase for .*d1.*d2|Passphrase for .*data/);
    await machine.sendLine(PASSPHRASE);
    await machine.expect(/d2.*refuse|[Ww]rong passphrase for d2/);
    await machine.plug("now");
    // Each is still closed: systemd asks for both, in no order.
    const answers = new Map(luks.members.map(({ passphrase }, index) => [`d${index + 1}`, passphrase]));
    for (let asked = 0; asked < 2; asked += 1) {
      const { match } = await machine.expect(/enter passphrase for disk (d[12])/i);
      // systemd tries the first answer on the other volume, too, and asks anew for that: what is typed meanwhile is lost.
      if (asked > 0) await Bun.sleep(CACHED_IS_TRIED);
      machine.console.skip();
      await machine.sendLine(answers.get(match[1] ?? "") ?? "");
    }
    const report = await reportOf(machine);
    expect(report.volumes.filter(({ kind }) => kind === "luks")).toMatchObject([
      { standing: "failed" },
      { standing: "failed" },
    ]);
  },
);

/** A btrfs whose second disk has died; with this on the kernel command line. */
const withoutSecond = async (name: string, options: string, ...more: readonly string[]): Promise<Machine> => {
  const luks = await image({ passphrases: [PASSPHRASE, PASSPHRASE] });
  return await start(name, luks, {
    files: {
      ...crypttab(luks.members, options),
      "/etc/latchkey/latchkey.toml": `member_timeout = "5s"\n${POOL}`,
    },
    initrd: forBtrfs,
    disks: [{ file: luks.members[0]?.file ?? "", serial: "root0" }],
    commandLine: ["root=/dev/mapper/d1", "rootfstype=btrfs", ...more],
  });
};

vmCase("LUKS: a missing member is named, and the other stays closed until systemd asks for it", async (name) => {
  await using machine = await withoutSecond(name, "luks,nofail");
  await machine.expect(/d2 \(UUID=\S+\) of pool data did not appear within/);
  await machine.expect(NATIVE_QUESTION);
  expect(machine.console.text).not.toMatch(/Passphrase for d1/);
});

vmCase("LUKS: with rootflags=degraded a missing member is done without", async (name) => {
  await using machine = await withoutSecond(name, "luks", "rootflags=degraded");
  await machine.expect(/pool data: going on degraded, without d2/);
  await machine.expect(/Passphrase for .*d1/);
  await machine.sendLine(PASSPHRASE);
  await machine.expect(/d1: LUKS2 .* opened by prompt/);
  const { mounts, report } = await machine.realRoot();
  expect(mounts[0]).toMatch(/^\/dev\/(?:mapper\/d1|dm-0) \/ btrfs .*\bdegraded\b/);
  expect(report).toMatchObject({ outcome: "done", volumes: [{ standing: "opened" }, { standing: "missing" }] });
  // Without nofail cryptsetup.target, and so the mount, waits for the disk that is gone as long as systemd does.
  expect((report as Report).events).toContainEqual(
    expect.objectContaining({ volume: "d2", text: "systemd waits for it no longer" }),
  );
  expect(machine.console.text).not.toMatch(/Timed out waiting for device/);
});

vmCase("LUKS: another volume with the right label is refused, and left to systemd's own question", async (name) => {
  const right = await image();
  const planted = await image({ series: 3, label: "vault" });
  await using machine = await start(name, planted, {
    files: {
      "/etc/crypttab": "cryptroot LABEL=vault none luks\n",
      "/etc/latchkey/latchkey.toml": `[volumes.cryptroot]\nkind = "luks"\ndevice = "UUID=${right.members[0]?.uuid}"\n`,
    },
    commandLine: [`root=UUID=${planted.uuid}`],
  });
  const [theirs, ours] = [planted.members[0]?.uuid, right.members[0]?.uuid];
  await machine.expect(`cryptroot: /dev/vda is LUKS ${theirs}, not ${ours}: refused`);
  await machine.expect(NATIVE_QUESTION);
  expect(machine.console.text).not.toMatch(/Passphrase for cryptroot/);
});
