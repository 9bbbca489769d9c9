import { describe, expect, test } from "bun:test";
import { isMappingOf } from "../../../../src/providers/luks/mappings.ts";
import { asLatchkeyError, LatchkeyError } from "../../../../src/system/errors.ts";
import { contextOf } from "../bcachefs/fake-machine.ts";
import { edited, headerBytes, uuidOf, withArgon2Memory } from "./fixtures.ts";
import { credentialOf, luksScene, luksVolumeOf, StubCryptsetup } from "./machine.ts";

const never = new AbortController().signal;
const root = luksVolumeOf("cryptroot", `UUID=${uuidOf.pbkdf2}`);

async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (thrown) {
    const { code, message } = asLatchkeyError(thrown);
    return `${code}: ${message}`;
  }
  return "none";
}

/** A machine with the disk of `root`, which opens with "right". */
function machine(bytes = headerBytes("pbkdf2"), stub = new StubCryptsetup()) {
  const scene = luksScene(stub.run);
  scene.devices.add("/dev/vda2", bytes, `UUID=${uuidOf.pbkdf2}`);
  return { ...scene, stub };
}

describe("what is found", () => {
  test("a closed volume, by the UUID in its header", async () => {
    const { provider } = machine();
    expect(await provider.find(root, contextOf())).toMatchObject({
      name: "cryptroot",
      state: "closed",
      uuid: uuidOf.pbkdf2,
      description: "LUKS2 on /dev/vda2",
      devices: ["/dev/vda2"],
      proofMemory: 0,
    });
  });

  test("one that is open, by its UUID and whatever its name", async () => {
    const { provider, mappings, stub } = machine();
    const context = contextOf();
    mappings.push({ name: "luks-of-the-installer", uuid: `CRYPT-LUKS2-${uuidOf.pbkdf2.replaceAll("-", "")}-x` });
    expect(await provider.find(root, context)).toMatchObject({ state: "open" });
    expect(context.notes).toEqual(["it is open as /dev/mapper/luks-of-the-installer"]);
    expect(stub.calls).toEqual([]);
  });

  test("a mapping name that is taken by something else", async () => {
    const { provider, mappings } = machine();
    mappings.push({ name: "cryptroot", uuid: "LVM-abc" });
    expect(await failure(provider.find(root, contextOf()))).toBe(
      "luks/name-taken: cryptroot: the name /dev/mapper/cryptroot is taken by LVM-abc",
    );
    mappings[0] = { name: "cryptroot", uuid: `CRYPT-LUKS2-${uuidOf.luks1.replaceAll("-", "")}-cryptroot` };
    expect(await failure(provider.find(root, contextOf()))).toContain("is taken by CRYPT-LUKS2-4c554b53");
    mappings[0] = { name: "cryptroot", uuid: "" };
    expect(await failure(provider.find(root, contextOf()))).toContain("is taken by a mapping without a UUID");
  });

  test.each([
    ["CRYPT-LUKS2-4c554b53000140008000000000000002-cryptroot", true],
    ["CRYPT-LUKS1-4c554b53000140008000000000000002-x", true],
    ["CRYPT-PLAIN-4c554b53000140008000000000000002-x", false],
    ["CRYPT-LUKS2-4c554b53000140008000000000000003-x", false],
    ["CRYPT-LUKS2-4c554b530001400080000000000000020-x", false],
    ["SUBDEV-CRYPT-LUKS2-4c554b53000140008000000000000002-x", false],
  ])("%s is its mapping: %p", (uuid, isIts) => {
    expect(isMappingOf({ name: "any", uuid }, uuidOf.pbkdf2)).toBe(isIts);
  });

  test("a device without LUKS, which is for the policy to refuse", async () => {
    const { provider } = machine(new Uint8Array(65536));
    const found = await provider.find(luksVolumeOf("data", "/dev/vda2"), contextOf());
    expect(found).toMatchObject({ state: "unencrypted", uuid: "", description: "/dev/vda2 without a LUKS header" });
    using credential = credentialOf("right");
    expect(await failure(found.prove(credential, never))).toBe(
      "unlock/not-encrypted: data: /dev/vda2 holds no LUKS volume",
    );
  });

  test("a damaged header is a note where one copy is good, and an error where none is", async () => {
    const half = headerBytes("pbkdf2");
    half[4100] = 0;
    const { provider } = machine(half);
    const context = contextOf();
    expect(await provider.find(root, context)).toMatchObject({ state: "closed" });
    expect(context.notes).toEqual(["the first copy of its LUKS2 header is damaged: its checksum does not hold"]);
    half[0x4000 + 4100] = 0;
    expect(await failure(machine(half).provider.find(luksVolumeOf("data", "/dev/vda2"), contextOf()))).toStartWith(
      "luks/header-damaged: /dev/vda2: both copies",
    );
  });
});

describe("key slots", () => {
  const argon = headerBytes("argon2id");
  const scene = (bytes: Uint8Array, memory?: number) => {
    const stub = new StubCryptsetup();
    const made = luksScene(stub.run, memory === undefined ? {} : { memory });
    made.devices.add("/dev/vda2", bytes);
    return { ...made, stub };
  };

  test("say how much memory a proof takes at most", async () => {
    const { provider } = scene(argon);
    expect(await provider.find(luksVolumeOf("data", "/dev/vda2"), contextOf())).toMatchObject({
      proofMemory: 64 * 1024 ** 2,
    });
    const one = luksVolumeOf("data", "/dev/vda2", { keySlot: 7 });
    expect(await provider.find(one, contextOf())).toMatchObject({ proofMemory: 0 });
    // Its priority is to be ignored, unless somebody names it.
    const ignored = luksVolumeOf("data", "/dev/vda2", { keySlot: 9 });
    expect(await provider.find(ignored, contextOf())).toMatchObject({ proofMemory: 32 * 1024 });
  });

  test("that want more memory than there is are left out, and the others tried one by one", async () => {
    const { provider, stub } = scene(withArgon2Memory(argon, 0, 2 * 1024 ** 2));
    const context = contextOf();
    const found = await provider.find(luksVolumeOf("data", "/dev/vda2"), context);
    expect(context.notes).toEqual([
      "key slot 0 takes 2 GiB of memory (argon2id), and this machine has 1 GiB: it is not tried",
    ]);
    using credential = credentialOf("right");
    using _ = await found.prove(credential, never);
    expect(stub.calls).toEqual([
      "open --test-passphrase --type luks --key-slot 7 --key-file /proc/self/fd/3 /dev/vda2 < right",
    ]);
  });

  test("that all want too much are an error before cryptsetup is started", async () => {
    const { provider, stub } = scene(withArgon2Memory(argon, 0, 2 ** 32 - 1));
    const one = luksVolumeOf("data", "/dev/vda2", { keySlot: 0 });
    expect(await failure(provider.find(one, contextOf()))).toBe(
      "luks/too-much-memory: data: key slot 0 takes 4 TiB of memory (argon2id), and this machine has 1 GiB",
    );
    expect(stub.calls).toEqual([]);
  });

  test("that are not there are an error", async () => {
    const { provider } = scene(argon);
    expect(await failure(provider.find(luksVolumeOf("data", "/dev/vda2", { keySlot: 5 }), contextOf()))).toBe(
      "luks/no-slot: data: key slot 5 is not in use: no passphrase can open it",
    );
    const empty = scene(edited(argon, { json: (json) => ({ ...json, keyslots: {} }) }));
    expect(await failure(empty.provider.find(luksVolumeOf("data", "/dev/vda2"), contextOf()))).toContain(
      "its LUKS header has no key slot in use",
    );
  });
});

describe("a proof", () => {
  test("takes the key's octets as they are, and opens nothing", async () => {
    const { provider, stub, opener } = machine();
    stub.answers.set("none", {});
    const found = await provider.find(root, contextOf());
    using wrong = credentialOf("right\n");
    expect(await failure(found.prove(wrong, never))).toBe(
      "luks/wrong-passphrase: cryptroot: wrong passphrase for LUKS2 on /dev/vda2",
    );
    using right = credentialOf("right");
    using _ = await found.prove(right, never);
    expect(stub.calls).toEqual([
      "open --test-passphrase --type luks --key-file /proc/self/fd/3 /dev/vda2 < right\n",
      "open --test-passphrase --type luks --key-file /proc/self/fd/3 /dev/vda2 < right",
    ]);
    expect(opener.opened).toEqual([]);
  });

  test.each([
    [
      { status: 1, complaint: "odd" },
      "luks/tool-failed: cryptroot: cryptsetup open --test-passphrase on /dev/vda2 failed (status 1): odd",
    ],
    [
      { status: 3 },
      "luks/out-of-memory: cryptroot: cryptsetup had too little memory for the key derivation of /dev/vda2",
    ],
    [
      { status: 4 },
      "luks/tool-failed: cryptroot: cryptsetup open --test-passphrase on /dev/vda2 could not use the device (status 4)",
    ],
    [
      { status: 137 },
      "luks/tool-failed: cryptroot: cryptsetup open --test-passphrase on /dev/vda2 was killed by signal 9",
    ],
  ])("that ends with %p could not be made", async (end, text) => {
    const { provider, stub } = machine();
    stub.answers.set("open", end);
    using credential = credentialOf("right");
    expect(await failure((await provider.find(root, contextOf())).prove(credential, never))).toBe(text);
  });

  test("that is not wanted any longer says so", async () => {
    const { provider } = machine();
    const found = await provider.find(root, contextOf());
    using credential = credentialOf("right");
    expect(await failure(found.prove(credential, AbortSignal.abort()))).toBe(
      "unlock/interrupted: cryptroot: the passphrase is not wanted any longer",
    );
  });

  test("without cryptsetup is not available", async () => {
    const missing = new LatchkeyError("luks/tool-missing", "cryptsetup is not installed");
    const { provider, devices } = luksScene(() => Promise.reject(missing));
    devices.add("/dev/vda2", headerBytes("pbkdf2"), `UUID=${uuidOf.pbkdf2}`);
    const found = await provider.find(root, contextOf());
    using credential = credentialOf("right");
    const error = await found.prove(credential, never).catch(asLatchkeyError);
    expect(error).toMatchObject({ code: "luks/tool-missing", outcome: "unavailable" });
  });
});

describe("opening", () => {
  test("is for whoever makes the mapping, with the passphrase that was proven", async () => {
    const settings = { header: "/boot/header.img", allowDiscards: true, tries: 3 };
    const stub = new StubCryptsetup();
    const { provider, devices, opener, lane } = luksScene(stub.run);
    devices.add("/dev/vdb", new Uint8Array(65536));
    devices.add("/boot/header.img", headerBytes("detached"));
    for (const who of ["latchkey", "systemd"] as const) {
      const found = await provider.find(luksVolumeOf("data", "/dev/vdb", { ...settings, opener: who }), contextOf());
      using credential = credentialOf("right");
      using proven = await found.prove(credential, never);
      const opened = await proven.open();
      await opened.close();
    }
    expect(opener.opened).toEqual([
      {
        request: {
          name: "data",
          uuid: uuidOf.detached,
          device: "/dev/vdb",
          settings: {
            header: "/boot/header.img",
            allowDiscards: true,
            readOnly: false,
            openOptions: [],
            opener: "latchkey",
            tries: 3,
          },
        },
        passphrase: "right",
      },
    ]);
    expect(lane.opened).toMatchObject([{ request: { name: "data" }, passphrase: "right" }]);
    expect([opener.closed, lane.closed]).toEqual([1, 1]);
    expect(stub.calls[0]).toBe(
      "open --test-passphrase --type luks --header /boot/header.img --key-file /proc/self/fd/3 /dev/vdb < right",
    );
  });

  test("wipes the passphrase at the end, also when it was never opened", async () => {
    const { provider, opener } = machine();
    const found = await provider.find(root, contextOf());
    const credential = credentialOf("right");
    const proven = await found.prove(credential, never);
    credential[Symbol.dispose]();
    await proven.open();
    expect(opener.opened[0]?.passphrase).toBe("right");
    proven[Symbol.dispose]();
    expect(await failure(Promise.try(() => proven.open()))).toContain("internal/defect");
  });

  test("a volume without a name gets that of its UUID", async () => {
    const { provider, opener } = machine();
    const found = await provider.find(luksVolumeOf("/dev/vda2", "/dev/vda2", { isUnnamed: true }), contextOf());
    using credential = credentialOf("right");
    using proven = await found.prove(credential, never);
    await proven.open();
    expect(opener.opened[0]?.request.name).toBe(`luks-${uuidOf.pbkdf2}`);
  });

  test("a volume may have a mapping of another name", async () => {
    const { provider, mappings } = machine();
    mappings.push({ name: "data", uuid: "LVM-x" });
    const volume = luksVolumeOf("/dev/vda2", "/dev/vda2", { mapping: "data" });
    expect(await failure(provider.find(volume, contextOf()))).toContain("the name /dev/mapper/data is taken");
  });
});

describe("a volume key in the kernel's keyring", () => {
  const description = `latchkey:volume-key:${uuidOf.pbkdf2}`;
  const newer = () => machine(headerBytes("pbkdf2"), new StubCryptsetup("right", { linksKeys: true }));

  test("is put there by the proof, used for opening, and taken out again", async () => {
    const { provider, stub, keyring, opener } = newer();
    const found = await provider.find(root, contextOf());
    using credential = credentialOf("right");
    {
      using proven = await found.prove(credential, never);
      await proven.open();
    }
    expect(stub.calls).toEqual([
      `open --test-passphrase --type luks --link-vk-to-keyring @s::%user:${description} --key-file /proc/self/fd/3 /dev/vda2 < right`,
    ]);
    expect(opener.opened).toMatchObject([{ volumeKey: `%user:${description}` }]);
    expect(keyring.calls).toEqual([
      `search session user ${description}`,
      "timeout 99 600",
      `search session user ${description}`,
      "timeout 99 600",
      `search session user ${description}`,
      "invalidate 99",
    ]);
  });

  test("is not asked of cryptsetup when it has gone before the opening: then it is derived again", async () => {
    const { provider, keyring, opener } = newer();
    using credential = credentialOf("right");
    using proven = await (await provider.find(root, contextOf())).prove(credential, never);
    keyring.holdsKey = false;
    await proven.open();
    expect(opener.opened).toMatchObject([{ passphrase: "right" }]);
    expect(opener.opened[0]?.volumeKey).toBeUndefined();
  });

  test("goes below the user keyring where there is no session keyring that a child would inherit", async () => {
    const { provider, stub, keyring } = newer();
    keyring.hasSession = false;
    using credential = credentialOf("right");
    using _ = await (await provider.find(root, contextOf())).prove(credential, never);
    expect(stub.calls[0]).toContain(`--link-vk-to-keyring @u::%user:${description}`);
  });

  test("is taken out when the passphrase is wrong, and when the proof is cut short", async () => {
    const { provider, keyring } = newer();
    const found = await provider.find(root, contextOf());
    using wrong = credentialOf("wrong");
    expect(await failure(found.prove(wrong, never))).toStartWith("luks/wrong-passphrase");
    expect(keyring.calls).toContain("invalidate 99");
    keyring.calls.length = 0;
    keyring.holdsKey = true;
    using right = credentialOf("right");
    expect(await failure(found.prove(right, AbortSignal.abort()))).toStartWith("unlock/interrupted");
    expect(keyring.calls).toContain("invalidate 99");
  });

  test("is done without where the kernel refuses it", async () => {
    const { provider, stub, opener } = newer();
    stub.answers.set("open --test-passphrase --type luks --link", { status: 1, complaint: "Failed to link" });
    using credential = credentialOf("right");
    using proven = await (await provider.find(root, contextOf())).prove(credential, never);
    await proven.open();
    expect(stub.calls).toHaveLength(2);
    expect(opener.opened[0]?.passphrase).toBe("right");
  });

  test("is done without where there are no keyrings, or where it is not there afterwards", async () => {
    const without = newer();
    without.keyring.isMissing = true;
    const lost = newer();
    lost.keyring.holdsKey = false;
    for (const { provider, opener } of [without, lost]) {
      using credential = credentialOf("right");
      using proven = await (await provider.find(root, contextOf())).prove(credential, never);
      await proven.open();
      expect(opener.opened[0]).not.toHaveProperty("volumeKey");
    }
    expect(without.stub.calls[0]).not.toContain("--link-vk-to-keyring");
  });

  test("is not made where systemd opens, and not for LUKS1", async () => {
    const { provider, stub } = newer();
    const luks1 = machine(headerBytes("luks1"), new StubCryptsetup("right", { linksKeys: true }));
    using credential = credentialOf("right");
    using _one = await (
      await provider.find({ ...root, luks: { ...root.luks, opener: "systemd" } as never }, contextOf())
    ).prove(credential, never);
    using _two = await (await luks1.provider.find(luksVolumeOf("x", "/dev/vda2"), contextOf())).prove(
      credential,
      never,
    );
    for (const call of [...stub.calls, ...luks1.stub.calls]) expect(call).not.toContain("--link-vk-to-keyring");
  });
});

describe("tokens in the header", () => {
  test("are told as soon as the volume is found", async () => {
    const { provider, devices } = luksScene(new StubCryptsetup().run);
    const tokens = provider.headerTokens("data", "clevis", never);
    devices.add("/dev/vda2", headerBytes("argon2id"));
    await provider.find(luksVolumeOf("data", "/dev/vda2"), contextOf());
    expect((await tokens).map(({ origin }) => origin)).toEqual([
      "token 0 in the header of /dev/vda2",
      "token 4 in the header of /dev/vda2",
    ]);
    expect(JSON.parse((await tokens)[0]?.text ?? "")).toMatchObject({ type: "clevis", keyslots: ["7"] });
  });

  test("are none when the volume is not found, has none, or is not wanted any longer", async () => {
    const { provider, devices, clock } = luksScene(new StubCryptsetup().run);
    const missing = provider.headerTokens("gone", "clevis", never);
    const finding = failure(provider.find(luksVolumeOf("gone", "/dev/none"), contextOf()));
    await clock.advance(200);
    expect(await finding).toStartWith("luks/device-missing");
    expect(await missing).toEqual([]);
    devices.add("/dev/vda2", headerBytes("luks1"));
    await provider.find(luksVolumeOf("old", "/dev/vda2"), contextOf());
    expect(await provider.headerTokens("old", "clevis", never)).toEqual([]);
    expect(await provider.headerTokens("never", "clevis", AbortSignal.abort())).toEqual([]);
  });
});
