/**
 * `npm run build`: one executable, dist/latchkey. The Bun that compiles is the Bun inside: for x86-64 there is one build, which asks
 * for no more than SSE4.2 (Nehalem). LATCHKEY_TARGET=bun-linux-arm64 compiles for another processor; Bun then fetches that build.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { type BunPlugin, Glob } from "bun";

const root = join(import.meta.dir, "..");
/** Left out for this machine's own: naming it would make Bun fetch the very build that runs this. */
const otherTarget = process.env["LATCHKEY_TARGET"] as Bun.Build.CompileTarget | undefined;
/** Halves the time to start (docs/bench.md). It wants modules without a top-level await. */
const bytecode = process.env["LATCHKEY_BYTECODE"] !== "0";
/**
 * A program that opens one token is done before compiling its functions pays: they are compiled this many times later than Bun
 * would. Every other command goes back to Bun's own policy when its work begins (src/commands/run.ts).
 */
const JIT_PATIENCE = 50;

/** The same sources, dependencies and compiler give the same build id, on every machine. */
async function buildId(): Promise<string> {
  const hash = createHash("sha256");
  const files = ["package.json", "package-lock.json"];
  for (const pattern of ["src/**/*", "initrd-hooks/**/*", "system-units/**/*"]) {
    for await (const file of new Glob(pattern).scan(root)) files.push(file);
  }
  for (const file of files.sort()) hash.update(`${file}\0`).update(readFileSync(join(root, file)));
  return hash
    .update(`${Bun.version} ${otherTarget ?? process.arch}`)
    .digest("hex")
    .slice(0, 16);
}

const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
const build = await buildId();
const out = resolve(process.env["LATCHKEY_OUT"] ?? join(root, "dist/latchkey"));
mkdirSync(dirname(out), { recursive: true });

const define = { LATCHKEY_VERSION: JSON.stringify(version), LATCHKEY_BUILD: JSON.stringify(build) };

/**
 * `latchkey decrypt` as one module. An initrd runs it for one token and waits for it, and a tenth of that time went by with
 * putting twenty files together. What it shares with the other commands is in the executable twice, half a megabyte.
 */
const decrypt = join(root, "src/commands/decrypt-at-once.ts");
const { outputs } = await Bun.build({ entrypoints: [decrypt], format: "esm", target: "bun", minify: true, define });
const [decryptModule] = outputs;
if (outputs.length !== 1 || decryptModule === undefined) throw new Error("decrypt is not one module");
// Read here: Bun 1.4 waits for ever when a plugin of one build does another one.
const contents = await decryptModule.text();
const decryptAlone: BunPlugin = {
  name: "decrypt alone",
  setup(builder) {
    builder.onLoad({ filter: /\/src\/commands\/decrypt-at-once\.ts$/ }, () => ({ contents, loader: "js" }));
  },
};

const result = await Bun.build({
  plugins: [decryptAlone],
  // The second entry point is a worker thread's module; src/providers/bcachefs/derive.ts says where it ends up.
  entrypoints: [join(root, "src/main.ts"), join(root, "src/providers/bcachefs/derive-worker.ts")],
  compile: {
    ...(otherTarget === undefined ? {} : { target: otherTarget }),
    outfile: `${out}.new`,
    autoloadDotenv: false,
    autoloadBunfig: false,
    jitPolicy: JIT_PATIENCE,
  },
  // Each command in a file of its own inside the executable: what is not asked for is not read.
  format: "esm",
  splitting: true,
  minify: true,
  bytecode,
  define,
});
if (!result.success) throw new AggregateError(result.logs, "build failed");

const wanted = `latchkey ${version} (build ${build})`;
if (otherTarget === undefined) {
  const answer = Bun.spawnSync([`${out}.new`, "--version"])
    .stdout.toString()
    .trim();
  if (answer !== wanted) throw new Error(`the new binary answers --version with "${answer}"`);
}
renameSync(`${out}.new`, out);
console.log(`${relative(process.cwd(), out)}: ${wanted}, ${(statSync(out).size / 1e6).toFixed(1)} MB`);
