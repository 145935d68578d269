// Zero test and comparison of page frames in place, sixteen bytes at a time.
import { FRAME_SHIFT, FRAME_SIZE, HOLE, type PagePool } from "./pool.ts";
import { emitModule, I32, instantiate, wasm, type Code } from "./wasm-emitter.ts";

/** Bytes looked at before the answer is tested: early enough for a page that differs at once, late enough to stay in the load ports. */
const STRIDE = 256;

/** Leaves the OR of `STRIDE / 16` vectors on the stack; `load` leaves one vector. */
function orOf(load: (offset: number) => Code): number[] {
  const code = [...load(0)];
  for (let offset = 16; offset < STRIDE; offset += 16) code.push(...load(offset), ...wasm.v128Or);
  return code;
}

const byteOffset = (local: number): number[] => [
  ...wasm.get(local),
  ...wasm.i32(FRAME_SHIFT),
  ...wasm.i32Shl,
  ...wasm.set(local),
];
const advance = (local: number): number[] => [
  ...wasm.get(local),
  ...wasm.i32(STRIDE),
  ...wasm.i32Add,
  ...wasm.set(local),
];
/** The end is kept as "bytes done", because the last frame of a 4 GiB slab ends at 2^32, which an i32 cannot say. */
const countUp = (counter: number): number[] => [
  ...wasm.get(counter),
  ...wasm.i32(STRIDE),
  ...wasm.i32Add,
  ...wasm.tee(counter),
  ...wasm.i32(FRAME_SIZE),
  ...wasm.i32LtU,
];
const falseIfAny = [...wasm.v128AnyTrue, ...wasm.ifThen([...wasm.i32(0), ...wasm.return])];

const pageModule = new WebAssembly.Module(
  emitModule([
    {
      name: "isZero",
      params: [I32],
      result: I32,
      locals: [I32],
      body: [
        ...byteOffset(0),
        ...wasm.loopWhile([
          ...orOf((at) => [...wasm.get(0), ...wasm.v128Load(at)]),
          ...falseIfAny,
          ...advance(0),
          ...countUp(1),
        ]),
        ...wasm.i32(1),
      ],
    },
    {
      name: "equal",
      params: [I32, I32],
      result: I32,
      locals: [I32],
      body: [
        ...byteOffset(0),
        ...byteOffset(1),
        ...wasm.loopWhile([
          ...orOf((at) => [
            ...[...wasm.get(0), ...wasm.v128Load(at)],
            ...[...wasm.get(1), ...wasm.v128Load(at)],
            ...wasm.v128Xor,
          ]),
          ...falseIfAny,
          ...advance(0),
          ...advance(1),
          ...countUp(2),
        ]),
        ...wasm.i32(1),
      ],
    },
  ]),
);

export class PageSimd {
  private readonly zeroTest: (slot: number) => number;
  private readonly comparison: (slotA: number, slotB: number) => number;

  constructor(pool: PagePool) {
    const exports = instantiate(pageModule, pool.memory);
    this.zeroTest = exports["isZero"] as (slot: number) => number;
    this.comparison = exports["equal"] as (slotA: number, slotB: number) => number;
  }

  /** True when the frame holds only zeroes; the hole does. */
  isZero(slot: number): boolean {
    return slot === HOLE || this.zeroTest(slot) !== 0;
  }

  /** True when both frames hold the same bytes; a hole equals a frame of zeroes. */
  equal(slotA: number, slotB: number): boolean {
    if (slotA === slotB) return true;
    if (slotA === HOLE) return this.zeroTest(slotB) !== 0;
    if (slotB === HOLE) return this.zeroTest(slotA) !== 0;
    return this.comparison(slotA, slotB) !== 0;
  }
}
