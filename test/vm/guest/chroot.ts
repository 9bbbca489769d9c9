import { mkdirSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { cached } from "../cache.ts";
import { asRoot, run } from "../command.ts";
import { seconds } from "../patience.ts";
import { debianMirror } from "./debian-mirror.ts";
import { type GuestName, guestPackages, type Stack } from "./packages.ts";

/** Raise when the recipe below changes, so that caches made by the old one are not used. */
const RECIPE = 1;

/** A Debian system that initrds and disk images are made in, and the kernel the machines boot. Never written to. */
export interface Guest {
  readonly stack: Stack;
  readonly directory: string;
  /** Names this very build, for the inputs of what is made with it. */
  readonly key: string;
  readonly root: string;
  readonly kernel: string;
  readonly kernelVersion: string;
}

/** A guest, from the cache or made now (half a minute and a 100 MB download). */
export async function guest(name: GuestName): Promise<Guest> {
  const { stack, suite, packages } = guestPackages[name];
  const directory = await cached({
    kind: "guests",
    name,
    inputs: { RECIPE, suite, packages },
    keep: 1,
    within: seconds(1200),
    build: (unfinished) => bootstrap(unfinished, suite, packages),
  });
  const root = join(directory, "root");
  const kernelVersion = readdirSync(join(root, "usr/lib/modules")).sort().at(-1);
  if (kernelVersion === undefined) throw new Error(`no kernel in ${root}`);
  return {
    stack,
    directory,
    key: basename(directory),
    root,
    kernel: join(root, `boot/vmlinuz-${kernelVersion}`),
    kernelVersion,
  };
}

async function bootstrap(directory: string, suite: string, packages: readonly string[]): Promise<void> {
  // Experimental's index carries an expiry date that mirrors and frozen copies outlive, and a test machine's clock may be
  // behind the archive's; signatures are checked all the same.
  const archive = `deb [check-valid-until=no check-date=no] ${debianMirror()}`;
  mkdirSync(join(directory, "stage"));
  await run(
    asRoot([
      "env",
      // Debian's kernel hook would build an initrd that no test boots.
      "INITRD=No",
      "mmdebstrap",
      "--mode=root",
      "--variant=minbase",
      "--format=directory",
      ...(await proxyOptions()),
      '--aptopt=APT::Install-Recommends "false"',
      ...["doc", "man", "locale", "info"].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
      // No daemon may start in a chroot (invoke-rc.d asks this script).
      '--setup-hook=mkdir -p "$1/usr/sbin"; printf "#!/bin/sh\\nexit 101\\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"',
      `--include=${packages.join(",")}`,
      suite,
      join(directory, "root"),
      "-",
    ]),
    {
      purpose: `building the ${suite} guest`,
      within: seconds(1200),
      input: `${archive} ${suite} main\n${archive} experimental main\n`,
      log: join(directory, "bootstrap.log"),
    },
  );
}

/** mmdebstrap's apt reads nothing of the host's settings; a proxy is the one it may need. */
async function proxyOptions(): Promise<readonly string[]> {
  const dump = await run(["apt-config", "dump", "Acquire::http::Proxy"], {
    purpose: "apt-config",
    within: seconds(20),
  });
  const proxy = /^Acquire::http::Proxy "([^"]+)";$/m.exec(dump)?.[1];
  return proxy ? [`--aptopt=Acquire::http::Proxy "${proxy}"`] : [];
}
