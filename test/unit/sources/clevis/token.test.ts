import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { encodeBase64url } from "../../../../src/jose/base64url.ts";
import { describePinTree, pinTreeLines, tokenNeeds } from "../../../../src/sources/clevis/describe.ts";
import { sssSealer } from "../../../../src/sources/clevis/seal.ts";
import { tangUrl } from "../../../../src/sources/clevis/tang-pin.ts";
import { MAX_PINS, MAX_SHARES, MAX_SSS_LEVELS, parseToken } from "../../../../src/sources/clevis/token.ts";
import { readTokenFile } from "../../../../src/sources/clevis/token-file.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { fixtures, manifest, tokenText } from "./fixtures.ts";
import { errorOf, nullSealer, nullToken, secretOf, tokenWithHeader } from "./make-tokens.ts";

const signal = new AbortController().signal;
const clevisHeader = (clevis: unknown) => ({ alg: "dir", clevis, enc: "A256GCM" });
const prime = encodeBase64url(new Uint8Array(32).fill(255));
const sss = (jwe: unknown, t: unknown = 1) => tokenWithHeader(clevisHeader({ pin: "sss", sss: { jwe, p: prime, t } }));
const nothing = () => {
  using secret = secretOf("x");
  return nullToken(secret);
};

describe("a token", () => {
  test.each(["tang-a", "sss-nested", "tpm2-pcr7-sha256-ecc"])("from a LUKS2 header is the compact one: %s", (name) => {
    const fromHeader = parseToken(readTokenFile(join(fixtures, `luks/${name}.token.json`)).text);
    const { jwe } = JSON.parse(tokenText(`luks/${name}.token.json`)) as { jwe: object };
    expect(parseToken(JSON.stringify(jwe)).compact).toBe(fromHeader.compact);
    expect(parseToken(fromHeader.compact)).toEqual(fromHeader);
  });

  test("keeps no white space from behind it", () => {
    const token = nothing();
    expect(parseToken(`${token}\r\n \n`).compact).toBe(token);
    expect(() => parseToken(`\n${token}`)).toThrow("not base64url");
  });

  test("with the null pin's old name is one too", () => {
    const token = JSON.parse(Buffer.from(nothing().split(".")[0] ?? "", "base64url").toString()) as {
      clevis: { null: object };
    };
    const { pin } = parseToken(tokenWithHeader(clevisHeader({ pin: "test", test: token.clevis.null })));
    expect(pin.kind).toBe("null");
  });

  test.each([
    ["__proto__", { pin: "__proto__" }],
    ["constructor", { pin: "constructor" }],
    ["toString", { pin: "toString" }],
  ])("whose pin is %s has an unknown pin, not a member of every object", (name, clevis) => {
    expect(parseToken(tokenWithHeader(clevisHeader(clevis))).pin).toEqual({ kind: "other", name });
  });

  test.each(["sss", "tang", "tpm2", "null", "test"])("of pin %s without its data is malformed", async (pin) => {
    const alg = pin === "tang" ? "ECDH-ES" : "dir";
    for (const clevis of [{ pin }, { pin, [pin]: null }, { pin, [pin]: [] }, { pin, [pin]: 5 }]) {
      const error = await errorOf(() => parseToken(tokenWithHeader({ alg, clevis, enc: "A256GCM" })));
      expect(error.code).toBe("token/malformed");
    }
  });

  test("is bounded in levels of sss, in pins, and in shares that are looked at", async () => {
    let nested = nothing();
    for (let level = 0; level < MAX_SSS_LEVELS; level += 1) nested = sss([nested]);
    expect(parseToken(nested).pin.kind).toBe("sss");
    expect((await errorOf(() => parseToken(sss([nested])))).code).toBe("token/too-large");

    const many = parseToken(sss(Array(MAX_SHARES + 5).fill(nothing()))).pin;
    expect(many).toMatchObject({ kind: "sss", sharesLeftOut: 5 });

    const full = sss(Array(MAX_SHARES).fill(nothing()));
    const shares = Math.floor(MAX_PINS / MAX_SHARES) + 1;
    expect((await errorOf(() => parseToken(sss(Array(shares).fill(full))))).code).toBe("token/too-large");
  });

  test("parses or fails with our error: any text, any header, any change to a real one", () => {
    const fails = (text: string): void => {
      try {
        describePinTree(parseToken(text));
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(LatchkeyError);
      }
    };
    const real = manifest.tokens.filter(({ file }) => file.startsWith("tokens/")).map(({ file }) => tokenText(file));
    fc.assert(fc.property(fc.string(), fails));
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom("sss", "tang", "tpm2", "null", "x"), (value, pin) =>
        fails(
          tokenWithHeader({ alg: pin === "tang" ? "ECDH-ES" : "dir", clevis: { pin, [pin]: value }, enc: "A256GCM" }),
        ),
      ),
    );
    fc.assert(
      fc.property(fc.constantFrom(...real), fc.nat(), fc.nat(255), (text, at, code) => {
        const place = at % text.length;
        fails(text.slice(0, place) + String.fromCharCode(code) + text.slice(place + 1));
      }),
      { numRuns: 500 },
    );
  });

  test("any change inside a real header parses or fails with our error", () => {
    const headers = ["tang-a", "sss-nested", "tpm2-pcr7-sha256-ecc"].map((name) => {
      const [header = "", ...rest] = tokenText(`tokens/${name}.jwe`).split(".");
      return { json: Buffer.from(header, "base64url").toString(), rest: rest.join(".") };
    });
    fc.assert(
      fc.property(
        fc.constantFrom(...headers),
        fc.nat(),
        fc.constantFrom(...'{}[]",:0aA-_ \\'),
        ({ json, rest }, at, letter) => {
          const place = at % json.length;
          const changed = json.slice(0, place) + letter + json.slice(place + 1);
          try {
            parseToken(`${Buffer.from(changed).toString("base64url")}.${rest}`);
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(LatchkeyError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("the address of a Tang server", () => {
  test.each([
    ["127.0.0.1:8080", "http://127.0.0.1:8080"],
    ["tang.example/", "http://tang.example"],
    ["http://h//", "http://h"],
    ["HTTPS://H/path/", "https://h/path"],
    ["http://[::1]:80", "http://[::1]"],
  ])("%s means %s", (text, url) => {
    expect(tangUrl(text)).toBe(url);
  });

  test.each([
    ["file:///etc/passwd"],
    ["ftp://h"],
    ["javascript://x"],
    ["data:text/plain,x"],
    [""],
    ["http://"],
    ["http://h?x=1"],
    ["http://h#x"],
    ["http://user:pw@h"],
    [`http://${"h".repeat(3000)}`],
  ])("%s is refused", async (text) => {
    const error = await errorOf(() => tangUrl(text));
    expect(error.code).toMatch(/^token\/(malformed|unsupported)$/);
    expect(error.message).not.toContain("pw");
  });
});

describe("what a token is told to need", () => {
  const tree = (name: string) => describePinTree(parseToken(tokenText(`tokens/${name}.jwe`)));

  test("is what it cannot open without, and what it may use", () => {
    expect(tokenNeeds(tree("tpm2-nopcr-ecc"))).toEqual({ tpm: "required", network: "none", clevis: "none" });
    expect(tokenNeeds(tree("tang-a"))).toEqual({ tpm: "none", network: "required", clevis: "none" });
    expect(tokenNeeds(tree("sss-t1-tang-tpm2"))).toEqual({ tpm: "optional", network: "optional", clevis: "none" });
    expect(tokenNeeds(tree("sss-t2-of-3"))).toEqual({ tpm: "optional", network: "required", clevis: "none" });
    expect(tokenNeeds(tree("sss-nested"))).toEqual({ tpm: "required", network: "required", clevis: "none" });
    expect(tokenNeeds(describePinTree(parseToken(tokenText("malformed/unknown-pin.jwe")))).clevis).toBe("required");
  });

  test("reads as a tree", () => {
    expect(pinTreeLines(tree("sss-nested"))).toEqual([
      "sss: 2 of 2 shares",
      "  tpm2: this machine's TPM, PCR 1, 7 of bank sha256 with the values it is sealed to (key ecc, hash sha256)",
      "  sss: 1 of 2 shares",
      "    tang: server http://127.0.0.1:17511 (exchange key CY_b3pyFn9HIedJ41hFfVC4UCc31IIPuXKX_fCTqe-k, P-521)",
      "    tang: server http://127.0.0.1:17512 (exchange key AYBtIvdBonIayYxscFDkTvt4QCjw9bbCrgTUp3NiO9U, P-521)",
    ]);
    expect(pinTreeLines(describePinTree(parseToken(tokenText("malformed/sss-2000-shares.jwe"))))).toEqual([
      "sss: 1 of 2000 shares",
      "  unusable: the token's header is cut short: 1 characters are no base64url (64 times)",
      "  the others are not looked at",
    ]);
  });

  test("holds no secret, not even the null pin's key", async () => {
    using secret = secretOf("hunter2");
    const token = await sssSealer(1, [nullSealer, nullSealer])(secret, signal);
    const text = JSON.stringify(describePinTree(parseToken(token)));
    expect(text).toBe('{"pin":"sss","threshold":1,"shares":[{"pin":"null"},{"pin":"null"}],"shares_left_out":0}');
  });
});

describe("a token file", () => {
  test("that is missing, a directory or a device is named with the reason", async () => {
    for (const path of ["/nonexistent/root.jwe", "/tmp", "/dev/zero"]) {
      const error = await errorOf(() => readTokenFile(path));
      expect(error.code).toBe("token/unreadable");
      expect(error.message).toContain(path);
    }
  });
});
