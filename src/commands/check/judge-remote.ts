import type { Gathered, RemoteFacts } from "./facts.ts";
import type { Finding } from "./findings.ts";
import { isDenied } from "./gathered.ts";

/** Can somebody log in, and see that it is this machine? */
export function judgeRemote(remote: Gathered<RemoteFacts> | undefined): readonly Finding[] {
  const about = "remote" as const;
  if (remote === undefined) return [];
  if ("error" in remote) {
    const { message, hint } = remote.error;
    const severity = isDenied(remote.error) ? ("warning" as const) : ("problem" as const);
    return [{ about, severity, text: message, ...(hint === undefined ? {} : { hint }) }];
  }
  const { server, port, hostKeys, keysFile, keys, warnings } = remote.value;
  const findings = hostKeys.map(
    (key): Finding =>
      "fingerprint" in key
        ? { about, severity: "ok", text: `${server} at port ${port}, host key ${key.fingerprint} (${key.file})` }
        : {
            about,
            severity: "problem",
            text: `${key.file}: ${key.missing}`,
            hint: "`latchkey install` makes one and keeps it",
          },
  );
  if (hostKeys.length === 0) findings.push({ about, severity: "problem", text: `${server} has no host key` });
  return [
    ...findings,
    judgeKeys(keysFile, keys),
    ...warnings.map((text): Finding => ({ about, severity: "warning", text })),
  ];
}

function judgeKeys(file: string | undefined, keys: number): Finding {
  const about = "remote" as const;
  const hint = "put a public key into /etc/latchkey/authorized_keys";
  if (file === undefined)
    return { about, severity: "problem", text: "nobody could log in: there are no authorized keys", hint };
  if (keys === 0) return { about, severity: "problem", text: `nobody could log in: ${file} has no key to use`, hint };
  return { about, severity: "ok", text: `${keys} ${keys === 1 ? "key" : "keys"} of ${file} may log in and answer` };
}
