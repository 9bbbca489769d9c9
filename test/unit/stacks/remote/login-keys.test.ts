import { describe, expect, test } from "bun:test";
import { rewriteAuthorizedKeys } from "../../../../src/stacks/remote/authorized-keys.ts";
import { describeLoginKey, readSystemLoginKeys } from "../../../../src/stacks/remote/login-keys.ts";
import { FakeMachine, said } from "../fake-machine.ts";

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH+75k8QBKJx9UMCYCPct4NAX2ID4pezeJyaulKivjxx";
const adopted = { server: "dropbear", isAdopted: true } as const;
const own = { server: "dropbear", isAdopted: false } as const;

function machine(files: Readonly<Record<string, string>>): FakeMachine {
  const made = new FakeMachine(async () => said(""));
  for (const [path, text] of Object.entries(files)) made.put(path, text);
  return made;
}

describe("who may log in, before there is an image", () => {
  const everywhere = {
    "/etc/latchkey/authorized_keys": `${key} latchkey\n`,
    "/etc/dropbear/initramfs/authorized_keys": `${key} dropbear\n`,
    "/root/.ssh/authorized_keys": `${key} root\n`,
  };

  test.each([
    ["/etc/latchkey/authorized_keys", everywhere, adopted, "latchkey"],
    [
      "the authorized_keys of dropbear-initramfs",
      { ...everywhere, "/etc/latchkey/authorized_keys": undefined },
      adopted,
      "dropbear",
    ],
    ["/root/.ssh/authorized_keys", { ...everywhere, "/etc/latchkey/authorized_keys": undefined }, own, "root"],
  ] as const)("stands in %s", (file, files, choice, comment) => {
    using on = machine(
      Object.fromEntries(Object.entries(files).flatMap(([path, text]) => (text === undefined ? [] : [[path, text]]))),
    );
    const keys = readSystemLoginKeys(on.files, choice);
    expect(keys.file).toBe(file);
    expect(keys.lines[0]).toEndWith(` ${comment}`);
  });

  test("nobody is an error that says what to do", () => {
    using on = machine({});
    expect(() => readSystemLoginKeys(on.files, own)).toThrow("nobody could log in to the initrd");
  });
});

test.skipIf(Bun.which("ssh-keygen") === null)("a key is described as ssh-keygen does (skipped without it)", () => {
  const listed = Bun.spawnSync(["ssh-keygen", "-l", "-f", "-"], { stdin: Buffer.from(`${key} me at home\n`) });
  const [, fingerprint] = listed.stdout.toString().split(" ");
  for (const server of ["openssh", "dropbear"] as const) {
    for (const options of ["", 'verify-required,command="a b" ']) {
      const [line = ""] = rewriteAuthorizedKeys(`${options}${key} me at home`, server, true).lines;
      expect(describeLoginKey(line)).toBe(`${fingerprint} me at home`);
    }
  }
});
