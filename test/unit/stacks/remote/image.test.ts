import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { remoteDefaults } from "../../../../src/config/toml-remote.ts";
import { auditRemote } from "../../../../src/stacks/remote/audit.ts";
import { planHostKeys, runHostKeyStep } from "../../../../src/stacks/remote/host-key-files.ts";
import { type Stack, writeRemoteImage } from "../../../../src/stacks/remote/image.ts";
import { FakeMachine, failed, said } from "../fake-machine.ts";

const data = "AAAAC3NzaC1lZDI1NTE5AAAAIH+75k8QBKJx9UMCYCPct4NAX2ID4pezeJyaulKivjxx";
const key = `ssh-ed25519 ${data} me`;

/** dropbear's format: the type, then the private half before the public one. */
function dropbearKey(): string {
  const type = "\0\0\0\x0bssh-ed25519";
  return `${type}\0\0\0\x40${"s".repeat(32)}${"p".repeat(32)}`;
}

function machine(files: Readonly<Record<string, string>> = {}): FakeMachine {
  const made = new FakeMachine(async () => said(""));
  for (const [path, text] of Object.entries(files)) made.put(path, text);
  return made;
}

const dropbear = { "/usr/sbin/dropbear": "", "/etc/latchkey/ssh/dropbear_ed25519_host_key": dropbearKey() };
const build = (on: FakeMachine, stack: Stack = "dracut", plan = {}) =>
  writeRemoteImage(on.files, "/image", stack, { ...remoteDefaults, ...plan });
const inImage = (on: FakeMachine, path: string): string => readFileSync(join(on.root, "image", path), "utf8");

describe("the SSH server in an image", () => {
  test("of dropbear: its key, its script, root's keys, each forced", () => {
    using on = machine({ ...dropbear, "/etc/latchkey/authorized_keys": `${key}\n`, "/etc/hostname": "server1\n" });
    on.put("/image/etc/passwd", "root:x:0:0::/root:/bin/bash\n");
    expect(build(on, "dracut", { port: 2222 })).toEqual({
      programs: ["/usr/sbin/dropbear"],
      isAdopted: false,
      warnings: [],
    });
    expect(inImage(on, "/root/.ssh/authorized_keys")).toBe(
      `no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="/usr/bin/latchkey answer" ${key}\n`,
    );
    expect(statSync(join(on.root, "image/root/.ssh/authorized_keys")).mode & 0o777).toBe(0o600);
    const script = inImage(on, "/usr/lib/latchkey/remote-server");
    for (const option of [" -s ", " -j ", " -k ", " -p 2222 ", " -c '/usr/bin/latchkey answer'"])
      expect(script).toContain(option);
    expect(JSON.parse(inImage(on, "/usr/lib/latchkey/remote.json"))).toMatchObject({ server: "dropbear", port: 2222 });
    expect(inImage(on, "/etc/shells")).toBe("/bin/sh\n");
    expect(inImage(on, "/etc/hostname")).toBe("server1\n");
  });

  test("of OpenSSH: no passwords, no forwarding, one command; its helpers come along", () => {
    using on = machine({
      "/usr/sbin/sshd": "",
      "/usr/lib/openssh/sshd-session": "",
      "/root/.ssh/authorized_keys": `${key}\n`,
    });
    const host = Bun.spawnSync(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", join(on.root, "key")]);
    expect(host.exitCode).toBe(0);
    on.put("/etc/latchkey/ssh/ssh_host_ed25519_key", readFileSync(join(on.root, "key"), "utf8"), 0o600);
    expect(build(on).programs).toEqual(["/usr/sbin/sshd", "/usr/lib/openssh/sshd-session"]);
    const config = inImage(on, "/etc/latchkey/ssh/sshd_config");
    for (const line of [
      "ForceCommand /usr/bin/latchkey answer",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "UsePAM no",
      "DisableForwarding yes",
      "PermitRootLogin forced-commands-only",
      "PerSourcePenalties no",
    ]) {
      expect(config.split("\n")).toContain(line);
    }
    expect(inImage(on, "/etc/latchkey/ssh/authorized_keys")).toStartWith(
      'restrict,pty,command="/usr/bin/latchkey answer" ',
    );
    expect(statSync(join(on.root, "image/etc/latchkey/ssh/ssh_host_ed25519_key")).mode & 0o777).toBe(0o600);
  });

  test("in an image of initramfs-tools root is not at home where the real root is mounted", () => {
    using on = machine({ ...dropbear, "/etc/latchkey/authorized_keys": key });
    build(on, "initramfs-tools", { network: "ip=192.0.2.7::192.0.2.1:24::eth0:none" });
    expect(existsSync(join(on.root, "image/usr/lib/latchkey/home/.ssh/authorized_keys"))).toBe(true);
    expect(existsSync(join(on.root, "image/root"))).toBe(false);
    // As klibc's ipconfig reads it.
    expect(inImage(on, "/usr/lib/latchkey/remote-ip")).toBe("ip=192.0.2.7::192.0.2.1:255.255.255.0::eth0:none\n");
  });

  test.each<[string, Readonly<Record<string, string>>, Record<string, unknown>, string, string]>([
    [
      "no server",
      { "/etc/latchkey/authorized_keys": key },
      {},
      "remote/no-server",
      "neither dropbear nor OpenSSH's sshd",
    ],
    [
      "not the server that is wanted",
      { ...dropbear },
      { server: "openssh" },
      "remote/no-server",
      "openssh is not installed",
    ],
    ["no keys", dropbear, {}, "remote/no-authorized-keys", "there is neither /etc/latchkey/authorized_keys nor"],
    [
      "no key that can be used",
      { ...dropbear, "/etc/latchkey/authorized_keys": `# none yet\nfrom="x" ${key}` },
      {},
      "remote/no-authorized-keys",
      "/etc/latchkey/authorized_keys has no key to use (/etc/latchkey/authorized_keys, line 2: the option from",
    ],
    [
      "an empty file of its own, whatever root's says",
      { ...dropbear, "/etc/latchkey/authorized_keys": "", "/root/.ssh/authorized_keys": key },
      {},
      "remote/no-authorized-keys",
      "/etc/latchkey/authorized_keys has no key to use",
    ],
    [
      "no host key",
      { "/usr/sbin/dropbear": "", "/etc/latchkey/authorized_keys": key },
      {},
      "remote/no-host-key",
      "/etc/latchkey/ssh/dropbear_ed25519_host_key",
    ],
    [
      "a host key that is none",
      { ...dropbear, "/etc/latchkey/authorized_keys": key, "/etc/latchkey/ssh/dropbear_ed25519_host_key": "x" },
      {},
      "remote/no-host-key",
      "/etc/latchkey/ssh/dropbear_ed25519_host_key",
    ],
  ])("is not made with %s", (_, files, plan, code, words) => {
    using on = machine(files);
    try {
      build(on, "dracut", plan);
      throw new Error("it was made");
    } catch (thrown) {
      expect(thrown).toMatchObject({ code, outcome: "configuration" });
      expect((thrown as Error).message).toContain(words);
    }
  });
});

describe("a set-up of dropbear-initramfs", () => {
  const debian = {
    "/usr/sbin/dropbear": "",
    "/usr/share/initramfs-tools/hooks/dropbear": "",
    "/image/etc/passwd": "root:*:0:0::/root-Xy12:/bin/sh\n",
    "/image/root-Xy12/.ssh/authorized_keys": `no-pty,command="cryptroot-unlock" ${key}\n`,
    "/image/etc/dropbear/dropbear.conf":
      '#DROPBEAR_OPTIONS="-p 1"\nDROPBEAR_OPTIONS="-I 180 -p 2222 -c cryptroot-unlock"\n',
    "/image/etc/dropbear/dropbear_ed25519_host_key": dropbearKey(),
  };

  test("stays as it is, but for the forced command", () => {
    using on = machine(debian);
    expect(build(on, "initramfs-tools")).toEqual({ programs: [], isAdopted: true, warnings: [] });
    expect(inImage(on, "/root-Xy12/.ssh/authorized_keys")).toBe(
      `no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="/usr/bin/latchkey answer" ${key}\n`,
    );
    const settings = inImage(on, "/etc/dropbear/dropbear.conf");
    expect(settings).toStartWith(debian["/image/etc/dropbear/dropbear.conf"]);
    const options = Bun.spawnSync(["sh", "-c", `${settings}\necho $DROPBEAR_OPTIONS`])
      .stdout.toString()
      .trim();
    expect(options).toBe("-I 180 -p 2222 -c cryptroot-unlock -c /usr/lib/latchkey/answer");
    expect(inImage(on, "/usr/lib/latchkey/answer")).toContain("exec /usr/bin/latchkey answer\n");
    expect(JSON.parse(inImage(on, "/usr/lib/latchkey/remote.json"))).toMatchObject({ server: "dropbear", port: 2222 });
    expect(existsSync(join(on.root, "image/usr/lib/latchkey/remote-server"))).toBe(false);
  });

  test("gets latchkey's own keys where there are some", () => {
    const other = key.replace(" me", " other");
    using on = machine({ ...debian, "/etc/latchkey/authorized_keys": other });
    build(on, "initramfs-tools");
    expect(inImage(on, "/root-Xy12/.ssh/authorized_keys")).toEndWith("other\n");
  });

  test("decides on network and port, and what the configuration says of them is not passed over in silence", () => {
    using on = machine(debian);
    expect(build(on, "initramfs-tools", { network: "ip=192.0.2.7:::::eth0:none", port: 22022 }).warnings).toEqual([
      expect.stringContaining("[remote] network does not count"),
      expect.stringContaining("[remote] port does not count: dropbear-initramfs is installed, and has port 2222"),
    ]);
    using same = machine(debian);
    expect(build(same, "initramfs-tools", { port: 2222 }).warnings).toEqual([]);
  });

  test("is not fought with another server", () => {
    using on = machine({ ...debian, "/usr/sbin/sshd": "" });
    expect(() => build(on, "initramfs-tools", { server: "openssh" })).toThrow("dropbear-initramfs is installed");
  });
});

describe("host keys", () => {
  const plan = remoteDefaults;

  test("are made once and kept", async () => {
    using on = new FakeMachine(async ([program, ...words]) => {
      if (program !== "/usr/bin/dropbearkey") return failed(127);
      on.put("/etc/latchkey/ssh/dropbear_ed25519_host_key", dropbearKey());
      return words.includes("ed25519") ? said("") : failed(1);
    });
    on.put("/usr/sbin/dropbear", "");
    const [first] = planHostKeys(on, "dracut", plan);
    if (!first) throw new Error("nothing planned");
    expect(first).toMatchObject({ do: "make", server: "dropbear" });
    const fingerprint = await runHostKeyStep(on, first);
    expect(fingerprint).toMatch(/^SHA256:[A-Za-z0-9+/]{43}$/);
    const [second] = planHostKeys(on, "dracut", plan);
    if (!second) throw new Error("nothing planned");
    expect(second.do).toBe("keep");
    expect(await runHostKeyStep(on, second)).toBe(fingerprint);
    expect(on.commands.length).toBe(1);
  });

  test("go along when the server is another one from now on", () => {
    using on = machine({ ...dropbear, "/usr/sbin/sshd": "", "/usr/bin/dropbearconvert": "" });
    expect(planHostKeys(on, "dracut", { ...plan, server: "openssh" })).toEqual([
      {
        do: "convert",
        from: "/etc/latchkey/ssh/dropbear_ed25519_host_key",
        file: "/etc/latchkey/ssh/ssh_host_ed25519_key",
      },
    ]);
  });

  test.skipIf(Bun.which("ssh-keygen") === null)(
    "by the real ssh-keygen stay the same over rebuilds (skipped without it)",
    async () => {
      const { runProgram } = { runProgram: Bun.spawnSync };
      using on = new FakeMachine(async (command) => {
        const { exitCode, stdout, stderr } = runProgram([...command]);
        return { status: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
      });
      on.put("/usr/sbin/sshd", "");
      const fingerprints: string[] = [];
      for (let rebuild = 0; rebuild < 2; rebuild += 1) {
        for (const step of planHostKeys(on, "dracut", plan)) fingerprints.push(await runHostKeyStep(on, step));
      }
      expect(fingerprints.length).toBe(2);
      expect(fingerprints[0]).toBe(fingerprints[1] ?? "");
    },
  );

  test("that cannot be made are an error with the tool's reason", async () => {
    using on = new FakeMachine(async () => failed(1, "disk on fire\n"));
    on.put("/usr/sbin/dropbear", "");
    const [step] = planHostKeys(on, "dracut", plan);
    await expect(step && runHostKeyStep(on, step)).rejects.toThrow("disk on fire");
  });
});

describe("the audit", () => {
  const tree = (files: Readonly<Record<string, string>>) => {
    const on = machine({ ...dropbear, "/etc/latchkey/authorized_keys": key });
    on.put("/image/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    build(on);
    on.put("/image/usr/sbin/dropbear", "");
    for (const [path, text] of Object.entries(files)) on.put(`/image${path}`, text);
    return on;
  };

  test("finds an image good that can be logged in to", () => {
    using on = tree({});
    expect(auditRemote(on, "/image")).toMatchObject({ level: "ok" });
    expect(auditRemote(on, "/image").text).toMatch(/^1 key may log in at port 22 and answer; host key SHA256:/);
  });

  test.each<[string, Readonly<Record<string, string>>, string]>([
    ["without the server", { "/usr/lib/latchkey/remote.json": "{}" }, "has no SSH server for it"],
    ["that nobody can log in to", { "/root/.ssh/authorized_keys": "" }, "nobody can log in"],
    ["with a key that can do more", { "/root/.ssh/authorized_keys": `${key}\n` }, "is not forced to"],
  ])("refuses an image %s", (_, files, words) => {
    using on = tree(files);
    expect(auditRemote(on, "/image")).toMatchObject({ level: "failure" });
    expect(auditRemote(on, "/image").text).toContain(words);
  });
});
