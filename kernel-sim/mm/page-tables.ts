// The kernel's page tables on x86_64 (arch/x86_64/kernel/head.S, mm/init.c of 2.6.9): four levels, large pages for the direct map
// and the kernel image, 4 KiB pages for modules.
//
// The simulation does not walk them to reach memory, but it keeps them: what a module's loading maps, an analyst's page walk finds.
import { peek32, poke32 } from "../abi/ram.ts";
import { mm_struct } from "../abi/structs/vm.ts";
import { array, ulong } from "../abi/types.ts";
import { K, type Kernel } from "../core/kernel.ts";
import { INIT_LIST_HEAD } from "../core/list.ts";
import { Spinlock } from "../core/spinlock.ts";

export const PTRS_PER_TABLE = 512;
const ENTRY_BYTES = 8;
const TABLE_BYTES = 4096;
const LARGE_PAGE = 1 << 21;
const GIB = 2 ** 30;

/** Page table entry bits (AMD64 manual 2, 5.4; asm-x86_64/pgtable.h). */
export const _PAGE_PRESENT = 0x001;
export const _PAGE_RW = 0x002;
export const _PAGE_USER = 0x004;
export const _PAGE_ACCESSED = 0x020;
export const _PAGE_DIRTY = 0x040;
const _PAGE_PSE = 0x080;
const _PAGE_GLOBAL = 0x100;
/** Bit 63, in the upper word. */
const NX_HIGH = 0x80000000;
const _KERNPG_TABLE = _PAGE_PRESENT | _PAGE_RW | _PAGE_ACCESSED | _PAGE_DIRTY;
export const _PAGE_TABLE = _KERNPG_TABLE | _PAGE_USER;
const LARGE_KERNEL = _KERNPG_TABLE | _PAGE_PSE | _PAGE_GLOBAL;
const PAGE_KERNEL = _KERNPG_TABLE | _PAGE_GLOBAL;

/** KERNEL_TEXT_SIZE: what the kernel map covers. */
const KERNEL_TEXT_BYTES = 40 << 20;

/** Which entry of a table of `level` (4 is the top) an address uses. */
export const tableIndex = (address: bigint, level: 1 | 2 | 3 | 4): number =>
  Number((address >> BigInt(12 + 9 * (level - 1))) & 511n);

/** Stores an entry: physical address and flags. Pays nothing: tables are made at boot, or under somebody's step(). */
export function set_entry(table: number, index: number, physical: number, flags: number, noExecute = false): void {
  const at = table + index * ENTRY_BYTES;
  poke32(at, ((physical >>> 0) | flags) >>> 0);
  poke32(at + 4, (Math.floor(physical / 2 ** 32) | (noExecute ? NX_HIGH : 0)) >>> 0);
}

/** The physical address in an entry; NaN when nothing is there. */
export function entryTarget(table: number, index: number): number {
  const at = table + index * ENTRY_BYTES;
  const low = peek32(at) >>> 0;
  return low & _PAGE_PRESENT ? (low & ~0xfff) + (peek32(at + 4) & 0xfffff) * 2 ** 32 : NaN;
}

/** Makes init_level4_pgt and init_mm. Other platforms have their own kinds of page tables and get init_mm alone. */
export function paging_init(k: Kernel): void {
  const init_mm = k.view(mm_struct, k.static("init_mm", mm_struct));
  INIT_LIST_HEAD(init_mm.mmlist.addr);
  INIT_LIST_HEAD(init_mm.mmap_sem.addr + 8);
  new Spinlock(init_mm.page_table_lock.addr, "init_mm.page_table_lock");
  new Spinlock(init_mm.mmap_sem.wait_lock.addr, "init_mm.mmap_sem.wait_lock");
  init_mm.mm_users.counter = 2;
  init_mm.mm_count.counter = 1;
  if (k.map.model.name !== "x86_64") return;
  const table = (name: string): number =>
    k.staticBytes(name, TABLE_BYTES, TABLE_BYTES, "data", array(ulong, PTRS_PER_TABLE));
  const top = table("init_level4_pgt");
  const vmalloc = table("boot_vmalloc_pgt");
  const kernel3 = table("level3_kernel_pgt");
  const kernel2 = table("level2_kernel_pgt");
  const direct3 = table("level3_physmem_pgt");
  const { pageOffset, kernelMap, moduleBase } = k.map;
  const link = (from: number, address: bigint, level: 3 | 4, to: number): void =>
    set_entry(from, tableIndex(address, level), to, _KERNPG_TABLE);
  link(top, pageOffset, 4, direct3);
  link(top, VMALLOC_START, 4, vmalloc);
  link(top, kernelMap, 4, kernel3);
  link(kernel3, kernelMap, 3, kernel2);
  for (let at = 0; at < KERNEL_TEXT_BYTES; at += LARGE_PAGE) {
    set_entry(kernel2, tableIndex(kernelMap + BigInt(at), 2), at, LARGE_KERNEL);
  }
  set_entry(kernel2, tableIndex(moduleBase, 2), k.bootmem(TABLE_BYTES, TABLE_BYTES), _KERNPG_TABLE);
  init_memory_mapping(k, direct3);
  // Modules that are loaded already.
  for (const { core, coreBytes } of k.modules.loaded.values()) map_module_area(core, core + coreBytes);
}

/** VMALLOC_START before 2.6.11. */
const VMALLOC_START = 0xffffff0000000000n;

/** The direct map: all of memory up to its end, in large pages. */
function init_memory_mapping(k: Kernel, direct3: number): void {
  const { endOfRam } = k.machine.memory;
  for (let start = 0; start < endOfRam; start += GIB) {
    const table = k.bootmem(TABLE_BYTES, TABLE_BYTES);
    set_entry(direct3, tableIndex(k.map.pageOffset + BigInt(start), 3), table, _KERNPG_TABLE);
    for (let i = 0; i < PTRS_PER_TABLE && start + i * LARGE_PAGE < endOfRam; i++) {
      set_entry(table, i, start + i * LARGE_PAGE, LARGE_KERNEL);
    }
  }
}

/** Maps [start, end) (physical, whole pages) of the module area where the address map has it. */
export function map_module_area(start: number, end: number): void {
  if (!K.symbols.has("level2_kernel_pgt")) return;
  const { moduleBase } = K.map;
  const level2 = K.symbol("level2_kernel_pgt");
  for (let at = start; at < end; at += TABLE_BYTES) {
    const address = moduleBase + BigInt(at - K.ranges.moduleStart);
    const table = entryTarget(level2, tableIndex(address, 2));
    set_entry(table, tableIndex(address, 1), at, PAGE_KERNEL);
  }
}

/** Where the kernel's page tables lead from a virtual address; NaN when nowhere. For checks. */
export function walkKernelTables(address: bigint): number {
  let table = K.symbol("init_level4_pgt");
  for (const level of [4, 3, 2, 1] as const) {
    const index = tableIndex(address, level);
    const target = entryTarget(table, index);
    if (Number.isNaN(target)) return NaN;
    if (level === 2 && peek32(table + index * ENTRY_BYTES) & _PAGE_PSE) {
      return target + Number(address & BigInt(LARGE_PAGE - 1));
    }
    if (level === 1) return target + Number(address & 0xfffn);
    table = target;
  }
  return NaN;
}
