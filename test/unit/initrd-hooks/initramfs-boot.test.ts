import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { processIsAlive } from "../../../src/system/ask-password/foreign-questions.ts";
import { InitramfsScene, UUID } from "./initramfs-scene.ts";
import { OFF_WORDS, ON_WORDS } from "./off-words.ts";

const TOP = "/scripts/local-top/latchkey";
const BLOCK = "/scripts/local-block/00-latchkey";
const PREMOUNT = "/scripts/local-premount/latchkey";
const BOTTOM = "/scripts/local-bottom/latchkey";
const REASON = "system: bcachefs on /dev/vda is not encrypted: refused";
const DOWN = ["ip addr flush dev eth0", "ip link set dev eth0 down"];
const KEY = `1a2b I--Q--- 1 perm 3f010000 0 0 user      bcachefs:${UUID}: 32\n`;

describe("local-top", () => {
  test("starts latchkey, for no longer than initramfs-tools can wait, and without orders to the Bun inside", async () => {
    using scene = new InitramfsScene();
    const run = await scene.run(TOP, { BUN_OPTIONS: "--smol" });
    expect(run).toMatchObject({ status: 0, stderr: "", calls: ["latchkey boot --device-timeout 10s"] });
  });

  test.each<[string, (scene: InitramfsScene) => void]>([
    ["is missing", (scene) => scene.remove("/usr/bin/latchkey")],
    ["was stripped", (scene) => scene.put("/usr/bin/latchkey", "#!/bin/sh\necho 1.4.5\n", 0o755)],
    ["says nothing", (scene) => scene.put("/usr/bin/latchkey", "#!/bin/sh\nexit 127\n", 0o755)],
    ["has no record in the image", (scene) => scene.remove("/usr/lib/latchkey/version")],
  ])("does not start a program that %s, and the boot goes on", async (_, damage) => {
    using scene = new InitramfsScene();
    damage(scene);
    const run = await scene.run(TOP);
    expect(run.calls).toEqual([]);
    expect(run.status).toBe(0);
    expect(run.stderr).toContain(
      "latchkey: the program in this image is missing or damaged: the system asks by itself",
    );
  });

  test("leaves it with rd.latchkey=0", async () => {
    using scene = new InitramfsScene();
    scene.put("/proc/cmdline", "root=UUID=1 rd.latchkey=0 quiet\n");
    scene.put("/usr/lib/latchkey/needs", "network tpm\n");
    const run = await scene.run(TOP);
    expect(run).toMatchObject({ status: 0, calls: [] });
    expect(run.stderr).toContain("latchkey: switched off by rd.latchkey=0");
  });

  test.each(OFF_WORDS)("leaves it with rd.latchkey=%s", async (word) => {
    using scene = new InitramfsScene();
    scene.put("/proc/cmdline", `rd.latchkey=${word}\n`);
    expect(await scene.run(TOP)).toMatchObject({ status: 0, calls: [] });
  });

  test.each(ON_WORDS)("does not leave it with rd.latchkey=%s", async (word) => {
    using scene = new InitramfsScene();
    scene.put("/proc/cmdline", `rd.latchkey=${word} rd.latchkey.debug=0\n`);
    scene.program("exit 0");
    const run = await scene.run(TOP);
    expect(run.stderr).not.toContain("switched off");
    expect(run.calls.join("\n")).toContain("latchkey boot");
  });

  test.each([0, 1, 2, 3, 4, 64, 78])("goes on whatever latchkey's end is: %d", async (status) => {
    using scene = new InitramfsScene();
    scene.program(`exit ${status}`);
    expect(await scene.run(TOP)).toMatchObject({ status: 0, stderr: "" });
  });

  test("takes down the question of a latchkey that was killed, and gives the console back", async () => {
    using scene = new InitramfsScene();
    scene.program("kill -9 $$");
    // askpass goes when its FIFO was opened and closed, here after the first look.
    scene.put("/proc/4194305/comm", "askpass\n");
    expect(Bun.spawnSync(["mkfifo", scene.at("/lib/cryptsetup/passfifo")]).exitCode).toBe(0);
    scene.stubs.add("sleep", `rm -rf ${scene.at("/proc/4194305")}`);
    const run = await scene.run(TOP);
    expect(run.stderr).toContain("latchkey: it died (status 137): the system asks by itself");
    expect(run.calls).toEqual(["latchkey boot --device-timeout 10s", "stty sane"]);
    expect(run.status).toBe(0);
  });

  test("brings the network up beside latchkey where a token wants it, at the address that is configured", async () => {
    using scene = new InitramfsScene();
    scene.put("/usr/lib/latchkey/needs", "luks network\n");
    scene.put("/usr/lib/latchkey/remote-ip", "ip=192.0.2.7::192.0.2.1:255.255.255.0\n");
    expect((await scene.run(TOP)).calls.toSorted()).toEqual([
      "configure_networking 192.0.2.7::192.0.2.1:255.255.255.0",
      "latchkey boot --device-timeout 10s",
    ]);
    scene.remove("/run/latchkey/network");
    expect((await scene.run(TOP, { IP: "dhcp" })).calls).toContain("configure_networking dhcp");
  });

  test.each<[string, (scene: InitramfsScene) => void]>([
    ["no token wants one", (scene) => scene.put("/usr/lib/latchkey/needs", "luks tpm\n")],
    ["dropbear brings it up", (scene) => scene.put("/scripts/init-premount/dropbear", "")],
    ["iscsi has brought it up", (scene) => scene.put("/run/net-eth0.conf", "DEVICE=eth0\n")],
    ["latchkey has brought it up at an earlier look", (scene) => scene.put("/run/latchkey/network/pid", "4194305\n")],
  ])("leaves the network alone where %s", async (_, change) => {
    using scene = new InitramfsScene();
    scene.put("/usr/lib/latchkey/needs", "network\n");
    change(scene);
    expect((await scene.run(TOP)).calls).toEqual(["latchkey boot --device-timeout 10s"]);
  });

  test("waits for no network, which is given up when the root is there", async () => {
    using scene = new InitramfsScene();
    scene.put("/usr/lib/latchkey/needs", "network\n");
    // Opened for reading, a FIFO waits for a writer: for a network that never comes.
    expect(Bun.spawnSync(["mkfifo", scene.at("/run/never")]).exitCode).toBe(0);
    scene.put("/scripts/functions", `configure_networking() { read -r _ < ${scene.at("/run/never")}; }\n`);
    expect((await scene.run(TOP)).calls).toContain("latchkey boot --device-timeout 10s");
    const waiting = Number(readFileSync(scene.at("/run/latchkey/network/pid"), "utf8"));
    expect(processIsAlive(waiting)).toBe(true);
    expect((await scene.run(BOTTOM)).calls.slice(1)).toEqual(DOWN);
    // Dead at once, and gone when whoever has inherited it has looked.
    while (processIsAlive(waiting)) await Bun.sleep(10);
  });

  test("wants to come after all others but cryptroot", async () => {
    using scene = new InitramfsScene();
    for (const name of ["cryptroot", "clevis", "multipath"]) scene.put(`/scripts/local-top/${name}`, "", 0o755);
    scene.put("/scripts/local-top/ORDER", "");
    const run = await scene.run(TOP, { DESTDIR: scene.at("") }, "prereqs");
    expect(run.stdout.split("\n")).toEqual(["clevis", "multipath", ""]);
  });
});

describe("a refused root", () => {
  test("holds the boot until the mark is gone", async () => {
    using scene = new InitramfsScene();
    scene.program(`echo "${REASON}" > /run/latchkey/refused`, "exit 4");
    // In the shell the owner thinks it over at the second time.
    scene.script(
      "/panic-shell",
      `#!/bin/sh\nif [ -e /run/again ]; then rm /run/latchkey/refused; fi\n: > /run/again\n`,
    );
    const run = await scene.run(TOP);
    expect(run.calls).toEqual([
      "latchkey boot --device-timeout 10s",
      `panic latchkey: the root filesystem was refused: ${REASON}`,
      "latchkey boot --device-timeout 10s",
      `panic latchkey: the root filesystem was refused: ${REASON}`,
    ]);
    expect(run.status).toBe(0);
  });

  test("is let go when latchkey finds another disk there", async () => {
    using scene = new InitramfsScene();
    scene.put("/run/latchkey/refused", `${REASON}\n`);
    scene.put("/run/latchkey/waiting", "system\n");
    scene.program("rm /run/latchkey/refused");
    expect((await scene.run(BLOCK)).calls).toEqual(["latchkey boot --device-timeout 1s"]);
  });

  test("stays refused when latchkey dies at its second look", async () => {
    using scene = new InitramfsScene();
    scene.put("/run/latchkey/refused", `${REASON}\n`);
    scene.put("/run/latchkey/waiting", "system\n");
    scene.program("kill -9 $$");
    scene.script(
      "/panic-shell",
      `#!/bin/sh\nif [ -e /run/again ]; then rm /run/latchkey/refused; fi\n: > /run/again\n`,
    );
    const panics = (await scene.run(BLOCK)).calls.filter((call) => call.startsWith("panic"));
    expect(panics).toHaveLength(2);
  });
});

describe("local-block", () => {
  test("lets latchkey look again while devices are missing, and only then", async () => {
    using scene = new InitramfsScene();
    expect((await scene.run(BLOCK)).calls).toEqual([]);
    scene.put("/run/latchkey/waiting", "\n");
    expect((await scene.run(BLOCK)).calls).toEqual(["latchkey boot --device-timeout 1s"]);
    // That run did not leave the mark again.
    expect((await scene.run(BLOCK)).calls).toHaveLength(1);
  });
});

describe("local-premount", () => {
  const question = (scene: InitramfsScene): void =>
    scene.script(
      "/usr/lib/latchkey/bcachefs-question",
      `#!/bin/sh\necho "question $ROOT" >> ${scene.stubs.folder}/calls\n`,
    );

  test("asks as bcachefs-tools do when the root is not unlocked", async () => {
    using scene = new InitramfsScene();
    question(scene);
    expect((await scene.run(PREMOUNT)).calls).toEqual(["question UUID=1"]);
  });

  test("asks no second question when it is", async () => {
    using scene = new InitramfsScene();
    question(scene);
    scene.put("/proc/keys", KEY);
    expect((await scene.run(PREMOUNT)).calls).toEqual([]);
  });

  test("does nothing for a root that is not there, or without bcachefs-tools", async () => {
    using scene = new InitramfsScene();
    expect(await scene.run(PREMOUNT)).toMatchObject({ status: 0, calls: [] });
    question(scene);
    expect(await scene.run(PREMOUNT, { ROOT: "/dev/mapper/none" })).toMatchObject({ status: 0, calls: [] });
  });

  test("lets latchkey see a bcachefs that has come since, before anybody else asks", async () => {
    using scene = new InitramfsScene();
    question(scene);
    scene.put("/run/latchkey/waiting", "\n");
    scene.program(`echo '${KEY.trim()}' > /proc/keys`);
    expect((await scene.run(PREMOUNT)).calls).toEqual(["latchkey boot --device-timeout 1s"]);
  });
});

describe("a root of several members", () => {
  const members = `echo /dev/vda:/dev/vdb > /run/latchkey/root-members`;

  test("is mounted by all their names where no helper of mount finds them, and let go when the system has it", async () => {
    using scene = new InitramfsScene();
    scene.program(members);
    const run = await scene.run(TOP, { readonly: "y", ROOTFLAGS: "-o degraded" });
    expect(run.calls.at(-1)).toBe("mount -r -t bcachefs -o degraded /dev/vda:/dev/vdb /run/latchkey/members");
    expect((await scene.run(BOTTOM)).calls).toContain("umount /run/latchkey/members");
    expect(existsSync(scene.at("/run/latchkey/members"))).toBe(false);
  });

  test("is left to the helper where there is one", async () => {
    using scene = new InitramfsScene();
    scene.put("/sbin/mount.bcachefs", "", 0o755);
    scene.program(members);
    expect((await scene.run(TOP)).calls).toEqual(["latchkey boot --device-timeout 10s"]);
  });
});

describe("local-bottom", () => {
  test("has latchkey look once more when a volume of the configuration was never seen", async () => {
    using scene = new InitramfsScene();
    scene.put("/run/latchkey/waiting", "system data\n");
    expect((await scene.run(BOTTOM)).calls).toEqual(["latchkey boot --device-timeout 0s"]);
    scene.put("/run/latchkey/waiting", "\n");
    expect((await scene.run(BOTTOM)).calls).toHaveLength(1);
  });

  test.each(["", "dhcp"])("takes down the network that was brought up for latchkey, with ip=%s", async (IP) => {
    using scene = new InitramfsScene();
    scene.put("/run/net-eth0.conf", "DEVICE=eth0\n");
    scene.put("/run/latchkey/network/pid", "4194305\n");
    expect((await scene.run(BOTTOM, { IP })).calls).toEqual(DOWN);
    expect(existsSync(scene.at("/run/net-eth0.conf"))).toBe(false);
    expect(existsSync(scene.at("/run/latchkey/network"))).toBe(false);
  });

  test.each(["/run/net-eth0.conf", "/run/latchkey-remote/pid"])(
    "leaves the network of somebody else alone: %s",
    async (file) => {
      using scene = new InitramfsScene();
      scene.put(file, "");
      if (file !== "/run/net-eth0.conf") scene.put("/run/latchkey/network/pid", "4194305\n");
      expect((await scene.run(BOTTOM)).calls).toEqual([]);
      expect(existsSync(scene.at(file))).toBe(true);
    },
  );
});
