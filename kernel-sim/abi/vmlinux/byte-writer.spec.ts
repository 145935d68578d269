// Goal: numbers written in the encodings of ELF and DWARF read back as they were. Method: readers written from the
// standards' own descriptions, with big integers.
import fc from "fast-check";
import { expect, test } from "vitest";
import { ByteWriter } from "./byte-writer.ts";

/** DWARF 2, section 7.6: seven bits a byte, least significant first; the high bit says that more follow. */
function readLeb(bytes: Uint8Array, signed: boolean): { value: bigint; length: number } {
  let value = 0n;
  let shift = 0n;
  for (const [i, byte] of bytes.entries()) {
    value |= BigInt(byte & 0x7f) << shift;
    shift += 7n;
    if (byte < 0x80) {
      const negative = signed && (byte & 0x40) !== 0;
      return { value: negative ? value - (1n << shift) : value, length: i + 1 };
    }
  }
  throw new Error("no end");
}
const written = (write: (into: ByteWriter) => void, little = true, word: 4 | 8 = 8): Uint8Array => {
  const into = new ByteWriter(little, word);
  write(into);
  return into.finish();
};
const border = fc.constantFrom(0, 1, 63, 64, 127, 128, 8191, 8192, 16383, 16384, 2 ** 32, Number.MAX_SAFE_INTEGER);

test("unsigned LEB128 of any exact integer", () => {
  fc.assert(
    fc.property(fc.oneof(fc.maxSafeNat(), border), (value) => {
      const bytes = written((into) => into.uleb(value));
      expect(readLeb(bytes, false)).toEqual({ value: BigInt(value), length: bytes.length });
    }),
  );
});

test("signed LEB128 of any exact integer, in as few bytes as will do", () => {
  const signed = fc.oneof(
    fc.maxSafeInteger(),
    border,
    border.map((value) => -value),
    border.map((value) => -value - 1).filter(Number.isSafeInteger),
  );
  fc.assert(
    fc.property(signed, (value) => {
      const bytes = written((into) => into.sleb(value));
      expect(readLeb(bytes, true)).toEqual({ value: BigInt(value), length: bytes.length });
      const fits = (length: number): boolean => value >= -(2 ** (7 * length - 1)) && value < 2 ** (7 * length - 1);
      expect(bytes.length === 1 || !fits(bytes.length - 1)).toBe(true);
    }),
  );
});

test("words, strings and padding lie where they were put, in the byte order asked for, however long the buffer gets", () => {
  const item = fc.oneof(
    fc.record({ kind: fc.constant("u32" as const), value: fc.nat(0xffffffff) }),
    fc.record({ kind: fc.constant("u8" as const), value: fc.nat(255) }),
    fc.record({ kind: fc.constant("u16" as const), value: fc.nat(65535) }),
  );
  fc.assert(
    fc.property(fc.array(item, { maxLength: 300 }), fc.boolean(), fc.nat(4096), (items, little, lead) => {
      const bytes = written((into) => {
        into.bytes(new Uint8Array(lead + 3900));
        for (const { kind, value } of items) into[kind](value);
        into.string("end");
        into.align(16, 0xee);
      }, little);
      const view = new DataView(bytes.buffer);
      let at = lead + 3900;
      for (const { kind, value } of items) {
        const read = { u8: view.getUint8(at), u16: view.getUint16(at, little), u32: view.getUint32(at, little) }[kind];
        expect(read).toBe(value);
        at += { u8: 1, u16: 2, u32: 4 }[kind];
      }
      expect([...bytes.subarray(at, at + 4)]).toEqual([0x65, 0x6e, 0x64, 0]);
      expect(bytes.length % 16).toBe(0);
      expect(bytes.subarray(at + 4).every((byte) => byte === 0xee)).toBe(true);
    }),
    { numRuns: 50 },
  );
});

test("a word is as wide as a pointer, and addresses above 2^63 keep their bits", () => {
  const address = 0xffffffff80100000n;
  expect([...written((into) => into.word(address))]).toEqual([0, 0, 0x10, 0x80, 255, 255, 255, 255]);
  expect([...written((into) => into.word(0xc0100000n), false, 4)]).toEqual([0xc0, 0x10, 0, 0]);
});
