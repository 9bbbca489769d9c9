/** The files of an image by which an SSH server decides whether root may log in: passwd(5), shadow(5), shells(5). */
export interface LoginFiles {
  readonly passwd: string;
  /** Undefined where the image has none: then passwd alone counts. */
  readonly shadow: string | undefined;
  readonly shells: string;
}

export interface LoginWishes {
  /** Does this shell exist in the image? */
  hasProgram(path: string): boolean;
  /** Where root is at home when the image does not say. */
  readonly home: string;
  /** The line of the unprivileged user that OpenSSH wants, as the system has it. */
  readonly sshdUser: string | undefined;
}

/** The one shell that every initrd has. */
const SHELL = "/bin/sh";

/** Of an OpenSSH that was never installed by a package. */
const USUAL_SSHD_USER = "sshd:x:74:65534::/run/sshd:/usr/sbin/nologin";

export interface LoginChanges {
  readonly files: LoginFiles;
  /** Where root's .ssh is looked for. */
  readonly home: string;
}

/**
 * - root has a shell that is in the image. dracut takes the line from the system, where it may be bash, and brings only dash; both
 *   servers run even a forced command by it;
 * - it stands in /etc/shells: dropbear refuses a user whose shell does not;
 * - root is not locked with "!", as systemd-sysusers and installers without a root password leave it: OpenSSH without PAM refuses
 *   any login then. "*" is no password either, and locks nothing;
 * - OpenSSH has its unprivileged user.
 */
export function withLogin(files: LoginFiles, wishes: LoginWishes): LoginChanges {
  const users = lines(files.passwd);
  const root = users.find((line) => line.startsWith("root:"))?.split(":") ?? [
    "root",
    "*",
    "0",
    "0",
    "",
    wishes.home,
    SHELL,
  ];
  const [name = "root", password = "x", uid = "0", gid = "0", gecos = "", home = wishes.home, wanted = ""] = root;
  const shell = wanted !== "" && wishes.hasProgram(wanted) ? wanted : SHELL;
  const unlocked = [name, unlock(password), uid, gid, gecos, home, shell].join(":");
  const others = users.filter((line) => !line.startsWith("root:"));
  const sshd = others.some((line) => line.startsWith("sshd:")) ? [] : [wishes.sshdUser ?? USUAL_SSHD_USER];
  const shells = lines(files.shells);
  return {
    home,
    files: {
      passwd: text([unlocked, ...others, ...sshd]),
      shadow: files.shadow === undefined ? undefined : text(lines(files.shadow).map(unlockRoot)),
      shells: text(shells.includes(shell) ? shells : [...shells, shell]),
    },
  };
}

function unlockRoot(line: string): string {
  const [name, password = "", ...rest] = line.split(":");
  return name === "root" ? [name, unlock(password), ...rest].join(":") : line;
}

function unlock(password: string): string {
  return password.startsWith("!") ? "*" : password;
}

const lines = (content: string): readonly string[] => content.split("\n").filter((line) => line !== "");
const text = (all: readonly string[]): string => all.map((line) => `${line}\n`).join("");
