import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LatchkeyError } from "../../../src/system/errors.ts";
import { openDevice } from "../../../src/tpm2/device-transport.ts";
import { Tpm } from "../../../src/tpm2/tpm.ts";
import { hex } from "../../../src/tpm2/wire.ts";
import { response } from "./fakes.ts";
import { PtyDevice } from "./pty-device.ts";
import { fixtureStateIn, neverAborted, skipReason, swtpmMissing } from "./swtpm.ts";
import { openToken, readToken } from "./tokens.ts";

// A software TPM takes seconds for an RSA key, and the machine may be busy.
setDefaultTimeout(60_000);

const signal = neverAborted();
const cleanUps: (() => void)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "latchkey-device-"));
  cleanUps.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function errorOf(work: Promise<unknown>): Promise<LatchkeyError> {
  return await work.then(
    () => {
      throw new Error("it did not fail");
    },
    (error: LatchkeyError) => error,
  );
}

describe.skipIf(swtpmMissing !== undefined)(
  `the device transport, with swtpm behind a character device${skipReason}`,
  () => {
    test("opens a token, through a node that turns up only after a while", async () => {
      using device = new PtyDevice();
      const state = folder();
      fixtureStateIn(state);
      const swtpm = Bun.spawn(
        ["swtpm", "chardev", "--tpm2", "--fd", "3", "--tpmstate", `dir=${state}`].concat([
          "--flags",
          "not-need-init,startup-clear",
        ]),
        { stdio: ["ignore", "ignore", "ignore", device.master] },
      );
      cleanUps.push(() => swtpm.kill("SIGKILL"));
      const node = join(state, "tpmrm0");
      setTimeout(() => symlinkSync(device.path, node), 150);
      const started = performance.now();
      await using tpm = new Tpm({ kind: "device", path: node }, { deviceWait: 3000 });
      expect(await openToken(tpm, readToken("tpm2-pcr7-sha256-ecc"))).toBe("dev1-tpm2-pcr7-sha256-ecc");
      expect(performance.now() - started).toBeGreaterThan(140);
      expect(await openToken(tpm, readToken("tpm2-nopcr-rsa"))).toBe("dev1-tpm2-nopcr-rsa");
    });
  },
);

describe("the device transport", () => {
  test("reads on when a response comes in two parts", async () => {
    using device = new PtyDevice();
    const transport = await openDevice(device.path, 0, signal);
    const answer = response(0, new Uint8Array(100).fill(0x41));
    const exchange = transport.transmit(new Uint8Array(10).fill(0x42), signal);
    await Bun.sleep(20);
    writeSync(device.master, answer.subarray(0, 30));
    await Bun.sleep(20);
    writeSync(device.master, answer.subarray(30));
    expect(hex(await exchange)).toBe(hex(answer));
    transport.close();
  });

  test.each([
    ["nonsense", "ffffffffffffffffffff", "claims to have"],
    ["more than one response", "80010000000a00000000ff", "of 10 bytes came with 11"],
  ])("refuses %s", async (_, answer, words) => {
    using device = new PtyDevice();
    const transport = await openDevice(device.path, 0, signal);
    const exchange = transport.transmit(new Uint8Array(10), signal);
    writeSync(device.master, Buffer.from(answer, "hex"));
    const error = await errorOf(exchange);
    expect([error.code, error.message.includes(words)]).toEqual(["tpm2/bad-answer", true]);
    transport.close();
  });

  test("keeps the rest of the program alive while the TPM works, and can be left", async () => {
    using device = new PtyDevice();
    const transport = await openDevice(device.path, 0, signal);
    const limit = new AbortController();
    let ticks = 0;
    const ticking = setInterval(() => (ticks += 1), 5);
    setTimeout(() => limit.abort(new Error("too late")), 100);
    expect((await errorOf(transport.transmit(new Uint8Array(10), limit.signal))).message).toBe("too late");
    clearInterval(ticking);
    expect(ticks).toBeGreaterThan(2);
    transport.close(); // the read still waits in the kernel: the file is closed when it comes back
    transport.close();
    expect((await errorOf(transport.transmit(new Uint8Array(10), signal))).code).toBe("tpm2/unreachable");
    writeSync(device.master, response(0));
  });

  test("says which errno the device gave", async () => {
    const device = new PtyDevice();
    const transport = await openDevice(device.path, 0, signal);
    device[Symbol.dispose](); // hung up: EIO
    const error = await errorOf(transport.transmit(new Uint8Array(10), signal));
    expect([error.code, error.message]).toEqual(["tpm2/unreachable", `${device.path}: it failed (EIO)`]);
    transport.close();
  });
});
