import { readlinkSync, writeFileSync } from "node:fs";

/** Milliseconds until the kernel has made a namespace, on a machine that is busy with virtual machines. */
const LIMIT = 20_000;
/**
 * A session keyring that came along from a shell is the shell's, and would get a link to ours. Without one the kernel takes that of
 * the user, _uid_ses.
 */
const leaveSession = `case $(keyctl rdescribe @s) in
  *";_uid_ses."*) ;;
  *) keyctl new_session >/dev/null ;;
esac
exec "$@"`;
/** Every user and group is itself: user_namespaces(7), "Defining user and group ID mappings". */
const everybody = "0 0 4294967295";

/**
 * User keyrings that nobody else sees: the kernel has those of a user once in each user namespace (user_namespaces(7),
 * keyrings(7)). They last as long as this does, over several commands, and no other run of the tests puts a key there.
 */
export class OwnKeyrings implements Disposable {
  /** Stays in the namespace until its input ends, so also when the tests are killed. */
  readonly #holder = Bun.spawn(["unshare", "--user", "cat"], { stdio: ["pipe", "ignore", "ignore"] });
  readonly #namespace = `/proc/${this.#holder.pid}/ns/user`;

  /** @throws Error where the kernel makes no user namespace */
  constructor() {
    const others = readlinkSync("/proc/self/ns/user");
    for (const started = Date.now(); readlinkSync(this.#namespace) === others; Bun.sleepSync(1)) {
      if (Date.now() - started > LIMIT) throw new Error("unshare made no user namespace");
    }
    for (const map of ["uid_map", "gid_map"]) writeFileSync(`/proc/${this.#holder.pid}/${map}`, everybody);
  }

  /** In front of a command's words, this makes it see these keyrings, as root. */
  get enter(): readonly string[] {
    return ["nsenter", `--user=${this.#namespace}`, "sh", "-c", leaveSession, "sh"];
  }

  /** The payload of a key in the user keyring, in hexadecimal digits; undefined when it is not there. */
  key(description: string): string | undefined {
    const ask = (...words: string[]) => Bun.spawnSync([...this.enter, "keyctl", ...words]);
    const found = ask("search", "@u", "user", description);
    return found.success ? ask("pipe", found.stdout.toString().trim()).stdout.toHex() : undefined;
  }

  [Symbol.dispose](): void {
    this.#holder.kill();
  }
}
