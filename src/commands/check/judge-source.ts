import type { UsbPlan } from "../../config/plan.ts";
import type { Readiness } from "../../sources/clevis/readiness.ts";
import { stickName } from "../../sources/usb/usb-source.ts";
import type { LatchkeyError } from "../../system/errors.ts";
import type { Gathered, KeyFileState, SeenDevice, SourceFacts, TokenState } from "./facts.ts";
import type { Severity } from "./findings.ts";
import { isDenied } from "./gathered.ts";
import type { Verdict } from "./judge-volume.ts";

/** One way to a volume's key; the text begins with its name. */
export function judgeSource(source: SourceFacts): readonly Verdict[] {
  switch (source.kind) {
    case "prompt":
      return [{ severity: "ok", text: "prompt: whoever is at the console is asked" }];
    case "remote":
      return [{ severity: "ok", text: "remote: whoever logs in over SSH may answer" }];
    case "clevis":
      return judgeTokens(source.tokens);
    case "usb":
      return [judgeStick(source.plan, source.seen)];
    case "keyfile":
      return judgeKeyFile(source.plan.path, source.file);
    case "vault":
      return [
        { severity: "ok", text: `vault: the key is ${source.plan.path} on ${source.plan.volume}, once that is open` },
      ];
  }
}

const OPENS: Readonly<Record<Readiness["opens"], Severity>> = { yes: "ok", perhaps: "warning", no: "problem" };

/** Of several tokens one is enough: the others are told of, and end nothing. */
function judgeTokens(tokens: Gathered<readonly TokenState[]>): readonly Verdict[] {
  if ("error" in tokens) return [failed("clevis", "problem", tokens)];
  const states = tokens.value;
  if (states.length === 0) {
    const text = "clevis: there is no Clevis token in its LUKS2 header";
    const hint = "`latchkey enroll` puts one there; a token in a file is named by clevis = { token = … }";
    return [{ severity: "problem", text, hint }];
  }
  const best = states.some(({ readiness }) => "value" in readiness && readiness.value.opens === "yes");
  return states.flatMap(({ origin, readiness }) => {
    if ("error" in readiness) return [failed(`clevis ${origin}`, best ? "warning" : "problem", readiness)];
    return judgeReadiness(`clevis ${origin}`, readiness.value, best);
  });
}

function judgeReadiness(name: string, readiness: Readiness, isSpare: boolean): readonly Verdict[] {
  const { what, opens, reason, hint, shares = [] } = readiness;
  const severity = what === "null" ? "warning" : isSpare && opens === "no" ? "warning" : OPENS[opens];
  return [
    { severity, text: `${name}: ${what}: ${reason}`, ...(hint === undefined ? {} : { hint }) },
    // A share that fails where others suffice is no failure; where they do not, the token's own row says so.
    ...shares.flatMap((share, index) => judgeReadiness(`${name}, share ${index + 1}`, share, true)),
  ];
}

function judgeStick(plan: UsbPlan, seen: Gathered<SeenDevice | undefined>): Verdict {
  const name = stickName(plan);
  if ("error" in seen) return failed(name, "warning", seen);
  const device = seen.value;
  if (device === undefined) {
    return {
      severity: "ok",
      text: `${name}: not plugged in now, so that its key was not looked at; it is taken when it comes`,
    };
  }
  if (!device.isRemovable && !plan.anyBus) {
    return {
      severity: "problem",
      text: `${name}: ${device.path} has its UUID, but is neither removable nor on a USB bus`,
      hint: "if it is meant to be used (a card reader, say), set any_bus = true",
    };
  }
  const { key } = device;
  if (key === undefined) {
    return {
      severity: "ok",
      text: `${name}: plugged in now, ${device.path}; its key was not looked at: that takes root`,
    };
  }
  // The initrd may have a driver that the running system has not: its drivers are looked at with the image.
  if ("error" in key && key.error.code === "key-file/no-driver") {
    return { severity: "warning", text: `${name}: its key was not looked at: ${key.error.message}` };
  }
  if ("error" in key) return failed(name, "problem", key);
  return {
    severity: "ok",
    text: `${name}: plugged in now, ${device.path}; its key has the SHA-256 of the configuration`,
  };
}

function judgeKeyFile(path: string, file: Gathered<KeyFileState>): readonly Verdict[] {
  const name = `keyfile ${path}`;
  const shout: Verdict = {
    severity: "warning",
    text: `${name}: it goes into the initrd: anyone who reads your /boot can open your disk`,
    hint: "only for machines that hold nothing worth it; `latchkey enroll` knows better ways",
  };
  if ("error" in file) return [shout, failed(name, "problem", file)];
  const { isThere, isOpenToOthers } = file.value;
  if (!isThere) {
    return [
      shout,
      { severity: "problem", text: `${name}: there is no such file`, hint: "make it, then `latchkey install`" },
    ];
  }
  if (!isOpenToOthers) return [shout];
  return [
    shout,
    { severity: "warning", text: `${name}: others than its owner may read it`, hint: `chmod 0400 ${path}` },
  ];
}

function failed(name: string, severity: Severity, { error }: { readonly error: LatchkeyError }): Verdict {
  const { message, hint } = error;
  const text = message.startsWith(name) ? message : `${name}: ${message}`;
  return { severity: isDenied(error) ? "warning" : severity, text, ...(hint === undefined ? {} : { hint }) };
}
