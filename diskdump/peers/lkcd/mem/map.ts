// The map of the pages that a dump in memory lies in: an indirect map of maps of pages, all of them scattered.
//
//   root -> [pfn of map | ... | next] -> [...]      indirect maps: 511 maps each (1023 on 32 bits), and the way to the next one
//            map -> [pfn of page | ...]             maps: 512 pages each (1024)
//
// Indirect maps are made beforehand; maps and pages may lie anywhere in RAM.
import { M } from "../../../../kernel-sim/abi/ram.ts";
import type { ViewOf } from "../../../../kernel-sim/abi/view.ts";
import { K } from "../../../../kernel-sim/core/kernel.ts";
import { PAGE_SIZE } from "../../../../kernel-sim/mm/page.ts";
import type { dump_memdev } from "./structs.ts";

export type Memdev = ViewOf<typeof dump_memdev>;

const wordBytes = (): number => K.map.model.wordBytes;
const readWord = (at: number): number => (wordBytes() === 8 ? M.memory.read64(at) : M.memory.read32(at));
const writeWord = (at: number, value: number): void =>
  wordBytes() === 8 ? M.memory.write64(at, value) : M.memory.write32(at, value);

/** Entries of a map. */
export const mapEntries = (): number => PAGE_SIZE / wordBytes();
/** Where an indirect map has the way to the next. */
const nextAt = (indirect: number): number => indirect + PAGE_SIZE - wordBytes();

/** Hangs an indirect map behind the last one (0: it is the first). */
export function appendIndirectMap(dev: Memdev, last: number, map: number): void {
  for (let at = 0; at < PAGE_SIZE; at += wordBytes()) writeWord(map + at, 0);
  if (last === 0) dev.indirect_map_root = map;
  else writeWord(nextAt(last), map);
}

/** dump_mem_add_space: the page becomes space, or the map of further space. Returns: false when the indirect maps are full. */
export function addSpace(dev: Memdev, pfn: number): boolean {
  const current = dev.curr_map;
  if (current === 0) return false;
  const map = readWord(current);
  if (map === 0 || dev.curr_map_offset >= mapEntries()) {
    // What was in it is no page's number.
    for (let at = 0; at < PAGE_SIZE; at += wordBytes()) writeWord(pfn * PAGE_SIZE + at, 0);
    writeWord(current, pfn);
    dev.curr_map_offset = 0;
    return true;
  }
  const offset = dev.curr_map_offset;
  writeWord(map * PAGE_SIZE + offset * wordBytes(), pfn);
  dev.curr_map_offset = offset + 1;
  dev.last_offset = dev.last_offset + PAGE_SIZE;
  if (offset + 1 >= mapEntries()) {
    let next = current + wordBytes();
    if ((next + wordBytes()) % PAGE_SIZE === 0) next = readWord(next);
    dev.curr_map = next;
    dev.curr_map_offset = 0;
  }
  return true;
}

/** dump_mem_lookup: the frame that holds page number `loc` of the dump; undefined when there is none. */
export function lookup(dev: Memdev, loc: number): number | undefined {
  const perIndirect = mapEntries() - 1;
  let index = Math.floor(loc / mapEntries());
  let indirect = dev.indirect_map_root;
  for (; index >= perIndirect && indirect !== 0; index -= perIndirect) indirect = readWord(nextAt(indirect));
  const map = indirect === 0 ? 0 : readWord(indirect + index * wordBytes());
  const pfn = map === 0 ? 0 : readWord(map * PAGE_SIZE + (loc % mapEntries()) * wordBytes());
  return pfn === 0 ? undefined : pfn;
}

/** Every frame that the dump needs, up to page number `end`: indirect maps, maps and pages. Ascending. */
export function framesOf(dev: Memdev, end: number): number[] {
  const frames = new Set<number>();
  const perIndirect = mapEntries() - 1;
  for (let indirect = dev.indirect_map_root; indirect !== 0; indirect = readWord(nextAt(indirect))) {
    frames.add(indirect / PAGE_SIZE);
    for (let i = 0; i < perIndirect; i++) {
      const map = readWord(indirect + i * wordBytes());
      if (map !== 0) frames.add(map);
    }
  }
  for (let loc = 0; loc < end; loc++) {
    const pfn = lookup(dev, loc);
    if (pfn !== undefined) frames.add(pfn);
  }
  return [...frames].sort((a, b) => a - b);
}
