import { describe, expect, test } from "bun:test";
import { VOLUME_UNIT } from "../../../src/stacks/booted-files.ts";
import { dracut } from "../../../src/stacks/dracut/stack.ts";
import { carriedFiles, type StackFacts } from "../../../src/stacks/facts.ts";
import { initramfsTools } from "../../../src/stacks/initramfs-tools/stack.ts";
import { type InstallOptions, planInstall, planUninstall } from "../../../src/stacks/plan.ts";
import { describeStep, type Step } from "../../../src/stacks/steps.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";

const THIS = "latchkey 1.0.0 (build this)";
const rebuild: InstallOptions = { rebuild: true };

function factsWith(changes: Partial<StackFacts> & { readonly installed?: string | undefined } = {}): StackFacts {
  const { installed, ...facts } = changes;
  return {
    isInstalled: true,
    program: { path: "/root/latchkey", answer: THIS, expected: THIS, installed },
    present: new Map(),
    kernels: [{ version: "6.12", image: "/boot/initrd.img-6.12" }],
    rootIsBcachefs: false,
    keyscriptVolumes: [],
    unitUsers: [],
    keptImages: [],
    ...facts,
  };
}

const dracutFiles = carriedFiles(dracut);
const allPresent = new Map(dracutFiles.map(({ path, text }) => [path, text] as const));
const lines = (steps: readonly Step[]): string[] => steps.map(describeStep);
const kinds = (steps: readonly Step[]): string[] => steps.map((step) => step.do);

function errorOf(plan: () => unknown): string {
  try {
    plan();
  } catch (thrown) {
    if (thrown instanceof LatchkeyError) return `${thrown.code}: ${thrown.message} | ${thrown.hint}`;
    throw thrown;
  }
  return "no error";
}

describe("installing into dracut", () => {
  test("copies the program, writes the files, then makes the image", () => {
    const steps = planInstall(dracut, factsWith(), rebuild);
    expect(kinds(steps)).toEqual(["copy-program", ...dracutFiles.map(() => "write"), "image"]);
    expect(lines(steps).at(0)).toBe("copy /root/latchkey to /usr/bin/latchkey");
    expect(lines(steps).at(-1)).toBe(
      "build an image with latchkey for kernel 6.12, audit it, and put it in place of /boot/initrd.img-6.12",
    );
  });

  test("a second time only makes the image", () => {
    const steps = planInstall(dracut, factsWith({ installed: THIS, present: allPresent }), rebuild);
    expect(kinds(steps).filter((kind) => kind !== "nothing")).toEqual(["image"]);
  });

  test("replaces an older program and older files, and says so", () => {
    const [first] = dracutFiles;
    if (!first) throw new Error("no files are carried");
    const present = new Map([...allPresent, [first.path, '#!/bin/bash\n# Managed by "latchkey install dracut"\nold']]);
    const steps = planInstall(dracut, factsWith({ installed: "latchkey 0.9.0 (build old)", present }), rebuild);
    expect(lines(steps)).toContain("copy /root/latchkey to /usr/bin/latchkey (now: latchkey 0.9.0 (build old))");
    expect(lines(steps)).toContain(`update ${first.path}`);
  });

  test("makes the image of each kernel that has one", () => {
    const kernels = [
      { version: "6.16", image: "/boot/initrd.img-6.16" },
      { version: "6.15", image: undefined },
      { version: "6.12", image: "/boot/initrd.img-6.12" },
    ];
    const images = (options: InstallOptions): unknown[] =>
      planInstall(dracut, factsWith({ kernels }), options).flatMap((step) => (step.do === "image" ? [step.image] : []));
    expect(images(rebuild)).toEqual(["/boot/initrd.img-6.16", "/boot/initrd.img-6.12"]);
    expect(images({ rebuild: true, kernel: "6.12" })).toEqual(["/boot/initrd.img-6.12"]);
    expect(images({ rebuild: true, kernel: "6.15", image: "/boot/mine" })).toEqual(["/boot/mine"]);
    expect(images({ rebuild: false })).toEqual([]);
  });

  test.each<[string, Partial<StackFacts>, InstallOptions, string]>([
    ["no dracut", { isInstalled: false }, rebuild, "install/no-stack: dracut is not installed"],
    ["no such kernel", {}, { rebuild: true, kernel: "5.0" }, "install/no-kernel: there is no kernel 5.0 under"],
    ["no kernel", { kernels: [] }, rebuild, "install/no-kernel: there is no kernel under /usr/lib/modules"],
    [
      "no image",
      { kernels: [{ version: "6.12", image: undefined }] },
      rebuild,
      "install/no-image: no initrd was found for 6.12",
    ],
    [
      "one image for several kernels",
      { kernels: ["6.12", "6.16"].map((version) => ({ version, image: undefined })) },
      { rebuild: true, image: "/boot/x" },
      "usage/invalid: --image is the image of one kernel",
    ],
    [
      "a foreign file",
      { present: new Map([["/etc/dracut.conf.d/90-latchkey.conf", "somebody's own"]]) },
      rebuild,
      "install/foreign-file: /etc/dracut.conf.d/90-latchkey.conf is there and is not ours",
    ],
    [
      "run from its sources",
      { program: { path: "/usr/bin/bun", answer: "1.4.5", expected: THIS, installed: undefined } },
      rebuild,
      "install/not-a-program: /usr/bin/bun is not the latchkey program that is running",
    ],
  ])("refuses: %s", (_, facts, options, expected) => {
    expect(errorOf(() => planInstall(dracut, factsWith(facts), options))).toStartWith(expected);
  });

  test("files without images need no dracut", () => {
    const steps = planInstall(dracut, factsWith({ isInstalled: false }), { rebuild: false });
    expect(lines(steps).at(-1)).toBe("no image is rebuilt: run dracut before the next boot");
  });
});

describe("uninstalling from dracut", () => {
  test("removes what is ours, makes images without it, and then the kept images", () => {
    const facts = factsWith({
      installed: THIS,
      present: allPresent,
      keptImages: ["/boot/initrd.img-6.12.latchkey-old"],
    });
    const steps = planUninstall(dracut, facts, rebuild);
    const changes = steps.filter((step) => step.do !== "nothing");
    expect(kinds(changes)).toEqual([
      ...dracutFiles.map(() => "remove"),
      "remove-folder",
      "remove-folder",
      "image",
      "remove",
    ]);
    expect(lines(steps)).toContain("/usr/bin/latchkey stays; without the hooks it is in no image");
    expect(steps).toContainEqual({
      do: "image",
      kernel: "6.12",
      image: "/boot/initrd.img-6.12",
      latchkey: false,
      keepOld: false,
    });
  });

  test("leaves a file that is not ours", () => {
    const present = new Map([["/etc/dracut.conf.d/90-latchkey.conf", "somebody's own"]]);
    const steps = planUninstall(dracut, factsWith({ present }), { rebuild: false });
    expect(kinds(steps)).not.toContain("remove");
    expect(lines(steps)).toContain("/etc/dracut.conf.d/90-latchkey.conf stays: it is not ours");
  });

  test("is refused while something in the booted system names a volume's unit, if that unit is ours to remove", () => {
    const unitUsers = ["latchkey@data.service for /srv in /etc/fstab"];
    const facts = factsWith({ present: allPresent, unitUsers });
    expect(errorOf(() => planUninstall(dracut, facts, rebuild))).toBe(
      "install/still-in-use: still wanted: latchkey@data.service for /srv in /etc/fstab | a mount that requires a unit that is gone stops the boot: take it out of /etc/fstab, or `systemctl disable` it, first",
    );
    for (const present of [new Map<string, string>(), new Map([[VOLUME_UNIT, "[Unit]\nsomebody's own"]])]) {
      const steps = planUninstall(dracut, factsWith({ present, unitUsers }), rebuild);
      expect(kinds(steps)).not.toContain("remove");
    }
  });

  test("warns when the root is a bcachefs", () => {
    const steps = planUninstall(dracut, factsWith({ present: allPresent, rootIsBcachefs: true }), rebuild);
    expect(lines(steps).join("\n")).toContain("warning: dracut alone asks for no passphrase of a bcachefs root");
  });
});

describe("initramfs-tools", () => {
  const files = carriedFiles(initramfsTools);

  test("gets its own files, and the units of the booted system", () => {
    const steps = planInstall(initramfsTools, factsWith(), rebuild);
    expect(lines(steps)).toContain("write /etc/initramfs-tools/hooks/latchkey");
    expect(lines(steps)).toContain("write /usr/lib/systemd/system/latchkey@.service");
    expect(kinds(steps)).toEqual(["copy-program", ...files.map(() => "write"), "image"]);
  });

  test("asks for the passphrase of a bcachefs root without us, so uninstalling warns of nothing", () => {
    const present = new Map(files.map(({ path, text }) => [path, text] as const));
    const steps = planUninstall(initramfsTools, factsWith({ present, rootIsBcachefs: true }), rebuild);
    expect(lines(steps).join("\n")).not.toContain("warning");
    expect(kinds(steps).filter((kind) => kind !== "nothing")).toEqual([
      ...files.map(() => "remove"),
      ...["remove-folder", "remove-folder", "remove-folder"],
      "image",
    ]);
  });

  test("stays while crypttab names the keyscript", () => {
    const facts = factsWith({ keyscriptVolumes: ["root", "swap"] });
    expect(errorOf(() => planUninstall(initramfsTools, facts, rebuild))).toStartWith(
      "install/still-in-use: crypttab has keyscript=latchkey for root, swap",
    );
  });

  test("is named where it is missing", () => {
    expect(errorOf(() => planInstall(initramfsTools, factsWith({ isInstalled: false }), rebuild))).toStartWith(
      "install/no-stack: initramfs-tools is not installed | install the package initramfs-tools",
    );
  });
});
