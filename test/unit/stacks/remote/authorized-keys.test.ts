import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FORCED_COMMAND, rewriteAuthorizedKeys } from "../../../../src/stacks/remote/authorized-keys.ts";

const data = "AAAAC3NzaC1lZDI1NTE5AAAAIH+75k8QBKJx9UMCYCPct4NAX2ID4pezeJyaulKivjxx";
const key = `ssh-ed25519 ${data}`;
const forced = `restrict,pty,command="${FORCED_COMMAND}"`;

const rewrite = (text: string, server: "openssh" | "dropbear" = "openssh", isOwnFile = true) =>
  rewriteAuthorizedKeys(text, server, isOwnFile);

describe("keys for the initrd", () => {
  test.each([
    ["a plain key", key, `${forced} ${key}`],
    ["a comment stays", `${key} me@home  laptop`, `${forced} ${key} me@home laptop`],
    ["white space in front and behind", `\t ${key} \r`, `${forced} ${key}`],
    ["permissions go", `no-pty,permitopen="x:1",environment="A=b" ${key}`, `${forced} ${key}`],
    ["a command of one's own goes", `command="cryptroot-unlock" ${key}`, `${forced} ${key}`],
    [
      "a limit on addresses stays",
      `from="192.0.2.0/24,!192.0.2.9" ${key}`,
      `${forced},from="192.0.2.0/24,!192.0.2.9" ${key}`,
    ],
    ["so does an end of validity", `expiry-time="20300101" ${key}`, `${forced},expiry-time="20300101" ${key}`],
    [
      "a quote with blanks, commas, and quotes inside",
      `from="a b,\\"c\\"",command="x \\"y z\\", w" ${key}`,
      `${forced},from="a b,\\"c\\"" ${key}`,
    ],
    ["names of options in capitals", `FROM="h" ${key}`, `${forced},from="h" ${key}`],
  ])("%s", (_, line, wanted) => {
    expect(rewrite(line)).toEqual({ lines: [wanted], warnings: [] });
  });

  test.each([
    ["no key", "hello world", "no key of a known type"],
    ["a type that servers no longer take", `ssh-dss ${data}`, "no key of a known type"],
    ["a key of another type", `ssh-rsa ${data}`, "the key does not fit its type ssh-rsa"],
    ["a key cut off", "ssh-ed25519 AAAA", "the key does not fit its type ssh-ed25519"],
    ["a quote left open", `command="x ${key}`, "a quotation mark is not closed"],
    [
      "an authority, which is no key to log in with",
      `cert-authority ${key}`,
      "the option cert-authority limits the key, and openssh in the image does not know it",
    ],
    ["options that are none", `from=,,, ${key}`, "the options cannot be read"],
    ["an option that ends in nothing", `pty, ${key}`, "the options cannot be read"],
    ["a value that would begin a new option", `from="a"b" ${key}`, "a quotation mark is not closed"],
    ["a control character in a value", `from="a\u001bb" ${key}`, "the options cannot be read"],
    ["a line without end", `${key} ${"x".repeat(17_000)}`, "too long for a key"],
  ])("without %s", (_, line, problem) => {
    expect(rewrite(`# a comment\n\n${line}\n`)).toEqual({ lines: [], warnings: [`line 3: ${problem}`] });
  });

  test("dropbear gets words that it knows, and no key whose limit it does not", () => {
    const { lines, warnings } = rewrite(`${key}\nfrom="192.0.2.1" ${key}\n`, "dropbear");
    expect(lines).toEqual([
      `no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="${FORCED_COMMAND}" ${key}`,
    ]);
    expect(warnings).toEqual(["line 2: the option from limits the key, and dropbear in the image does not know it"]);
  });

  test("root's file gives no key that root has forced to a command", () => {
    const { lines, warnings } = rewrite(`command="rsync" ${key}\n${key}\n`, "openssh", false);
    expect(lines.length).toBe(1);
    expect(warnings[0]).toContain("line 1: the key is forced to a command of its own");
  });

  test("whatever the file says, each line is one key forced to the one command", () => {
    const piece = fc.oneof(
      fc.constantFrom(
        key,
        data,
        "ssh-rsa",
        'command="',
        '"',
        "\\",
        ",",
        " ",
        "\n",
        "from=",
        "pty",
        "\r",
        "restrict",
        "\t",
      ),
      fc.string({ maxLength: 12 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 24 }), fc.boolean(), (pieces, isOwn) => {
        for (const server of ["openssh", "dropbear"] as const) {
          for (const line of rewrite(pieces.join(""), server, isOwn).lines) {
            const start = server === "openssh" ? forced : "no-port-forwarding,";
            expect(line.startsWith(start)).toBe(true);
            expect(line.match(new RegExp(`command="${FORCED_COMMAND}"`, "g"))?.length).toBe(1);
            expect([...line].every((character) => character >= " " && character !== "\u007f")).toBe(true);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("of a huge file the first thousand lines count", () => {
    const { lines, warnings } = rewrite(`${key}\n`.repeat(5000));
    expect(lines.length).toBe(1000);
    expect(warnings[0]).toBe("only the first 1000 lines count");
  });
});
