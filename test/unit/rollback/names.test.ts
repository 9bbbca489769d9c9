import { describe, expect, test } from "bun:test";
import { checkedNames } from "../../../src/rollback/names.ts";

const names = { root: "root", blank: "blank", archive: "old-roots" };

describe("names inside the filesystem", () => {
  test("are taken without the slashes that people write", () => {
    expect(checkedNames({ root: "/@/root/", blank: "./snapshots//blank", archive: "old" })).toEqual({
      root: "@/root",
      blank: "snapshots/blank",
      archive: "old",
    });
  });

  test.each([
    ["a way out", { ...names, blank: "../blank" }, "--blank wants a path"],
    ["a way out in the middle", { ...names, archive: "a/../../b" }, "--archive wants a path"],
    ["nothing", { ...names, root: "" }, "--root wants a path"],
    ["the whole filesystem", { ...names, root: "/" }, "--root wants a path"],
    ["a control character", { ...names, root: "ro\not" }, "--root wants a path"],
    ["too much", { ...names, root: "r".repeat(241) }, "--root is too long"],
    ["one thing twice", { ...names, blank: "/root" }, "three different things"],
    ["the temporary name", { ...names, blank: "root.latchkey-new" }, "three different things"],
    ["a blank inside the root", { ...names, blank: "root/blank" }, "lies inside the root"],
    ["an archive inside the root", { ...names, archive: "root/old" }, "lies inside the root"],
    ["a blank inside the archive", { ...names, blank: "old-roots/blank" }, "lies in the archive"],
  ])("%s is refused", (_, written, message) => {
    expect(() => checkedNames(written)).toThrow(message);
  });
});
