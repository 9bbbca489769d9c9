import { describe, expect, test } from "bun:test";
import {
  announcement,
  type Interfaces,
  listensAt,
  reachableAddresses,
} from "../../../../src/sources/remote/announcement.ts";
import { announceAddresses } from "../../../../src/sources/remote/announcer.ts";
import { openDoor } from "../../../../src/sources/remote/door.ts";
import { parseImageFacts, printImageFacts } from "../../../../src/system/remote-image.ts";
import { HandClock } from "../../unlock/fakes.ts";

const address = (text: string, internal = false) =>
  ({
    address: text,
    internal,
    family: text.includes(":") ? "IPv6" : "IPv4",
    netmask: "",
    mac: "",
    cidr: null,
    scopeid: 0,
  }) as const;
const interfaces = (...texts: readonly string[]): Interfaces =>
  ({ lo: [address("127.0.0.1", true)], eth0: texts.map((text) => address(text)) }) as Interfaces;

const facts = { server: "openssh", port: 2222, fingerprints: [`SHA256:${"A".repeat(43)}`] } as const;

/** /proc/net/tcp of a machine on which sshd listens at port 22, and a client is connected to its port 2222. */
const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0000 100 0 0 10 0
   1: 0F02000A:08AE 0202000A:1F90 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0000 20 4 30 10 -1
`;

describe("what the console says", () => {
  test.each([
    [["192.0.2.7"], ["192.0.2.7"]],
    [["2001:db8::1", "192.0.2.7", "fe80::1"], ["192.0.2.7"]],
    [["fe80::1", "2001:db8::1"], ["2001:db8::1"]],
    [
      ["169.254.1.1", "fe80::1"],
      ["169.254.1.1", "fe80::1"],
    ],
    [[], []],
  ])("of %p names %p", (all, named) => {
    expect(reachableAddresses(interfaces(...all))).toEqual(named);
  });

  test("is what a person has to type, and to compare", () => {
    const key = facts.fingerprints[0];
    expect(announcement(facts, ["192.0.2.7"])).toBe(`remote: ssh -p 2222 root@192.0.2.7, host key ${key}`);
    expect(announcement(facts, ["a", "b", "c", "d", "e"])).toBe(
      `remote: ssh -p 2222 root@a or root@b or root@c (and 2 more addresses), host key ${key}`,
    );
  });

  test("is only said when the server listens", () => {
    expect(listensAt(22, ["", TCP])).toBe(true);
    expect(listensAt(2222, [TCP])).toBe(false);
    expect(listensAt(22, [])).toBe(false);
  });

  test("comes with the address, again with another one, and says when there is none for long", async () => {
    const clock = new HandClock();
    const lines: string[] = [];
    const stop = new AbortController();
    let now: Interfaces = interfaces();
    const done = announceAddresses(
      {
        clock,
        facts: { ...facts, port: 22 },
        announce: (line) => lines.push(line),
        interfaces: () => now,
        listening: () => [TCP],
      },
      stop.signal,
    );
    await clock.advance(5000);
    now = interfaces("fe80::1"); // a better one is most likely about to come
    await clock.advance(5000);
    now = interfaces();
    await clock.advance(49_000);
    expect(lines).toEqual([]);
    await clock.advance(2000);
    expect(lines).toEqual(["remote: nobody can log in yet: there is no address"]);
    now = interfaces("192.0.2.7");
    await clock.advance(5000);
    now = interfaces("192.0.2.8");
    await clock.advance(5000);
    expect(lines.slice(1).map((line) => line.split(",")[0])).toEqual([
      "remote: ssh -p 22 root@192.0.2.7",
      "remote: ssh -p 22 root@192.0.2.8",
    ]);
    now = interfaces("fe80::1");
    await clock.advance(5000);
    expect(lines.at(-1)).toStartWith("remote: ssh -p 22 root@fe80::1");
    stop.abort();
    await done;
  });
});

describe("the door", () => {
  const never = new AbortController().signal;

  test("that opens says nothing, and one that does not says so", async () => {
    expect(await openDoor(never, "/bin/true")).toBeUndefined();
    expect(await openDoor(never, "/bin/false")).toContain("/bin/false ended with status 1");
    expect(await openDoor(never, "/nonexistent/door")).toContain("cannot be run");
  });
});

describe("what an image says of its server", () => {
  test("is read as it was written, and anything else is nothing", () => {
    expect(parseImageFacts(printImageFacts(facts))).toEqual(facts);
    for (const text of [undefined, "", "{}", "[", '{"server":"telnetd","port":22,"fingerprints":[]}'])
      expect(parseImageFacts(text)).toBeUndefined();
  });
});
