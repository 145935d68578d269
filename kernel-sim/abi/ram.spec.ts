// Goal: physical addresses in JavaScript and virtual addresses in RAM name the same bytes, on every platform.
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { Cpu, cpu, setCurrentCpu } from "../../emulator/cpu/cpu.ts";
import { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { PagePool } from "../../emulator/memory/pool.ts";
import { ADDRESS_MAPS } from "./address-maps.ts";
import * as ram from "./ram.ts";

const MIB = 1 << 20;
const GIB = 2 ** 30;
/** As a kernel lays itself out: the image, modules behind it, the rest of RAM mapped directly. */
const RANGES = { imageStart: MIB, imageEnd: 3 * MIB, moduleStart: 3 * MIB, moduleEnd: 4 * MIB };
const { M } = ram;
const NAMES = Object.keys(ADDRESS_MAPS) as (keyof typeof ADDRESS_MAPS)[];
const hex = (value: bigint): string => `0x${value.toString(16)}`;

function install(name: keyof typeof ADDRESS_MAPS): void {
  const memory = new PhysicalMemory(new PagePool(8 * MIB, 16 * MIB), [{ start: 0, end: 8 * MIB, type: "ram" }]);
  ram.installRam(memory, ADDRESS_MAPS[name], RANGES);
}

beforeEach(() => {
  const outside = new Cpu(0, { cross: () => {} });
  outside.limit = Infinity;
  setCurrentCpu(outside);
});

describe.each(NAMES)("on %s", (name) => {
  const { model, ...map } = ADDRESS_MAPS[name];
  /** i386 maps at most 896 MiB directly. */
  const topOfRam = model.wordBytes === 8 ? 64 * GIB : 896 * MIB;
  const address = fc.oneof(
    fc.integer({ min: 1, max: topOfRam - 1 }),
    fc.integer({ min: 1, max: 5 * MIB }),
    fc.constantFrom(MIB, 3 * MIB - 1, 3 * MIB, 4 * MIB - 1, 4 * MIB, topOfRam - 1),
  );

  test("every byte has the virtual address of its region, and the way back leads to it", () => {
    install(name);
    fc.assert(
      fc.property(address, (physical) => {
        const expected =
          physical >= RANGES.imageStart && physical < RANGES.imageEnd
            ? map.kernelMap + BigInt(physical)
            : physical >= RANGES.moduleStart && physical < RANGES.moduleEnd
              ? map.moduleBase + BigInt(physical - RANGES.moduleStart)
              : map.pageOffset + BigInt(physical);
        const virtual = ram.virtualOf(physical);
        expect(hex(virtual)).toBe(hex(expected));
        expect(ram.physicalOf(Number(virtual & 0xffffffffn), Number(virtual >> 32n)), hex(virtual)).toBe(physical);
      }),
    );
    expect(ram.virtualOf(0)).toBe(0n);
    expect(ram.physicalOf(0, 0)).toBe(0);
  });

  test("a pointer in RAM is the virtual address in the platform's byte order", () => {
    install(name);
    const at = 5 * MIB;
    fc.assert(
      fc.property(address, (physical) => {
        ram.pokePtr(at, physical);
        const word =
          model.wordBytes === 8
            ? M.view.getBigUint64(at, model.littleEndian)
            : BigInt(M.view.getUint32(at, model.littleEndian));
        expect(hex(word)).toBe(hex(ram.virtualOf(physical)));
        expect(ram.peekPtr(at), hex(word)).toBe(physical);
      }),
    );
  });

  test("words of 32 and 64 bits lie in the platform's byte order", () => {
    install(name);
    const at = 5 * MIB;
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        ram.poke64(at, value);
        expect(M.view.getBigInt64(at, model.littleEndian)).toBe(BigInt(value));
        ram.poke32(at, value >>> 0);
        expect(ram.peek32(at)).toBe(value >>> 0);
        expect(M.view.getUint32(at, model.littleEndian)).toBe(value >>> 0);
      }),
    );
  });
});

test("the kernel's stores cost time, the simulator's pokes do not", () => {
  install("x86_64");
  const at = 5 * MIB;
  const before = cpu.clock;
  ram.poke32(at, 1);
  ram.poke64(at, 2);
  ram.pokePtr(at, at);
  expect(cpu.clock).toBe(before);
  ram.store32(at, 0x01020304);
  ram.storePtr(at + 8, at);
  ram.store64(at + 16, 2 ** 40 + 1);
  expect(cpu.clock - before).toBe(3 * ram.STORE_NS);
  expect([ram.peek32(at), ram.peekPtr(at + 8), M.view.getBigUint64(at + 16, true)]).toEqual([
    0x01020304,
    at,
    2n ** 40n + 1n,
  ]);
});

test("an address below the direct map is nobody's", () => {
  install("ia64");
  expect(ram.physicalOf(0x1000, 0)).toBeNaN();
  install("x86_64");
  expect(ram.physicalOf(0x1000, 0)).toBeNaN();
});
