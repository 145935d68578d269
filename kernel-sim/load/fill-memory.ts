// Memory in use: pages of processes that exist before the trial begins; what each holds depends on the seed.
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import type { RandomStream } from "../../emulator/time/random.ts";
import { M, poke32 } from "../abi/ram.ts";
import { MAX_ORDER } from "../abi/structs/mm.ts";
import { K } from "../core/kernel.ts";
import { ZONE_HIGHMEM, ZONE_NORMAL } from "../mm/page-alloc.ts";
import { ZONE_SHIFT, pfn_to_page } from "../mm/page.ts";
import type { Zone } from "../mm/zone.ts";
import { CLUSTER_ORDER, CLUSTER_PAGES, ProcessPages } from "./process-pages.ts";

const BLOCK_ORDER = MAX_ORDER - 1;
const CLUSTERS_PER_BLOCK = 2 ** (BLOCK_ORDER - CLUSTER_ORDER);
/**
 * Draws that once went into the contents of pages, before the first cluster and with each. They are still made: a seed keeps its
 * layout of memory, so what was published of a trial stays true.
 */
const SPENT_DRAWS = { first: 4096, perCluster: 1 };
/** How full the parts of memory are that are in use at all. */
const DENSITY = 0.75;

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
  const contents = new ProcessPages(K.machine.memory.pool, random);
  spend(random, SPENT_DRAWS.first);
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
        fillCluster(at, zone, contents, random);
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
    fillCluster((page - K.pages.memMap) / K.pages.pageStructBytes, zone, contents, random);
    clusters--;
  }
  return filled - clusters * CLUSTER_PAGES;
}

/** Every free block of the largest size. */
function takeBlocks(zone: Zone): number[] {
  const pfns = zone.freeBlocks(BLOCK_ORDER);
  for (let i = 0; i < pfns.length; i++) zone.rmqueue(BLOCK_ORDER);
  return pfns;
}

function spend(random: RandomStream, draws: number): void {
  for (let i = 0; i < draws; i++) random.u32();
}

function shuffle(values: number[], random: RandomStream): void {
  for (let i = values.length - 1; i > 0; i--) {
    const j = random.between(0, i);
    [values[i], values[j]] = [values[j]!, values[i]!];
  }
}

/** A cluster of a process's pages: of which kind is drawn, and the pages of one kind are no two alike. */
function fillCluster(pfn: number, zone: Zone, contents: ProcessPages, random: RandomStream): void {
  const { memory } = M;
  const { memMap, pageStructBytes, at } = K.pages;
  const flatPages = memory.flatBytes / FRAME_SIZE;
  const flags = (zone.index << ZONE_SHIFT) >>> 0;
  const low = M.word8 && !M.little ? 4 : 0;
  const first = contents.next();
  spend(random, SPENT_DRAWS.perCluster);
  for (let i = 0; i < CLUSTER_PAGES; i++) {
    if (pfn + i >= flatPages) memory.pages.setShared(pfn + i, first + i);
    else memory.pool.copy(first + i, pfn + i);
    const page = memMap + (pfn + i) * pageStructBytes;
    poke32(memory.offsetForWrite(page + at.flags + low), flags);
    poke32(memory.offsetForWrite(page + at._count), 1);
  }
}
