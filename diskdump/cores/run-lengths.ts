// LKCD's run lengths in WebAssembly, sixteen bytes at a time: a dump of 8 GiB packs and unpacks about 1 GiB that is not zero.
//
// 0 0 is one zero byte, 0 n v is n + 1 times v, any other byte is itself (the rule of crash's lkcd_common.c). Both functions copy
// sixteen bytes on trust and look afterwards how many of them stood for themselves: what was copied too much is written over.
import { FRAME_SIZE, type PagePool } from "../../emulator/memory/pool.ts";
import { emitModule, I32, instantiate, V128, wasm } from "../../emulator/memory/wasm-emitter.ts";

/** The largest page, ia64's. */
const MAX_BYTES = 65536;
/** A vector that begins within a page reaches beyond its end, and so may a store. */
const SLACK = 64;
/** A page whose beginning gets no shorter is worth counting before it is packed. */
const PROBE_BYTES = 256;
/** From the room's beginning: a page, or its run lengths, and what is made of it. */
const OUT = MAX_BYTES + SLACK;
/** Bytes of memory that run lengths need to themselves. */
export const ROOM_BYTES = OUT + MAX_BYTES + 2 * SLACK;

/** What the functions return instead of a length. */
const TOO_LONG = -1;
const BROKEN_OFF = -2;

// Locals, addresses but for the last six: where the source goes on and ends, where the output goes on and must have ended.
const AT = 0;
const SOURCE_END = 1;
const TO = 2;
const LIMIT = 3;
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
  ...wasm.i32Store8(offset),
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
  ...[...value, ...wasm.i32(16), ...wasm.i32Shl, ...wasm.i32Add, ...wasm.i32Store(0)],
  ...add(TO, [...isMore(count, wasm.i32(1)), ...wasm.i32(2), ...wasm.i32Add]),
];

/** Copies bytes that stand for themselves up to the first zero, or to where fewer than sixteen are left. */
const copyLiterals = wasm.block(
  wasm.loop([
    ...[...wasm.get(AT), ...wasm.i32(16), ...wasm.i32Add, ...wasm.get(SOURCE_END), ...wasm.i32GtU, ...wasm.brIf(1)],
    ...[...wasm.get(TO), ...vectorAt(AT, 0), ...wasm.v128Store(0)],
    ...[...vectorAt(AT, 0), ...zeroes, ...wasm.i8x16Eq, ...wasm.i8x16Bitmask, ...wasm.tee(COUNT)],
    ...wasm.ifThen([
      ...lanesBefore(wasm.get(COUNT)),
      ...[...wasm.set(COUNT), ...add(AT, wasm.get(COUNT)), ...add(TO, wasm.get(COUNT)), ...wasm.br(2)],
    ]),
    // A step of its own, because sixteen is known before the vector is.
    ...[...add(AT, wasm.i32(16)), ...add(TO, wasm.i32(16))],
    ...[...isMore(wasm.get(TO), wasm.get(LIMIT)), ...wasm.i32Eqz, ...wasm.brIf(0)],
    ...give(TOO_LONG),
  ]),
);

/** Moves a local's bits down by COUNT. */
const passOver = (local: number): number[] => [
  ...[...wasm.get(local), ...wasm.get(COUNT), ...wasm.i32ShrU, ...wasm.set(local)],
];
/** From `depth` levels within the loop over vectors: to its next round, unless the page has become no shorter. */
const nextVector = (depth: number): number[] => [
  ...[...isLess(wasm.get(TO), wasm.get(LIMIT)), ...wasm.brIf(depth)],
  ...give(TOO_LONG),
];

/**
 * Encodes from AT on, up to a run that this does not see the end of, or one of other bytes than zeroes, or to where fewer than 19
 * bytes are left. All zeroes of a vector are found at once: most pages have several in sixteen bytes, and a look for each next one
 * would wait for the last.
 */
const encodeVectors = wasm.block(
  wasm.loop([
    ...[...wasm.get(AT), ...wasm.i32(19), ...wasm.i32Add, ...wasm.get(SOURCE_END), ...wasm.i32GtU, ...wasm.brIf(1)],
    ...[...vectorAt(AT, 0), ...wasm.tee(VECTOR)],
    // Special is a zero, and the first of four of a kind.
    ...[...vectorAt(AT, 1), ...wasm.i8x16Eq],
    ...[...wasm.get(VECTOR), ...vectorAt(AT, 2), ...wasm.i8x16Eq, ...wasm.v128And],
    ...[...wasm.get(VECTOR), ...vectorAt(AT, 3), ...wasm.i8x16Eq, ...wasm.v128And],
    ...[...wasm.get(VECTOR), ...zeroes, ...wasm.i8x16Eq, ...wasm.v128Or],
    ...[...wasm.i8x16Bitmask, ...wasm.tee(SPECIALS), ...wasm.i32Eqz],
    ...wasm.ifThen([
      ...[...wasm.get(TO), ...wasm.get(VECTOR), ...wasm.v128Store(0)],
      ...[...add(AT, wasm.i32(16)), ...add(TO, wasm.i32(16)), ...nextVector(1)],
    ]),
    ...[...wasm.get(VECTOR), ...zeroes, ...wasm.i8x16Eq, ...wasm.i8x16Bitmask, ...wasm.set(ZEROES)],
    // The bit behind the last byte: what is left is 1 at the vector's end.
    ...[...wasm.get(SPECIALS), ...wasm.i32(0x10000), ...wasm.i32Or, ...wasm.set(SPECIALS)],
    ...wasm.loop([
      ...[...wasm.get(TO), ...vectorAt(AT, 0), ...wasm.v128Store(0)],
      ...[...wasm.get(SPECIALS), ...wasm.i32Ctz, ...wasm.set(COUNT)],
      ...[...add(AT, wasm.get(COUNT)), ...add(TO, wasm.get(COUNT)), ...passOver(SPECIALS), ...passOver(ZEROES)],
      ...[...wasm.get(SPECIALS), ...wasm.i32(1), ...wasm.i32Eq, ...wasm.ifThen(nextVector(2))],
      ...[...wasm.get(ZEROES), ...wasm.i32(-1), ...wasm.i32Xor, ...wasm.i32Ctz, ...wasm.tee(COUNT)],
      ...[...wasm.i32Eqz, ...wasm.brIf(2), ...passOver(SPECIALS), ...passOver(ZEROES)],
      ...[...wasm.get(SPECIALS), ...wasm.i32(1), ...wasm.i32Eq],
      ...wasm.ifThen([
        ...[...wasm.get(AT), ...wasm.get(COUNT), ...wasm.i32Add, ...wasm.i32Load8(0), ...wasm.i32Eqz, ...wasm.brIf(3)],
        ...[...putRun(wasm.i32(0), wasm.get(COUNT)), ...add(AT, wasm.get(COUNT)), ...nextVector(2)],
      ]),
      ...[...putRun(wasm.i32(0), wasm.get(COUNT)), ...add(AT, wasm.get(COUNT)), ...wasm.br(0)],
    ]),
  ]),
);

/** At the end of the source: returns the bytes that were made of it, or that they are too many. */
const returnAtEnd = (isTooLong: readonly number[]): number[] => [
  ...notLess(wasm.get(AT), wasm.get(SOURCE_END)),
  ...wasm.ifThen([...wasm.i32(TOO_LONG), ...wasm.get(TO), ...isTooLong, ...wasm.select, ...wasm.return]),
];

/** Zero bytes among those from AT + `offset` on. */
const zeroesFrom = (offset: number): number[] => [...vectorAt(AT, offset), ...zeroes, ...wasm.i8x16Eq];
const sameAs = (offset: number): number[] => [...wasm.get(VECTOR), ...vectorAt(AT, offset), ...wasm.i8x16Eq];
const lanesOf = (mask: readonly number[]): number[] => [...mask, ...wasm.i8x16Bitmask, ...wasm.i32Popcnt];

/**
 * Adds to COUNT what a vector's bytes cost: 1 for each zero or two zeroes by themselves, found from the byte before; saves 1 for each first of
 * four of a kind, which is at least what a longer run saves.
 */
const countCosts: number[] = [
  ...[...vectorAt(AT, 0), ...wasm.set(VECTOR)],
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
      // -> where the output ends, or TOO_LONG when that is not before the limit.
      name: "encode",
      params: [I32, I32, I32, I32],
      result: I32,
      locals: [I32, I32, I32, V128, I32, I32],
      body: [
        ...wasm.loop([
          ...encodeVectors,
          ...returnAtEnd(notLess(wasm.get(TO), wasm.get(LIMIT))),
          ...[...byteAt(AT, 0), ...wasm.set(VALUE)],
          ...[...wasm.get(VALUE), ...wasm.i8x16Splat, ...wasm.set(VECTOR)],
          ...[...wasm.get(AT), ...wasm.set(END)],
          // At most 256 bytes: the sixteenth vector ends there.
          ...wasm.loop([
            ...lanesBefore([
              ...[...vectorAt(END, 0), ...wasm.get(VECTOR), ...wasm.i8x16Eq, ...wasm.i8x16Bitmask],
              ...[...wasm.i32(0xffff), ...wasm.i32Xor],
            ]),
            ...[...wasm.set(COUNT), ...add(END, wasm.get(COUNT))],
            ...notLess(wasm.get(COUNT), wasm.i32(16)),
            ...wasm.ifThen([
              ...[...wasm.get(END), ...wasm.get(AT), ...wasm.i32Sub, ...wasm.i32(256), ...wasm.i32LtU],
              ...wasm.ifThen([...isLess(wasm.get(END), wasm.get(SOURCE_END)), ...wasm.brIf(2)]),
            ]),
          ]),
          // What lies behind the page may go on like it.
          ...isMore(wasm.get(END), wasm.get(SOURCE_END)),
          ...wasm.ifThen([...wasm.get(SOURCE_END), ...wasm.set(END)]),
          ...[...wasm.get(END), ...wasm.get(AT), ...wasm.i32Sub, ...wasm.set(COUNT)],
          ...wasm.block([
            // A run pays from four on, except of zeroes.
            ...[...wasm.get(COUNT), ...wasm.i32(4), ...wasm.i32(0), ...wasm.get(VALUE), ...wasm.select, ...wasm.i32LtU],
            ...wasm.ifThen([
              ...[...wasm.get(TO), ...wasm.get(VECTOR), ...wasm.v128Store(0)],
              ...[...add(TO, wasm.get(COUNT)), ...wasm.br(1)],
            ]),
            ...putRun(wasm.get(VALUE), wasm.get(COUNT)),
          ]),
          ...[...wasm.get(END), ...wasm.set(AT)],
          ...[...isLess(wasm.get(TO), wasm.get(LIMIT)), ...wasm.brIf(0)],
        ]),
        ...wasm.i32(TOO_LONG),
      ],
    },
    {
      // Of a multiple of 16 bytes -> how many more the run lengths are, at least; one too many when a lone zero ends the page.
      name: "growth",
      params: [I32, I32, I32, I32],
      result: I32,
      locals: [I32, I32, I32, V128],
      body: [
        ...wasm.loop([
          ...countCosts,
          ...add(AT, wasm.i32(16)),
          ...[...isLess(wasm.get(AT), wasm.get(SOURCE_END)), ...wasm.brIf(0)],
        ]),
        ...wasm.get(COUNT),
      ],
    },
    {
      // -> where the output ends, TOO_LONG or BROKEN_OFF.
      name: "decode",
      params: [I32, I32, I32, I32],
      result: I32,
      locals: [I32, I32, I32, V128],
      body: [
        ...wasm.loop([
          ...copyLiterals,
          ...returnAtEnd(isMore(wasm.get(TO), wasm.get(LIMIT))),
          ...[...byteAt(AT, 0), ...wasm.set(VALUE), ...add(AT, wasm.i32(1))],
          ...[...notLess(wasm.get(TO), wasm.get(LIMIT)), ...wasm.ifThen(give(TOO_LONG))],
          // A byte for itself, near the end.
          ...wasm.get(VALUE),
          ...wasm.ifThen([...put(0, wasm.get(VALUE)), ...add(TO, wasm.i32(1)), ...wasm.br(1)]),
          ...[...notLess(wasm.get(AT), wasm.get(SOURCE_END)), ...wasm.ifThen(give(BROKEN_OFF))],
          ...[...byteAt(AT, 0), ...wasm.set(COUNT), ...add(AT, wasm.i32(1))],
          ...[...wasm.get(COUNT), ...wasm.i32Eqz],
          ...wasm.ifThen([...put(0, wasm.i32(0)), ...add(TO, wasm.i32(1)), ...wasm.br(1)]),
          ...[...notLess(wasm.get(AT), wasm.get(SOURCE_END)), ...wasm.ifThen(give(BROKEN_OFF))],
          ...[...byteAt(AT, 0), ...wasm.i8x16Splat, ...wasm.set(VECTOR), ...add(AT, wasm.i32(1))],
          ...[...wasm.get(TO), ...wasm.get(COUNT), ...wasm.i32Add, ...wasm.i32(1), ...wasm.i32Add, ...wasm.set(END)],
          ...[...isMore(wasm.get(END), wasm.get(LIMIT)), ...wasm.ifThen(give(TOO_LONG))],
          ...wasm.loop([
            ...[...wasm.get(TO), ...wasm.get(VECTOR), ...wasm.v128Store(0), ...add(TO, wasm.i32(16))],
            ...[...isLess(wasm.get(TO), wasm.get(END)), ...wasm.brIf(0)],
          ]),
          ...[...wasm.get(END), ...wasm.set(TO), ...wasm.br(0)],
        ]),
        ...wasm.i32(BROKEN_OFF),
      ],
    },
  ]),
);

type RunFunction = (at: number, end: number, to: number, limit: number) => number;

/** Packs and unpacks what lies in one memory, where it lies: what lies elsewhere is copied into the room first. */
export class RunLengths {
  private readonly u8: Uint8Array;
  private readonly functions: Record<"encode" | "growth" | "decode", RunFunction>;
  private readonly room: number;
  private readonly out: number;

  /** @param room where ROOM_BYTES of the memory are nobody else's, an offset in bytes. */
  constructor(memory: WebAssembly.Memory, room = 0) {
    this.u8 = new Uint8Array(memory.buffer);
    this.functions = instantiate(runModule, memory) as typeof this.functions;
    this.room = room;
    this.out = room + OUT;
  }

  /** Where a page of up to 64 KiB, or its run lengths, can be put together. */
  roomToPack(bytes: number): Uint8Array {
    return this.u8.subarray(this.room, this.room + bytes);
  }

  /** Returns the page as run lengths, valid until the next call of either method; undefined when they are not fewer bytes. */
  encode(page: Uint8Array): Uint8Array | undefined {
    const { length } = page;
    const at = this.place(page, length);
    if (this.isHopeless(at, length)) return undefined;
    const { out } = this;
    const end = this.functions.encode(at, at + length, out, out + length);
    return end === TOO_LONG ? undefined : this.u8.subarray(out, end >>> 0);
  }

  /** Counting costs less than packing what does not get shorter: pointers, where zeroes stand in ones and twos. */
  private isHopeless(at: number, length: number): boolean {
    if (length % 16 !== 0 || length <= PROBE_BYTES) return false;
    const { functions, out } = this;
    if (functions.encode(at, at + PROBE_BYTES, out, out + PROBE_BYTES) !== TOO_LONG) return false;
    return functions.growth(at, at + length, 0, 0) > 0;
  }

  /** Returns the page that run lengths are of, valid until the next call of either method, or what is wrong with them. */
  decode(packed: Uint8Array, pageBytes: number): Uint8Array | string {
    const at = this.place(packed, pageBytes);
    const { out } = this;
    const end = this.functions.decode(at, at + packed.length, out, out + pageBytes);
    if (end === TOO_LONG) return `run lengths of more than ${pageBytes} bytes`;
    if (end === BROKEN_OFF) return "run lengths that end within a run";
    const length = (end >>> 0) - out;
    return length === pageBytes
      ? this.u8.subarray(out, out + length)
      : `run lengths of ${length} bytes, expected ${pageBytes}`;
  }

  /** Where `bytes`, a page of `pageBytes` or its run lengths, can be read with a vector's length to spare. */
  private place(bytes: Uint8Array, pageBytes: number): number {
    if (Math.max(bytes.length, pageBytes) > MAX_BYTES) {
      throw new RangeError(`run lengths of ${pageBytes} bytes in ${bytes.length}; a page has at most ${MAX_BYTES}`);
    }
    const { u8, room } = this;
    const at = bytes.byteOffset;
    const end = at + bytes.length + SLACK;
    // What was packed last lies where the next output goes.
    const inTheWay = end > this.out && at < room + ROOM_BYTES;
    if (bytes.buffer === u8.buffer && end <= u8.length && (at === room || !inTheWay)) return at;
    u8.set(bytes, room);
    return room;
  }
}

const own = new RunLengths(new WebAssembly.Memory({ initial: Math.ceil(ROOM_BYTES / 65536) }));

/** For pages of the host: as the methods of RunLengths. */
export const encodeRuns = (page: Uint8Array): Uint8Array | undefined => own.encode(page);
export const decodeRuns = (packed: Uint8Array, pageBytes: number): Uint8Array | string => own.decode(packed, pageBytes);

/** By `PagePool.lasting`. */
const inSlabs = new WeakMap<object, RunLengths>();

/** For pages of a slab, its own: in frames of it that last. */
export function runLengthsIn(pool: PagePool): RunLengths {
  let runs = inSlabs.get(pool.lasting);
  if (!runs) {
    runs = new RunLengths(pool.memory, pool.allocateLasting(Math.ceil(ROOM_BYTES / FRAME_SIZE)) * FRAME_SIZE);
    inSlabs.set(pool.lasting, runs);
  }
  return runs;
}
