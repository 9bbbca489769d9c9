import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseLuksParameters } from "../../../src/config/luks-parameters.ts";
import { problemLine } from "../../../src/config/problems.ts";
import { otherUuid, uuid } from "./machine.ts";

const nothing = { isEnabled: true, usesCrypttab: true, isExclusive: false, devices: [], problems: [] };
const wanted = { uuid, isWanted: true };

describe("rd.luks.* in an initrd, as systemd-cryptsetup-generator(8) has it", () => {
  test.each([
    ["", {}],
    ["luks", {}],
    ["rd.luks=1", {}],
    ["rd.luks=0", { isEnabled: false }],
    ["luks=no", { isEnabled: false }],
    ["rd.luks.crypttab=0", { usesCrypttab: false }],
    [`rd.luks.uuid=${uuid}`, { isExclusive: true, devices: [wanted] }],
    [`luks.uuid=luks-${uuid.toUpperCase()}`, { isExclusive: true, devices: [wanted] }],
    [`rd.luks.name=${uuid}=cryptroot`, { isExclusive: true, devices: [{ ...wanted, name: "cryptroot" }] }],
    [
      `rd.luks.uuid=${uuid} rd.luks.options=${uuid}=discard,tries=1 rd.luks.key=${uuid}=/key rd.luks.data=${uuid}=/dev/sdb`,
      { isExclusive: true, devices: [{ ...wanted, options: "discard,tries=1", keyFile: "/key", data: "/dev/sdb" }] },
    ],
    ["rd.luks.options=discard rd.luks.key=/key", { defaultOptions: "discard", defaultKeyFile: "/key" }],
    [`rd.luks.options=${uuid}=discard`, { devices: [{ uuid, isWanted: false, options: "discard" }] }],
    // An option with a value of its own is no UUID.
    ["rd.luks.options=tries=1", { defaultOptions: "tries=1" }],
    ["rd.luksy=0 xluks.uuid=1 rd.lvm=0", {}],
  ])("%s", (text, expected) => {
    expect(parseLuksParameters(text, true)).toEqual({ ...nothing, ...expected });
  });

  test.each([
    ["rd.luks.uuid=6e8c", 'rd.luks.uuid: expected a whole UUID, got "6e8c": ignored'],
    ["rd.luks.name=root", 'rd.luks.name: expected UUID=NAME, got "root": ignored'],
    [`rd.luks.name=${uuid}`, `rd.luks.name: expected UUID=NAME, got "${uuid}": ignored`],
    ["luks.data=x=/dev/sda", 'luks.data: expected UUID=DEVICE, got "x=/dev/sda": ignored'],
  ])("%s is a warning", (text, warning) => {
    const { problems, devices } = parseLuksParameters(text, true);
    expect(problems.map(problemLine)).toEqual([`kernel command line: ${warning}`]);
    expect(devices).toEqual([]);
  });
});

describe("after the initrd", () => {
  test("rd.luks.* switches nothing off and leaves nothing out, and what it names is still known", () => {
    const text = `rd.luks=0 rd.luks.crypttab=0 rd.luks.uuid=${uuid}`;
    expect(parseLuksParameters(text, false)).toEqual({ ...nothing, devices: [wanted] });
  });

  test("luks.* counts as it did", () => {
    const text = `luks=0 luks.crypttab=0 luks.uuid=${otherUuid}`;
    expect(parseLuksParameters(text, false)).toEqual({
      ...nothing,
      isEnabled: false,
      usesCrypttab: false,
      isExclusive: true,
      devices: [{ uuid: otherUuid, isWanted: true }],
    });
  });
});

test("no command line is too strange, and none makes more devices than a machine has", () => {
  const word = fc.constantFrom(
    "rd.luks",
    "luks.",
    "uuid=",
    "name=",
    "options=",
    "=",
    " ",
    uuid,
    otherUuid,
    '"',
    "-",
    "0",
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 30 }), fc.boolean(), (words, inInitrd) => {
      const { devices } = parseLuksParameters(words.join(""), inInitrd);
      expect(new Set(devices.map((device) => device.uuid)).size).toBe(devices.length);
    }),
    { numRuns: 500 },
  );
  const many = Array.from(
    { length: 300 },
    (_, index) => `rd.luks.uuid=${String(index).padStart(8, "0")}${uuid.slice(8)}`,
  );
  expect(parseLuksParameters(many.join(" "), true).devices).toHaveLength(256);
});
