// LKCD's run lengths in WebAssembly, sixteen bytes at a time: a dump of 8 GiB packs and unpacks about 1 GiB that is not zero.
//
// 0 0 is one zero byte, 0 n v is n + 1 times v, any other byte is itself (the rule of crash's lkcd_common.c). Both functions copy
// sixteen bytes on trust and look afterwards how many of them stood for themselves: what was copied too much is written over.
import { emitModule, I32, instantiate, V128, wasm } from "../../emulator/memory/wasm-emitter.ts";

/** The largest page, ia64's. */
const MAX_BYTES = 65536;
/** A vector that begins within a page reaches beyond its end, and so may a store. */
const SLACK = 64;
const IN = 0;
/** Whether a page's beginning gets shorter says whether it is worth counting what the whole would. */
const PROBE_BYTES = 256;
const OUT = IN + MAX_BYTES + SLACK;
const MEMORY_BYTES = OUT + MAX_BYTES + 2 * SLACK;

/** What the functions return instead of a length. */
const TOO_LONG = -1;
const BROKEN_OFF = -2;

// Locals. 0 bytes in the source; `decode` has ROOM as its second parameter.
const LENGTH = 0;
const ROOM = 1;
const AT = 2;
const TO = 3;
const END = 4;
const COUNT = 5;
const VALUE = 6;
const VECTOR = 7;
// Of `encode`: a bit for each byte of a vector from AT on, the first byte's lowest.
const SPECIALS = 8;
const ZEROES = 9;

const add = (local: number, amount: readonly number[]): number[] => [
  ...[...wasm.get(local), ...amount, ...wasm.i32Add],
  ...wasm.set(local),
];
const give = (value: number): number[] => [...wasm.i32(value), ...wasm.return];
const vectorAt = (local: number, offset: number): number[] => [...wasm.get(local), ...wasm.v128Load(offset)];
const byteAt = (local: number, offset: number): number[] => [...wasm.get(local), ...wasm.i32Load8(offset)];
const zeroes = wasm.v128Const([0, 0, 0, 0]);
/** Stores the i32 that `value` leaves as a byte at TO + `offset`. */
const put = (offset: number, value: readonly number[]): number[] => [
  ...wasm.get(TO),
  ...value,
  ...wasm.i32Store8(OUT + offset),
];
const isLess = (a: readonly number[], b: readonly number[]): number[] => [...a, ...b, ...wasm.i32LtU];
const notLess = (a: readonly number[], b: readonly number[]): number[] => [...a, ...b, ...wasm.i32GeU];
const isMore = (a: readonly number[], b: readonly number[]): number[] => [...a, ...b, ...wasm.i32GtU];
/** How many of sixteen lanes hold up to the first whose bit is set in the mask that `mask` leaves: 0 to 16. */
const lanesBefore = (mask: readonly number[]): number[] => [
  ...mask,
  ...wasm.i32(0x10000),
  ...wasm.i32Add,
  ...wasm.i32Ctz,
];

/** A run, or one zero: 0, `count` - 1 and `value` as one word, without a branch. Of one zero the third byte is written over. */
const putRun = (value: readonly number[], count: readonly number[]): number[] => [
  ...wasm.get(TO),
  ...[...count, ...wasm.i32(1), ...wasm.i32Sub, ...wasm.i32(8), ...wasm.i32Shl],
  ...[...value, ...wasm.i32(16), ...wasm.i32Shl, ...wasm.i32Add, ...wasm.i32Store(OUT)],
  ...add(TO, [...isMore(count, wasm.i32(1)), ...wasm.i32(2), ...wasm.i32Add]),
];

/** Copies bytes that stand for themselves up to the first zero, or to where fewer than sixteen are left. */
const copyLiterals = wasm.block(
  wasm.loop([
    ...[...wasm.get(AT), ...wasm.i32(16), ...wasm.i32Add, ...wasm.get(LENGTH), ...wasm.i32GtU, ...wasm.brIf(1)],
    ...[...wasm.get(TO), ...vectorAt(AT, IN), ...wasm.v128Store(OUT)],
    ...[...vectorAt(AT, IN), ...zeroes, ...wasm.i8x16Eq, ...wasm.i8x16Bitmask, ...wasm.tee(COUNT)],
    ...wasm.ifThen([
      ...lanesBefore(wasm.get(COUNT)),
      ...[...wasm.set(COUNT), ...add(AT, wasm.get(COUNT)), ...add(TO, wasm.get(COUNT)), ...wasm.br(2)],
    ]),
    // A step of its own, because sixteen is known before the vector is.
    ...[...add(AT, wasm.i32(16)), ...add(TO, wasm.i32(16))],
    ...[...isMore(wasm.get(TO), wasm.get(ROOM)), ...wasm.i32Eqz, ...wasm.brIf(0)],
    ...give(TOO_LONG),
  ]),
);

/** Moves a local's bits down by COUNT. */
const passOver = (local: number): number[] => [
  ...[...wasm.get(local), ...wasm.get(COUNT), ...wasm.i32ShrU, ...wasm.set(local)],
];
/** From `depth` levels within the loop over vectors: to its next round, unless the page has become no shorter. */
const nextVector = (depth: number): number[] => [
  ...[...isLess(wasm.get(TO), wasm.get(LENGTH)), ...wasm.brIf(depth)],
  ...give(TOO_LONG),
];

/**
 * Encodes from AT on, up to a run that this does not see the end of, or one of other bytes than zeroes, or to where fewer than 19
 * bytes are left. All zeroes of a vector are found at once: most pages have several in sixteen bytes, and a look for each next one
 * would wait for the last.
 */
const encodeVectors = wasm.block(
  wasm.loop([
    ...[...wasm.get(AT), ...wasm.i32(19), ...wasm.i32Add, ...wasm.get(LENGTH), ...wasm.i32GtU, ...wasm.brIf(1)],
    ...[...vectorAt(AT, IN), ...wasm.tee(VECTOR)],
    // Special is a zero, and the first of four of a kind.
    ...[...vectorAt(AT, IN + 1), ...wasm.i8x16Eq],
    ...[...wasm.get(VECTOR), ...vectorAt(AT, IN + 2), ...wasm.i8x16Eq, ...wasm.v128And],
    ...[...wasm.get(VECTOR), ...vectorAt(AT, IN + 3), ...wasm.i8x16Eq, ...wasm.v128And],
    ...[...wasm.get(VECTOR), ...zeroes, ...wasm.i8x16Eq, ...wasm.v128Or],
    ...[...wasm.i8x16Bitmask, ...wasm.tee(SPECIALS), ...wasm.i32Eqz],
    ...wasm.ifThen([
      ...[...wasm.get(TO), ...wasm.get(VECTOR), ...wasm.v128Store(OUT)],
      ...[...add(AT, wasm.i32(16)), ...add(TO, wasm.i32(16)), ...nextVector(1)],
    ]),
    ...[...wasm.get(VECTOR), ...zeroes, ...wasm.i8x16Eq, ...wasm.i8x16Bitmask, ...wasm.set(ZEROES)],
    // The bit behind the last byte: what is left is 1 at the vector's end.
    ...[...wasm.get(SPECIALS), ...wasm.i32(0x10000), ...wasm.i32Or, ...wasm.set(SPECIALS)],
    ...wasm.loop([
      ...[...wasm.get(TO), ...vectorAt(AT, IN), ...wasm.v128Store(OUT)],
      ...[...wasm.get(SPECIALS), ...wasm.i32Ctz, ...wasm.set(COUNT)],
      ...[...add(AT, wasm.get(COUNT)), ...add(TO, wasm.get(COUNT)), ...passOver(SPECIALS), ...passOver(ZEROES)],
      ...[...wasm.get(SPECIALS), ...wasm.i32(1), ...wasm.i32Eq, ...wasm.ifThen(nextVector(2))],
      ...[...wasm.get(ZEROES), ...wasm.i32(-1), ...wasm.i32Xor, ...wasm.i32Ctz, ...wasm.tee(COUNT)],
      ...[...wasm.i32Eqz, ...wasm.brIf(2), ...passOver(SPECIALS), ...passOver(ZEROES)],
      ...[...wasm.get(SPECIALS), ...wasm.i32(1), ...wasm.i32Eq],
      ...wasm.ifThen([
        ...[...wasm.get(AT), ...wasm.get(COUNT), ...wasm.i32Add, ...wasm.i32Load8(IN), ...wasm.i32Eqz, ...wasm.brIf(3)],
        ...[...putRun(wasm.i32(0), wasm.get(COUNT)), ...add(AT, wasm.get(COUNT)), ...nextVector(2)],
      ]),
      ...[...putRun(wasm.i32(0), wasm.get(COUNT)), ...add(AT, wasm.get(COUNT)), ...wasm.br(0)],
    ]),
  ]),
);

/** At the end of the source: returns the bytes that were made of it, or that they are too many. */
const returnAtEnd = (isTooLong: readonly number[]): number[] => [
  ...notLess(wasm.get(AT), wasm.get(LENGTH)),
  ...wasm.ifThen([...wasm.i32(TOO_LONG), ...wasm.get(TO), ...isTooLong, ...wasm.select, ...wasm.return]),
];

/** Zero bytes among those from AT + `offset` on. */
const zeroesFrom = (offset: number): number[] => [...vectorAt(AT, IN + offset), ...zeroes, ...wasm.i8x16Eq];
const sameAs = (offset: number): number[] => [...wasm.get(VECTOR), ...vectorAt(AT, IN + offset), ...wasm.i8x16Eq];
const lanesOf = (mask: readonly number[]): number[] => [...mask, ...wasm.i8x16Bitmask, ...wasm.i32Popcnt];

/**
 * Adds to COUNT what a vector's bytes cost: 1 for each zero or two zeroes by themselves, found from the byte before; saves 1 for each first of
 * four of a kind, which is at least what a longer run saves.
 */
const countCosts: number[] = [
  ...[...vectorAt(AT, IN), ...wasm.set(VECTOR)],
  ...wasm.get(COUNT),
  ...lanesOf([
    ...[...zeroesFrom(1), ...zeroesFrom(0), ...wasm.v128AndNot],
    ...[...zeroesFrom(2), ...zeroesFrom(3), ...wasm.v128And, ...wasm.v128AndNot],
  ]),
  ...wasm.i32Add,
  ...lanesOf([...sameAs(1), ...sameAs(2), ...wasm.v128And, ...sameAs(3), ...wasm.v128And]),
  ...[...wasm.i32Sub, ...wasm.set(COUNT)],
];

const runModule = new WebAssembly.Module(
  emitModule([
    {
      // (bytes in, -) -> bytes out, or TOO_LONG when those would not be fewer.
      name: "encode",
      params: [I32, I32],
      result: I32,
      locals: [I32, I32, I32, I32, I32, V128, I32, I32],
      body: [
        ...wasm.loop([
          ...encodeVectors,
          ...returnAtEnd(notLess(wasm.get(TO), wasm.get(LENGTH))),
          ...[...byteAt(AT, IN), ...wasm.set(VALUE)],
          ...[...wasm.get(VALUE), ...wasm.i8x16Splat, ...wasm.set(VECTOR)],
          ...[...wasm.get(AT), ...wasm.set(END)],
          // At most 256 bytes: the sixteenth vector ends there.
          ...wasm.loop([
            ...lanesBefore([
              ...[...vectorAt(END, IN), ...wasm.get(VECTOR), ...wasm.i8x16Eq, ...wasm.i8x16Bitmask],
              ...[...wasm.i32(0xffff), ...wasm.i32Xor],
            ]),
            ...[...wasm.set(COUNT), ...add(END, wasm.get(COUNT))],
            ...notLess(wasm.get(COUNT), wasm.i32(16)),
            ...wasm.ifThen([
              ...[...wasm.get(END), ...wasm.get(AT), ...wasm.i32Sub, ...wasm.i32(256), ...wasm.i32LtU],
              ...wasm.ifThen([...isLess(wasm.get(END), wasm.get(LENGTH)), ...wasm.brIf(2)]),
            ]),
          ]),
          // What lies behind the page may go on like it.
          ...isMore(wasm.get(END), wasm.get(LENGTH)),
          ...wasm.ifThen([...wasm.get(LENGTH), ...wasm.set(END)]),
          ...[...wasm.get(END), ...wasm.get(AT), ...wasm.i32Sub, ...wasm.set(COUNT)],
          ...wasm.block([
            // A run pays from four on, except of zeroes.
            ...[...wasm.get(COUNT), ...wasm.i32(4), ...wasm.i32(0), ...wasm.get(VALUE), ...wasm.select, ...wasm.i32LtU],
            ...wasm.ifThen([
              ...[...wasm.get(TO), ...wasm.get(VECTOR), ...wasm.v128Store(OUT)],
              ...[...add(TO, wasm.get(COUNT)), ...wasm.br(1)],
            ]),
            ...putRun(wasm.get(VALUE), wasm.get(COUNT)),
          ]),
          ...[...wasm.get(END), ...wasm.set(AT)],
          ...[...isLess(wasm.get(TO), wasm.get(LENGTH)), ...wasm.brIf(0)],
        ]),
        ...wasm.i32(TOO_LONG),
      ],
    },
    {
      // (bytes in, a multiple of 16; -) -> how many more bytes the run lengths have, at least, give or take one at the page's end.
      name: "growth",
      params: [I32, I32],
      result: I32,
      locals: [I32, I32, I32, I32, I32, V128],
      body: [
        ...wasm.loop([
          ...countCosts,
          ...add(AT, wasm.i32(16)),
          ...[...isLess(wasm.get(AT), wasm.get(LENGTH)), ...wasm.brIf(0)],
        ]),
        ...wasm.get(COUNT),
      ],
    },
    {
      // (bytes in, room) -> bytes out, TOO_LONG or BROKEN_OFF.
      name: "decode",
      params: [I32, I32],
      result: I32,
      locals: [I32, I32, I32, I32, I32, V128],
      body: [
        ...wasm.loop([
          ...copyLiterals,
          ...returnAtEnd(isMore(wasm.get(TO), wasm.get(ROOM))),
          ...[...byteAt(AT, IN), ...wasm.set(VALUE), ...add(AT, wasm.i32(1))],
          ...[...notLess(wasm.get(TO), wasm.get(ROOM)), ...wasm.ifThen(give(TOO_LONG))],
          // A byte for itself, near the end.
          ...wasm.get(VALUE),
          ...wasm.ifThen([...put(0, wasm.get(VALUE)), ...add(TO, wasm.i32(1)), ...wasm.br(1)]),
          ...[...notLess(wasm.get(AT), wasm.get(LENGTH)), ...wasm.ifThen(give(BROKEN_OFF))],
          ...[...byteAt(AT, IN), ...wasm.set(COUNT), ...add(AT, wasm.i32(1))],
          ...[...wasm.get(COUNT), ...wasm.i32Eqz],
          ...wasm.ifThen([...put(0, wasm.i32(0)), ...add(TO, wasm.i32(1)), ...wasm.br(1)]),
          ...[...notLess(wasm.get(AT), wasm.get(LENGTH)), ...wasm.ifThen(give(BROKEN_OFF))],
          ...[...byteAt(AT, IN), ...wasm.i8x16Splat, ...wasm.set(VECTOR), ...add(AT, wasm.i32(1))],
          ...[...wasm.get(TO), ...wasm.get(COUNT), ...wasm.i32Add, ...wasm.i32(1), ...wasm.i32Add, ...wasm.set(END)],
          ...[...isMore(wasm.get(END), wasm.get(ROOM)), ...wasm.ifThen(give(TOO_LONG))],
          ...wasm.loop([
            ...[...wasm.get(TO), ...wasm.get(VECTOR), ...wasm.v128Store(OUT), ...add(TO, wasm.i32(16))],
            ...[...isLess(wasm.get(TO), wasm.get(END)), ...wasm.brIf(0)],
          ]),
          ...[...wasm.get(END), ...wasm.set(TO), ...wasm.br(0)],
        ]),
        ...wasm.i32(BROKEN_OFF),
      ],
    },
  ]),
);

const memory = new WebAssembly.Memory({ initial: Math.ceil(MEMORY_BYTES / 65536) });
const u8 = new Uint8Array(memory.buffer);
const functions = instantiate(runModule, memory) as Record<
  "encode" | "growth" | "decode",
  (length: number, room: number) => number
>;

function load(bytes: Uint8Array, pageBytes: number): void {
  if (Math.max(bytes.length, pageBytes) > MAX_BYTES) {
    throw new RangeError(`run lengths of ${pageBytes} bytes in ${bytes.length}; a page has at most ${MAX_BYTES}`);
  }
  // What was put together here need not be copied.
  if (bytes.buffer !== u8.buffer || bytes.byteOffset !== IN) u8.set(bytes, IN);
}

/** Where a page of up to 64 KiB, or its run lengths, can be put together: encodeRuns and decodeRuns then need not copy it. */
export const roomToPack = (bytes: number): Uint8Array => u8.subarray(IN, IN + bytes);

/** Returns the page as run lengths, valid until the next call of either function; undefined when they are not fewer bytes. */
export function encodeRuns(page: Uint8Array): Uint8Array | undefined {
  const { length } = page;
  load(page, length);
  if (isHopeless(length)) return undefined;
  const packed = functions.encode(length, 0);
  return packed === TOO_LONG ? undefined : u8.subarray(OUT, OUT + packed);
}

/** Counting costs an eighth of packing what does not get shorter: pointers, where zeroes stand in ones and twos. */
const isHopeless = (length: number): boolean =>
  length % 16 === 0 &&
  length > PROBE_BYTES &&
  functions.encode(PROBE_BYTES, 0) === TOO_LONG &&
  functions.growth(length, 0) > 0;

/** Fills `into` from run lengths. Returns what is wrong with them, or undefined. */
export function decodeRuns(packed: Uint8Array, into: Uint8Array): string | undefined {
  load(packed, into.length);
  const length = functions.decode(packed.length, into.length);
  if (length === TOO_LONG) return `run lengths of more than ${into.length} bytes`;
  if (length === BROKEN_OFF) return "run lengths that end within a run";
  if (length !== into.length) return `run lengths of ${length} bytes, expected ${into.length}`;
  into.set(u8.subarray(OUT, OUT + length));
  return undefined;
}
