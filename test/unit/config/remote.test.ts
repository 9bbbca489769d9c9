import { describe, expect, test } from "bun:test";
import { planToText } from "../../../src/config/plan-text.ts";
import { planOf, uuid } from "./machine.ts";

const kernel = "root=/dev/sda2 rootfstype=bcachefs";
const volume = (sources: string): string =>
  `[volumes.root]\nkind = "bcachefs"\ndevice = "UUID=${uuid}"\nsources = ${sources}\n`;
const sourcesOf = (toml: string): readonly string[] =>
  planOf({ toml, kernel }).volumes.flatMap(({ sources }) => sources.map(({ kind }) => kind));

describe("the way in from afar", () => {
  test("is not there when nobody asks for it", () => {
    expect(planOf({ kernel }).remote).toBeUndefined();
    expect(planOf({ toml: volume('["prompt"]') }).remote).toBeUndefined();
  });

  test("has its defaults when a volume has the source", () => {
    expect(planOf({ toml: volume('["prompt", "remote"]') }).remote).toEqual({
      start: "fallback",
      server: "auto",
      network: "dhcp",
      port: 22,
    });
  });

  test("a table gives the source to every volume of which nothing is said", () => {
    const toml =
      '[remote]\nstart = "always"\nserver = "openssh"\nport = 2222\nnetwork = "ip=192.0.2.7::192.0.2.1:24::eth0:none"\n';
    expect(sourcesOf(toml)).toEqual(["prompt", "remote"]);
    expect(planOf({ toml, kernel }).remote).toEqual({
      start: "always",
      server: "openssh",
      network: "ip=192.0.2.7::192.0.2.1:24::eth0:none",
      port: 2222,
    });
    expect(sourcesOf(`[remote]\n${volume('["prompt"]')}`)).toEqual(["prompt"]);
  });

  test("is planned from the table alone where no volume is to be seen: when an image is built", () => {
    expect(planOf({ toml: "[remote]\n" }).remote?.port).toBe(22);
  });

  test("at boot a wrong setting leaves its default and the others", () => {
    const { remote, warnings } = planOf({ toml: "[remote]\nport = 0\nstart = 'always'\n", kernel }, "boot");
    expect(remote).toEqual({ start: "always", server: "auto", network: "dhcp", port: 22 });
    expect(warnings.length).toBe(1);
  });

  test("is in the plan that a person reads", () => {
    expect(planToText(planOf({ toml: "[remote]\n", kernel }))).toContain(
      "remote    ssh on port 22 with the question, server auto, network dhcp",
    );
  });
});
