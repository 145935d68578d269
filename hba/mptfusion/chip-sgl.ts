// Walks the scatter-gather list of a SCSI IO request: simple elements (32 and 64 bit) and chains.
// Source: facts hba/mptfusion.md section 6.
import type { PhysicalMemory, Segment } from "../../emulator/memory/memory.ts";
import {
  MPI_SGE_CHAIN_LENGTH_MASK,
  MPI_SGE_CHAIN_OFFSET_MASK,
  MPI_SGE_CHAIN_OFFSET_SHIFT,
  MPI_SGE_FLAGS_64_BIT_ADDRESSING,
  MPI_SGE_FLAGS_CHAIN_ELEMENT,
  MPI_SGE_FLAGS_ELEMENT_TYPE_MASK,
  MPI_SGE_FLAGS_END_OF_LIST,
  MPI_SGE_FLAGS_LAST_ELEMENT,
  MPI_SGE_FLAGS_LOCAL_ADDRESS,
  MPI_SGE_FLAGS_SIMPLE_ELEMENT,
  MPI_SGE_LENGTH_MASK,
} from "./messages.ts";

const U32 = 4294967296;

/** Refusals, as negative results of the walk. */
export const SGL_BAD_ELEMENT = -1;
export const SGL_LOCAL_ADDRESS = -2;
export const SGL_LEAVES_BUFFER = -3;
export const SGL_TOO_MANY_CHAINS = -4;
export const SGL_BEYOND_RAM = -5;
export const SGL_TOO_SHORT = -6;
export const SGL_CHAIN_UNALIGNED = -7;

export const SGL_REFUSALS: Readonly<Record<number, string>> = {
  [SGL_BAD_ELEMENT]: "an element of the wrong type",
  [SGL_LOCAL_ADDRESS]: "an element with a local address",
  [SGL_LEAVES_BUFFER]: "an element beyond the end of its frame or chain buffer",
  [SGL_TOO_MANY_CHAINS]: "more chain buffers than MaxChainDepth",
  [SGL_BEYOND_RAM]: "an address beyond RAM",
  [SGL_TOO_SHORT]: "fewer bytes than DataLength",
  [SGL_CHAIN_UNALIGNED]: "a chain buffer that is not on a dword",
};

/**
 * Reads the list that starts at dword `at` of `frame` (whose first dword is `words[base]`) and leaves the first `wanted`
 * bytes in `segments`, which grows as needed. Zero-length elements leave nothing.
 *
 * @param chainOffset dwords from the frame's start to its chain element; 0 when there is none
 * @returns the number of segments, or one of the SGL_ refusals
 */
export function walkScatterGather(
  memory: PhysicalMemory,
  words: Int32Array,
  base: number,
  at: number,
  frameDwords: number,
  chainOffset: number,
  wanted: number,
  maxChains: number,
  segments: Segment[],
): number {
  let count = 0;
  let left = wanted;
  let chains = 0;
  let end = chainOffset > 0 ? Math.min(chainOffset, frameDwords) : frameDwords;
  let limit = frameDwords;
  for (;;) {
    if (at + 2 > end) return SGL_LEAVES_BUFFER;
    const element = words[base + at]!;
    if ((element & MPI_SGE_FLAGS_ELEMENT_TYPE_MASK) !== MPI_SGE_FLAGS_SIMPLE_ELEMENT) return SGL_BAD_ELEMENT;
    if ((element & MPI_SGE_FLAGS_LOCAL_ADDRESS) !== 0) return SGL_LOCAL_ADDRESS;
    let address = words[base + at + 1]! >>> 0;
    if ((element & MPI_SGE_FLAGS_64_BIT_ADDRESSING) !== 0) {
      if (at + 3 > end) return SGL_LEAVES_BUFFER;
      address += (words[base + at + 2]! >>> 0) * U32;
      at += 3;
    } else at += 2;
    let length = element & MPI_SGE_LENGTH_MASK;
    if (length > left) length = left;
    if (length > 0) {
      if (address + length > memory.endOfRam) return SGL_BEYOND_RAM;
      let segment = segments[count];
      if (segment === undefined) {
        segment = { address: 0, length: 0 };
        segments.push(segment);
      }
      segment.address = address;
      segment.length = length;
      count++;
      left -= length;
    }
    if ((element & MPI_SGE_FLAGS_END_OF_LIST) !== 0) return left > 0 ? SGL_TOO_SHORT : count;
    if ((element & MPI_SGE_FLAGS_LAST_ELEMENT) === 0) continue;

    if (chainOffset === 0) return left > 0 ? SGL_TOO_SHORT : count;
    if (++chains > maxChains) return SGL_TOO_MANY_CHAINS;
    at = chainOffset;
    if (at + 2 > limit) return SGL_LEAVES_BUFFER;
    const chain = words[base + at]!;
    if ((chain & MPI_SGE_FLAGS_ELEMENT_TYPE_MASK) !== MPI_SGE_FLAGS_CHAIN_ELEMENT) return SGL_BAD_ELEMENT;
    if ((chain & MPI_SGE_FLAGS_LOCAL_ADDRESS) !== 0) return SGL_LOCAL_ADDRESS;
    let buffer = words[base + at + 1]! >>> 0;
    if ((chain & MPI_SGE_FLAGS_64_BIT_ADDRESSING) !== 0) {
      if (at + 3 > limit) return SGL_LEAVES_BUFFER;
      buffer += (words[base + at + 2]! >>> 0) * U32;
    }
    const bytes = chain & MPI_SGE_CHAIN_LENGTH_MASK;
    if (buffer + bytes > memory.endOfRam) return SGL_BEYOND_RAM;
    if ((buffer & 3) !== 0) return SGL_CHAIN_UNALIGNED;
    limit = bytes >>> 2;
    chainOffset = (chain & MPI_SGE_CHAIN_OFFSET_MASK) >>> MPI_SGE_CHAIN_OFFSET_SHIFT;
    end = chainOffset > 0 ? Math.min(chainOffset, limit) : limit;
    at = 0;
    if (buffer + bytes <= memory.flatBytes) {
      words = memory.pool.i32;
      base = buffer >>> 2;
    } else {
      // A chain buffer above the flat window: rare, so a copy of its own is good enough.
      words = new Int32Array(limit);
      base = 0;
      for (let i = 0; i < limit; i++) words[i] = memory.read32(buffer + i * 4);
    }
  }
}
