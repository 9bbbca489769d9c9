import type { RemotePlan } from "../../config/plan.ts";
import { LatchkeyError } from "../../system/errors.ts";
import type { Files } from "../files.ts";
import type { Server } from "./authorized-keys.ts";

/** What there is on this system. */
export interface ServerFacts {
  readonly hasDropbear: boolean;
  readonly hasOpenssh: boolean;
  /** Debian's dropbear-initramfs: it brings the server, the network and the keys by itself. */
  readonly hasDropbearInitramfs: boolean;
}

export const PROGRAMS = {
  dropbear: "/usr/sbin/dropbear",
  dropbearkey: "/usr/bin/dropbearkey",
  dropbearconvert: "/usr/bin/dropbearconvert",
  openssh: "/usr/sbin/sshd",
  sshKeygen: "/usr/bin/ssh-keygen",
} as const;

const DROPBEAR_INITRAMFS_HOOK = "/usr/share/initramfs-tools/hooks/dropbear";

export function readServerFacts(files: Files, stack: string): ServerFacts {
  const has = (path: string): boolean => files.facts(path) !== undefined;
  return {
    hasDropbear: has(PROGRAMS.dropbear),
    hasOpenssh: has(PROGRAMS.openssh),
    hasDropbearInitramfs: stack === "initramfs-tools" && has(DROPBEAR_INITRAMFS_HOOK) && has(PROGRAMS.dropbear),
  };
}

/** A server that latchkey sets up, or the set-up of dropbear-initramfs, of which only the forced command changes. */
export type ServerChoice = { readonly server: Server; readonly isAdopted: boolean };

/**
 * Of both, dropbear: it is a tenth of the size, and in Debian's initrds it is what people have.
 * @throws LatchkeyError remote/no-server
 */
export function chooseServer(wanted: RemotePlan["server"], facts: ServerFacts): ServerChoice {
  if (facts.hasDropbearInitramfs) {
    if (wanted !== "openssh") return { server: "dropbear", isAdopted: true };
    throw new LatchkeyError(
      "remote/no-server",
      "the configuration wants OpenSSH, and dropbear-initramfs is installed",
      {
        hint: 'remove the package dropbear-initramfs, or leave remote.server at "auto"',
      },
    );
  }
  const order: readonly Server[] = wanted === "auto" ? ["dropbear", "openssh"] : [wanted];
  const server = order.find((one) => (one === "dropbear" ? facts.hasDropbear : facts.hasOpenssh));
  if (server) return { server, isAdopted: false };
  const what = wanted === "auto" ? "neither dropbear nor OpenSSH's sshd is" : `${wanted} is not`;
  throw new LatchkeyError("remote/no-server", `the source remote wants an SSH server, and ${what} installed`, {
    hint: "install dropbear-bin or openssh-server",
  });
}
