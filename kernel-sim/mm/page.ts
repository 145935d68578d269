// struct page: the frame table lies behind the flat window, so its fields are reached page by page.
//
// A page is named by the physical address of its struct page. Only the parts of mem_map that are used take memory: an
// untouched entry reads as zeroes, which says "free, or never handed out".
import { step } from "../../emulator/cpu/cpu.ts";
import { FRAME_SHIFT, FRAME_SIZE } from "../../emulator/memory/pool.ts";
import { M, STORE_NS, peek32, peekPtr, poke32, pokePtr } from "../abi/ram.ts";
import { K } from "../core/kernel.ts";

/** page.flags: bit numbers of 2.6.9 (include/linux/page-flags.h). */
export const PG_locked = 1 << 0;
export const PG_error = 1 << 1;
export const PG_referenced = 1 << 2;
export const PG_uptodate = 1 << 3;
export const PG_dirty = 1 << 4;
export const PG_lru = 1 << 5;
export const PG_active = 1 << 6;
export const PG_slab = 1 << 7;
export const PG_highmem = 1 << 8;
export const PG_reserved = 1 << 11;
export const PG_private = 1 << 12;
export const PG_writeback = 1 << 13;
export const PG_nosave = 1 << 14;
export const PG_compound = 1 << 15;
export const PG_reclaim = 1 << 18;
/** The zone of a page is in the top bits of its flags. */
export const ZONE_SHIFT = 28;

export const PAGE_SIZE = FRAME_SIZE;
export const PAGE_SHIFT = FRAME_SHIFT;

// ---- memory that may lie above the flat window ------------------------------------------------------------------------

/** A 32-bit field anywhere in RAM. Free. */
export function far_peek32(at: number): number {
  const offset = M.memory.offsetForRead(at);
  return offset < 0 ? 0 : peek32(offset);
}
export function far_poke32(at: number, value: number): void {
  poke32(M.memory.offsetForWrite(at), value);
}
/** As store32, anywhere in RAM: a micro-step. */
export function far_store32(at: number, value: number): void {
  step(STORE_NS);
  poke32(M.memory.offsetForWrite(at), value);
}
export function far_peekPtr(at: number): number {
  const offset = M.memory.offsetForRead(at);
  return offset < 0 ? 0 : peekPtr(offset);
}
export function far_storePtr(at: number, address: number): void {
  step(STORE_NS);
  pokePtr(M.memory.offsetForWrite(at), address);
}

/** Low word of an unsigned long: what fits of flags, index and private. */
const wordLow = (): number => (M.word8 && !M.little ? 4 : 0);

// ---- lists whose members are struct pages -----------------------------------------------------------------------------

const PREV = (): number => (M.word8 ? 8 : 4);

export const page_list_next = (head: number): number => far_peekPtr(head);
export const page_list_empty = (head: number): boolean => far_peekPtr(head) === head;

export function page_list_add(entry: number, head: number): void {
  insert(entry, head, far_peekPtr(head));
}
export function page_list_add_tail(entry: number, head: number): void {
  insert(entry, far_peekPtr(head + PREV()), head);
}
function insert(entry: number, prev: number, next: number): void {
  const back = PREV();
  far_storePtr(next + back, entry);
  far_storePtr(entry, next);
  far_storePtr(entry + back, prev);
  far_storePtr(prev, entry);
}
export function page_list_del(entry: number): void {
  const next = far_peekPtr(entry);
  const prev = far_peekPtr(entry + PREV());
  far_storePtr(next + PREV(), prev);
  far_storePtr(prev, next);
}

// ---- page <-> frame ---------------------------------------------------------------------------------------------------

export const page_to_pfn = (page: number): number => {
  const { memMap, pageStructBytes } = K.pages;
  return (page - memMap) / pageStructBytes;
};
export const pfn_to_page = (pfn: number): number => K.pages.memMap + pfn * K.pages.pageStructBytes;
/** Physical address of a page's contents. */
export const page_to_phys = (page: number): number => page_to_pfn(page) * FRAME_SIZE;
/** The struct page of the frame that contains a physical address. */
export const virt_to_page = (address: number): number => pfn_to_page(Math.floor(address / FRAME_SIZE));

// ---- fields -----------------------------------------------------------------------------------------------------------

export const page_flags = (page: number): number => far_peek32(page + K.pages.at.flags + wordLow());
export const set_page_flags = (page: number, flags: number): void =>
  far_store32(page + K.pages.at.flags + wordLow(), flags);
export const test_page_flag = (page: number, flag: number): boolean => (page_flags(page) & flag) !== 0;
export function set_page_flag(page: number, flag: number): void {
  set_page_flags(page, page_flags(page) | flag);
}
export function clear_page_flag(page: number, flag: number): void {
  set_page_flags(page, page_flags(page) & ~flag);
}
/** Returns whether the flag was set already: one atomic step. */
export function test_and_set_page_flag(page: number, flag: number): boolean {
  step(STORE_NS * 4);
  const at = M.memory.offsetForWrite(page + K.pages.at.flags + wordLow());
  const flags = peek32(at);
  poke32(at, flags | flag);
  return (flags & flag) !== 0;
}
export function test_and_clear_page_flag(page: number, flag: number): boolean {
  step(STORE_NS * 4);
  const at = M.memory.offsetForWrite(page + K.pages.at.flags + wordLow());
  const flags = peek32(at);
  poke32(at, flags & ~flag);
  return (flags & flag) !== 0;
}

/** page_flags and page_count of a page that structPagesAt() has found. */
export const flagsAt = (offset: number): number => peek32(offset + K.pages.at.flags + wordLow());
export const countAt = (offset: number): number => peek32(offset + K.pages.at._count) | 0;

/** Instead of an offset: all of them are zero and take no memory. */
export const ALL_ZERO = -1;
/** Instead of an offset: they do not lie in one frame. */
export const APART = -2;

/** Slab offset of `count` struct pages from `page` on, for who looks at many of them: one look-up for all. */
export function structPagesAt(page: number, count: number): number {
  return (page % FRAME_SIZE) + count * K.pages.pageStructBytes > FRAME_SIZE ? APART : M.memory.offsetForRead(page);
}

export const page_count = (page: number): number => far_peek32(page + K.pages.at._count) | 0;
export const set_page_count = (page: number, count: number): void => far_store32(page + K.pages.at._count, count);
/** One more user of the page. */
export const get_page = (page: number): void => set_page_count(page, page_count(page) + 1);

export const page_index = (page: number): number => far_peek32(page + K.pages.at.index + wordLow());
export const set_page_index = (page: number, index: number): void =>
  far_store32(page + K.pages.at.index + wordLow(), index);
export const page_private = (page: number): number => far_peek32(page + K.pages.at.private + wordLow());
export const set_page_private = (page: number, value: number): void =>
  far_store32(page + K.pages.at.private + wordLow(), value);
export const page_mapping_addr = (page: number): number => far_peekPtr(page + K.pages.at.mapping);
export const set_page_mapping = (page: number, mapping: number): void =>
  far_storePtr(page + K.pages.at.mapping, mapping);
/** Address of page.lru, a list_head. */
export const page_lru = (page: number): number => page + K.pages.at.lru;
export const page_of_lru = (lru: number): number => lru - K.pages.at.lru;
export const page_zonenum = (page: number): number => page_flags(page) >>> ZONE_SHIFT;
