// The address space of a process (mm/mmap.c, memory.c, fs/exec.c of 2.6.9) on x86_64: its areas, and page tables of three levels
// that lead to the pages it uses. (Before 2.6.11 a process's pgd is the third level; the fourth belongs to the CPU.)
//
// A process of the simulation runs no instructions. It has what the kernel sees of one: the page that its program counter is in,
// its stack, and the buffers that its system calls name.
import { M, peekPtr, pokePtr } from "../abi/ram.ts";
import {
  VM_ACCOUNT,
  VM_DENYWRITE,
  VM_EXEC,
  VM_EXECUTABLE,
  VM_GROWSDOWN,
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYWRITE,
  VM_READ,
  VM_WRITE,
  mm_struct,
  vm_area_struct,
} from "../abi/structs/vm.ts";
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import type { ViewOf } from "../abi/view.ts";
import { K, type Kernel } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { INIT_LIST_HEAD } from "../core/list.ts";
import type { Task } from "../core/task.ts";
import { fput } from "../fs/files.ts";
import { GFP_HIGHUSER, GFP_KERNEL, __get_free_pages, alloc_page, free_pages, put_page } from "./page-alloc.ts";
import {
  PTRS_PER_TABLE,
  _PAGE_ACCESSED,
  _PAGE_DIRTY,
  _PAGE_PRESENT,
  _PAGE_RW,
  _PAGE_TABLE,
  _PAGE_USER,
  entryTarget,
  set_entry,
  tableIndex,
} from "./page-tables.ts";
import { page_to_phys, virt_to_page } from "./page.ts";
import { kmem_cache_create, kmem_cache_free, kmem_cache_zalloc, type KmemCache } from "./slab.ts";

type Mm = ViewOf<typeof mm_struct>;

const ENOMEM = 12;
/** Where a program of that time is linked, how large ours is, and where its stack ends (TASK_SIZE of 2.6.9: 2^39). */
const TEXT_START = 0x400000;
const DATA_START = 0x501000;
export const PROGRAM_BYTES = 0x1800;
const STACK_END = 0x7fc0000000;
const STACK_PAGES = 3;
/** TASK_UNMAPPED_BASE: a third of the address space. */
const MMAP_BASE = 0x2a95556000;
/** `syscall; jmp` back to it: what a process that only calls the kernel looks like. Its program counter is in it (registers.ts). */
const PROGRAM_CODE = [0x0f, 0x05, 0xeb, 0xfc];
const CODE_OFFSET = 0x530 - 2;

const MAY = VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
const TEXT_FLAGS = VM_READ | VM_EXEC | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_DENYWRITE | VM_EXECUTABLE;
const DATA_FLAGS = VM_READ | VM_WRITE | MAY | VM_DENYWRITE | VM_EXECUTABLE | VM_ACCOUNT;
const ANONYMOUS_FLAGS = VM_READ | VM_WRITE | MAY | VM_ACCOUNT;
const STACK_FLAGS = ANONYMOUS_FLAGS | VM_EXEC | VM_GROWSDOWN;

export class ProcessMemory {
  readonly mmCache: KmemCache;
  readonly areaCache: KmemCache;
  constructor(k: Kernel) {
    this.mmCache = kmem_cache_create("mm_struct", k.sizeOf(mm_struct), 64);
    this.areaCache = kmem_cache_create("vm_area_struct", k.sizeOf(vm_area_struct));
  }
}

/** Makes the caches. Boot. */
export function proc_caches_init(k: Kernel): void {
  k.processMemory = new ProcessMemory(k);
}

/** Only x86_64 processes have an address space; on the other platforms the kernel sees tasks alone. */
export const hasProcessMemory = (): boolean => K.map.model.name === "x86_64";

/** A page for a page table, empty. Returns: its address, or 0. Context: process. */
const pte_alloc = kfunc("pte_alloc_one", function* () {
  const table = yield* __get_free_pages(GFP_KERNEL, 0);
  if (table !== 0) M.u8.fill(0, table, table + FRAME_SIZE);
  return table;
});

/** Maps one page. Takes over the caller's reference. Returns: 0 or -ENOMEM. Context: process. */
const install_page = kfunc("install_page", function* (mm: Mm, address: number, physical: number, writable: boolean) {
  let table = peekPtr(mm.addr + K.offsetOf(mm_struct, "pgd"));
  for (const level of [3, 2] as const) {
    const index = tableIndex(BigInt(address), level);
    let next = entryTarget(table, index);
    if (Number.isNaN(next)) {
      next = yield* pte_alloc();
      if (next === 0) return -ENOMEM;
      set_entry(table, index, next, _PAGE_TABLE);
      if (level === 2) mm.nr_ptes = mm.nr_ptes + 1;
    }
    table = next;
  }
  const flags = _PAGE_PRESENT | _PAGE_USER | _PAGE_ACCESSED | (writable ? _PAGE_RW | _PAGE_DIRTY : 0);
  set_entry(table, tableIndex(BigInt(address), 1), physical, flags, writable);
  mm.rss = mm.rss + 1;
  return 0;
});

/** A run of addresses [start, start + pages). Areas are kept in ascending order. Returns: 0 or -ENOMEM. Context: process. */
const insert_vm_struct = kfunc(
  "insert_vm_struct",
  function* (mm: Mm, start: number, pages: number, flags: number, file: number) {
    const addr = yield* kmem_cache_zalloc(K.processMemory.areaCache, GFP_KERNEL);
    if (addr === 0) return -ENOMEM;
    const vma = K.view(vm_area_struct, addr);
    vma.vm_mm = mm.addr;
    vma.vm_start = start;
    vma.vm_end = start + pages * FRAME_SIZE;
    vma.vm_flags = flags;
    vma.vm_file = file;
    INIT_LIST_HEAD(vma.anon_vma_node.addr);
    let link = mm.addr + K.offsetOf(mm_struct, "mmap");
    for (let at = peekPtr(link); at !== 0; at = peekPtr(link)) {
      if (K.view(vm_area_struct, at).vm_start > start) break;
      link = at + K.offsetOf(vm_area_struct, "vm_next");
    }
    vma.vm_next = peekPtr(link);
    pokePtr(link, addr);
    mm.map_count = mm.map_count + 1;
    mm.total_vm = mm.total_vm + pages;
    return 0;
  },
);

/** A fresh page at `address`. Returns: its physical address, or 0. Context: process. */
const anonymous_page = kfunc("do_anonymous_page", function* (mm: Mm, address: number, writable: boolean) {
  const page = yield* alloc_page(GFP_HIGHUSER);
  if (page === 0) return 0;
  const physical = page_to_phys(page);
  const offset = M.memory.offsetForWrite(physical);
  M.u8.fill(0, offset, offset + FRAME_SIZE);
  if ((yield* install_page(mm, address, physical, writable)) === 0) return physical;
  yield* put_page(page);
  return 0;
});

/**
 * Gives a process the address space of a freshly started program. `file` is its open file; the address space takes the
 * reference over. Returns: 0 or -ENOMEM. Context: process.
 */
export const exec_mmap = kfunc("exec_mmap", function* (task: Task, file: number) {
  const addr = yield* kmem_cache_zalloc(K.processMemory.mmCache, GFP_KERNEL);
  const pgd = addr === 0 ? 0 : yield* pte_alloc();
  if (pgd === 0) return -ENOMEM;
  const mm = K.view(mm_struct, addr);
  mm.pgd = pgd;
  mm.mm_users.counter = 1;
  mm.mm_count.counter = 1;
  mm.page_table_lock.lock = 1;
  mm.mmap_sem.wait_lock.lock = 1;
  INIT_LIST_HEAD(mm.mmap_sem.wait_list.addr);
  INIT_LIST_HEAD(mm.mmlist.addr);
  mm.mmap_base = MMAP_BASE;
  mm.free_area_cache = MMAP_BASE;
  mm.start_code = TEXT_START;
  mm.end_code = TEXT_START + PROGRAM_BYTES;
  mm.start_data = DATA_START;
  mm.end_data = DATA_START + 0x400;
  mm.start_brk = DATA_START + FRAME_SIZE;
  mm.brk = DATA_START + FRAME_SIZE;
  mm.start_stack = STACK_END - 0x920;
  task.s.mm = addr;
  task.s.active_mm = addr;
  const textPages = Math.ceil(PROGRAM_BYTES / FRAME_SIZE);
  const text = yield* anonymous_page(mm, TEXT_START, false);
  if (text === 0) return -ENOMEM;
  M.u8.set(PROGRAM_CODE, M.memory.offsetForWrite(text) + CODE_OFFSET);
  const areas = [
    yield* insert_vm_struct(mm, TEXT_START, textPages, TEXT_FLAGS, file),
    yield* insert_vm_struct(mm, DATA_START, 1, DATA_FLAGS, 0),
    yield* insert_vm_struct(mm, STACK_END - STACK_PAGES * FRAME_SIZE, STACK_PAGES, STACK_FLAGS, 0),
  ];
  if (areas.some((error) => error < 0)) return -ENOMEM;
  mm.exec_vm = textPages;
  mm.stack_vm = STACK_PAGES;
  return (yield* anonymous_page(mm, STACK_END - FRAME_SIZE, true)) === 0 ? -ENOMEM : 0;
});

/**
 * Maps pages of its own into the running process, one behind the other: an anonymous mmap that is locked. Takes over the
 * caller's references. Returns: the address, or -ENOMEM. Context: process.
 */
export const mmap_pages = kfunc("do_mmap_pgoff", function* (task: Task, pages: readonly number[]) {
  const mm = K.view(mm_struct, task.s.mm);
  const start = mm.free_area_cache;
  if ((yield* insert_vm_struct(mm, start, pages.length, ANONYMOUS_FLAGS, 0)) < 0) return -ENOMEM;
  mm.free_area_cache = start + pages.length * FRAME_SIZE;
  mm.anon_rss = mm.anon_rss + pages.length;
  for (const [i, physical] of pages.entries()) {
    if ((yield* install_page(mm, start + i * FRAME_SIZE, physical, true)) < 0) return -ENOMEM;
  }
  return start;
});

/** Frees what the tables of `level` below `table` lead to, and the tables. Context: process. */
const free_pgtables = kfunc("free_pgtables", function* (table: number, level: number): Generator<void, void, void> {
  for (let i = 0; i < PTRS_PER_TABLE; i++) {
    const target = entryTarget(table, i);
    if (Number.isNaN(target)) continue;
    if (level > 1) yield* free_pgtables(target, level - 1);
    else yield* put_page(virt_to_page(target));
  }
  yield* free_pages(table, 0);
});

/** A process that ends gives its memory back. Context: process. */
export const exit_mm = kfunc("exit_mm", function* (task: Task) {
  if (task.s.mm === 0) return;
  const mm = K.view(mm_struct, task.s.mm);
  task.s.mm = 0;
  task.s.active_mm = K.symbol("init_mm");
  yield* free_pgtables(mm.pgd, 3);
  for (let at = mm.mmap; at !== 0;) {
    const { vm_next, vm_file } = K.view(vm_area_struct, at);
    if (vm_file !== 0) yield* fput(vm_file);
    yield* kmem_cache_free(K.processMemory.areaCache, at);
    at = vm_next;
  }
  yield* kmem_cache_free(K.processMemory.mmCache, mm.addr);
});
