import { expect, test } from "bun:test";
import { withDeviceTimeout } from "../../../src/commands/device-timeout.ts";
import type { Plan } from "../../../src/config/plan.ts";
import { planOf, volumePlan } from "../unlock/fakes.ts";

const luks = {
  opener: "latchkey",
  allowDiscards: false,
  readOnly: false,
  openOptions: [],
  deviceTimeout: 60_000,
} as const;
const member = volumePlan("a", { kind: "luks", luks });
const alone = volumePlan("b", { kind: "luks", luks });
const whole = (allowDegraded: boolean): Plan =>
  planOf([member, alone], {
    policy: { requireEncrypted: true, allowDegraded },
    pools: [{ name: "data", volumes: ["a"], origin: { file: "test" } }],
  });
const limits = ({ deviceTimeout, memberTimeout, policy, volumes }: Plan) => [
  deviceTimeout,
  memberTimeout,
  policy.allowDegraded,
  ...volumes.map((volume) => volume.luks?.deviceTimeout),
];

test.each<[string, string | undefined, boolean, readonly (number | boolean)[]]>([
  ["nothing is said", undefined, true, [90_000, 30_000, true, 60_000, 60_000]],
  ["there will be another look", "10s", false, [10_000, 10_000, false, 10_000, 10_000]],
  ["a missing member would be done without", "10s", true, [10_000, 30_000, true, 60_000, 10_000]],
  ["it is the last look", "0s", true, [0, 0, false, 0, 0]],
  ["the configuration has shorter ones", "2m", false, [90_000, 30_000, false, 60_000, 60_000]],
])("devices and members are waited for as long as is right: %s", (_, text, allowDegraded, expected) => {
  expect(limits(withDeviceTimeout(whole(allowDegraded), text))).toEqual([...expected]);
});

test("a guess is not waited for", () => {
  expect(withDeviceTimeout(whole(false), "10s").guessTimeout).toBe(0);
});

test("a limit that is none is refused", () => {
  expect(() => withDeviceTimeout(whole(false), "soon")).toThrow("--device-timeout: ");
});
