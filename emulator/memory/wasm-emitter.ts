// Writes small WebAssembly modules byte by byte: enough for a few SIMD loops over a page pool, without a toolchain.
//
// Source of the encodings: WebAssembly Core Specification 2.0, chapter 5 (binary format) and 5.4.8 (vector instructions).

/** A function's code, an expression or a whole body: plain bytes, so that pieces are put together with the spread operator. */
export type Code = readonly number[];

/** Unsigned LEB128. */
export function uleb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value >>> 0;
  do {
    const low = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? low : low | 0x80);
  } while (rest !== 0);
  return bytes;
}

/** Signed LEB128 of a 32-bit value. */
export function sleb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value | 0;
  for (;;) {
    const low = rest & 0x7f;
    rest >>= 7;
    if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

const text = (value: string): number[] => [...uleb(value.length), ...Buffer.from(value, "latin1")];
const vector = (items: readonly Code[]): number[] => [...uleb(items.length), ...items.flat()];
const section = (id: number, body: Code): number[] => [id, ...uleb(body.length), ...body];

export const I32 = 0x7f;
export const V128 = 0x7b;

const simd = (opcode: number): number[] => [0xfd, ...uleb(opcode)];
/** Alignment hint (log2) and offset of a memory access. Page frames are aligned, so the hints are natural. */
const access = (align: number, offset: number): number[] => [align, ...uleb(offset)];

/** Instructions, named as in the specification's text format. */
export const wasm = {
  get: (local: number): number[] => [0x20, ...uleb(local)],
  set: (local: number): number[] => [0x21, ...uleb(local)],
  tee: (local: number): number[] => [0x22, ...uleb(local)],
  i32: (value: number): number[] => [0x41, ...sleb(value)],
  i64Load: (offset: number): number[] => [0x29, ...access(3, offset)],
  i64Store: (offset: number): number[] => [0x37, ...access(3, offset)],
  i64Const: (bytes: readonly number[]): number[] => [0x42, ...sleb64(bytes)],
  i64Ne: [0x52],
  i32Load8: (offset: number): number[] => [0x2d, ...access(0, offset)],
  i32Store8: (offset: number): number[] => [0x3a, ...access(0, offset)],
  i32Store: (offset: number): number[] => [0x36, ...access(0, offset)],
  i32Eqz: [0x45],
  i32Eq: [0x46],
  i32LtU: [0x49],
  i32GtU: [0x4b],
  i32GeU: [0x4f],
  i32Ctz: [0x68],
  i32Popcnt: [0x69],
  i32Add: [0x6a],
  i32Sub: [0x6b],
  i32Mul: [0x6c],
  i32Or: [0x72],
  i32Xor: [0x73],
  i32Shl: [0x74],
  i32ShrU: [0x76],
  /** Of two values below an i32: the first where that is not zero, else the second. */
  select: [0x1b],
  /** A loop that ends unless `br` asks for another round. */
  loop: (body: Code): number[] => [0x03, 0x40, ...body, 0x0b],
  /** `br` to a block leaves it. */
  block: (body: Code): number[] => [0x02, 0x40, ...body, 0x0b],
  /** To the loop or block that is `depth` levels out, where `ifThen` counts as a level. */
  br: (depth: number): number[] => [0x0c, ...uleb(depth)],
  brIf: (depth: number): number[] => [0x0d, ...uleb(depth)],
  /** Runs `body` again for as long as it leaves a non-zero i32. */
  loopWhile: (body: Code): number[] => [0x03, 0x40, ...body, 0x0d, 0x00, 0x0b],
  /** Runs `body` when the i32 on the stack is not zero. */
  ifThen: (body: Code): number[] => [0x04, 0x40, ...body, 0x0b],
  return: [0x0f],
  v128Load: (offset: number): number[] => [...simd(0), ...access(4, offset)],
  v128Store: (offset: number): number[] => [...simd(11), ...access(4, offset)],
  v128Const: (words: readonly number[]): number[] => [
    ...simd(12),
    ...words.flatMap((word) => [word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24]),
  ],
  i8x16Shuffle: (lanes: readonly number[]): number[] => [...simd(13), ...lanes],
  i8x16Splat: simd(15),
  i32x4Splat: simd(17),
  i8x16Eq: simd(35),
  i8x16Bitmask: simd(100),
  i32x4Add: simd(174),
  i32x4Mul: simd(181),
  v128And: simd(78),
  /** The first vector's bits that are not set in the second. */
  v128AndNot: simd(79),
  v128Or: simd(80),
  v128Xor: simd(81),
  v128AnyTrue: simd(83),
} as const;

/** Signed LEB128 of a 64-bit constant given as its eight little-endian bytes. */
function sleb64(bytes: readonly number[]): number[] {
  let rest = Buffer.from(bytes).readBigInt64LE();
  const out: number[] = [];
  for (;;) {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) return [...out, low];
    out.push(low | 0x80);
  }
}

export interface WasmFunction {
  readonly name: string;
  /** Value types of parameters, result (at most one) and further locals. */
  readonly params: readonly number[];
  readonly result?: number;
  readonly locals: readonly number[];
  readonly body: Code;
}

/** The bytes of a module that imports the memory `m.memory` and exports `functions`. */
export function emitModule(functions: readonly WasmFunction[]): Uint8Array {
  const types = functions.map((f) => [
    0x60,
    ...uleb(f.params.length),
    ...f.params,
    ...(f.result === undefined ? [0] : [1, f.result]),
  ]);
  const memoryImport = [...text("m"), ...text("memory"), 0x02, 0x00, 0x00];
  const codes = functions.map((f) => {
    const body = [...vector(f.locals.map((type) => [1, type])), ...f.body, 0x0b];
    return [...uleb(body.length), ...body];
  });
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, vector(types)),
    ...section(2, vector([memoryImport])),
    ...section(3, vector(functions.map((_, index) => uleb(index)))),
    ...section(7, vector(functions.map((f, index) => [...text(f.name), 0x00, ...uleb(index)]))),
    ...section(10, vector(codes)),
  ]);
}

/** Compiles `module` once per process and binds it to one memory. Returns its exports. */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Record<string, unknown> {
  return new WebAssembly.Instance(module, { m: { memory } }).exports;
}
