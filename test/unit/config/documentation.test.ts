import { expect, test } from "bun:test";
import { parseKernelCommandLine } from "../../../src/config/kernel-command-line.ts";
import { planToText } from "../../../src/config/plan-text.ts";
import { planOf } from "./machine.ts";

const page = await Bun.file(new URL("../../../docs/configuration.md", import.meta.url)).text();
const example = /```toml\n(.*?)```/s.exec(page)?.[1] ?? "";

test("the example of docs/configuration.md is a configuration without a mistake", () => {
  const plan = planOf({ toml: example });
  expect(plan.warnings).toEqual([]);
  expect(plan.volumes.map(({ name }) => name)).toEqual(["root", "d1", "d2"]);
  expect(plan.pools.map(({ name }) => name)).toEqual(["data"]);
});

test("the times in the example are the defaults", () => {
  const { promptAfter, deviceTimeout, memberTimeout } = planOf({ toml: example });
  expect(planOf({})).toMatchObject({ promptAfter, deviceTimeout, memberTimeout });
});

test("the plan that the page shows is one that latchkey prints", () => {
  const plan = planOf({
    toml: `${"\n".repeat(6)}[volumes.root]\nkind = "bcachefs"\ndevice = "UUID=6e8c1f2a-0b3d-4c5e-8f70-123456789abc"\n`,
    kernel: "root=UUID=6e8c1f2a-0b3d-4c5e-8f70-123456789abc ro",
  });
  expect(page).toContain(`\`\`\`\n${planToText(plan)}\`\`\``);
});

test("the page's parameters of the kernel command line are known", () => {
  const parameters = [...page.matchAll(/`"?(rd\.latchkey[^`"]*)"?`/g)].map((match) => match[1] ?? "");
  expect(parameters.length).toBeGreaterThan(5);
  const filled = parameters.map((text) =>
    text
      .replace("NAME=KIND:DEVICE", "a=bcachefs:/dev/a")
      .replace("6e8c…", "6e8c1f2a-0b3d-4c5e-8f70-123456789abc")
      .replace("DURATION", "2s"),
  );
  for (const text of filled) expect(parseKernelCommandLine(`"${text}"`).problems).toEqual([]);
});
