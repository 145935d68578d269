// Goal: our devices see the guest's RAM, and the guest's CPU learns what they wrote. Method: a CPU that is an array of bytes and
// counts what it is told.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FRAME_SIZE } from "../../../emulator/memory/pool.ts";
import { PageStore } from "../../../emulator/memory/store.ts";
import { GuestMemory } from "./guest-memory.ts";
import type { V86Cpu } from "./v86.ts";

const RAM = 1 << 20;

interface Rig {
  readonly ram: Uint8Array;
  /** Places and lengths of which the CPU was told, so that it forgets the code it has translated there. */
  readonly told: [number, number][];
  readonly memory: GuestMemory;
}

function make(): Rig {
  // As v86's: more bytes than the guest's RAM has.
  const ram = new Uint8Array(RAM + 4096);
  const told: [number, number][] = [];
  const cpu = {
    mem8: ram,
    write_blob(bytes: Uint8Array, address: number): void {
      ram.set(bytes, address);
      told.push([address, bytes.length]);
    },
  };
  return { ram, told, memory: new GuestMemory(cpu as unknown as V86Cpu, RAM) };
}

describe("the guest's memory", () => {
  test("reads and writes numbers little endian at any address", () => {
    const { ram, memory } = make();
    const view = new DataView(ram.buffer);
    fc.assert(
      fc.property(fc.nat(RAM - 4), fc.nat(0xffffffff), (at, value) => {
        memory.write32(at, value);
        expect(view.getUint32(at, true)).toBe(value);
        expect(memory.read32(at)).toBe(value);
        expect([memory.read16(at), memory.read16(at + 2)]).toEqual([value & 0xffff, value >>> 16]);
        memory.write16(at + 1, 0xa55a);
        expect(view.getUint16(at + 1, true)).toBe(0xa55a);
        memory.write8(at + 3, 0x77);
        expect([ram[at], ram[at + 3], memory.read8(at + 3)]).toEqual([value & 0xff, 0x77, 0x77]);
      }),
    );
  });

  test("tells the CPU of every write, which may have hit code", () => {
    const { told, memory } = make();
    memory.write8(1, 0);
    memory.write16(0x102, 0);
    memory.write32(0x204, 0);
    memory.writeBytes(0x300, new Uint8Array(9));
    memory.copyFromStore(new PageStore(memory.pool, "disk", 4 * FRAME_SIZE), 10, 0x1000, 100);
    expect(told).toEqual([
      [1, 1],
      [0x102, 2],
      [0x204, 4],
      [0x300, 9],
      [0x1000, 100],
    ]);
  });

  test("moves data to a disk and back, across pages and holes", () => {
    fc.assert(
      fc.property(
        fc.nat(3 * FRAME_SIZE),
        fc.nat(RAM - 3 * FRAME_SIZE),
        fc.integer({ min: 1, max: 9000 }),
        (on, at, n) => {
          const { ram, memory } = make();
          const store = new PageStore(memory.pool, "disk", 8 * FRAME_SIZE);
          for (let i = 0; i < n; i++) ram[at + i] = (i * 31 + 7) & 0xff;
          const data = ram.slice(at, at + n);
          memory.copyToStore(at, store, on, n);
          ram.fill(0xee);
          memory.copyFromStore(store, on, at, n);
          expect(Buffer.compare(ram.subarray(at, at + n), data)).toBe(0);
          // Its neighbours were not touched, and beyond the data the disk is still a hole.
          expect([ram[at + n], at > 0 ? ram[at - 1] : 0xee]).toEqual([0xee, 0xee]);
          memory.copyFromStore(store, 7 * FRAME_SIZE, at, 16);
          expect(ram.slice(at, at + 16)).toEqual(new Uint8Array(16));
        },
      ),
      { numRuns: 40 },
    );
  });

  test("ends where the guest's RAM ends: DMA beyond it is an error that says where", () => {
    const { memory, told } = make();
    const beyond = /guest: \d+ bytes at 0x-?[0-9a-f]+ lie beyond RAM/;
    expect(memory.read32(RAM - 4)).toBe(0);
    expect(() => memory.read32(RAM - 3)).toThrow(beyond);
    expect(() => memory.write8(RAM, 1)).toThrow(beyond);
    expect(() => memory.writeBytes(RAM - 8, new Uint8Array(9))).toThrow(beyond);
    expect(() => memory.read8(-1)).toThrow(beyond);
    expect(() => memory.copyToStore(RAM - 8, new PageStore(memory.pool, "d", FRAME_SIZE), 0, 9)).toThrow(beyond);
    expect(told).toEqual([]);
  });
});
