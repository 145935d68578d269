// The per-block signature of a formatted dump partition (white paper 2.1), in plain JS: the reference for the SIMD version.
//
//   word 0, 1: the bytes "disk", "dump"     word 2: the block's number     word n: (word n-1 + addend) * 11 mod 2^32
//
// The addend is 3 in the white paper; the RHEL3 and RHEL4 modules that shipped use 7 and so refuse a partition that was
// formatted to the paper. Both are here; the paper's is the default. Words are 32 bits in the byte order of the machine,
// because the module compares them as C ints; "diskdump" is a byte string on every machine.

export type SignatureFormula = "paper" | "rhel4";

export const ADDEND: Readonly<Record<SignatureFormula, number>> = { paper: 3, rhel4: 7 };
export const SIGNATURE_FORMULAS: readonly SignatureFormula[] = ["paper", "rhel4"];

/** What the first eight bytes of every formatted block say. */
export const PARTITION_SIGNATURE = "diskdump";

/**
 * The block in which the shipped formatter keeps its parameters (RHEL3 and RHEL4 drivers/block/diskdump.c,
 * USER_PARAM_BLOCK): the modules of that formula do not look at it. The white paper knows no such exception: there every block counts.
 */
export const USER_PARAM_BLOCK = 2;

/** How a partition is signed: the formula and the byte order of the machine. */
export interface SignatureStyle {
  readonly formula: SignatureFormula;
  /** Default true. */
  readonly littleEndian?: boolean;
}

/** True when a check of the partition looks at this block at all. */
export const isCheckedBlock = (block: number, formula: SignatureFormula): boolean =>
  formula === "paper" || block !== USER_PARAM_BLOCK;

const inverseOf11 = 0xba2e8ba3; // 11 * 0xba2e8ba3 = 1 mod 2^32

/** The value the word at index 0 would need for word 2 to become the block number: the start of the whole chain. */
function chainStart(block: number, addend: number): number {
  const word1 = (Math.imul(block, inverseOf11) - addend) | 0;
  return (Math.imul(word1, inverseOf11) - addend) | 0;
}

/** One step of `steps` words at once: w[n + steps] = multiplier * w[n] + increment (mod 2^32). */
export function jump(steps: number, addend: number): { multiplier: number; increment: number } {
  let multiplier = 1;
  let increment = 0;
  for (let i = 0; i < steps; i++) {
    multiplier = Math.imul(multiplier, 11);
    increment = Math.imul((increment + addend) | 0, 11);
  }
  return { multiplier, increment };
}

const frameJumps = {
  paper: jump(1024, ADDEND.paper),
  rhel4: jump(1024, ADDEND.rhel4),
};

/**
 * The chain's value at the first word of 4 KiB frame `frame` of a block (frame 0: of the block itself, where the value is
 * virtual, since "disk" stands there).
 */
export function valueAtFrame(block: number, frame: number, formula: SignatureFormula): number {
  let value = chainStart(block, ADDEND[formula]);
  const { multiplier, increment } = frameJumps[formula];
  for (let i = 0; i < frame; i++) value = (Math.imul(value, multiplier) + increment) | 0;
  return value;
}

/** Word `index` of the block, 0 <= index < block size / 4, as an unsigned number in a machine's view. */
export function signatureWord(block: number, index: number, style: SignatureStyle): number {
  const littleEndian = style.littleEndian ?? true;
  if (index < 2) {
    const bytes = Buffer.from(PARTITION_SIGNATURE, "latin1");
    return littleEndian ? bytes.readUInt32LE(index * 4) : bytes.readUInt32BE(index * 4);
  }
  let word = block >>> 0;
  for (let i = 2; i < index; i++) word = Math.imul(word + ADDEND[style.formula], 11) >>> 0;
  return word;
}

/** Fills `into` (a whole block; its length is the block size) with the signature of block `block`. */
export function fillSignature(into: Uint8Array, block: number, style: SignatureStyle): void {
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
  const littleEndian = style.littleEndian ?? true;
  const addend = ADDEND[style.formula];
  for (let i = 0; i < PARTITION_SIGNATURE.length; i++) into[i] = PARTITION_SIGNATURE.charCodeAt(i);
  let word = block | 0;
  for (let at = 8; at < into.byteLength; at += 4) {
    view.setInt32(at, word, littleEndian);
    word = Math.imul((word + addend) | 0, 11);
  }
}

/** The index of the first 32-bit word of `bytes` (a whole block) that differs from block `block`'s signature, or -1. */
export function firstWrongWord(bytes: Uint8Array, block: number, style: SignatureStyle): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const littleEndian = style.littleEndian ?? true;
  const addend = ADDEND[style.formula];
  for (let i = 0; i < PARTITION_SIGNATURE.length; i++) {
    if (bytes[i] !== PARTITION_SIGNATURE.charCodeAt(i)) return i >> 2;
  }
  let word = block | 0;
  for (let at = 8; at < bytes.byteLength; at += 4) {
    if (view.getInt32(at, littleEndian) !== word) return at / 4;
    word = Math.imul((word + addend) | 0, 11);
  }
  return -1;
}

/** The style by which `bytes` is a correctly signed block `block`, or undefined when it is by none. */
export function styleOf(bytes: Uint8Array, block: number): Required<SignatureStyle> | undefined {
  for (const formula of SIGNATURE_FORMULAS) {
    for (const littleEndian of [true, false]) {
      if (firstWrongWord(bytes, block, { formula, littleEndian }) < 0) return { formula, littleEndian };
    }
  }
  return undefined;
}
