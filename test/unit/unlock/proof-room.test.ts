import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseAvailable } from "../../../src/system/memory.ts";
import { admitted, ProofRoom, RESERVE, type Room } from "../../../src/unlock/proof-room.ts";
import { settle } from "./fakes.ts";

const GiB = 2 ** 30;
const MiB = 2 ** 20;
const room = (memory: number, cores = 8): Room => ({ memory: memory + RESERVE, cores });

describe("proofs side by side, as far as memory and cores allow", () => {
  const rows: [string, readonly number[], readonly number[], Room, number][] = [
    ["four of 1 GiB where there are 4 GiB", [GiB, GiB, GiB, GiB], [], room(4 * GiB), 4],
    ["two of them where there are 2.5 GiB", [GiB, GiB, GiB, GiB], [], room(2.5 * GiB), 2],
    ["the reserve is not given away", [GiB, GiB], [], { memory: 2 * GiB, cores: 8 }, 1],
    ["what runs counts", [GiB, GiB], [GiB], room(2.5 * GiB), 1],
    ["one that is too large for the machine runs alone", [GiB, GiB], [], room(0.5 * GiB), 1],
    ["and not beside another", [GiB], [MiB], room(0.5 * GiB), 0],
    ["where memory is not known, one after the other", [GiB, GiB], [], { memory: 0, cores: 8 }, 1],
    ["no more than cores", [MiB, MiB, MiB], [], room(GiB, 2), 2],
    ["no more than cores, with those that run", [MiB, MiB, MiB], [MiB, MiB], room(GiB, 2), 0],
    ["a large one at the front is not passed over", [GiB, MiB], [MiB], room(0.5 * GiB), 0],
    ["nobody waits", [], [GiB], room(4 * GiB), 0],
  ];
  test.each(rows)("%s", (_, waiting, running, machine, count) => {
    expect(admitted(waiting, running, machine)).toBe(count);
  });

  test("more than one run only within memory and cores, and one always does", () => {
    const octets = fc.array(fc.integer({ min: 0, max: 2 * GiB }), { maxLength: 12 });
    const machine = fc.record({ memory: fc.integer({ min: 0, max: 8 * GiB }), cores: fc.integer({ min: 1, max: 8 }) });
    fc.assert(
      fc.property(octets, octets, machine, (waiting, running, limits) => {
        const count = admitted(waiting, running, limits);
        const all = [...running, ...waiting.slice(0, count)];
        if (count > 0 && all.length > 1) {
          expect(all.length).toBeLessThanOrEqual(limits.cores);
          expect(all.reduce((sum, one) => sum + one, 0)).toBeLessThanOrEqual(limits.memory - RESERVE);
        }
        if (running.length === 0 && waiting.length > 0) expect(count).toBeGreaterThan(0);
      }),
    );
  });
});

describe("the room", () => {
  const trace = (machine: () => Room) => {
    const proofs = new ProofRoom(machine);
    const inside: string[] = [];
    const places = new Map<string, Disposable>();
    const enter = (name: string, octets: number, signal?: AbortSignal): void => {
      void proofs.enter(octets, signal).then((place) => {
        if (!place) return void inside.push(`${name} gave up`);
        inside.push(name);
        places.set(name, place);
      });
    };
    const leave = (name: string): void => places.get(name)?.[Symbol.dispose]();
    return { enter, leave, inside };
  };

  test("lets the next in when one leaves", async () => {
    const { enter, leave, inside } = trace(() => room(2 * GiB));
    for (const name of ["a", "b", "c"]) enter(name, GiB);
    await settle();
    expect(inside).toEqual(["a", "b"]);
    leave("b");
    leave("b");
    await settle();
    expect(inside).toEqual(["a", "b", "c"]);
  });

  test("measures when it is empty, not what its own proofs have taken", async () => {
    let free = 2 * GiB;
    const { enter, leave, inside } = trace(() => room(free));
    enter("a", GiB);
    await settle();
    free = GiB;
    enter("b", GiB);
    await settle();
    expect(inside).toEqual(["a", "b"]);
    leave("a");
    leave("b");
    enter("c", GiB);
    enter("d", GiB);
    await settle();
    expect(inside).toEqual(["a", "b", "c"]);
  });

  test("whoever is no longer wanted leaves the queue and lets others past", async () => {
    const { enter, leave, inside } = trace(() => room(2 * GiB));
    const stop = new AbortController();
    enter("a", GiB);
    enter("large", 2 * GiB, stop.signal);
    enter("b", GiB);
    await settle();
    expect(inside).toEqual(["a"]);
    stop.abort();
    enter("late", GiB, stop.signal);
    await settle();
    expect(inside.toSorted()).toEqual(["a", "b", "large gave up", "late gave up"].toSorted());
    leave("a");
  });
});

test("MemAvailable of /proc/meminfo, in octets", () => {
  expect(parseAvailable("MemTotal:       24684416 kB\nMemFree:  1 kB\nMemAvailable:   23987456 kB\n")).toBe(
    23987456 * 1024,
  );
  expect(parseAvailable("MemTotal: 1 kB\n")).toBe(0);
  expect(parseAvailable("MemAvailable: -5 kB\n")).toBe(0);
});
