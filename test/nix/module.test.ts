/**
 * The NixOS module, the package, the flake and the examples, evaluated without nixpkgs. What this cannot show: that a package
 * builds, and that a machine boots (test/vm/nixos-units.vm.ts boots the units in another initrd).
 */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Glob } from "bun";
import { type Check, verify } from "./checks.ts";
import { evaluate, parseErrors, whyNoNix } from "./evaluate.ts";

const root = join(import.meta.dir, "../..");
const reason = whyNoNix();
const hasPython = Bun.which("python3") !== null;

if (reason !== undefined) {
  test.skip(`the NixOS module: ${reason}`, () => undefined);
} else {
  test("everything in nix/ and here can be parsed", () => {
    const files = ["flake.nix", "nix/**/*.nix", "test/nix/**/*.nix"].flatMap((all) => [
      ...new Glob(all).scanSync(root),
    ]);
    expect(files.length).toBeGreaterThan(40);
    expect(parseErrors(files.map((file) => join(root, file)))).toEqual([]);
  });

  const cases = evaluate("cases/all.nix") as Readonly<Record<string, Readonly<Record<string, Check>>>>;
  for (const [file, checks] of Object.entries(cases)) {
    describe(file, () => {
      for (const [name, check] of Object.entries(checks)) {
        if ("python" in check && !hasPython) test.skip(`${name} (python3 is not installed)`, () => undefined);
        else test(name, () => verify(check));
      }
    });
  }
}
