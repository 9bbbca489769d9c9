import { join } from "node:path";
import { repository } from "../vm/cache.ts";

/**
 * A build like that of scripts/build.ts, with or without bytecode, at a place of our own.
 */
export async function buildVariant(outfile: string, bytecode: boolean): Promise<string> {
  const result = await Bun.build({
    entrypoints: ["src/main.ts", "src/providers/bcachefs/derive-worker.ts"].map((file) => join(repository, file)),
    compile: {
      target: process.arch === "arm64" ? "bun-linux-arm64" : "bun-linux-x64-baseline",
      outfile,
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
    minify: true,
    bytecode,
    define: { LATCHKEY_VERSION: '"0.0.0"', LATCHKEY_BUILD: `"bench-${bytecode ? "with" : "without"}-bytecode"` },
  });
  if (!result.success) throw new AggregateError(result.logs, "build failed");
  return outfile;
}
