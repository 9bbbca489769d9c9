import { LatchkeyError } from "../../../system/errors.ts";

/** Milliseconds for systemctl to pass a wish on to systemd. */
const SYSTEMCTL_LIMIT = 10_000;

/** The units systemd-cryptsetup@NAME.service; tests bring their own. */
export interface CryptsetupUnits {
  /**
   * Has systemd close the mapping and begin anew: it asks for the key again. Returns when the wish is passed on.
   * @throws LatchkeyError luks/tool-failed
   */
  restart(volume: string): Promise<void>;
  /**
   * Has systemd wait for the volume's device no longer. Returns when the wish is passed on.
   * @throws LatchkeyError luks/tool-failed
   */
  giveUp(volume: string): Promise<void>;
}

export const systemUnits: CryptsetupUnits = {
  restart: (volume) => order("restart", volume),
  giveUp: (volume) => order("stop", volume),
};

/** On this unit alone, at once: cryptsetup.target, which requires it, is not stopped, and no other job has to give way. */
async function order(verb: "restart" | "stop", volume: string): Promise<void> {
  const unit = `systemd-cryptsetup@${escapeUnitName(volume)}.service`;
  const command = ["systemctl", verb, "--no-block", "--job-mode=ignore-dependencies", unit];
  const limit = AbortSignal.timeout(SYSTEMCTL_LIMIT);
  let why: string;
  try {
    const child = Bun.spawn(command, { stdio: ["ignore", "ignore", "ignore"], signal: limit, killSignal: "SIGKILL" });
    const status = await child.exited;
    if (status === 0) return;
    why = limit.aborted ? `it did not end within ${SYSTEMCTL_LIMIT / 1000} s` : `status ${status}`;
  } catch {
    why = "it is not there";
  }
  throw new LatchkeyError("luks/tool-failed", `${volume}: systemctl could not ${verb} ${unit}: ${why}`);
}

/** As systemd-escape(1) writes a string into the name of a unit. */
export function escapeUnitName(text: string): string {
  const bytes = [...new TextEncoder().encode(text)];
  return bytes
    .map((byte, index) => {
      const character = String.fromCharCode(byte);
      if (character === "/") return "-";
      const isPlain = /[A-Za-z0-9:_.]/.test(character) && !(index === 0 && character === ".");
      return isPlain ? character : `\\x${byte.toString(16).padStart(2, "0")}`;
    })
    .join("");
}

/** What escapeUnitName() has made of a text; text that holds nothing of the kind stays as it is. */
export function unescapeUnitName(name: string): string {
  if (!/\\x[0-9a-f]{2}/.test(name)) return name;
  const bytes = Buffer.from(name.replaceAll("-", "/"));
  const text = bytes
    .toString("latin1")
    .replace(/\\x([0-9a-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
  return Buffer.from(text, "latin1").toString("utf8");
}
