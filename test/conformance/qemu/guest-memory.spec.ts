// Goal: two memories that a driver and a foreign chip see as one. Method: the chip's side is the file, written and read directly.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { PhysicalMemory } from "../../../emulator/memory/memory.ts";
import { PagePool } from "../../../emulator/memory/pool.ts";
import { GuestMemory } from "./guest-memory.ts";

const FLAT = 1 << 20;
const END = 4 << 20;
const folder = mkdtempSync(join(tmpdir(), "dumplab-guest-"));
const made: GuestMemory[] = [];
afterEach(() => {
  for (const guest of made.splice(0)) guest.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function make(): { memory: PhysicalMemory; guest: GuestMemory } {
  const memory = new PhysicalMemory(new PagePool(FLAT, 8 << 20), [{ start: 0, end: END, type: "ram" }]);
  const guest = new GuestMemory(join(folder, `${made.length}`), memory);
  made.push(guest);
  return { memory, guest };
}

describe("shared memory", () => {
  test("carries each side's words over, also when both write in one page, at any places", () => {
    // Offsets of bytes; the CPU's and the chip's lie in different words.
    const writes = fc.array(fc.tuple(fc.nat(999), fc.integer({ min: 1, max: 255 })), { maxLength: 50 });
    const word = (offset: number): number => offset >>> 2;
    fc.assert(
      fc.property(writes, writes, (byCpu, byChip) => {
        const { memory, guest } = make();
        const at = 0x10800;
        guest.share(at, 1000);
        const wanted = new Uint8Array(1000);
        const cpuBytes = new Map(byCpu);
        for (const [offset, value] of cpuBytes) {
          memory.write8(at + offset, value);
          wanted[offset] = value;
        }
        guest.push();
        const cpuWords = new Set([...cpuBytes.keys()].map(word));
        for (const [offset, value] of byChip) {
          if (cpuWords.has(word(offset))) continue;
          guest.poke(at + offset, Uint8Array.of(value));
          wanted[offset] = value;
        }
        guest.pull();
        const ram = new Uint8Array(1000);
        memory.readBytes(at, ram);
        expect(ram).toEqual(wanted);
        expect(new Uint8Array(guest.peek(at, 1000))).toEqual(wanted);
        made.pop()!.close();
      }),
      { numRuns: 60 },
    );
  });

  test("says so when driver and chip write the same byte between two register accesses", () => {
    const { memory, guest } = make();
    guest.share(0x2000, 16);
    memory.write8(0x2005, 1);
    guest.poke(0x2005, Uint8Array.of(2));
    expect(() => guest.pull()).toThrow("driver and chip both wrote the byte at 0x2005 of shared DMA memory");
  });

  test("must lie in the flat window", () => {
    const { guest } = make();
    expect(() => guest.share(FLAT - 8, 16)).toThrow("lies beyond the flat window");
  });
});

describe("a chip that looks by itself", () => {
  test("sees a single word at once, and what was written before a barrier before what was written after it", () => {
    const { memory, guest } = make();
    const seen: string[] = [];
    guest.writeWord = (address, value) => {
      // At the moment at which the pointer appears, what it points to is there.
      seen.push(`${address.toString(16)}=${value.toString(16)} [${guest.peek(0x9000, 8).toString("hex")}]`);
    };
    guest.share(0x1000, 8);
    guest.share(0x9000, 8);
    memory.write32(0x9000, 0x11111111);
    memory.write32(0x9004, 0x22222222);
    guest.order();
    memory.write32(0x1004, 0x00009000);
    guest.push();
    expect(seen).toEqual(["1004=9000 [1111111122222222]"]);
  });

  test("that goes on writing while we look is looked at again", () => {
    const { memory, guest } = make();
    guest.share(0x1000, 4);
    guest.share(0x9000, 4);
    // Status first, then the pointer to it; the pointer lies lower and is read first.
    guest.poke(0x9000, Uint8Array.of(7));
    guest.poke(0x1000, Uint8Array.of(1));
    guest.pull();
    expect([memory.read8(0x1000), memory.read8(0x9000)]).toEqual([1, 7]);
  });
});

describe("a lent buffer", () => {
  test("shows the chip what RAM held, and RAM what the chip wrote, and nothing beside it", () => {
    const { memory, guest } = make();
    // Across a page border above the flat window, where pages are anywhere in the slab.
    const at = FLAT + 4096 - 3;
    memory.writeBytes(at - 1, Uint8Array.of(9, 1, 2, 3, 4, 5, 9));
    guest.lend(at, 5);
    expect([...guest.peek(at - 1, 7)]).toEqual([0, 1, 2, 3, 4, 5, 0]);
    guest.poke(at - 1, Uint8Array.of(8, 7, 7, 7, 7, 7, 8));
    guest.giveBack(at, 5, true);
    const ram = new Uint8Array(7);
    memory.readBytes(at - 1, ram);
    expect([...ram]).toEqual([9, 7, 7, 7, 7, 7, 9]);
    expect(guest.lentBuffers).toBe(0);
  });

  test("that the chip has only read stays as the CPU has it", () => {
    const { memory, guest } = make();
    memory.write8(0x3000, 1);
    guest.lend(0x3000, 1);
    memory.write8(0x3000, 2);
    guest.giveBack(0x3000, 1, false);
    expect(memory.read8(0x3000)).toBe(2);
  });

  test("over shared memory leaves what the chip has written there and nobody has fetched", () => {
    const { memory, guest } = make();
    guest.share(0x4000, 64);
    guest.poke(0x4010, Uint8Array.of(5));
    memory.write8(0x3fff, 1);
    memory.write8(0x4040, 2);
    guest.lend(0x3000, 0x2000);
    expect([guest.peek(0x3fff, 1)[0], guest.peek(0x4010, 1)[0], guest.peek(0x4040, 1)[0]]).toEqual([1, 5, 2]);
    guest.pull();
    expect(memory.read8(0x4010)).toBe(5);
  });
});

test("a page that the chip was never given and that holds something is found", () => {
  const { guest } = make();
  guest.share(0x5000, 10);
  guest.lend(0x200ff0, 32);
  guest.poke(0x5008, Uint8Array.of(1));
  guest.poke(0x201000, Uint8Array.of(1));
  expect(guest.strayPages()).toEqual([]);
  guest.poke(0x300123, Uint8Array.of(1));
  expect(guest.strayPages()).toEqual([0x300000]);
});

test("the file is gone after close", () => {
  const { guest } = make();
  expect(existsSync(guest.path)).toBe(true);
  guest.close();
  expect(existsSync(guest.path)).toBe(false);
});
