import { expect, test } from "bun:test";
import { filesForImage } from "../../../src/commands/image-files.ts";
import { planOf } from "../config/machine.ts";

const none = (): undefined => undefined;

test("an image gets the tokens, certificates and headers that the configuration names, each once", () => {
  const volume = (name: string, settings: string) =>
    `[volumes.${name}]\nkind = "luks"\ndevice = "/dev/${name}"\nsources = ["clevis", "prompt"]\n${settings}\n`;
  const plan = planOf({
    toml: [
      volume("a", 'clevis = { token = "/root/x.jwe", ca = "/etc/ssl/own.pem" }'),
      volume("b", 'clevis = { token = "/root/y.jwe", ca = "/etc/ssl/own.pem" }\nluks = { header = "/boot/b.hdr" }'),
      volume("c", ""),
    ].join(""),
  });
  expect(filesForImage(plan, none)).toEqual(["/root/x.jwe", "/etc/ssl/own.pem", "/root/y.jwe", "/boot/b.hdr"]);
});

test("and no header of a volume that no boot opens", () => {
  const plan = planOf({ crypttab: "d /dev/d none header=/d.hdr,noauto" });
  expect(filesForImage(plan, none)).toEqual([]);
});

test("an image gets the tokens that crypttab has for our keyscript, and no other key file", () => {
  const lines = [
    "a UUID=1 /root/a.jwe luks,keyscript=latchkey",
    "b UUID=2 /root/b.jwe luks,keyscript=/lib/cryptsetup/scripts/latchkey",
    "c UUID=3 /root/c.jwe luks,keyscript=other",
    "d UUID=4 /root/d.key luks,keyscript=latchkey",
    "e UUID=5 /root/e.jwe luks",
    "f UUID=6 none luks,keyscript=latchkey",
  ].join("\n");
  const read = (path: string): string | undefined => (path === "/etc/crypttab" ? lines : undefined);
  expect(filesForImage(planOf({}), read)).toEqual(["/root/a.jwe", "/root/b.jwe"]);
  const denied = (): never => {
    throw new Error("EACCES");
  };
  expect(filesForImage(planOf({}), denied)).toEqual([]);
});
