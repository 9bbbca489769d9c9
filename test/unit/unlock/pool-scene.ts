import type { Plan } from "../../../src/config/plan.ts";
import { type FakeProvider, fakeSource, offering, planOf, volumePlan } from "./fakes.ts";

export const x = { passphrase: "x" };

export function poolOf(names: readonly string[], overrides: Partial<Plan> = {}, alone: readonly string[] = []): Plan {
  return planOf(
    [...names, ...alone].map((name) => volumePlan(name)),
    { pools: [{ name: "data", volumes: names, origin: { file: "test" } }], ...overrides },
  );
}

export const degraded = { policy: { requireEncrypted: true, allowDegraded: true } };
export const key = (names: readonly string[]) => fakeSource("tpm", names, offering("x"));
export const withEffect = (provider: FakeProvider): readonly string[] =>
  provider.log.filter((step) => /^(open|close) /.test(step));
