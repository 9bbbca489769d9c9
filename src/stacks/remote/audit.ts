import { IMAGE_FACTS, parseImageFacts } from "../../system/remote-image.ts";
import type { Finding } from "../image-audit.ts";
import type { Machine } from "../machine.ts";
import { FORCED_COMMAND } from "./authorized-keys.ts";
import { ANSWER_SCRIPT, SERVER_SCRIPT } from "./places.ts";
import { PROGRAMS } from "./server-choice.ts";
import { OPENSSH_AUTHORIZED_KEYS } from "./server-texts.ts";

/** Looks at an unpacked image: can somebody log in, and do nothing but answer? */
export function auditRemote({ files }: Machine, tree: string): Finding {
  const facts = parseImageFacts(files.readText(tree + IMAGE_FACTS));
  if (!facts)
    return { level: "failure", text: "the source remote is configured, and the image has no SSH server for it" };
  const program = facts.server === "openssh" ? PROGRAMS.openssh : PROGRAMS.dropbear;
  const places = [program, program.replace("/usr/sbin", "/sbin")];
  if (!places.some((path) => files.facts(tree + path)))
    return { level: "failure", text: `${program} is not in the image` };
  if (![SERVER_SCRIPT, ANSWER_SCRIPT].some((path) => files.facts(tree + path))) {
    return { level: "failure", text: "nothing in the image starts the SSH server" };
  }
  const home = (files.readText(`${tree}/etc/passwd`) ?? "")
    .split("\n")
    .find((line) => line.startsWith("root:"))
    ?.split(":")[5];
  const path = facts.server === "openssh" ? OPENSSH_AUTHORIZED_KEYS : `${home}/.ssh/authorized_keys`;
  const keys = (files.readText(tree + path) ?? "").split("\n").filter((line) => line !== "");
  const free = keys.find((line) => !line.includes(`command="${FORCED_COMMAND}"`));
  if (keys.length === 0) return { level: "failure", text: `nobody can log in: ${path} in the image has no keys` };
  if (free !== undefined)
    return { level: "failure", text: `a key in ${path} of the image is not forced to \`${FORCED_COMMAND}\`` };
  const word = keys.length === 1 ? "key" : "keys";
  return {
    level: "ok",
    text: `${keys.length} ${word} may log in at port ${facts.port} and answer; host key ${facts.fingerprints.join(", ")}`,
  };
}
