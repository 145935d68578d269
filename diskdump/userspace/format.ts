// Formatting a dump partition: every block gets its signature, or only those that the module's check will sample.
//
// The sparse form is that of the later diskdumputils (erratum RHEA-2005:263: only the blocks that are checked, one chunk in
// every 4 MB, are written). It answers chapter 6.2 of the white paper: 40 minutes for 128 GB become seconds. Its price: what
// stood in the other blocks stays there, so the end of a dump that stopped half-way is known to 4 MB only, and a module with a
// smaller sample_rate or another block_order than the formatter's finds blocks without a signature and refuses.
import type { ByteStore } from "../../emulator/memory/store.ts";
import { sampledRuns, type BlockRun } from "../format/layout.ts";
import {
  fillSignature,
  isCheckedBlock,
  signatureWord,
  styleOf,
  type SignatureFormula,
  type SignatureStyle,
} from "../format/signature.ts";
import { SignatureKernel } from "../format/wasm-signature.ts";
import { hex, UsageError } from "./errors.ts";

export interface SampleRule {
  /** The module's block_order: a chunk is `1 << blockOrder` blocks. Default 2. */
  readonly blockOrder?: number;
  /** The module's sample_rate: one chunk of every `1 << sampleRate`; 0 all, negative none. Default 8. */
  readonly sampleRate?: number;
  /** The module's total_blocks: where its check ends with one more chunk. Default: the whole partition. */
  readonly requiredBlocks?: number;
}

export interface FormatOptions extends Partial<SignatureStyle> {
  /** Bytes, the kernel's page size. Default 4096. */
  readonly blockSize?: number;
  /** Write the sampled blocks only; true for the module's defaults. */
  readonly sparse?: SampleRule | boolean;
  /** Only blocks below this one (all that a dump has overwritten). Default: all. */
  readonly endBlock?: number;
  readonly onProgress?: (doneBlocks: number, allBlocks: number) => void;
}

export interface FormatResult {
  readonly formula: SignatureFormula;
  readonly blockSize: number;
  readonly deviceBlocks: number;
  readonly writtenBlocks: number;
}

/** Blocks of one write. */
const BATCH_BYTES = 1 << 20;

const styleFrom = (options: Partial<SignatureStyle>): Required<SignatureStyle> => ({
  formula: options.formula ?? "paper",
  littleEndian: options.littleEndian ?? true,
});

function runsFor(deviceBlocks: number, sparse: SampleRule | boolean | undefined): BlockRun[] {
  if (sparse === undefined || sparse === false) return [{ block: 0, count: deviceBlocks }];
  const rule = sparse === true ? {} : sparse;
  const required = rule.requiredBlocks ?? deviceBlocks;
  const runs = [...sampledRuns(Math.min(required, deviceBlocks), rule.blockOrder, rule.sampleRate)];
  // The whole device is sampled as well, so that it still fits a kernel with more memory or another total.
  if (required < deviceBlocks) runs.push(...sampledRuns(deviceBlocks, rule.blockOrder, rule.sampleRate));
  return runs;
}

function checkBlockSize(blockSize: number): void {
  if (!Number.isInteger(blockSize) || blockSize < 4096 || blockSize % 4096 !== 0) {
    throw new UsageError(`block size ${blockSize}: expected a multiple of 4096 bytes`);
  }
}

/** Writes signatures over a partition. What it held is lost. Throws a UsageError for a partition without room for a header. */
export function formatPartition(partition: ByteStore, options: FormatOptions = {}): FormatResult {
  const blockSize = options.blockSize ?? 4096;
  checkBlockSize(blockSize);
  const style = styleFrom(options);
  const deviceBlocks = Math.floor(partition.sizeBytes / blockSize);
  if (deviceBlocks < 4) {
    throw new UsageError(
      `${partition.name}: ${partition.sizeBytes} bytes are too few for a dump partition (at least ${4 * blockSize})`,
    );
  }
  const end = Math.min(deviceBlocks, options.endBlock ?? deviceBlocks);
  const runs = runsFor(deviceBlocks, options.sparse).filter(({ block }) => block < end);
  const all = runs.reduce((sum, { block, count }) => sum + Math.min(count, end - block), 0);
  const batchBlocks = Math.max(1, Math.floor(BATCH_BYTES / blockSize));
  const memory = new WebAssembly.Memory({ initial: Math.ceil((batchBlocks * blockSize) / 65536) });
  const bytes = new Uint8Array(memory.buffer);
  const kernel = new SignatureKernel(memory, style);
  let done = 0;
  for (const run of runs) {
    const runEnd = Math.min(end, run.block + run.count);
    for (let block = run.block; block < runEnd;) {
      const count = Math.min(batchBlocks, runEnd - block);
      for (let i = 0; i < count; i++) kernel.generate(i * blockSize, block + i, blockSize);
      partition.write(block * blockSize, bytes.subarray(0, count * blockSize));
      block += count;
      done += count;
      options.onProgress?.(done, all);
    }
  }
  return { formula: style.formula, blockSize, deviceBlocks, writtenBlocks: done };
}

/** Signs one block again. */
export function signBlock(partition: ByteStore, block: number, blockSize: number, style: SignatureStyle): void {
  const bytes = new Uint8Array(blockSize);
  fillSignature(bytes, block, style);
  partition.write(block * blockSize, bytes);
}

export interface WrongBlock {
  readonly block: number;
  /** Index of the first wrong 32-bit word in the block. */
  readonly word: number;
  /** Bytes from the partition's beginning. */
  readonly offset: number;
  readonly expected: number;
  readonly found: number;
}

export interface VerifyResult {
  readonly checkedBlocks: number;
  /** The first block with a wrong signature; absent when all are right. */
  readonly firstWrong?: WrongBlock;
}

/** "block 77 is not signed: word 3 at offset 0x4d00c is 0x0, expected 0x2c6" */
export const wrongBlockText = (wrong: WrongBlock): string =>
  `block ${wrong.block} is not signed: word ${wrong.word} at offset ${hex(wrong.offset)} is ${hex(wrong.found)}, expected ${hex(wrong.expected)}`;

export interface VerifyOptions extends Partial<SignatureStyle> {
  readonly blockSize?: number;
  /** Look at what the module would sample; absent: at every block. */
  readonly sparse?: SampleRule | boolean;
  readonly onProgress?: (doneBlocks: number, allBlocks: number) => void;
}

/** Checks the signatures of a partition and stops at the first wrong one. */
export function verifyPartition(partition: ByteStore, options: VerifyOptions = {}): VerifyResult {
  const blockSize = options.blockSize ?? 4096;
  checkBlockSize(blockSize);
  const style = styleFrom(options);
  const deviceBlocks = Math.floor(partition.sizeBytes / blockSize);
  const runs = runsFor(deviceBlocks, options.sparse);
  const all = runs.reduce((sum, { count }) => sum + count, 0);
  const batchBlocks = Math.max(1, Math.floor((256 << 10) / blockSize));
  const memory = new WebAssembly.Memory({ initial: Math.ceil((batchBlocks * blockSize) / 65536) });
  const bytes = new Uint8Array(memory.buffer);
  const kernel = new SignatureKernel(memory, style);
  let checked = 0;
  for (const run of runs) {
    for (let block = run.block; block < run.block + run.count;) {
      const count = Math.min(batchBlocks, run.block + run.count - block);
      partition.read(block * blockSize, bytes.subarray(0, count * blockSize));
      for (let i = 0; i < count; i++) {
        checked++;
        if (!isCheckedBlock(block + i, style.formula)) continue;
        const word = kernel.check(i * blockSize, block + i, blockSize);
        if (word < 0) continue;
        const view = new DataView(bytes.buffer, i * blockSize, blockSize);
        const firstWrong: WrongBlock = {
          block: block + i,
          word,
          offset: (block + i) * blockSize + word * 4,
          expected: signatureWord(block + i, word, style),
          found: view.getUint32(word * 4, style.littleEndian),
        };
        return { checkedBlocks: checked, firstWrong };
      }
      block += count;
      options.onProgress?.(checked, all);
    }
  }
  return { checkedBlocks: checked };
}

/** Blocks that tell how a partition was formatted: a dump never overwrites block 0; the others serve when block 0 is damaged. */
const TELLING_BLOCKS = [0, 1, 3, 1024];

/** How a partition was formatted, or undefined when no telling block carries a signature. */
export function formatOf(partition: ByteStore): (Required<SignatureStyle> & { blockSize: number }) | undefined {
  for (const block of TELLING_BLOCKS) {
    // The largest first: the first 4 KiB of a larger block 0 look like a block 0 of 4 KiB.
    for (const blockSize of [65536, 32768, 16384, 8192, 4096]) {
      if ((block + 1) * blockSize > partition.sizeBytes) continue;
      const bytes = new Uint8Array(blockSize);
      partition.read(block * blockSize, bytes);
      const style = styleOf(bytes, block);
      if (style) return { ...style, blockSize };
    }
  }
  return undefined;
}
