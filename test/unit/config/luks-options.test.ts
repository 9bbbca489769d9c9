import { describe, expect, test } from "bun:test";
import { parseCrypttab } from "../../../src/config/crypttab.ts";
import { crypttabAdvice } from "../../../src/config/crypttab-advice.ts";
import { type CrypttabServer, readCrypttabOptions } from "../../../src/config/crypttab-options.ts";
import { readLuksOptions } from "../../../src/config/luks-options.ts";

describe("the options of crypttab, in both dialects", () => {
  test.each([
    ["", {}],
    ["luks", {}],
    ["discard", { allowDiscards: true }],
    ["allow-discards", { allowDiscards: true }],
    ["readonly", { readOnly: true }],
    ["read-only", { readOnly: true }],
    ["key-slot=3", { keySlot: 3 }],
    ["keyslot=0", { keySlot: 0 }],
    ["header=/boot/header.img", { header: "/boot/header.img" }],
    ["header=UUID=x", { header: "UUID=x" }],
    ["tries=2", { tries: 2 }],
    ["tries=2,tries=0", {}],
    ["keyfile-offset=512,keyfile-size=64", { keyFileOffset: 512, keyFileSize: 64 }],
    ["x-systemd.device-timeout=10", { deviceTimeout: 10_000 }],
    ["x-systemd.device-timeout=1min 30s", { deviceTimeout: 90_000 }],
    ["x-systemd.device-timeout=0", {}],
    ["_netdev,nofail", { needsNetwork: true, mayFail: true }],
    ["nofail,fail", { mayFail: false }],
    ["x-initrd.attach", { isWantedInInitrd: true }],
    ["initramfs", { isWantedInInitrd: true }],
    [
      "same-cpu-crypt,submit-from-crypt-cpus,no-read-workqueue,no-write-workqueue,no-read-workqueue",
      {
        openOptions: [
          "--perf-same_cpu_crypt",
          "--perf-submit_from_crypt_cpus",
          "--perf-no_read_workqueue",
          "--perf-no_write_workqueue",
        ],
      },
    ],
  ])("%s", (text, settings) => {
    expect(readLuksOptions(readCrypttabOptions(text))).toEqual({
      settings,
      isOnDemand: false,
      isHeadless: false,
      problems: [],
    });
  });

  test.each([
    ["noauto", { isOnDemand: true }],
    ["noauto,auto", { isOnDemand: false }],
    ["headless", { isHeadless: true }],
    ["headless=yes", { isHeadless: true }],
    ["headless=0", { isHeadless: false }],
  ])("%s", (text, expected) => {
    expect(readLuksOptions(readCrypttabOptions(text))).toMatchObject(expected);
  });

  test.each([
    ["key-slot=32", 'key-slot=: expected a number up to 31, got "32"'],
    ["keyslot", 'keyslot=: expected a number up to 31, got ""'],
    ["tries=many", 'tries=: expected a number up to 1000000, got "many"'],
    ["keyfile-size=-1", 'keyfile-size=: expected a number up to 9007199254740991, got "-1"'],
    [
      "x-systemd.device-timeout=soon",
      'x-systemd.device-timeout=: expected a duration like "2s", "500ms" or "1m30s", got "soon"',
    ],
  ])("%s cannot be used, and leaves the rest", (text, problem) => {
    const read = readLuksOptions(readCrypttabOptions(`${text},discard`));
    expect(read).toMatchObject({ settings: { allowDiscards: true }, problems: [problem] });
  });
});

describe("advice on an entry", () => {
  const advice = (line: string, server: CrypttabServer): readonly string[] =>
    parseCrypttab(line, "crypttab").entries.flatMap((entry) => crypttabAdvice(entry, server));

  test.each([
    ["a UUID=x none luks,discard", "systemd", []],
    ["a UUID=x none luks,discard", "debian", []],
    ["a UUID=x none luks,discard,tries=3,no-read-workqueue", "latchkey", []],
    // They change nothing for whoever skips them.
    ["a UUID=x none luks,initramfs,loud", "systemd", []],
    ["a UUID=x none luks,x-initrd.attach", "debian", []],
    ["a UUID=x none luks,discrad", "systemd", ['there is no option discrad (did you mean "discard"?): ignored']],
    ["a UUID=x none luks,check", "systemd", ["systemd-cryptsetup opens it and does not obey check"]],
    ["a UUID=x none luks,tpm2-device=auto", "debian", ["Debian's cryptroot opens it and does not obey tpm2-device"]],
    [
      "a UUID=x none luks,check,verify",
      "latchkey",
      ["latchkey opens it and does not obey check", "latchkey opens it and does not obey verify"],
    ],
    ["a UUID=x none luks,tries=x", "systemd", ['tries=: expected a number up to 1000000, got "x": ignored']],
    [
      "a UUID=x none luks,keyscript=/k",
      "systemd",
      [
        "systemd-cryptsetup opens it and does not obey keyscript",
        "systemd has no keyscripts: after the initrd this entry is skipped",
      ],
    ],
    [
      "a UUID=x none luks,keyfile-size=9",
      "systemd",
      ["keyfile-size says how a key file is read, and the third field names none"],
    ],
    ["a UUID=x none luks,keyfile-size=9", "latchkey", ["latchkey opens it and does not obey keyfile-size"]],
    ["a UUID=x /k luks,keyfile-size=9", "systemd", []],
    ["a UUID=x k luks", "systemd", ['the key file "k" is no absolute path']],
    ["a UUID=x", "debian", ["Debian's scripts want a third and a fourth field: none luks"]],
    ["a UUID=x", "systemd", []],
  ] as const)("%s, read by %s", (line, server, sentences) => {
    expect(advice(line, server)).toEqual([...sentences]);
  });
});
