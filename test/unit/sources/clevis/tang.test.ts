import { afterAll, describe, expect, test } from "bun:test";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { encodeBase64url } from "../../../../src/jose/base64url.ts";
import { openToken } from "../../../../src/sources/clevis/decrypt.ts";
import { type HttpAnswer, type HttpExchange, HttpFailure, httpOverFetch } from "../../../../src/sources/clevis/http.ts";
import { parseToken } from "../../../../src/sources/clevis/token.ts";
import { HandClock, settle } from "../../unlock/fakes.ts";
import { fixtures, httpWithPorts, tokenText, toolsWith } from "./fixtures.ts";
import { errorOf, textOf } from "./make-tokens.ts";
import { hasTangd, startTangd } from "./tangd.ts";

const never = new AbortController().signal;
const token = parseToken(tokenText("tokens/tang-a.jwe"));
const FIXTURE_PORT = 17_511;
const servers: Server[] = [];

afterAll(() => {
  for (const server of servers) server.close();
});

/** A server that treats each connection as the test says, listening on a port of its own. */
async function hostile(onConnection: (socket: Socket) => void): Promise<HttpExchange> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    onConnection(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return httpWithPorts({ [FIXTURE_PORT]: port });
}

const answering = (text: string) => (socket: Socket) => socket.once("data", () => socket.end(text));
const answer = (status: string, body: string, more = "") =>
  answering(
    `HTTP/1.1 ${status}\r\n${more}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );

const echo = (socket: Socket) =>
  socket.once("data", (data) => {
    const body = String(data).split("\r\n\r\n")[1] ?? "";
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
  });

/** Sends without end until the other side has had enough. */
const endless = (head: string, more: string) => (socket: Socket) => {
  socket.write(head);
  const timer = setInterval(() => socket.write(more), 1);
  socket.on("close", () => clearInterval(timer));
};

const point = (crv: string, x: Uint8Array, y: Uint8Array) =>
  JSON.stringify({ crv, kty: "EC", x: encodeBase64url(x), y: encodeBase64url(y) });
const zeros = new Uint8Array(66);
const generatorOfP256 = point(
  "P-256",
  Buffer.from("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296", "hex"),
  Buffer.from("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5", "hex"),
);
const generatorOfP521 = point(
  "P-521",
  Buffer.from(
    "00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66",
    "hex",
  ),
  Buffer.from(
    "011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650",
    "hex",
  ),
);

describe("a hostile server ends in our error", () => {
  test.each<[string, (socket: Socket) => void, string]>([
    ["hangs up at once", (socket) => socket.destroy(), "tang/unreachable"],
    ["does not speak HTTP", answering("SSH-2.0-OpenSSH_9.2\r\n"), "tang/unreachable"],
    ["says 200 and nothing", answer("200 OK", ""), "tang/bad-answer"],
    ["says 200 and garbage", answer("200 OK", "garbage"), "tang/bad-answer"],
    ["says 200 and a list", answer("200 OK", "[]"), "tang/bad-answer"],
    ["nests JSON deeply", answer("200 OK", "[".repeat(15_000)), "tang/bad-answer"],
    ["answers with the point at infinity", answer("200 OK", point("P-521", zeros, zeros)), "tang/bad-answer"],
    [
      "answers with a point of no curve",
      answer(
        "200 OK",
        point(
          "P-521",
          zeros,
          zeros.map((_, i) => Number(i === 65)),
        ),
      ),
      "tang/bad-answer",
    ],
    ["answers on another curve", answer("200 OK", generatorOfP256), "tang/bad-answer"],
    ["answers with a wrong point", answer("200 OK", generatorOfP521), "token/tag-mismatch"],
    ["answers with the question", echo, "token/tag-mismatch"],
    ["sends too much at once", answer("200 OK", "x".repeat(1_000_000)), "tang/unreachable"],
    ["sends without end", endless("HTTP/1.1 200 OK\r\n\r\n", "x".repeat(10_000)), "tang/unreachable"],
    [
      "promises more than there is",
      answering("HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nx"),
      "tang/unreachable",
    ],
    ["sends bad chunks", answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx"), "tang/unreachable"],
    ["redirects to a file", answer("302 Found", "", "Location: file:///etc/passwd\r\n"), "tang/http-status"],
    ["redirects to itself", answer("307 Temporary Redirect", "", "Location: /rec/x\r\n"), "tang/http-status"],
    ["packs its answer", answer("200 OK", "\x1f\x8b garbage", "Content-Encoding: gzip\r\n"), "tang/bad-answer"],
    ["knows no such key", answer("404 Not Found", ""), "tang/unknown-key"],
    ["refuses the key", answer("403 Forbidden", ""), "tang/http-status"],
    ["fails inside", answer("500 Internal Server Error", ""), "tang/http-status"],
  ])("when it %s", async (_what, behave, code) => {
    const http = await hostile(behave);
    const error = await errorOf(() => openToken(token, toolsWith({ http }), never));
    expect(error.code).toBe(code as never);
    if (code.startsWith("tang/")) expect(error.message).toStartWith("tang server http://127.0.0.1:17511: ");
  });

  test("when it never answers: within the limit of a try, and at once when it is no longer wanted", async () => {
    const silent = await hostile(() => undefined);
    const hurried: HttpExchange = (request) => silent({ ...request, timeLimit: 200 });
    const error = await errorOf(() => openToken(token, toolsWith({ http: hurried }), never));
    expect(error.message).toBe("tang server http://127.0.0.1:17511: no answer within 0.2 s");

    const controller = new AbortController();
    const opening = openToken(token, toolsWith({ http: silent }), controller.signal);
    setTimeout(() => controller.abort(), 50);
    const started = performance.now();
    expect((await errorOf(() => opening)).code).toBe("tang/unreachable");
    expect(performance.now() - started).toBeLessThan(1000);
  });

  test("when it sends header lines without end", async () => {
    const http = await hostile(endless("HTTP/1.1 200 OK\r\n", `X: ${"x".repeat(8_000)}\r\n`));
    const hurried: HttpExchange = (request) => http({ ...request, timeLimit: 2_000 });
    expect((await errorOf(() => openToken(token, toolsWith({ http: hurried }), never))).code).toBe("tang/unreachable");
  });

  test("when it drips one octet at a time", async () => {
    const http = await hostile(endless("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", " "));
    const hurried: HttpExchange = (request) => http({ ...request, timeLimit: 300 });
    const error = await errorOf(() => openToken(token, toolsWith({ http: hurried }), never));
    expect(error.message).toEndWith("no answer within 0.3 s");
  });
});

describe("what is asked of a server", () => {
  test("goes past the proxy of the environment, and never to a file", async () => {
    let asked = 0;
    const http = await hostile((socket) => {
      asked += 1;
      answer("404 Not Found", "")(socket);
    });
    process.env["http_proxy"] = "http://127.0.0.1:1";
    try {
      expect((await errorOf(() => openToken(token, toolsWith({ http }), never))).code).toBe("tang/unknown-key");
    } finally {
      delete process.env["http_proxy"];
    }
    expect(asked).toBe(1);
  });

  test("is the name of the key in the path, and a point that is neither half of the token", async () => {
    const seen: { url: string; body: string }[] = [];
    const http: HttpExchange = async ({ url, body = "" }) => {
      seen.push({ url, body });
      return { status: 404, body: new Uint8Array() };
    };
    await errorOf(() => openToken(token, toolsWith({ http }), never));
    await errorOf(() => openToken(token, toolsWith({ http }), never));
    expect(seen[0]?.url).toBe("http://127.0.0.1:17511/rec/CY_b3pyFn9HIedJ41hFfVC4UCc31IIPuXKX_fCTqe-k");
    expect(seen[0]?.body).toMatch(
      /^\{"alg":"ECMR","crv":"P-521","key_ops":\["deriveKey"\],"kty":"EC","x":"[\w-]{88}","y":"[\w-]{88}"\}$/,
    );
    expect(seen[0]?.body).not.toBe(seen[1]?.body ?? "");
    expect(JSON.stringify(token.jwe.header)).not.toContain(JSON.parse(seen[0]?.body ?? "{}").x);
  });

  test.each(["tang-epk-off-curve", "tang-kid-injection", "tang-url-file", "tang-adv-key-off-curve"])(
    "is nothing at all when the token is broken: %s",
    (name) => {
      expect(() => parseToken(tokenText(`malformed/${name}.jwe`))).toThrow();
    },
  );
});

describe("patience with a server", () => {
  const unreachable: HttpExchange = async () => {
    throw new HttpFailure("the connection was refused", true);
  };

  test("lasts as long as it is told to, with pauses that grow, and the reason is the server's", async () => {
    const clock = new HandClock();
    const times: number[] = [];
    const stalls: string[] = [];
    const http: HttpExchange = (request) => {
      times.push(clock.now());
      return unreachable(request);
    };
    const opening = openToken(token, toolsWith({ http, clock, tangPatience: 10_000 }), never, ({ message }) =>
      stalls.push(message),
    );
    const ended = errorOf(() => opening);
    await clock.advance(20_000);
    const error = await ended;
    expect(times).toEqual([0, 250, 750, 1750, 3750, 5750, 7750, 9750]);
    expect(stalls).toHaveLength(7);
    expect(error.message).toBe("tang server http://127.0.0.1:17511: the connection was refused (8 tries in 10 s)");
  });

  test("gives each try a longer limit, but none beyond the end", async () => {
    const clock = new HandClock();
    const limits: number[] = [];
    const http: HttpExchange = async ({ timeLimit, signal }) => {
      limits.push(timeLimit);
      await clock.sleep(timeLimit, signal);
      throw new HttpFailure(`no answer within ${timeLimit / 1000} s`, true);
    };
    const ended = errorOf(() => openToken(token, toolsWith({ http, clock, tangPatience: 15_000 }), never));
    await clock.advance(60_000);
    await ended;
    expect(limits).toEqual([3_000, 6_000, 5_250]);
  });

  test("is not wasted on what trying again does not change", async () => {
    for (const status of [400, 403, 404, 302]) {
      let asked = 0;
      const http = async (): Promise<HttpAnswer> => {
        asked += 1;
        return { status, body: new Uint8Array() };
      };
      await errorOf(() => openToken(token, toolsWith({ http, tangPatience: 10_000 }), never));
      expect(asked).toBe(1);
    }
  });

  test("ends with the signal, also in a pause", async () => {
    const clock = new HandClock();
    const controller = new AbortController();
    const opening = openToken(token, toolsWith({ http: unreachable, clock, tangPatience: 60_000 }), controller.signal);
    const ended = errorOf(() => opening);
    await settle();
    controller.abort();
    expect((await ended).code).toBe("tang/unreachable");
  });

  test.skipIf(!hasTangd)("is rewarded by a server that comes up later", async () => {
    let tries = 0;
    using server = startTangd(join(fixtures, "tang/a"));
    const up = httpWithPorts({ [FIXTURE_PORT]: server.port });
    const http: HttpExchange = (request) => {
      tries += 1;
      return tries < 3 ? httpOverFetch()({ ...request, url: "http://127.0.0.1:1/" }) : up(request);
    };
    const secret = await openToken(token, toolsWith({ http, tangPatience: 10_000 }), never);
    expect(textOf(secret)).toBe("dev1-tang-a");
    expect(tries).toBe(3);
  });

  test.skipIf(!hasTangd)("with one server does not keep another one waiting", async () => {
    using server = startTangd(join(fixtures, "tang/a"));
    const silent = await hostile(() => undefined);
    const real = httpWithPorts({ [FIXTURE_PORT]: server.port });
    const http: HttpExchange = (request) => (request.url.includes("17519") ? silent : real)(request);
    const started = performance.now();
    const secret = await openToken(parseToken(tokenText("tokens/sss-t1-first-down.jwe")), toolsWith({ http }), never);
    expect(textOf(secret)).toBe("dev1-sss-t1-first-down");
    expect(performance.now() - started).toBeLessThan(1000);
  });
});
