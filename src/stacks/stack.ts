import type { CarriedFile } from "./carried-file.ts";
import type { Finding } from "./image-audit.ts";
import type { Machine } from "./machine.ts";

export type StackName = "dracut" | "initramfs-tools";

export interface BuildCommand {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/** What builds the initrd of a system: all in which one such tool differs from another. */
export interface Stack {
  readonly name: StackName;
  /** What `latchkey install` writes besides the program and the units of the booted system. */
  readonly files: readonly CarriedFile[];
  /** Folders of ours alone: uninstall removes those that are empty by then. */
  readonly folders: readonly string[];
  /** What uninstall warns of where the root is a bcachefs. */
  readonly bcachefsWarning: string | undefined;
  readonly advice: {
    /** What to run when no image was rebuilt. */
    readonly rebuild: string;
    /** The package to install. */
    readonly install: string;
    /** How images become smaller. */
    readonly compress: string;
    /** How to see all that the tool says. */
    readonly tryOut: string;
  };
  /** Where an image has the lines of crypttab that it needs. */
  readonly crypttabsInImage: readonly string[];
  /** Lines of the tool's standard error that a person is shown. */
  readonly complaints: RegExp;
  isInstalled(machine: Machine): Promise<boolean>;
  /** Where the initrd of a kernel may be; the first that exists is the one this machine boots. */
  imageCandidates(kernel: string, machineId: string | undefined): readonly string[];
  /** How to have an image built. @param image where it shall be, as programs need the path */
  buildCommand(kernel: string, image: string): BuildCommand;
  /**
   * Unpacks an image into a folder that exists.
   * @returns the folder with the image's root, undefined and the tool's words when nothing came out
   */
  unpack(machine: Machine, image: string, folder: string): Promise<Unpacked>;
  /** Has latchkey been put into that image? */
  holdsLatchkey(machine: Machine, image: string): Promise<boolean>;
  /** Does the boot of that image bring a network up for tokens, or is it told to by the kernel command line? */
  bringsNetwork(machine: Machine, tree: string): boolean;
  /** Will the boot of that image start latchkey, can it ask, and does the system's own question follow when it fails? */
  auditBoot(machine: Machine, tree: string): readonly Finding[];
}

export type Unpacked = { readonly tree: string } | { readonly failure: string };
