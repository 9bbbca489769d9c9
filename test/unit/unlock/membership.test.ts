import { describe, expect, test } from "bun:test";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { type Candidate, type Holding, planMembership } from "../../../src/unlock/membership.ts";

const volume = (uuid: string, overrides: Partial<Extract<Holding, { kind: "volume" }>> = {}): Holding => ({
  kind: "volume",
  uuid,
  devices: [`/dev/${uuid}`],
  state: "closed",
  description: `LUKS2 on /dev/${uuid}`,
  ...overrides,
});
const fresh: Holding = { kind: "fresh", why: "it holds neither LUKS nor bcachefs" };
const absent: Holding = { kind: "absent", error: new LatchkeyError("device/missing", "UUID=9 is not there") };
const wrong: Holding = { kind: "wrong", error: new LatchkeyError("bcachefs/superblock-damaged", "c: damaged") };

const as =
  (role: Candidate["role"]) =>
  (name: string, holds: Holding, requireEncrypted = true): Candidate => ({ name, role, holds, requireEncrypted });
const [member, leaving, entering] = [as("member"), as("leaving"), as("entering")];

/** `a try`, `b skip why`, `c fail CODE`, then the codes of the errors. */
function planned(candidates: readonly Candidate[], allowDegraded = false): readonly string[] {
  const { verdicts, errors } = planMembership("data", candidates, allowDegraded);
  const lines = [...verdicts].map(([{ name }, verdict]) => {
    const detail = verdict.do === "skip" ? ` ${verdict.why}` : verdict.do === "fail" ? ` ${verdict.error.code}` : "";
    return `${name} ${verdict.do}${detail}`;
  });
  return [...lines, ...errors.map(({ code }) => `error ${code}`)];
}

describe("which members a credential has to be right for", () => {
  const [a, b] = [member("a", volume("1")), member("b", volume("2"))];
  const rows: [string, readonly Candidate[], readonly string[]][] = [
    ["all that are there", [a, b], ["a try", "b try"]],
    ["open ones, too", [a, member("b", volume("2", { state: "open" }))], ["a try", "b try"]],
    ["an entering disk that is formatted", [a, entering("c", volume("3"))], ["a try", "c try"]],
    [
      "not one that is yet to be formatted",
      [a, entering("c", fresh)],
      ["a try", "c skip it holds neither LUKS nor bcachefs, and is yet to be formatted"],
    ],
    [
      "not the source of a live replacement",
      [a, leaving("b", volume("2"))],
      ["a try", "b skip it is about to be replaced"],
    ],
    ["but that, when it is all there is", [leaving("a", volume("1"))], ["a try"]],
    [
      "and when all others are absent",
      [leaving("a", volume("1")), member("b", absent)],
      ["a try", "b fail pool/member-missing"],
    ],
    [
      "what is to be replaced need not be there",
      [a, leaving("b", absent)],
      ["a try", "b skip it is not there, and about to be replaced"],
    ],
    [
      "a replacement by a fresh disk",
      [a, leaving("b", volume("2")), entering("c", fresh)],
      [
        "a try",
        "b skip it is about to be replaced",
        "c skip it holds neither LUKS nor bcachefs, and is yet to be formatted",
      ],
    ],
    ["a member that is absent is an error", [a, member("b", absent)], ["a try", "b fail pool/member-missing"]],
    [
      "a member without encryption, where policy allows it",
      [a, member("b", volume("2", { state: "unencrypted" }), false)],
      ["a try", "b fail unlock/not-encrypted"],
    ],
  ];
  test.each(rows)("%s", (_, candidates, lines) => {
    expect(planned(candidates)).toEqual([...lines]);
  });

  test("a member that is absent is left out where degraded is allowed", () => {
    expect(planned([a, member("b", absent)], true)).toEqual(["a try", "b skip missing: UUID=9 is not there"]);
  });
});

describe("what has to be put right before a secret is read", () => {
  const a = member("a", volume("1"));
  const rows: [string, readonly Candidate[], string][] = [
    ["a member that is damaged", [a, member("c", wrong)], "error bcachefs/superblock-damaged"],
    ["an entering disk that is not there", [a, entering("c", absent)], "error device/missing"],
    ["an entering disk that is in the pool", [a, entering("c", volume("1"))], "error pool/already-member"],
    [
      "one that is in it by another path",
      [a, entering("c", volume("7", { devices: ["/dev/1"] }))],
      "error pool/already-member",
    ],
    [
      "one that is named twice",
      [a, entering("c", volume("3")), entering("d", volume("3"))],
      "error pool/already-member",
    ],
    ["two members that are one", [a, member("b", volume("1"))], "error pool/duplicate-member"],
    ["a copy of a member", [a, member("b", volume("1", { devices: ["/dev/copy"] }))], "error pool/duplicate-member"],
    ["a member that lost its encryption", [a, member("b", fresh)], "error policy/unencrypted"],
    [
      "a member without encryption",
      [a, member("b", volume("2", { state: "unencrypted" }))],
      "error policy/unencrypted",
    ],
  ];
  test.each(rows)("%s", (_, candidates, error) => {
    expect(planned(candidates)).toContain(error);
    expect(planned(candidates, true)).toContain(error);
  });

  test("nothing, where all is well", () => {
    expect(planMembership("data", [a, entering("c", fresh)], false).errors).toEqual([]);
  });
});
