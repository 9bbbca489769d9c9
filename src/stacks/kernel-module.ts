import { join } from "node:path";
import type { Files } from "./files.ts";

/** `modules.dep` and `modules.builtin` of depmod(8), one module a line. */
type Found = "present" | "built-in" | "absent" | { readonly missing: string };

/**
 * Is a kernel module in a folder of modules (`…/lib/modules/VERSION`), with all modules it depends on? A DKMS module counts
 * wherever it lies; so does a compressed one.
 */
export function findKernelModule(files: Files, folder: string, name: string): Found {
  const isModule = (path: string): boolean => moduleName(path) === name;
  const dependencies = (files.readText(join(folder, "modules.dep")) ?? "")
    .split("\n")
    .map((line) => line.split(/:? +|:$/));
  const entry = dependencies.find(([path = ""]) => isModule(path));
  if (entry) {
    const missing = entry.find((path) => path !== "" && !files.facts(join(folder, path)));
    return missing === undefined ? "present" : { missing };
  }
  const builtIn = (files.readText(join(folder, "modules.builtin")) ?? "").split("\n");
  return builtIn.some(isModule) ? "built-in" : "absent";
}

/** `chacha-x86_64` and `chacha_x86_64` are the same module. */
function moduleName(path: string): string {
  return (/([^/]+)\.ko(?:\.\w+)?$/.exec(path)?.[1] ?? "").replaceAll("-", "_");
}
