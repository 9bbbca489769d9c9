import { join } from "node:path";
import type { CarriedFile } from "./carried-file.ts";
import { findKernelModule } from "./kernel-module.ts";
import type { Machine } from "./machine.ts";

/** One thing looked at in a finished image. `note`: worth knowing, but the image boots. */
export interface Finding {
  readonly level: "ok" | "note" | "failure";
  readonly text: string;
}

export interface ImageExpectations {
  readonly kernel: string;
  /** What the program in the image has to answer to --version. */
  readonly versionLine: string;
  readonly files: readonly CarriedFile[];
  /** Units that initrd.target has to want. */
  readonly units: readonly string[];
  /** This machine's root is a bcachefs, so an image without that filesystem cannot boot it. */
  readonly needsBcachefs: boolean;
}

const CONFIGURATION = "/etc/latchkey";

/** The loader by which the C library's programs start, by processor. */
const LOADERS: Readonly<Record<string, string>> = {
  x64: "/lib64/ld-linux-x86-64.so.2",
  arm64: "/lib/ld-linux-aarch64.so.1",
};

/** Looks at an unpacked image: will it do at boot what is installed on this machine? */
export async function auditImage(
  machine: Machine,
  tree: string,
  expected: ImageExpectations,
): Promise<readonly Finding[]> {
  return [
    await auditProgram(machine, tree, expected.versionLine),
    await auditLibraries(machine, tree),
    auditFiles(machine, tree, expected),
    auditQuestion(machine, tree),
    auditConfiguration(machine, tree),
    auditKernel(machine, tree, expected),
    auditTools(machine, tree),
  ];
}

/** The one mistake that nothing else shows: a stripped program is there, starts, and does something else. */
async function auditProgram(machine: Machine, tree: string, versionLine: string): Promise<Finding> {
  const program = `${tree}/usr/bin/latchkey`;
  const facts = machine.files.facts(program);
  if (!facts) return failure("the program is not in the image");
  if ((facts.mode & 0o111) !== 0o111) return failure("the program in the image is not executable");
  const outcome = await machine.run([machine.files.outside(program), "--version"]);
  // /var/tmp is mounted noexec: the bytes have to do.
  if (outcome.status === 126) {
    return sameBytes(machine, program, "/usr/bin/latchkey")
      ? ok("the program in the image is the installed one")
      : failure("the program in the image differs from /usr/bin/latchkey, and cannot be tried in /var/tmp (noexec)");
  }
  const answer = outcome.stdout.trim();
  if (outcome.status === 0 && answer === versionLine) return ok(`the program in the image answers "${answer}"`);
  return failure(
    `the program in the image answers --version with "${answer}" instead of "${versionLine}": it was stripped or damaged`,
  );
}

/** With the image's own loader inside the image: what is missing there is not found elsewhere. */
async function auditLibraries(machine: Machine, tree: string): Promise<Finding> {
  const loader = LOADERS[process.arch] ?? "/lib/ld.so.1";
  const outcome = await machine.run(["chroot", machine.files.outside(tree), loader, "--list", "/usr/bin/latchkey"]);
  if (outcome.status === 0) return ok("its libraries are in the image");
  if (outcome.status === 126) return note("its libraries were not looked at: nothing can be run in /var/tmp (noexec)");
  const reason = outcome.stderr.trim().split("\n").at(-1) || `status ${outcome.status}`;
  return failure(`a library of the program is missing in the image: ${reason}`);
}

function auditFiles(machine: Machine, tree: string, expected: ImageExpectations): Finding {
  const { files } = machine;
  for (const { text, inImage } of expected.files) {
    for (const path of inImage) {
      const found = files.readText(tree + path);
      if (found === undefined) return failure(`${path} is not in the image`);
      if (found !== text) return failure(`${path} in the image is not this version's`);
    }
  }
  for (const unit of expected.units) {
    const wanted = ["/etc", "/usr/lib"].some((base) =>
      files.facts(`${tree}${base}/systemd/system/initrd.target.wants/${unit}`),
    );
    if (!wanted) return failure(`${unit} is not enabled in the image`);
  }
  return ok("units, drop-ins and the second question are in place");
}

function auditQuestion(machine: Machine, tree: string): Finding {
  const missing = ["systemd-ask-password", "systemd-tty-ask-password-agent", "systemctl", "udevadm"].filter(
    (name) => !isProgram(machine, tree, name),
  );
  if (missing.length > 0) return failure(`no question can be asked: ${missing.join(", ")} not in the image`);
  return ok("systemd's question is there");
}

function auditConfiguration(machine: Machine, tree: string): Finding {
  const { files } = machine;
  const wanted = files.walk(CONFIGURATION).filter((path) => !path.endsWith(".key"));
  for (const path of wanted) {
    if (!sameBytes(machine, path, tree + path)) return failure(`${path} in the image differs from the one here`);
  }
  const leaked = files.walk(tree + CONFIGURATION).find((path) => path.endsWith(".key"));
  if (leaked !== undefined) return failure(`a key is in the image: ${leaked.slice(tree.length)}`);
  if (wanted.length === 0)
    return ok("no configuration: an encrypted bcachefs root and crypttab are found by themselves");
  return ok(`configuration is as in ${CONFIGURATION} (${wanted.length} files)`);
}

function auditKernel(machine: Machine, tree: string, expected: ImageExpectations): Finding {
  const { kernel, needsBcachefs } = expected;
  const found = findKernelModule(machine.files, join(tree, "usr/lib/modules", kernel), "bcachefs");
  if (found === "built-in") return ok(`bcachefs is part of kernel ${kernel}`);
  if (found === "present") return ok(`the bcachefs module of kernel ${kernel} is in the image, with all it needs`);
  const what =
    found === "absent"
      ? `the bcachefs module of kernel ${kernel} is not in the image (since 6.18 it comes from a DKMS package)`
      : `the bcachefs module of kernel ${kernel} is in the image, but not what it needs: ${found.missing}`;
  return needsBcachefs ? failure(what) : note(`${what}; this machine's root does not need it`);
}

function auditTools(machine: Machine, tree: string): Finding {
  if (isProgram(machine, tree, "bcachefs")) return ok("bcachefs-tools can ask for root's passphrase if latchkey fails");
  return note(
    "bcachefs-tools is not in the image: if latchkey fails, nothing asks for the passphrase of a bcachefs root",
  );
}

function isProgram(machine: Machine, tree: string, name: string): boolean {
  return ["usr/bin", "usr/sbin"].some((folder) => {
    const facts = machine.files.facts(`${tree}/${folder}/${name}`);
    return facts !== undefined && (facts.kind === "link" || (facts.mode & 0o111) !== 0);
  });
}

function sameBytes(machine: Machine, one: string, other: string): boolean {
  const first = machine.files.readBytes(one);
  const second = machine.files.readBytes(other);
  return first !== undefined && second !== undefined && Buffer.compare(first, second) === 0;
}

const ok = (text: string): Finding => ({ level: "ok", text });
const note = (text: string): Finding => ({ level: "note", text });
const failure = (text: string): Finding => ({ level: "failure", text });
