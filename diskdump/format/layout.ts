// Where things stand on a dump partition, counted in blocks of one kernel page.
//
//   block 0           the formatter's; the dump never overwrites it
//   block 1           disk_dump_header
//   block 2..         disk_dump_sub_header (one block on all four architectures)
//   then              bitmap of RAM pages: 1 bit per page frame number, least significant bit first
//   (then             a second bitmap of the same size when the dump is partial: 1 bit per RAM page, in order, set when saved)
//   then              the saved pages, in ascending order of page frame number
import type { DataModel } from "../../kernel-sim/abi/types.ts";
import { subHeaderBlocks } from "./structs.ts";

export const FORMAT_BLOCK = 0;
export const HEADER_BLOCK = 1;
export const SUB_HEADER_BLOCK = 2;

export interface BlocksRequired {
  readonly header: number;
  readonly bitmap: number;
  readonly memory: number;
  readonly total: number;
}

/** Blocks of one bitmap of `maxMapnr` page frames. */
export const bitmapBlocksFor = (maxMapnr: number, blockSize: number): number => Math.ceil(maxMapnr / (8 * blockSize));

/**
 * The numbers of the module's line `disk_dump: total blocks required: T (header H + bitmap B + memory M)`.
 *
 * `maxMapnr` is the highest page frame number of RAM plus one, `ramPages` how many of the frames below are RAM.
 */
export function blocksRequired(machine: { ramPages: number; maxMapnr: number; model: DataModel }): BlocksRequired {
  const header = 2 + subHeaderBlocks(machine.model);
  const bitmap = bitmapBlocksFor(machine.maxMapnr, machine.model.pageSize);
  return { header, bitmap, memory: machine.ramPages, total: header + bitmap + machine.ramPages };
}

/** Adjacent blocks. */
export interface BlockRun {
  readonly block: number;
  readonly count: number;
}

/**
 * The blocks that a signature check reads: chunks of `1 << blockOrder` blocks, one of every `1 << sampleRate` chunks, and the
 * last chunk of the required area. A rate of 0 is every block, a negative one none. (RHEL4 diskdump.c, check_dump_partition.)
 */
export function* sampledRuns(requiredBlocks: number, blockOrder = 2, sampleRate = 8): Generator<BlockRun> {
  if (sampleRate < 0) return;
  const chunk = 2 ** blockOrder;
  const step = chunk * 2 ** sampleRate;
  let last = 0;
  for (let block = 0; block < requiredBlocks; block += step) {
    yield { block, count: Math.min(chunk, requiredBlocks - block) };
    last = block;
  }
  if (last + chunk < requiredBlocks) yield { block: requiredBlocks - chunk, count: chunk };
}
