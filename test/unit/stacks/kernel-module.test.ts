import { expect, test } from "bun:test";
import { findKernelModule } from "../../../src/stacks/kernel-module.ts";
import { FakeMachine, failed } from "./fake-machine.ts";

test.each<[string, Readonly<Record<string, string>>, unknown]>([
  ["nothing there", {}, "absent"],
  ["in the kernel", { "modules.builtin": "kernel/fs/bcachefs/bcachefs.ko\n" }, "built-in"],
  ["no dependencies", { "modules.dep": "fs/bcachefs.ko:\n", "fs/bcachefs.ko": "" }, "present"],
  [
    "made by DKMS, compressed",
    { "modules.dep": "updates/dkms/bcachefs.ko.zst:\n", "updates/dkms/bcachefs.ko.zst": "" },
    "present",
  ],
  ["its file missing", { "modules.dep": "fs/bcachefs.ko:\n" }, { missing: "fs/bcachefs.ko" }],
  [
    "a dependency missing",
    { "modules.dep": "fs/bcachefs.ko: lib/xor.ko lib/raid6.ko\n", "fs/bcachefs.ko": "", "lib/xor.ko": "" },
    { missing: "lib/raid6.ko" },
  ],
  ["another one of a similar name", { "modules.dep": "fs/not-bcachefs.ko:\n", "fs/not-bcachefs.ko": "" }, "absent"],
])("a kernel module: %s", (_, files, expected) => {
  using machine = new FakeMachine(async () => failed(127));
  for (const [path, text] of Object.entries(files)) machine.put(`/modules/${path}`, text);
  expect(findKernelModule(machine.files, "/modules", "bcachefs")).toEqual(expected as never);
});
