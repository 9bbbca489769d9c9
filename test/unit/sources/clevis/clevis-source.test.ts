import { describe, expect, test } from "bun:test";
import { ClevisSource, type ClevisSourceSettings } from "../../../../src/sources/clevis/clevis-source.ts";
import { type HttpExchange, HttpFailure } from "../../../../src/sources/clevis/http.ts";
import { type Sealer, sssSealer, tpm2Sealer } from "../../../../src/sources/clevis/seal.ts";
import type { FoundToken } from "../../../../src/sources/clevis/token-file.ts";
import type { ClevisTools, Tpm2Opener } from "../../../../src/sources/clevis/tools.ts";
import type { OfferResult, Progress, SourceContext } from "../../../../src/sources/source.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import type { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { HandClock } from "../../unlock/fakes.ts";
import { tokenText, toolsWith } from "./fixtures.ts";
import { errorOf, nullSealer, secretOf, textOf } from "./make-tokens.ts";

const never = new AbortController().signal;
const tangToken: FoundToken = { origin: "/etc/latchkey/root.jwe", text: tokenText("tokens/tang-a.jwe") };

/** The heart as a source sees it: volumes that open with one passphrase. */
class FakeHeart implements SourceContext {
  readonly #abort = new AbortController();
  readonly offered: string[] = [];
  readonly secrets: SecretBytes[] = [];
  readonly notYet: LatchkeyError[] = [];
  readonly notes: string[] = [];

  readonly #passphrase: string;

  constructor(passphrase = "hunter2") {
    this.#passphrase = passphrase;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }
  abort(): void {
    this.#abort.abort();
  }
  async wanted() {
    return [];
  }
  onChange(): void {}
  async offer(secret: SecretBytes, volumes: readonly string[] = []): Promise<OfferResult> {
    this.secrets.push(secret);
    const text = textOf(secret);
    this.offered.push(text);
    return { opened: text === this.#passphrase ? volumes : [], errors: new Map() };
  }
  readonly questionTime = Promise.resolve();
  progress(): Progress {
    return { volumes: [], failures: [] };
  }
  nothingYet(reason: LatchkeyError): void {
    this.notYet.push(reason);
  }
  atWork<T>(work: Promise<T>): Promise<T> {
    return work;
  }
  note(text: string): void {
    this.notes.push(text);
  }
}

const sealed = async (origin: string, text: string, sealer: Sealer = nullSealer): Promise<FoundToken> => {
  using secret = secretOf(text);
  return { origin, text: await sealer(secret, never) };
};

function source(
  tokens: readonly FoundToken[],
  tools: Partial<ClevisTools> = {},
  more: Partial<ClevisSourceSettings> = {},
) {
  return new ClevisSource({
    volumes: ["root"],
    findTokens: async () => tokens,
    timeLimit: 15_000,
    tools: toolsWith(tools),
    ...more,
  });
}

const refusing: HttpExchange = async () => {
  throw new HttpFailure("the connection was refused", true);
};

describe("the clevis source", () => {
  test("offers what its token holds to its volumes, and keeps nothing", async () => {
    const heart = new FakeHeart();
    await source([await sealed("root.jwe", "hunter2")]).run(heart);
    expect(heart.offered).toEqual(["hunter2"]);
    expect(heart.secrets.every((secret) => secret.isDisposed)).toBe(true);
    expect(heart.notYet).toEqual([]);
    expect(heart.notes).toEqual(["root.jwe opened"]);
  });

  test("names the token in its error", async () => {
    const error = await errorOf(() => source([{ origin: "/etc/latchkey/root.jwe", text: "x.y" }]).run(new FakeHeart()));
    expect(error.code).toBe("token/malformed");
    expect(error.message).toBe("/etc/latchkey/root.jwe: a token has five parts with dots between, and this has 2");
  });

  test("never offers an empty secret", async () => {
    const heart = new FakeHeart("");
    const error = await errorOf(async () => source([await sealed("root.jwe", "")]).run(heart));
    expect(error.code).toBe("token/empty-secret");
    expect(heart.offered).toEqual([]);
  });

  test("ends without an error when the secret opens nothing: the volume has said so", async () => {
    const heart = new FakeHeart();
    await source([await sealed("root.jwe", "wrong")]).run(heart);
    expect(heart.offered).toEqual(["wrong"]);
  });

  test("goes on with the other tokens of a header when one is broken or wrong", async () => {
    const heart = new FakeHeart();
    const tokens = [
      { origin: "token 0", text: "" },
      await sealed("token 1", "wrong"),
      await sealed("token 2", "hunter2"),
    ];
    await source(tokens).run(heart);
    expect(heart.offered).toContain("hunter2");
  });

  test("names the reasons of all tokens when none helps", async () => {
    const tokens = [
      { origin: "token 0", text: "" },
      { origin: "token 1", text: "x" },
    ];
    const error = await errorOf(() => source(tokens).run(new FakeHeart()));
    expect(error.message).toBe(
      "token 0: the token is empty; token 1: a token has five parts with dots between, and this has 1",
    );
  });

  test("says that it has nothing yet when its server fails, once, and goes on trying until its limit", async () => {
    const clock = new HandClock();
    const heart = new FakeHeart();
    let tries = 0;
    const http: HttpExchange = (request) => {
      tries += 1;
      return refusing(request);
    };
    const running = errorOf(() => source([tangToken], { clock, http }).run(heart));
    await clock.advance(0);
    expect(heart.notYet.map(({ message }) => message)).toEqual([
      "/etc/latchkey/root.jwe: tang server http://127.0.0.1:17511: the connection was refused",
    ]);
    await clock.advance(15_000);
    const error = await running;
    expect(error.code).toBe("tang/unreachable");
    expect(error.message).toMatch(/refused \(\d+ tries in 1\d s\)$/);
    expect(tries).toBeGreaterThan(5);
    expect(heart.notYet).toHaveLength(1);
  });

  test("is not stuck while a TPM works on a share that is enough, though a server hangs", async () => {
    const clock = new HandClock();
    const heart = new FakeHeart();
    let finish = (): void => undefined;
    const keys: SecretBytes[] = [];
    const tpm2: Tpm2Opener = {
      open: () =>
        new Promise((resolve) => {
          finish = () => resolve(keys[0]?.clone() as SecretBytes);
        }),
    };
    const tpmSealer = tpm2Sealer(async (key) => {
      keys.push(key.clone());
      return {};
    });
    const token = await sealed("root.jwe", "hunter2", sssSealer(1, [async () => tangToken.text, tpmSealer]));
    const running = source([token], { clock, tpm2, http: refusing }).run(heart);
    await clock.advance(5_000);
    expect(heart.notYet).toEqual([]);
    finish();
    await running;
    expect(heart.offered).toEqual(["hunter2"]);
  });

  test("says that a TPM gave no answer in time", async () => {
    const clock = new HandClock();
    const tpm2: Tpm2Opener = {
      open: (_pin, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => reject(new LatchkeyError("tpm2/interrupted", "work was ended")));
        }),
    };
    const token = await sealed(
      "root.jwe",
      "x",
      tpm2Sealer(async () => ({})),
    );
    const running = errorOf(() => source([token], { clock, tpm2 }).run(new FakeHeart()));
    await clock.advance(20_000);
    const error = await running;
    expect(error.code).toBe("source/timed-out");
    expect(error.message).toBe("root.jwe: work was ended (given up after 15 s)");
  });

  test("ends when it is no longer wanted", async () => {
    const clock = new HandClock();
    const heart = new FakeHeart();
    const running = errorOf(() => source([tangToken], { clock, http: refusing }).run(heart));
    await clock.advance(100);
    heart.abort();
    await running;
  });

  test("passes on why there are no tokens", async () => {
    const findTokens = async () => {
      throw new LatchkeyError("token/unreadable", "there is no token /etc/latchkey/root.jwe");
    };
    expect((await errorOf(() => source([], {}, { findTokens }).run(new FakeHeart()))).code).toBe("token/unreadable");
  });
});
