// Signatures generated and checked in place in a page pool's memory, four words at a time with eight chains.
//
// The chain w' = (w + addend) * 11 is affine, so w[n + 32] = a * w[n] + b: eight vectors of four words advance independently
// and the multiplier's latency is hidden. The words 0 and 1 get the values that the chain would need there to reach the block
// number at word 2; "diskdump" is then written over them, and a check leaves them out.
import { emitModule, I32, instantiate, V128, wasm } from "../../emulator/memory/wasm-emitter.ts";
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import { ADDEND, firstWrongWord, jump, PARTITION_SIGNATURE, valueAtFrame, type SignatureStyle } from "./signature.ts";

const CHAINS = 8;
const STRIDE = CHAINS * 16;
const reverseBytes = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12];
const headBytes = [...Buffer.from(PARTITION_SIGNATURE, "latin1")];

// Locals: 0 offset, 1 value at the first word, 2 has the head (0 or 1), 3 bytes done, 4.. the chains, then scratch vectors.
const OFFSET = 0;
const VALUE = 1;
const HEAD = 2;
const DONE = 3;
const CHAIN = 4;
const WRONG = CHAIN + CHAINS;
const MASK = WRONG + 1;

function moduleFor(addend: number, littleEndian: boolean): WebAssembly.Module {
  // A shuffle takes two vectors; the second one is not used.
  const toMachineOrder = (vector: readonly number[]): readonly number[] =>
    littleEndian ? vector : [...vector, ...wasm.v128Const([0, 0, 0, 0]), ...wasm.i8x16Shuffle(reverseBytes)];

  const startChains: number[] = [];
  for (let chain = 0; chain < CHAINS; chain++) {
    const lanes = [0, 1, 2, 3].map((lane) => jump(chain * 4 + lane, addend));
    startChains.push(
      ...[...wasm.get(VALUE), ...wasm.i32x4Splat],
      ...[...wasm.v128Const(lanes.map((step) => step.multiplier)), ...wasm.i32x4Mul],
      ...[...wasm.v128Const(lanes.map((step) => step.increment)), ...wasm.i32x4Add],
      ...wasm.set(CHAIN + chain),
    );
  }
  const stride = jump(STRIDE / 4, addend);
  const step = (chain: number): number[] => [
    ...wasm.get(CHAIN + chain),
    ...[...wasm.v128Const(Array<number>(4).fill(stride.multiplier)), ...wasm.i32x4Mul],
    ...[...wasm.v128Const(Array<number>(4).fill(stride.increment)), ...wasm.i32x4Add],
    ...wasm.set(CHAIN + chain),
  ];
  const next = [
    ...[...wasm.get(OFFSET), ...wasm.i32(STRIDE), ...wasm.i32Add, ...wasm.set(OFFSET)],
    ...[...wasm.get(DONE), ...wasm.i32(STRIDE), ...wasm.i32Add, ...wasm.tee(DONE)],
    ...[...wasm.i32(FRAME_SIZE), ...wasm.i32LtU],
  ];
  const chains = Array.from({ length: CHAINS }, (_, chain) => chain);
  const store = (chain: number): number[] => [
    ...wasm.get(OFFSET),
    ...toMachineOrder(wasm.get(CHAIN + chain)),
    ...wasm.v128Store(chain * 16),
  ];
  const compare = (chain: number): number[] => [
    ...toMachineOrder(wasm.get(CHAIN + chain)),
    ...[...wasm.get(OFFSET), ...wasm.v128Load(chain * 16)],
    ...wasm.v128Xor,
    // Only the very first vector of a block has lanes that do not count; afterwards the mask is all ones.
    ...(chain === 0 ? [...wasm.get(MASK), ...wasm.v128And] : []),
    ...[...wasm.get(WRONG), ...wasm.v128Or, ...wasm.set(WRONG)],
  ];
  const ones = wasm.v128Const([-1, -1, -1, -1]);
  const chainLocals = Array<number>(CHAINS).fill(V128);

  return new WebAssembly.Module(
    emitModule([
      {
        name: "generate",
        params: [I32, I32, I32],
        locals: [I32, ...chainLocals],
        body: [
          ...startChains,
          ...wasm.loopWhile([...chains.flatMap((chain) => [...store(chain), ...step(chain)]), ...next]),
          ...wasm.get(HEAD),
          ...wasm.ifThen([
            // The offset has moved to the frame's end (mod 2^32); step back to its start.
            ...[...wasm.get(OFFSET), ...wasm.i32(-FRAME_SIZE), ...wasm.i32Add],
            ...wasm.i64Const(headBytes),
            ...wasm.i64Store(0),
          ]),
        ],
      },
      {
        name: "differs",
        params: [I32, I32, I32],
        result: I32,
        locals: [I32, ...chainLocals, V128, V128],
        body: [
          ...[...ones, ...wasm.set(MASK)],
          ...wasm.get(HEAD),
          ...wasm.ifThen([
            ...[...wasm.v128Const([0, 0, -1, -1]), ...wasm.set(MASK)],
            ...[...wasm.get(OFFSET), ...wasm.i64Load(0), ...wasm.i64Const(headBytes), ...wasm.i64Ne],
            ...wasm.ifThen([...wasm.i32(1), ...wasm.return]),
          ]),
          ...startChains,
          ...wasm.loopWhile([
            ...chains.flatMap((chain) => [...compare(chain), ...step(chain)]),
            ...[...ones, ...wasm.set(MASK)],
            ...next,
          ]),
          ...[...wasm.get(WRONG), ...wasm.v128AnyTrue],
        ],
      },
    ]),
  );
}

const modules = new Map<string, WebAssembly.Module>();
type FrameFunction = (offset: number, value: number, head: number) => number;

/** Signs and checks blocks that lie in a page pool's memory. */
export class SignatureKernel {
  private readonly generateFrame: FrameFunction;
  private readonly frameDiffers: FrameFunction;
  private readonly u8: Uint8Array;
  readonly memory: WebAssembly.Memory;
  readonly style: SignatureStyle;

  constructor(memory: WebAssembly.Memory, style: SignatureStyle) {
    const littleEndian = style.littleEndian ?? true;
    const key = `${style.formula} ${littleEndian}`;
    let module = modules.get(key);
    if (!module) modules.set(key, (module = moduleFor(ADDEND[style.formula], littleEndian)));
    const exports = instantiate(module, memory);
    this.generateFrame = exports["generate"] as FrameFunction;
    this.frameDiffers = exports["differs"] as FrameFunction;
    this.u8 = new Uint8Array(memory.buffer);
    this.memory = memory;
    this.style = style;
  }

  /** Writes block `block`'s signature at `slabOffset`; `blockSize` is a multiple of 4096 bytes. */
  generate(slabOffset: number, block: number, blockSize = FRAME_SIZE): void {
    for (let frame = 0; frame * FRAME_SIZE < blockSize; frame++) {
      this.generatePart(slabOffset + frame * FRAME_SIZE, block, frame);
    }
  }

  /** Writes only 4 KiB frame `frame` of the block. */
  generatePart(slabOffset: number, block: number, frame: number): void {
    this.generateFrame(slabOffset, valueAtFrame(block, frame, this.style.formula), frame === 0 ? 1 : 0);
  }

  /** The index of the first wrong word of the block at `slabOffset`, or -1. */
  check(slabOffset: number, block: number, blockSize = FRAME_SIZE): number {
    for (let frame = 0; frame * FRAME_SIZE < blockSize; frame++) {
      const value = valueAtFrame(block, frame, this.style.formula);
      if (this.frameDiffers(slabOffset + frame * FRAME_SIZE, value, frame === 0 ? 1 : 0) !== 0) {
        return firstWrongWord(this.u8.subarray(slabOffset, slabOffset + blockSize), block, this.style);
      }
    }
    return -1;
  }
}
