/**
 * A program for derive.test.ts and left-behind.test.ts to look at: reads a passphrase from standard input into secret
 * pages, derives a key as `latchkey unlock` does, ends every scope, and says so. `stay` keeps it alive afterwards.
 */
import { readSync } from "node:fs";
import { WorkerKeyDeriver } from "../../../../src/providers/bcachefs/derive.ts";
import { opensWrappedKey } from "../../../../src/providers/bcachefs/key.ts";
import { Credential } from "../../../../src/system/credential.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";

async function main(): Promise<void> {
  const [how = ""] = process.argv.slice(-1);
  const parameters = { log2N: 14, log2R: 3, log2P: 4 };
  const fallbacks: string[] = [];
  const module = how.includes("main-thread") ? { module: "/nowhere/derive-worker.js" } : {};
  const deriver = new WorkerKeyDeriver({ onFallback: (reason) => fallbacks.push(reason), ...module });
  const secret = SecretBytes.allocate(4096);
  secret.truncate(readSync(0, secret.bytes, 0, 4096, null));
  const leaked = how.includes("leak") ? secret.bytes.slice() : undefined;
  let turns = 0;
  const turning = setInterval(() => {
    turns += 1;
  }, 5);
  {
    using credential = new Credential(secret);
    const key = await credential.derived("scrypt:14:3:4", (passphrase) => deriver.derive(passphrase, parameters));
    const crypt = { kdfType: 0, ...parameters, wrappedMagic: new Uint8Array(8), isClear: false };
    opensWrappedKey(key, crypt, new Uint8Array(8));
    if (how.includes("tell")) console.log(JSON.stringify({ key: key.bytes.toHex() }));
  }
  clearInterval(turning);
  console.log(JSON.stringify({ turns, fallbacks }));
  if (how.includes("stay")) setTimeout(() => console.log(leaked?.length), 60_000);
}

await main();
