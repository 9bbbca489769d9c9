import { expect, test } from "bun:test";
import { commandLine } from "../../../src/commands/command-line.ts";
import { bootedFiles } from "../../../src/stacks/booted-files.ts";

const textOf = (name: string): string => bootedFiles.find(({ path }) => path.endsWith(name))?.text ?? "";
const unit = textOf("/latchkey-token@.service");
const rules = textOf("/99-latchkey.rules")
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"));

test("latchkey-token@.service calls commands that there are, each with the device", async () => {
  const calls = [...unit.matchAll(/^Exec\w+=\/usr\/bin\/latchkey stick (\S+) (\S+)$/gm)];
  expect(calls.map(([line, command, device]) => [line.split("=")[0], command, device])).toEqual([
    ["ExecCondition", "is-ours", "/dev/%i"],
    ["ExecStart", "in", "/dev/%i"],
    ["ExecStopPost", "out", "/dev/%i"],
  ]);
  const known = (await commandLine(["stick"])).commands[0]?.commands.map((command) => command.name());
  expect(known).toEqual(["is-ours", "in", "out"]);
});

test("latchkey-token@.service ends with its device, and stays out of initrds", () => {
  expect(unit).toMatch(/^BindsTo=dev-%i\.device$/m);
  expect(unit).toMatch(/^ConditionPathExists=!\/etc\/initrd-release$/m);
});

test("the rule asks for the unit only for what is on USB", () => {
  // udev(7): a key that looks at parents, negated, is true as soon as one of them differs, and some parent always does.
  expect(rules.join("\n")).not.toMatch(/(?:SUBSYSTEMS|KERNELS|DRIVERS|ATTRS\{[^}]*\}|TAGS)!=/);
  const wanting = rules.filter((line) => line.includes("SYSTEMD_WANTS"));
  expect(wanting).toHaveLength(2);
  for (const line of wanting) expect(line).toMatch(/^SUBSYSTEMS=="usb", .*latchkey-token@%k\.service"$/);
});
