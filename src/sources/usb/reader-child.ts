import { writeSync } from "node:fs";
import { SystemBlockDevices } from "../../system/block-devices.ts";
import { asLatchkeyError } from "../../system/errors.ts";
import { libc } from "../../system/libc.ts";
import { sweepMounts } from "../../system/mounts.ts";
import { identifyFilesystems } from "./filesystem-identity.ts";
import { KeyRoom } from "./key-room.ts";
import { linesOf } from "./lines.ts";
import { partitionUuid } from "./partition-identity.ts";
import { readKeyFile, readRawKey } from "./read-key.ts";
import { type DeviceIdentity, failureOf, type ReaderAnswer, type ReaderJob } from "./reader-protocol.ts";

/** Where the key room is, in the process that reads. */
export const ROOM_DESCRIPTOR = 3;

const STDOUT = 1;
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9n;

/**
 * The process that touches foreign devices, so that a stick that hangs, or a filesystem that the kernel chokes on, holds up nobody else:
 * it takes one job after the other from standard input and ends with it. It and its mounts are gone when its parent is.
 */
export async function serveReader(): Promise<void> {
  libc().prctl(PR_SET_PDEATHSIG, SIGKILL, 0n, 0n, 0n);
  sweepMounts();
  using room = KeyRoom.inherited(ROOM_DESCRIPTOR);
  for await (const line of linesOf(Bun.stdin.stream())) {
    const answer = await answerTo(JSON.parse(line) as ReaderJob, room).catch((thrown: unknown) =>
      failureOf(asLatchkeyError(thrown)),
    );
    writeSync(STDOUT, `${JSON.stringify(answer)}\n`);
  }
}

async function answerTo(job: ReaderJob, room: KeyRoom): Promise<ReaderAnswer> {
  switch (job.do) {
    case "identify":
      return { is: "identity", identity: await identify(job) };
    case "read-file":
      return { is: "read", length: readKeyFile(job.device, job.type, job.path, room) };
    case "read-raw":
      return { is: "read", length: readRawKey(job.device, job.offset, job.size, room) };
  }
}

async function identify({ device, partitionOf }: Extract<ReaderJob, { do: "identify" }>): Promise<DeviceIdentity> {
  const devices = new SystemBlockDevices();
  await using reader = await devices.open(device);
  const filesystems = await identifyFilesystems(reader);
  if (!partitionOf) return { filesystems };
  await using disk = await devices.open(partitionOf.disk);
  return { filesystems, partition: await partitionUuid(disk, partitionOf.number) };
}
