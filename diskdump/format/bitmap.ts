// Bitmaps of a dump: one bit per page, least significant bit first.

/** Adjacent page frames. */
export interface PageRange {
  readonly first: number;
  readonly count: number;
}

export const pagesIn = (ranges: readonly PageRange[]): number => ranges.reduce((sum, range) => sum + range.count, 0);

/** A bitmap of `byteLength` bytes with the bits of `ranges` set. Throws a RangeError for a range outside of it. */
export function encodeBitmap(ranges: readonly PageRange[], byteLength: number): Uint8Array {
  const bytes = new Uint8Array(byteLength);
  for (const { first, count } of ranges) {
    const end = first + count;
    if (first < 0 || count < 0 || end > byteLength * 8) {
      throw new RangeError(`bitmap: pages ${first}..${end - 1} do not fit into ${byteLength * 8} bits`);
    }
    let at = first;
    for (; at < end && (at & 7) !== 0; at++) bytes[at >>> 3]! |= 1 << (at & 7);
    const wholeBytes = at < end ? (end - at) >>> 3 : 0;
    bytes.fill(0xff, at >>> 3, (at >>> 3) + wholeBytes);
    for (at += wholeBytes * 8; at < end; at++) bytes[at >>> 3]! |= 1 << (at & 7);
  }
  return bytes;
}

/** The set bits below `limit` as maximal ascending ranges. */
export function decodeBitmap(bytes: Uint8Array, limit = bytes.length * 8): PageRange[] {
  const ranges: PageRange[] = [];
  let start = -1;
  for (let at = 0; at < limit;) {
    const byte = bytes[at >>> 3]!;
    // Whole bytes of one kind are the rule: RAM comes in large pieces.
    if ((at & 7) === 0 && at + 8 <= limit && (start < 0 ? byte === 0 : byte === 0xff)) {
      at += 8;
      continue;
    }
    const set = (byte & (1 << (at & 7))) !== 0;
    if (set && start < 0) start = at;
    else if (!set && start >= 0) {
      ranges.push({ first: start, count: at - start });
      start = -1;
    }
    at++;
  }
  if (start >= 0) ranges.push({ first: start, count: limit - start });
  return ranges;
}

/** The first set bit at or above `from`, or -1. */
export function nextSetBit(bytes: Uint8Array, from: number): number {
  for (let at = from; at < bytes.length * 8;) {
    const byte = bytes[at >>> 3]! >>> (at & 7);
    if (byte !== 0) return at + 31 - Math.clz32(byte & -byte);
    at = ((at >>> 3) + 1) * 8;
  }
  return -1;
}
