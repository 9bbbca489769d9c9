import { describe, expect, test } from "bun:test";
import { tokenText as textOfToken, tokenFacts } from "../../../../src/commands/inspect-token.ts";
import { manifest, tokenText } from "./fixtures.ts";
import { errorOf } from "./make-tokens.ts";

describe("what inspect tells of a token", () => {
  test("is its pins and what has to be there", () => {
    const facts = tokenFacts(tokenText("tokens/sss-t1-tang-tpm2.jwe"));
    expect(textOfToken(facts)).toBe(
      [
        "Clevis token",
        "  sss: 1 of 2 shares",
        "    tang: server http://127.0.0.1:17511 (exchange key CY_b3pyFn9HIedJ41hFfVC4UCc31IIPuXKX_fCTqe-k, P-521)",
        "    tpm2: this machine's TPM, PCR 7 of bank sha256 with the values it is sealed to (key ecc, hash sha256)",
        "  TPM: used, not required",
        "  network: used, not required",
      ].join("\n"),
    );
    expect(JSON.parse(JSON.stringify(facts))).toEqual({
      type: "clevis-token",
      pin: {
        pin: "sss",
        threshold: 1,
        shares: [
          {
            pin: "tang",
            url: "http://127.0.0.1:17511",
            curve: "P-521",
            exchange_key: "CY_b3pyFn9HIedJ41hFfVC4UCc31IIPuXKX_fCTqe-k",
          },
          { pin: "tpm2", key: "ecc", hash: "sha256", pcrs: { bank: "sha256", pcrs: [7] } },
        ],
        shares_left_out: 0,
      },
      needs: { tpm: "optional", network: "optional", clevis: "none" },
    });
  });

  test("says that a pin is left to clevis, and that the null pin protects nothing", () => {
    const unknown = textOfToken(tokenFacts(tokenText("malformed/unknown-pin.jwe")));
    expect(unknown).toContain('"example-pin": a pin latchkey leaves to an installed clevis');
    expect(unknown).toContain("installed clevis: required");
    expect(textOfToken(tokenFacts(tokenText("tokens/null-basic.jwe")))).toContain("it protects nothing");
  });

  test("never holds a key, for any token of the fixtures, and stays one page", async () => {
    for (const { file } of manifest.tokens) {
      const text = tokenText(file);
      const keys = [
        ...Buffer.from(text.split(".")[0] ?? "", "base64url")
          .toString("latin1")
          .matchAll(/"k":"([^"]+)"/g),
      ];
      try {
        const shown = JSON.stringify(tokenFacts(text)) + textOfToken(tokenFacts(text));
        for (const [, key = "?"] of keys) expect(shown).not.toContain(key);
        expect(textOfToken(tokenFacts(text)).split("\n").length).toBeLessThan(80);
      } catch {
        expect((await errorOf(() => tokenFacts(text))).code).toStartWith("token/");
      }
    }
  });
});
