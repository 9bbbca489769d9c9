import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Socket } from "bun";
import type { LatchkeyError } from "../../../src/system/errors.ts";
import { openDevice, type TpmNodes } from "../../../src/tpm2/device-transport.ts";
import { openSocket } from "../../../src/tpm2/socket-transport.ts";
import type { TpmTransport } from "../../../src/tpm2/transport.ts";
import { hex } from "../../../src/tpm2/wire.ts";
import { response } from "./fakes.ts";

const signal = new AbortController().signal;
const command = new Uint8Array(10);

async function errorOf(work: Promise<unknown>): Promise<LatchkeyError> {
  return await work.then(
    () => {
      throw new Error("it did not fail");
    },
    (error: LatchkeyError) => error,
  );
}

/** A server that does as it likes with each command. */
function server(onCommand: (socket: Socket) => void) {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-transport-"));
  const path = join(folder, "s");
  const listener = Bun.listen({ unix: path, socket: { data: onCommand } });
  return {
    connect: (): Promise<TpmTransport> => openSocket({ kind: "unix", path }, "swtpm", signal),
    [Symbol.dispose]() {
      listener.stop(true);
      rmSync(folder, { recursive: true });
    },
  };
}

describe("a socket to a software TPM", () => {
  test("puts an answer together from any pieces", async () => {
    const answer = response(0, new Uint8Array(300).fill(7));
    const inPieces = async (socket: Socket): Promise<void> => {
      for (let at = 0; at < answer.length; at += 37) {
        socket.write(answer.subarray(at, at + 37));
        await Bun.sleep(1);
      }
    };
    using tpm = server((socket) => void inPieces(socket));
    const transport = await tpm.connect();
    for (let round = 0; round < 2; round++) expect(hex(await transport.transmit(command, signal))).toBe(hex(answer));
    transport.close();
    transport.close();
  });

  test.each([
    ["states more than 4096 bytes", "8001ffffffff00000000", "tpm2/bad-answer", "claims to have 4294967295 bytes"],
    ["states less than a header", "80010000000900000000", "tpm2/bad-answer", "claims to have 9 bytes"],
    ["sends more than it states", "80010000000a0000000000", "tpm2/bad-answer", "of 10 bytes came with 11"],
    ["sends a flood", "80".repeat(5000), "tpm2/bad-answer", ""],
  ] as const)("refuses an answer that %s", async (_, answer, code, words) => {
    using tpm = server((socket) => void socket.write(Buffer.from(answer, "hex")));
    const transport = await tpm.connect();
    const error = await errorOf(transport.transmit(command, signal));
    expect([error.code, error.message.includes(words)]).toEqual([code, true]);
    expect((await errorOf(transport.transmit(command, signal))).code).toBe(code); // out of step for good
    transport.close();
  });

  test("says so when the TPM goes away in the middle", async () => {
    using tpm = server((socket) => {
      socket.write(Buffer.from("8001", "hex"));
      socket.end();
    });
    const transport = await tpm.connect();
    const error = await errorOf(transport.transmit(command, signal));
    expect([error.code, error.message]).toEqual(["tpm2/unreachable", "swtpm: it closed the connection"]);
  });

  test("ends an unanswered command with the signal's reason", async () => {
    using tpm = server(() => undefined);
    const transport = await tpm.connect();
    const late = new AbortController();
    setTimeout(() => late.abort(new Error("too late")), 20);
    expect((await errorOf(transport.transmit(command, late.signal))).message).toBe("too late");
    transport.close();
  });

  test("names what is not there", async () => {
    const missing = { kind: "unix", path: "/nonexistent/swtpm" } as const;
    const error = await errorOf(openSocket(missing, "swtpm at /nonexistent/swtpm", signal));
    expect([error.code, error.hint]).toEqual(["tpm2/unreachable", "is swtpm running there?"]);
    const refused = await errorOf(openSocket({ kind: "tcp", host: "127.0.0.1", port: 1 }, "swtpm", signal));
    expect(refused.code).toBe("tpm2/unreachable");
  });
});

/** Nodes as /dev would have them at each look. */
function nodes(looks: readonly (readonly string[])[], errno?: string, version = "2"): TpmNodes {
  let look = 0;
  return {
    devices: () => looks[Math.min(look++, looks.length - 1)] ?? [],
    majorVersion: () => version,
    open: async (path) => {
      throw Object.assign(new Error(path), { code: errno ?? "ENOENT" });
    },
  };
}

describe("a TPM device", () => {
  test("that does not turn up is waited for, then named, with what to look at", async () => {
    const started = performance.now();
    const error = await errorOf(openDevice(undefined, 100, signal, nodes([[]])));
    expect(performance.now() - started).toBeGreaterThanOrEqual(99);
    expect([error.code, error.outcome]).toEqual(["tpm2/absent", "unavailable"]);
    expect(error.message).toBe("no TPM: /dev/tpmrm0 did not turn up within 0.1 s");
    expect(error.hint).toContain("tpm_tis, tpm_crb");
  });

  test("of version 1.2 is not waited for in vain without saying so", async () => {
    const error = await errorOf(openDevice(undefined, 0, signal, nodes([["tpm0"]], undefined, "1")));
    expect(error.message).toBe("/dev/tpmrm0 is not there: this machine has a TPM 1.2, not a TPM 2.0");
  });

  test.each([
    ["EBUSY", "tpm2/busy", "another program has held it for 0.05 s"],
    ["EACCES", "tpm2/unreachable", "no permission to open it (EACCES)"],
    ["EIO", "tpm2/unreachable", "it cannot be opened (EIO)"],
    ["ENODEV", "tpm2/absent", "did not turn up"],
  ])("that gives %s has words for it", async (errno, code, words) => {
    const error = await errorOf(openDevice("/dev/tpm0", 50, signal, nodes([["tpm0"]], errno)));
    expect(error.code).toBe(code as never);
    expect(error.message).toContain(words);
  });

  test("is the first with a resource manager, by number", async () => {
    const error = await errorOf(openDevice(undefined, 0, signal, nodes([["tpm0", "tpmrm10", "tpmrm2"]], "EIO")));
    expect((error.cause as Error).message).toBe("/dev/tpmrm2");
  });

  test("is not waited for any longer when nobody wants it", async () => {
    const wanted = new AbortController();
    setTimeout(() => wanted.abort(new Error("enough")), 30);
    const error = await errorOf(openDevice(undefined, 60_000, wanted.signal, nodes([[]])));
    expect(error.message).toBe("enough");
  });
});
