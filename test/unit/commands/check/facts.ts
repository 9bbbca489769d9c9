import type { CheckFacts, VolumeFacts } from "../../../../src/commands/check/facts.ts";
import type { VolumePlan } from "../../../../src/config/plan.ts";

/** A machine of which nothing is to be said. */
export const calm: CheckFacts = {
  configuration: { file: "/etc/latchkey/latchkey.toml", isThere: true, isEnabled: true, problems: [] },
  leftToSystem: [],
  missingKeyscripts: [],
  readers: { readers: ["systemd"], latchkeyOpens: false },
  volumes: [],
};

export const plan: VolumePlan = {
  name: "root",
  kind: "luks",
  certainty: "stated",
  devices: [{ by: "path", path: "/dev/sda2" }],
  sources: [{ kind: "prompt" }],
  isRoot: true,
  requireEncrypted: true,
  origin: { file: "/etc/latchkey/latchkey.toml", line: 1 },
};

export const closed: VolumeFacts = {
  volume: plan,
  found: {
    value: {
      state: "closed",
      description: "LUKS2 on /dev/sda2",
      uuid: "6c617463-6865-4b65-8000-000000000051",
      devices: ["/dev/sda2"],
      proofMemory: 2 ** 30,
      memoryThere: 2 ** 34,
    },
  },
  notes: [],
  sources: [{ kind: "prompt" }],
};
