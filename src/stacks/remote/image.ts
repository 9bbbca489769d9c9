import { join } from "node:path";
import { addressForIpconfig } from "../../config/kernel-address.ts";
import type { RemotePlan } from "../../config/plan.ts";
import { remoteDefaults } from "../../config/toml-remote.ts";
import { LatchkeyError } from "../../system/errors.ts";
import { IMAGE_FACTS, printImageFacts } from "../../system/remote-image.ts";
import type { Files } from "../files.ts";
import { FORCED_COMMAND, type Server } from "./authorized-keys.ts";
import { fingerprint, publicKeyOf } from "./host-key.ts";
import { withLogin } from "./login-files.ts";
import { readLoginKeys } from "./login-keys.ts";
import {
  ADDRESS_FILE,
  ADOPTED_HOST_KEYS,
  ANSWER_SCRIPT,
  HOST_KEYS,
  SERVER_SCRIPT,
  SSH_FOLDER,
  SSHD_CONFIG,
} from "./places.ts";
import { chooseServer, PROGRAMS, readServerFacts } from "./server-choice.ts";
import { dropbearScript, OPENSSH_AUTHORIZED_KEYS, opensshScript, sshdConfig } from "./server-texts.ts";

export type Stack = "dracut" | "initramfs-tools";

export interface RemoteImage {
  /** What is to be copied into the image with its libraries. */
  readonly programs: readonly string[];
  /** dropbear-initramfs brings server and network: the image needs no way of ours to start them. */
  readonly isAdopted: boolean;
  readonly warnings: readonly string[];
}

/** In the image of initramfs-tools /root is where the real root is mounted. */
const HOMES: Readonly<Record<Stack, string>> = { dracut: "/root", "initramfs-tools": "/usr/lib/latchkey/home" };

/** OpenSSH since 9.8 is several programs; distributions differ in the folder. */
const OPENSSH_FOLDERS = ["/usr/lib/openssh", "/usr/libexec/openssh", "/usr/lib/ssh", "/usr/libexec", "/usr/lib64/ssh"];
const OPENSSH_HELPERS = ["sshd-session", "sshd-auth"];

/** Where OpenSSH locks its unprivileged part in, by distribution; /run/sshd is made when the server starts. */
const EMPTY_FOLDERS = ["/usr/share/empty.sshd", "/var/empty", "/var/empty/sshd", "/var/lib/empty"];

/**
 * Writes what the SSH server needs into the image below `destination`, all but programs. The image's own files of that kind (passwd,
 * authorized_keys of dropbear-initramfs) are changed in place.
 * @throws LatchkeyError remote/no-server, remote/no-authorized-keys, remote/no-host-key: better no image than one that nobody can
 *   log in to
 */
export function writeRemoteImage(files: Files, destination: string, stack: Stack, plan: RemotePlan): RemoteImage {
  const choice = chooseServer(plan.server, readServerFacts(files, stack));
  const image = new Image(files, destination, stack, plan);
  return choice.isAdopted ? image.adopt() : image.setUp(choice.server);
}

class Image {
  readonly #files: Files;
  readonly #destination: string;
  readonly #stack: Stack;
  readonly #plan: RemotePlan;

  constructor(files: Files, destination: string, stack: Stack, plan: RemotePlan) {
    this.#files = files;
    this.#destination = destination;
    this.#stack = stack;
    this.#plan = plan;
  }

  setUp(server: Server): RemoteImage {
    const { port, network } = this.#plan;
    const { lines, warnings } = readLoginKeys(this.#files, server, undefined);
    const { home } = this.#writeLogin();
    const keys = `${lines.join("\n")}\n`;
    if (server === "openssh") {
      // Both came with OpenSSH 9.8.
      const knowsPenalties = this.#programs(server).length > 1;
      this.#write(SSHD_CONFIG, sshdConfig(port, knowsPenalties), 0o600);
      this.#write(OPENSSH_AUTHORIZED_KEYS, keys, 0o600);
      for (const folder of EMPTY_FOLDERS) if (this.#files.facts(folder)) this.#files.makeFolder(this.#at(folder));
    } else {
      this.#write(`${home}/.ssh/authorized_keys`, keys, 0o600);
    }
    this.#write(SERVER_SCRIPT, server === "openssh" ? opensshScript() : dropbearScript(port), 0o755);
    const address = this.#stack === "initramfs-tools" ? addressForIpconfig(network) : network;
    if (network !== "dhcp") this.#write(ADDRESS_FILE, `${address}\n`, 0o644);
    this.#writeHostName();
    const hostKey = this.#hostKey(HOST_KEYS[server], HOST_KEYS[server]);
    this.#files.makeFolder(this.#at(SSH_FOLDER));
    this.#files.copy(HOST_KEYS[server], this.#at(HOST_KEYS[server]), 0o600);
    this.#write(IMAGE_FACTS, printImageFacts({ server, port, fingerprints: [fingerprint(hostKey)] }), 0o644);
    return { programs: this.#programs(server), isAdopted: false, warnings };
  }

  /** dropbear-initramfs has put its things into the image already. */
  adopt(): RemoteImage {
    const home = (this.#read("/etc/passwd") ?? "")
      .split("\n")
      .find((line) => line.startsWith("root:"))
      ?.split(":")[5];
    const path = `${home}/.ssh/authorized_keys`;
    const text = home === undefined ? undefined : this.#read(path);
    const { lines, warnings } = readLoginKeys(this.#files, "dropbear", text);
    this.#write(path, `${lines.join("\n")}\n`, 0o600);
    this.#write(
      ANSWER_SCRIPT,
      `#!/bin/sh\n# Made by latchkey: dropbear.conf has no room for blanks.\nexec ${FORCED_COMMAND}\n`,
      0o755,
    );
    const settings = this.#read("/etc/dropbear/dropbear.conf") ?? "";
    // The last -c wins, and it wins over what a key says.
    const forced = `\n# Added by latchkey, in the image only.\nDROPBEAR_OPTIONS="\${DROPBEAR_OPTIONS-} -c ${ANSWER_SCRIPT}"\n`;
    this.#write("/etc/dropbear/dropbear.conf", settings + forced, 0o644);
    this.#writeHostName();
    const present = ADOPTED_HOST_KEYS.map((name) => `/etc/dropbear/${name}`).filter((key) =>
      this.#files.facts(this.#at(key)),
    );
    const hostKeys = present.map((key) => this.#hostKey(this.#at(key), key));
    if (hostKeys.length === 0) throw noHostKey("/etc/dropbear/initramfs/dropbear_ed25519_host_key");
    const facts = { server: "dropbear", port: adoptedPort(settings), fingerprints: hostKeys.map(fingerprint) } as const;
    this.#write(IMAGE_FACTS, printImageFacts(facts), 0o644);
    return { programs: [], isAdopted: true, warnings: [...warnings, ...this.#unusedSettings(facts.port)] };
  }

  /** What the configuration says and dropbear-initramfs decides. */
  #unusedSettings(usedPort: number): readonly string[] {
    const { network, port } = this.#plan;
    const says = "does not count: dropbear-initramfs is installed, and has";
    return [
      ...(network === "dhcp"
        ? []
        : [`[remote] network ${says} the address of ip= on the kernel command line or IP= in initramfs.conf`]),
      ...(port === remoteDefaults.port || port === usedPort
        ? []
        : [`[remote] port ${says} port ${usedPort}, by its dropbear.conf`]),
    ];
  }

  #hostKey(path: string, name: string): Uint8Array {
    const bytes = this.#files.readBytes(path);
    const key = bytes && publicKeyOf(bytes);
    bytes?.fill(0);
    if (key) return key;
    throw noHostKey(name);
  }

  #writeLogin(): { readonly home: string } {
    const { files, home } = withLogin(
      {
        passwd: this.#read("/etc/passwd") ?? "",
        shadow: this.#read("/etc/shadow"),
        shells: this.#read("/etc/shells") ?? "",
      },
      {
        hasProgram: (path) => this.#files.facts(this.#at(path)) !== undefined,
        home: HOMES[this.#stack],
        sshdUser: (this.#files.readText("/etc/passwd") ?? "").split("\n").find((line) => line.startsWith("sshd:")),
      },
    );
    this.#write("/etc/passwd", files.passwd, 0o644);
    if (files.shadow !== undefined) this.#write("/etc/shadow", files.shadow, 0o600);
    this.#write("/etc/shells", files.shells, 0o644);
    return { home };
  }

  /** Sessions name the machine they are on. */
  #writeHostName(): void {
    const name = this.#files.readText("/etc/hostname");
    if (name !== undefined && this.#read("/etc/hostname") === undefined) this.#write("/etc/hostname", name, 0o644);
  }

  #programs(server: Server): readonly string[] {
    if (server === "dropbear") return [PROGRAMS.dropbear];
    const helpers = OPENSSH_FOLDERS.flatMap((folder) => OPENSSH_HELPERS.map((name) => `${folder}/${name}`));
    return [PROGRAMS.openssh, ...helpers.filter((path) => this.#files.facts(path))];
  }

  #at(path: string): string {
    return join(this.#destination, path);
  }

  #read(path: string): string | undefined {
    return this.#files.readText(this.#at(path));
  }

  #write(path: string, text: string, mode: number): void {
    this.#files.write(this.#at(path), text, mode);
  }
}

function noHostKey(name: string): LatchkeyError {
  return new LatchkeyError("remote/no-host-key", `the SSH server of the initrd has no host key: ${name}`, {
    hint: "`latchkey install` makes one and keeps it",
  });
}

/** `-p [ADDRESS:]PORT` of dropbear(8); the last line that sets options counts. */
function adoptedPort(settings: string): number {
  const [, port = "22"] =
    /-p\s*(?:\S*:)?(\d{1,5})\b/.exec(
      settings.split("\n").findLast((line) => /^\s*DROPBEAR_OPTIONS=/.test(line)) ?? "",
    ) ?? [];
  return Number(port);
}
