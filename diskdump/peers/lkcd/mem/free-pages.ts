// Which pages become room for the dump while it is taken.
import { step } from "../../../../emulator/cpu/cpu.ts";
import { K } from "../../../../kernel-sim/core/kernel.ts";
import { PAGE_SIZE, PG_reserved, page_count, page_flags, pfn_to_page } from "../../../../kernel-sim/mm/page.ts";
import { addSpace, type Memdev } from "./map.ts";

/**
 * dump_low_page: what the next kernel takes before it can look at a map, and what it needs to come up. On the real machine that was a few
 * hundred pages; here all of a kernel's own objects lie in the flat window.
 */
const low_page = (pfn: number): boolean => pfn * PAGE_SIZE < K.machine.memory.flatBytes;

/**
 * dump_check_and_free_page: the page has been saved, or never will be. If it is free, its frame becomes space. What it held is
 * gone then: reserved frames, low ones, and those that anybody uses, stay as they are.
 */
export function check_and_free_page(dev: Memdev, pfn: number): void {
  const page = pfn_to_page(pfn);
  step(20);
  if (low_page(pfn) || (page_flags(page) & PG_reserved) !== 0 || page_count(page) !== 0) return;
  if (addSpace(dev, pfn)) dev.nr_free = dev.nr_free + 1;
}
