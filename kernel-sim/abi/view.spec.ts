// Goal: a view reads back what was stored through it, and the bytes in RAM are those of the platform.
// Method: property tests on all four data models; the expected bytes come from DataView alone.
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { cpu, setCurrentCpu, Cpu } from "../../emulator/cpu/cpu.ts";
import { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { PagePool } from "../../emulator/memory/pool.ts";
import { ADDRESS_MAPS } from "./address-maps.ts";
import { M, STORE_NS, installRam } from "./ram.ts";
import * as c from "./types.ts";
import { viewClass, type View } from "./view.ts";

const RANGES = { imageStart: 0x1000, imageEnd: 0x4000, moduleStart: 0x4000, moduleEnd: 0x8000 };
const inner = c.struct("inner", { a: c.u16, b: c.int });
const sample = c.struct("sample", {
  c8: c.char,
  u8: c.u8,
  s8: c.s8,
  u16: c.u16,
  s16: c.s16,
  u32: c.uint,
  s32: c.int,
  u64: c.u64,
  s64: c.s64,
  ulong: c.ulong,
  long: c.long,
  pointer: c.voidPtr,
  code: c.funcPtr,
  state: c.enumeration("state", { OFF: 0, ON: 1 }),
  sector: c.typedef("sector_t", c.u64),
  words: c.array(c.uint, 3),
  nested: inner,
  last: c.u8,
});

/** Values that a field of so many bytes can hold exactly, as JavaScript numbers. */
function values(bytes: number, signed: boolean): fc.Arbitrary<number> {
  const bits = Math.min(53, bytes * 8 - (signed ? 1 : 0));
  const max = 2 ** bits - 1;
  const min = signed ? -(2 ** bits) + (bits === 53 ? 1 : 0) : 0;
  return fc.oneof(
    fc.maxSafeInteger().filter((v) => v >= min && v <= max),
    fc.constantFrom(min, max, 0, 1, max - 1),
  );
}

function install(name: keyof typeof ADDRESS_MAPS): void {
  const memory = new PhysicalMemory(new PagePool(0x10000, 1 << 20), [{ start: 0, end: 0x10000, type: "ram" }]);
  installRam(memory, ADDRESS_MAPS[name], RANGES);
}

/** The `bytes` bytes at `at` as a number in the platform's order. */
function rawAt(at: number, bytes: number, signed: boolean, little: boolean): number {
  const view = new DataView(M.u8.slice(at, at + bytes).buffer);
  if (bytes === 1) return signed ? view.getInt8(0) : view.getUint8(0);
  if (bytes === 2) return signed ? view.getInt16(0, little) : view.getUint16(0, little);
  if (bytes === 4) return signed ? view.getInt32(0, little) : view.getUint32(0, little);
  return Number(signed ? view.getBigInt64(0, little) : view.getBigUint64(0, little));
}

beforeEach(() => {
  const outside = new Cpu(0, { cross: () => {} });
  outside.limit = Infinity;
  setCurrentCpu(outside);
});

describe.each(Object.keys(ADDRESS_MAPS) as (keyof typeof ADDRESS_MAPS)[])("on %s", (name) => {
  const model = c.DATA_MODELS[name];
  const layout = c.layoutOf(sample, model);
  const numbers = [...layout.fields.values()].flatMap((field) => {
    const type = field.type.kind === "typedef" ? field.type.type : field.type;
    if (type.kind === "scalar") return [{ ...field, signed: type.signed }];
    return type.kind === "enum" ? [{ ...field, signed: false }] : [];
  });

  test.each(numbers)("$name keeps every value that fits, in the platform's bytes, beside its neighbours", (field) => {
    install(name);
    const at = 0x9000;
    fc.assert(
      fc.property(values(field.size, field.signed), (value) => {
        M.u8.fill(0xa5, at - 8, at + layout.size + 8);
        const before = M.u8.slice(at - 8, at + layout.size + 8);
        const view = new (viewClass(sample, model))(at) as unknown as Record<string, number>;
        view[field.name] = value;
        expect(view[field.name]).toBe(value);
        expect(rawAt(at + field.offset, field.size, field.signed, model.littleEndian)).toBe(value);
        const after = M.u8.slice(at - 8, at + layout.size + 8);
        after.set(before.subarray(field.offset + 8, field.offset + 8 + field.size), field.offset + 8);
        expect(after).toEqual(before);
      }),
    );
  });

  test("pointers come back as the physical address that was stored, and lie in RAM as the virtual one", () => {
    install(name);
    const map = ADDRESS_MAPS[name];
    const view: View<(typeof sample)["fields"]> = new (viewClass(sample, model))(0x9000);
    const at = 0x9000 + layout.fields.get("pointer")!.offset;
    const word = (): bigint =>
      model.wordBytes === 8
        ? M.view.getBigUint64(at, model.littleEndian)
        : BigInt(M.view.getUint32(at, model.littleEndian));
    const where = [
      [0, 0n],
      [0x1000, map.kernelMap + 0x1000n],
      [0x3fff, map.kernelMap + 0x3fffn],
      [0x8000, map.pageOffset + 0x8000n],
      [0x4010, map.moduleBase + 0x10n],
    ] as const;
    for (const [physical, virtual] of where) {
      view.pointer = physical;
      expect(`0x${word().toString(16)}`).toBe(`0x${virtual.toString(16)}`);
      expect(view.pointer, `pointer to 0x${physical.toString(16)}`).toBe(physical);
    }
  });

  test("arrays give their address, nested structs a view of their own", () => {
    install(name);
    const view = new (viewClass(sample, model))(0x9000);
    expect(view.words).toBe(0x9000 + layout.fields.get("words")!.offset);
    view.nested.a = 0xbeef;
    view.nested.b = -2;
    expect([view.nested.a, view.nested.b]).toEqual([0xbeef, -2]);
    expect(rawAt(view.nested.addr + 4, 4, true, model.littleEndian)).toBe(-2);
  });
});

test("a packed struct's fields are where the compiler puts them, aligned or not", () => {
  const packed = c.struct("packed", { tag: c.u8, word: c.uint, signed: c.int, big: c.u64 }, { packed: true });
  for (const name of Object.keys(ADDRESS_MAPS) as (keyof typeof ADDRESS_MAPS)[]) {
    install(name);
    const model = c.DATA_MODELS[name];
    const view = new (viewClass(packed, model))(0x9000);
    view.word = 0x01020304;
    view.signed = -2;
    view.big = 0x05060708090a0b;
    view.tag = 0x77;
    expect([view.tag, view.word, view.signed, view.big], name).toEqual([0x77, 0x01020304, -2, 0x05060708090a0b]);
    expect(rawAt(0x9001, 4, false, model.littleEndian), name).toBe(0x01020304);
    expect(rawAt(0x9009, 8, false, model.littleEndian), name).toBe(0x05060708090a0b);
  }
});

test("a pointer that is not aligned is refused by name: the kernel stores pointers as whole words", () => {
  const odd = c.struct("odd", { tag: c.u8, next: c.voidPtr }, { packed: true });
  expect(() => viewClass(odd, c.X86_64)).toThrow(/odd\.next/);
});

test("a store costs time, a read none", () => {
  install("x86_64");
  const view = new (viewClass(sample, c.X86_64))(0x9000);
  const before = cpu.clock;
  view.u32 = 5;
  view.pointer = 0x9000;
  expect(cpu.clock - before).toBe(2 * STORE_NS);
  expect(view.u32 + view.pointer).toBe(0x9005);
  expect(cpu.clock - before).toBe(2 * STORE_NS);
});

test("one class serves all views of a struct on a platform, and platforms do not share it", () => {
  expect(viewClass(sample, c.X86_64)).toBe(viewClass(sample, c.X86_64));
  expect(viewClass(sample, c.X86_64)).not.toBe(viewClass(sample, c.PPC64));
  expect(viewClass(sample, c.I386).offsets.u64).toBe(c.offsetOf(sample, "u64", c.I386));
});
