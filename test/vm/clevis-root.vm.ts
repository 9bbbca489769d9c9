/** A bcachefs root that opens by Clevis tokens: TPM and Tang, what fails and why, and what is left behind. */
import { expect } from "bun:test";
import { join } from "node:path";
import { encodeBase64url } from "../../src/jose/base64url.ts";
import type { Report } from "../../src/unlock/report.ts";
import { startTangd } from "../unit/sources/clevis/tangd.ts";
import { repository } from "./cache.ts";
import { vmCase } from "./case.ts";
import { journalOnFailure, unit } from "./fault.ts";
import { type Files, overlay } from "./files.ts";
import { guest } from "./guest/chroot.ts";
import { bcachefsImage, PASSPHRASE } from "./images.ts";
import { buildInitrd } from "./initrd.ts";
import { Machine, type MachineOptions } from "./machine.ts";
import { describeFindings, findInMemory } from "./memory.ts";
import { rootSays } from "./root-tree.ts";
import { sharedToken, tangKeys, tangToken, tpmState, tpmToken, tpmTokenAndKey } from "./tokens.ts";

const binary = join(repository, "dist/latchkey");
const QUESTION = /Passphrase for root/;
/** Sealed while PCR 14 held something else: what a machine finds whose firmware was updated. */
const OTHER_VALUES = new Uint8Array(32).fill(0xa5);

const SILENT_FOR = "10m";

/** A configuration that gives servers this long. */
const patient = (timeout: string): string => `[volumes.root]
kind = "bcachefs"
device = "UUID=6c617463-6865-4b65-8000-000000000001"
sources = ["clevis", "prompt"]
clevis = { timeout = "${timeout}" }
`;

interface Start {
  readonly token: string;
  readonly tpm?: { readonly directory: string };
  readonly network?: true;
  readonly configuration?: string;
  readonly files?: Files;
  /** Further words for the kernel command line. */
  readonly words?: readonly string[];
  readonly atRoot?: MachineOptions["atRoot"];
}

async function start(
  name: string,
  { token, tpm, network, configuration, files = {}, words = [], atRoot }: Start,
): Promise<Machine> {
  const dracut = await guest("dracut");
  const image = await bcachefsImage(dracut, { passphrase: PASSPHRASE });
  // The image is made with a token that needs what this one needs, so that it is the same for all cases.
  const anyTangToken = {
    "root.jwe": await Bun.file(join(repository, "test/fixtures/clevis/tokens/tang-a.jwe")).text(),
  };
  return Machine.start({
    name,
    guest: dracut,
    initrd: await buildInitrd(dracut, { stack: "dracut", binary, ...(network ? { config: anyTangToken } : {}) }),
    overlays: [
      overlay({
        "/etc/latchkey/root.jwe": token,
        ...(configuration === undefined ? {} : { "/etc/latchkey/latchkey.toml": configuration }),
        ...files,
        ...journalOnFailure,
      }),
    ],
    disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
    commandLine: [`root=UUID=${image.uuid}`, "rootfstype=bcachefs", ...(network ? ["ip=dhcp"] : []), ...words],
    ...(tpm ? { tpm: { state: tpm.directory } } : {}),
    ...(network ? { guestPorts: [22] } : {}),
    ...(atRoot === undefined ? {} : { atRoot }),
  });
}

const opener = async (machine: Machine): Promise<string | null | undefined> =>
  ((await machine.realRoot()).report as Report).volumes[0]?.opened_by;

vmCase(
  "a TPM opens the root with nobody there, and leaves no copy of the secret or its key in memory",
  async (name) => {
    using tpm = tpmState();
    // An emulated machine may take longer than the usual two seconds, after which the question appears.
    const configuration = 'prompt_after = "2m"\n';
    const { token, contentKey } = await tpmTokenAndKey(PASSPHRASE, [14]);
    // A key that is there, in letters as in the JWK that the TPM holds: the search has to find this one.
    const left = crypto.getRandomValues(new Uint8Array(contentKey.length));
    const words = [`vm.left=${encodeBase64url(left)}`];
    await using machine = await start(name, { token, tpm, configuration, words, atRoot: "hold" });
    expect(await opener(machine)).toBe("clevis");
    expect(machine.console.text).not.toMatch(QUESTION);
    await machine.expect(rootSays.holding);
    const memory = await machine.saveMemory();
    expect(await findInMemory(memory, left, "the key that was left")).not.toEqual([]);
    const secrets = { "the secret": new TextEncoder().encode(PASSPHRASE), "the content key": contentKey };
    for (const [what, bytes] of Object.entries(secrets)) {
      expect(describeFindings(await findInMemory(memory, bytes, what))).toBe("");
    }
  },
);

vmCase("a PCR that changed is named at once, and the question opens the root", async (name) => {
  using tpm = tpmState();
  await using machine = await start(name, { token: await tpmToken(PASSPHRASE, [14], OTHER_VALUES), tpm });
  await machine.expect(/latchkey: .*PCR 14/);
  await machine.expect(QUESTION);
  await machine.sendLine(PASSPHRASE);
  expect(await opener(machine)).toBe("prompt");
});

vmCase("without a TPM the reason is told, and the question opens the root", async (name) => {
  await using machine = await start(name, { token: await tpmToken(PASSPHRASE, [14]) });
  await machine.expect(QUESTION);
  await machine.sendLine(PASSPHRASE);
  const root = await machine.realRoot();
  expect((root.report as Report).volumes[0]?.opened_by).toBe("prompt");
});

vmCase("a Tang server opens the root over the network", async (name) => {
  using tang = startTangd(tangKeys);
  await using machine = await start(name, { token: await tangToken(PASSPHRASE, tang.port), network: true });
  expect(await opener(machine)).toBe("clevis");
});

vmCase("two of a TPM and a Tang server open the root", async (name) => {
  using tpm = tpmState();
  using tang = startTangd(tangKeys);
  const token = await sharedToken(PASSPHRASE, 2, [14], [tang.port]);
  await using machine = await start(name, { token, tpm, network: true });
  expect(await opener(machine)).toBe("clevis");
});

vmCase("a dead Tang server does not delay a TPM share that is enough", async (name) => {
  using tpm = tpmState();
  const token = await (async () => {
    using tang = startTangd(tangKeys);
    return await sharedToken(PASSPHRASE, 1, [14], [tang.port]);
  })();
  // Whoever waited for that server would wait for ten minutes, and the machine is given four.
  const configuration = patient(SILENT_FOR);
  await using machine = await start(name, { token, tpm, network: true, configuration });
  expect(await opener(machine)).toBe("clevis");
});

vmCase("a Tang server that says nothing holds nobody up: the question opens the root meanwhile", async (name) => {
  using tang = startTangd(tangKeys);
  const token = await tangToken(PASSPHRASE, tang.port);
  tang[Symbol.dispose]();
  using silent = Bun.listen({ hostname: "127.0.0.1", port: tang.port, socket: { data: () => undefined } });
  expect(silent.port).toBe(tang.port);
  await using machine = await start(name, {
    token,
    network: true,
    configuration: patient(SILENT_FOR),
  });
  await machine.expect(QUESTION);
  await machine.sendLine(PASSPHRASE);
  expect(await opener(machine)).toBe("prompt");
});

vmCase("once everything is open, a token bound to the latch stays shut", async (name) => {
  using tpm = tpmState();
  const again = unit(
    "vm-again.service",
    `[Unit]
DefaultDependencies=no
After=latchkey.service
Before=sysroot.mount
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'latchkey decrypt </etc/latchkey/root.jwe 2>/dev/ttyS0 | cat >/dev/ttyS0; echo "vm: tried again" >/dev/ttyS0'
`,
    "initrd.target",
  );
  await using machine = await start(name, {
    token: await tpmToken(PASSPHRASE, [14, 15]),
    tpm,
    configuration: "[policy]\nseal_pcr_after_unlock = 15\n",
    files: again,
  });
  await machine.expect("latchkey: PCR 15 is extended");
  await machine.expect(/latchkey: error: tpm2\/pcr-mismatch: .*15/);
  await machine.expect("vm: tried again");
  expect(await opener(machine)).toBe("clevis");
  expect(machine.console.text).not.toContain(PASSPHRASE);
});
