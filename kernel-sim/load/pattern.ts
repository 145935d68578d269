// What the load writes: every sector of a block says who wrote it, where it belongs and which write it was.
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import { M } from "../abi/ram.ts";

export const BLOCK_BYTES = FRAME_SIZE;
export const SECTORS_PER_BLOCK = BLOCK_BYTES / 512;
const SECTOR_WORDS = 128;
const HEADER_WORDS = 6;
const MAGIC = 0x44_4c_4f_41;

/** Identity of a file's contents: differs between seeds, processes and devices. */
const mix = (tag: number, block: number, generation: number): number => {
  let h = tag ^ Math.imul(block + 1, 0x9e3779b1) ^ Math.imul(generation, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 16), 0x21f0aaad);
  h = Math.imul(h ^ (h >>> 15), 0x735a2d97);
  return ((h ^ (h >>> 15)) | 1) >>> 0;
};

/** Fills the frame at slab offset `at` with generation `generation` (1 and up) of block `block`. */
export function fillPattern(at: number, tag: number, block: number, generation: number): void {
  const { u32 } = M;
  const start = at / 4;
  const value = mix(tag, block, generation);
  u32.fill(value, start, start + BLOCK_BYTES / 4);
  for (let sector = 0; sector < SECTORS_PER_BLOCK; sector++) {
    const word = start + sector * SECTOR_WORDS;
    u32[word] = MAGIC;
    u32[word + 1] = tag;
    u32[word + 2] = block;
    u32[word + 3] = generation;
    u32[word + 4] = sector;
    u32[word + 5] = ~value;
  }
}

/**
 * Which generation of its block a sector holds: 0 for zeroes, -1 when it is no sector that was ever written there.
 * `words` are the 128 words from `start` on; with `thorough` all of them are looked at, else the header and the last.
 */
export function generationOf(
  words: Uint32Array,
  start: number,
  tag: number,
  block: number,
  sector: number,
  thorough: boolean,
): number {
  if (words[start] === 0 && words[start + 1] === 0 && words[start + 3] === 0) {
    if (thorough) for (let i = 0; i < SECTOR_WORDS; i++) if (words[start + i] !== 0) return -1;
    return words[start + SECTOR_WORDS - 1] === 0 ? 0 : -1;
  }
  const generation = words[start + 3]!;
  const value = mix(tag, block, generation);
  if (
    words[start] !== MAGIC ||
    words[start + 1] !== tag ||
    words[start + 2] !== block ||
    words[start + 4] !== sector ||
    words[start + 5] !== ~value >>> 0 ||
    words[start + SECTOR_WORDS - 1] !== value
  ) {
    return -1;
  }
  if (thorough) for (let i = HEADER_WORDS; i < SECTOR_WORDS; i++) if (words[start + i] !== value) return -1;
  return generation;
}
