/** The units of the module and of the dracut image are one design: what is changed in one of them must not be forgotten in the other. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { evaluate, whyNoNix } from "./evaluate.ts";

const hooks = join(import.meta.dir, "../../initrd-hooks/dracut");

/** `Section.Key=value`, a line each; lists are cut at their blanks, as systemd joins them. */
function settings(text: string): readonly string[] {
  let section = "";
  return text.split("\n").flatMap((line) => {
    const title = /^\[(\w+)\]$/.exec(line);
    if (title) section = title[1] ?? "";
    const [, key = "", value = ""] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (key === "" || section === "Install") return [];
    const parts = /^(?:After|Before|Wants|Conflicts)$/.test(key) ? value.split(" ") : [value];
    return parts.map((part) => `${section}.${key}=${usual(part)}`);
  });
}

const usual = (value: string): string => value.replace(/^no$/, "false").replace(/^yes$/, "true");

/** What only one of the two images has. */
const ofDracut = [/dracut-/, /^Service\.ExecStart=/, /^Unit\.Description=/];

const reason = whyNoNix();
if (reason !== undefined) {
  test.skip(`the units of NixOS and dracut: ${reason}`, () => undefined);
} else {
  const { units } = evaluate("initrd-of.nix") as { readonly units: Readonly<Record<string, string>> };
  const fallback = Object.keys(units).find((name) => name.startsWith("latchkey-fallback-")) ?? "";

  test("latchkey.service says here all that it says there", () => {
    const there = settings(readFileSync(join(hooks, "latchkey.service"), "utf8"));
    const here = new Set(settings(units["latchkey.service"] ?? ""));
    expect(there.length).toBeGreaterThan(20);
    expect(there.filter((line) => !here.has(line) && !ofDracut.some((pattern) => pattern.test(line)))).toEqual([]);
  });

  test("the second question says here all that it says there, but for its device and its mounts", () => {
    const its = [...ofDracut, /initrd-root-device\.target/, /systemd-fsck-root/, /initrd-root-fs\.target/];
    const there = settings(readFileSync(join(hooks, "latchkey-fallback.service"), "utf8"));
    const here = new Set(settings(units[fallback] ?? ""));
    expect(there.length).toBeGreaterThan(15);
    expect(there.filter((line) => !here.has(line) && !its.some((pattern) => pattern.test(line)))).toEqual([]);
  });
}
