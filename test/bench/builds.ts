import { join } from "node:path";
import { repository } from "../vm/cache.ts";

/** Builds as `npm run build` does, with or without bytecode, at a place of our own. */
export async function buildVariant(outfile: string, bytecode: boolean): Promise<string> {
  const child = Bun.spawn([process.execPath, join(repository, "scripts/build.ts")], {
    env: { ...process.env, LATCHKEY_OUT: outfile, LATCHKEY_BYTECODE: bytecode ? "1" : "0" },
    stdio: ["ignore", "ignore", "inherit"],
  });
  if ((await child.exited) !== 0) throw new Error("the build failed");
  return outfile;
}
