// RAM as the kernel's page frame numbers see it: page_is_ram() and next_ram_page() as ranges.
import type { MemoryRange } from "../../emulator/memory/memory.ts";
import type { PageRange } from "../format/bitmap.ts";

/**
 * The page frames that are RAM, whole pages only, adjacent ones merged, ascending. `pageSize` is the kernel's.
 * (e820 on i386 and x86_64, the EFI memory map on ia64: asm/diskdump.h of each.)
 */
export function ramPageRanges(map: readonly MemoryRange[], pageSize: number): PageRange[] {
  const pieces: { start: number; end: number }[] = [];
  for (const { start, end, type } of [...map].sort((a, b) => a.start - b.start)) {
    if (type !== "ram") continue;
    const last = pieces.at(-1);
    if (last && last.end === start) last.end = end;
    else pieces.push({ start, end });
  }
  const ranges: PageRange[] = [];
  for (const { start, end } of pieces) {
    const first = Math.ceil(start / pageSize);
    const count = Math.floor(end / pageSize) - first;
    if (count > 0) ranges.push({ first, count });
  }
  return ranges;
}

/** The highest page frame number of RAM plus one: max_pfn. */
export const maxPfn = (ranges: readonly PageRange[]): number => {
  const last = ranges.at(-1);
  return last ? last.first + last.count : 0;
};
