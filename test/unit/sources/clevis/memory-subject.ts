import { openToken } from "../../../../src/sources/clevis/decrypt.ts";
import { parseToken } from "../../../../src/sources/clevis/token.ts";
import { toolsWith } from "./fixtures.ts";

/**
 * Opens the token on standard input, says how long its secret is, and waits to be looked at and killed: with the secret
 * still held when the first argument is `hold`, after its scope otherwise.
 */
const token = parseToken(await Bun.stdin.text());
const secret = await openToken(token, toolsWith(), new AbortController().signal);
if (process.argv[2] !== "hold") secret[Symbol.dispose]();
process.stdout.write(`opened ${secret.length}\n`);
setInterval(() => secret.isDisposed, 1_000);
