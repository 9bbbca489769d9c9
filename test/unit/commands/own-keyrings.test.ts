import { expect, test } from "bun:test";
import { kernelKeyring } from "../../../src/keyutils-ffi/keyring.ts";
import { OwnKeyrings } from "./own-keyrings.ts";
import { whyNoKeys, whyNoSandbox } from "./sandbox.ts";

const whyNot = whyNoSandbox ?? whyNoKeys;
const skipped = whyNot === undefined ? "" : ` (skipped: ${whyNot})`;

test.skipIf(whyNot !== undefined)(`a key stays where it was put, and others do not see it${skipped}`, () => {
  using keyrings = new OwnKeyrings();
  using others = new OwnKeyrings();
  const description = `latchkey-test:own ${process.pid}`;
  const added = Bun.spawnSync([...keyrings.enter, "keyctl", "add", "user", description, "payload", "@u"]);
  expect(added.success).toBe(true);
  expect(keyrings.key(description)).toBe(Buffer.from("payload").toString("hex"));
  expect(others.key(description)).toBeUndefined();
  for (const place of ["user", "user_session", "session"] as const)
    expect(kernelKeyring.search(place, "user", description)).toBeUndefined();
});
