import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { MAX_TOKEN_CHARACTERS } from "../../../../src/jose/jwe.ts";
import { httpOverFetch } from "../../../../src/sources/clevis/http.ts";
import { tangSealer } from "../../../../src/sources/clevis/seal.ts";
import { fetchAdvertisement } from "../../../../src/sources/clevis/tang-advertisement.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { fixtures, manifest, tokenText } from "./fixtures.ts";
import { nullToken, secretOf } from "./make-tokens.ts";
import { hasTangd, startTangd } from "./tangd.ts";

const program = join(import.meta.dir, "decrypt-program.ts");

interface Ended {
  readonly status: number;
  readonly output: Buffer;
  readonly said: string;
}

/** @param way `decrypt` as people call it; `library`: by way of the command line's library */
async function decrypt(
  input: string | Buffer,
  args: readonly string[] = [],
  way: "decrypt" | "library" = "decrypt",
): Promise<Ended> {
  const child = Bun.spawn([process.execPath, program, way, ...args], {
    stdin: typeof input === "string" ? Buffer.from(input, "latin1") : input,
    stdout: "pipe",
    stderr: "pipe",
    // No TPM and no clevis: what is tested here needs neither.
    env: { ...process.env, TPM2TOOLS_TCTI: "swtpm:path=/nonexistent", PATH: "/nonexistent" },
  });
  const [output, said, status] = await Promise.all([
    new Response(child.stdout).bytes(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { status, output: Buffer.from(output), said };
}

describe("latchkey decrypt", () => {
  test.each(["null-basic", "null-binary", "null-empty", "sss-null-5of8", "sss-null-2of3-one-broken"])(
    "writes the secret and nothing else: %s",
    async (id) => {
      const one = manifest.tokens.find((each) => each.id === id);
      const { status, output, said } = await decrypt(tokenText(one?.file ?? ""));
      expect(output.toString("base64")).toBe(one?.plaintext_b64 ?? "");
      expect(said).toBe("");
      expect(status).toBe(0);
    },
  );

  test.each([
    ["flipped-tag", 1, "token/tag-mismatch"],
    ["empty-file", 1, "token/malformed"],
    ["nul-bytes", 1, "token/malformed"],
    ["unknown-pin", 3, "token/unknown-pin"],
    ["sss-no-shares", 3, "token/threshold"],
    ["sss-nested-12", 4, "token/too-large"],
    ["huge-ciphertext", 4, "token/too-large"],
    ["tang-url-file", 1, "token/malformed"],
  ])("writes not one byte and one line of reason: %s", async (id, wanted, code) => {
    const { file = "" } = manifest.tokens.find((each) => each.id === id) ?? {};
    const { status, output, said } = await decrypt(tokenText(file));
    expect(output.length).toBe(0);
    expect(said).toMatch(new RegExp(`^latchkey: error: ${code}: [^\\n]+\\n(latchkey: hint: [^\\n]+\\n)?$`));
    expect(status).toBe(wanted);
  });

  test("takes no token without end", async () => {
    const { status, said, output } = await decrypt(Buffer.alloc(MAX_TOKEN_CHARACTERS + 1, "A"));
    expect([status, output.length]).toEqual([4, 0]);
    expect(said).toStartWith("latchkey: error: token/too-large: ");
  });

  test.each(["decrypt", "library"] as const)("says which option is wrong (%s)", async (way) => {
    const { status, said } = await decrypt("", ["--wait", "soon"], way);
    expect(status).toBe(64);
    expect(said).toStartWith("latchkey: error: usage/invalid: --wait: ");
    expect((await decrypt("", ["--ca-file", "/nonexistent"], way)).status).toBe(78);
  });

  test.each([
    ["tokens/null-basic.jwe", 0],
    ["malformed/flipped-tag.jwe", 1],
  ])("does and says the same with the command line's library and without: %s", async (file, status) => {
    const [without, by] = [await decrypt(tokenText(file)), await decrypt(tokenText(file), [], "library")];
    expect(without).toEqual(by);
    expect(without.status).toBe(status);
  });

  test("says when the token cannot be read", async () => {
    const child = Bun.spawn(["sh", "-c", `"${process.execPath}" "${program}" decrypt < /`], {
      stdout: "pipe",
      stderr: "pipe",
    });
    expect(await new Response(child.stderr).text()).toStartWith("latchkey: error: token/unreadable: standard input ");
    expect(await child.exited).toBe(3);
  });

  test("waits for a token that comes in pieces, also through a pipe that does not block", async () => {
    const text = tokenText("tokens/null-basic.jwe");
    const child = Bun.spawn([process.execPath, program, "decrypt"], { stdin: "pipe", stdout: "pipe" });
    child.stdin.write(text.slice(0, 10));
    await child.stdin.flush();
    await Bun.sleep(100);
    child.stdin.write(text.slice(10));
    await child.stdin.end();
    expect(await child.exited).toBe(0);
    expect((await new Response(child.stdout).bytes()).length).toBeGreaterThan(0);
  });

  test("writes a long secret through a pipe that is read slowly, whole", async () => {
    using long = SecretBytes.allocate(1_000_000);
    for (let at = 0; at < long.length; at += 1) long.bytes[at] = at % 251;
    const child = Bun.spawn(["sh", "-c", `"${process.execPath}" "${program}" decrypt | (sleep 0.5; cat)`], {
      stdin: Buffer.from(nullToken(long)),
      stdout: "pipe",
    });
    expect(Buffer.from(await new Response(child.stdout).bytes()).equals(Buffer.from(long.bytes))).toBe(true);
  });

  test("says so when nobody takes the secret", async () => {
    const child = Bun.spawn(["sh", "-c", `"${process.execPath}" "${program}" decrypt > /dev/full`], {
      stdin: Buffer.from(tokenText("tokens/null-basic.jwe")),
      stderr: "pipe",
    });
    expect(await new Response(child.stderr).text()).toContain("system/output-failed");
    expect(await child.exited).toBe(1);
  });

  test.each([
    ["input", ` decrypt > /dev/null`, "takes the token on standard input, which is a terminal"],
    ["output", ` decrypt < "${join(fixtures, "tokens/null-basic.jwe")}"`, "standard output is a terminal"],
  ])("refuses a terminal as %s", async (_what, rest, reason) => {
    const command = `"${process.execPath}" "${program}"${rest}`;
    const child = Bun.spawn(["script", "-qec", command, "/dev/null"], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const text = await new Response(child.stdout).text();
    expect(text).toContain(reason);
    expect(text).not.toContain("dev1-null");
    expect(await child.exited).toBe(64);
  });

  test.skipIf(!hasTangd)("opens a Tang token from a server that comes up while it waits", async () => {
    const keys = join(fixtures, "tang/c");
    const first = startTangd(keys);
    const url = `http://127.0.0.1:${first.port}`;
    const seal = tangSealer(url, await fetchAdvertisement(url, httpOverFetch(), new AbortController().signal));
    using secret = secretOf("hunter2");
    const token = await seal(secret, new AbortController().signal);
    first[Symbol.dispose]();

    const opening = decrypt(token, ["--wait", "20s"]);
    await Bun.sleep(500);
    using _second = startTangd(keys, first.port);
    const { output, said } = await opening;
    expect(said).toBe("");
    expect(output.toString()).toBe("hunter2");
  });
});
