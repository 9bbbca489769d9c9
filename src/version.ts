/** Replaced by scripts/build.ts at compile time. */
declare const LATCHKEY_VERSION: string;
declare const LATCHKEY_BUILD: string;

/** The release, as in package.json. */
export const version: string = typeof LATCHKEY_VERSION === "string" ? LATCHKEY_VERSION : "0.0.0";

/** Names the exact sources this binary was made from; `source` when run without being compiled. */
export const build: string = typeof LATCHKEY_BUILD === "string" ? LATCHKEY_BUILD : "source";

/**
 * The answer of `--version`. A stripped binary turns back into plain Bun and answers with Bun's version instead, so the
 * image audit compares this whole line.
 */
export const versionLine: string = `latchkey ${version} (build ${build})`;
