// Memory in use: pages of processes that exist before the trial begins, with contents that depend on the seed.
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import type { RandomStream } from "../../emulator/time/random.ts";
import { M, poke32 } from "../abi/ram.ts";
import { MAX_ORDER } from "../abi/structs/mm.ts";
import { K } from "../core/kernel.ts";
import { ZONE_HIGHMEM, ZONE_NORMAL } from "../mm/page-alloc.ts";
import { ZONE_SHIFT, pfn_to_page } from "../mm/page.ts";
import type { Zone } from "../mm/zone.ts";

/** Pages that lie together: a process's heap, a file that was read in one go. */
const CLUSTER_ORDER = 6;
const CLUSTER_PAGES = 2 ** CLUSTER_ORDER;
const BLOCK_ORDER = MAX_ORDER - 1;
const CLUSTERS_PER_BLOCK = 2 ** (BLOCK_ORDER - CLUSTER_ORDER);
/** How full the parts of memory are that are in use at all. */
const DENSITY = 0.75;

/** Kinds of contents: text, pointers, numbers, noise. */
const TEMPLATES = 4;

/**
 * Takes `fraction` (0..1) of RAM's pages and fills them, none of them with zeroes. For boot, outside of any CPU: no time passes.
 * Returns the number of pages filled; fewer than asked for when memory is short (a sixteenth stays free).
 */
export function fillMemory(fraction: number, random: RandomStream = K.machine.random.stream("memory")): number {
  const high = K.pages.zones[ZONE_HIGHMEM]!;
  // A machine whose RAM is all flat needs much of it for the kernel itself.
  const [zone, share] = high.freePages > 0 ? [high, 15 / 16] : [K.pages.zones[ZONE_NORMAL]!, 1 / 2];
  const room = Math.floor((zone.freePages * share) / CLUSTER_PAGES);
  let clusters = Math.min(room, Math.round((fraction * K.machine.memory.ramPages) / CLUSTER_PAGES));
  if (clusters <= 0) return 0;
  const filled = clusters * CLUSTER_PAGES;
  const templates = makeTemplates(random);
  const blocks = takeBlocks(zone);
  shuffle(blocks, random);
  const perBlock = Math.max(1, Math.floor(CLUSTERS_PER_BLOCK * DENSITY));
  for (const [i, pfn] of blocks.entries()) {
    if (clusters === 0) {
      zone.free(pfn_to_page(pfn), BLOCK_ORDER);
      continue;
    }
    // The last blocks must take what the density leaves over.
    const rest = blocks.length - i;
    let take = Math.min(clusters, Math.max(perBlock, Math.ceil(clusters / rest)), CLUSTERS_PER_BLOCK);
    for (let c = 0; c < CLUSTERS_PER_BLOCK; c++) {
      const at = pfn + c * CLUSTER_PAGES;
      if (random.unit() * (CLUSTERS_PER_BLOCK - c) < take) {
        fillCluster(at, zone.index, templates, random);
        take--;
        clusters--;
      } else {
        zone.free(pfn_to_page(at), CLUSTER_ORDER);
      }
    }
  }
  // Small machines: what is left comes from smaller blocks.
  while (clusters > 0) {
    const page = zone.rmqueue(CLUSTER_ORDER);
    if (page === 0) break;
    fillCluster((page - K.pages.memMap) / K.pages.pageStructBytes, zone.index, templates, random);
    clusters--;
  }
  for (const slot of templates) K.machine.memory.pool.release(slot);
  return filled - clusters * CLUSTER_PAGES;
}

/** Every free block of the largest size. */
function takeBlocks(zone: Zone): number[] {
  const pfns = zone.freeBlocks(BLOCK_ORDER);
  for (let i = 0; i < pfns.length; i++) zone.rmqueue(BLOCK_ORDER);
  return pfns;
}

function shuffle(values: number[], random: RandomStream): void {
  for (let i = values.length - 1; i > 0; i--) {
    const j = random.between(0, i);
    [values[i], values[j]] = [values[j]!, values[i]!];
  }
}

/** Frames of typical contents, kept in the slab so that a copy stays within it. */
function makeTemplates(random: RandomStream): number[] {
  const { pool } = K.machine.memory;
  return Array.from({ length: TEMPLATES }, (_, kind) => {
    const slot = pool.allocate();
    const start = (slot * FRAME_SIZE) / 4;
    let text = 0;
    for (let i = 0; i < FRAME_SIZE / 4; i++) {
      const noise = random.u32();
      text = (text * 33 + (noise & 0xff)) >>> 0;
      const word = [
        0x20202020 + (noise & 0x0f0f0f0f) + 0x41404140,
        i % 2 === 0 ? noise & 0x3fffffe0 : 0x100,
        i % 4 === 0 ? noise & 0xffff : 0,
        noise,
      ][kind]!;
      pool.u32[start + i] = word;
    }
    return slot;
  });
}

function fillCluster(pfn: number, zoneIndex: number, templates: readonly number[], random: RandomStream): void {
  const { memory } = M;
  const { u8, u32 } = M;
  const { memMap, pageStructBytes, at } = K.pages;
  const kind = random.u32() % TEMPLATES;
  const from = templates[kind]! * FRAME_SIZE;
  const flags = (zoneIndex << ZONE_SHIFT) >>> 0;
  const low = M.word8 && !M.little ? 4 : 0;
  const stamp = random.u32();
  for (let i = 0; i < CLUSTER_PAGES; i++) {
    const to = memory.pages.ownedSlot(pfn + i, false) * FRAME_SIZE;
    u8.copyWithin(to, from, from + FRAME_SIZE);
    // No two pages are alike, and none is zero.
    u32[to / 4] = (stamp + i) | 1;
    u32[to / 4 + 1] = pfn + i;
    const page = memMap + (pfn + i) * pageStructBytes;
    poke32(memory.offsetForWrite(page + at.flags + low), flags);
    poke32(memory.offsetForWrite(page + at._count), 1);
  }
}
