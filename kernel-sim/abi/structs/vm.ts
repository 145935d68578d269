// The address space of a process (include/linux/sched.h, mm.h of 2.6.9).
import { funcPtr, int, ptr, struct, typedef, uint, ulong, voidPtr } from "../types.ts";
import type { CType } from "../types.ts";
import { atomic_t, listHead, spinlock_t } from "./base.ts";
import { file, rw_semaphore } from "./fs.ts";

/** One word per entry on the 64-bit platforms, and on i386 without PAE. */
export const pgd_t = typedef("pgd_t", struct("pgd_t", { pgd: ulong }));
export const pgprot_t = typedef("pgprot_t", struct("pgprot_t", { pgprot: ulong }));
export const rb_node = struct("rb_node", {
  rb_parent: voidPtr,
  rb_color: int,
  rb_right: voidPtr,
  rb_left: voidPtr,
});
export const rb_root = struct("rb_root", { rb_node: ptr((): CType => rb_node) });

export const VM_READ = 0x1;
export const VM_WRITE = 0x2;
export const VM_EXEC = 0x4;
export const VM_MAYREAD = 0x10;
export const VM_MAYWRITE = 0x20;
export const VM_MAYEXEC = 0x40;
export const VM_GROWSDOWN = 0x100;
export const VM_DENYWRITE = 0x800;
export const VM_EXECUTABLE = 0x1000;
export const VM_ACCOUNT = 0x100000;

export const vm_area_struct = struct(
  "vm_area_struct",
  {
    vm_mm: ptr((): CType => mm_struct),
    vm_start: ulong,
    vm_end: ulong,
    vm_next: ptr((): CType => vm_area_struct),
    vm_page_prot: pgprot_t,
    vm_flags: ulong,
    vm_rb: rb_node,
    anon_vma_node: listHead,
    anon_vma: voidPtr,
    vm_ops: voidPtr,
    vm_pgoff: ulong,
    vm_file: ptr(() => file),
    vm_private_data: voidPtr,
  },
  { doc: "a run of a process's addresses that are used alike (include/linux/mm.h)" },
);

export const mm_struct = struct(
  "mm_struct",
  {
    mmap: ptr((): CType => vm_area_struct),
    mm_rb: rb_root,
    mmap_cache: ptr((): CType => vm_area_struct),
    get_unmapped_area: funcPtr,
    unmap_area: funcPtr,
    mmap_base: ulong,
    free_area_cache: ulong,
    pgd: ptr(() => pgd_t),
    mm_users: atomic_t,
    mm_count: atomic_t,
    map_count: int,
    mmap_sem: rw_semaphore,
    page_table_lock: spinlock_t,
    mmlist: listHead,
    start_code: ulong,
    end_code: ulong,
    start_data: ulong,
    end_data: ulong,
    start_brk: ulong,
    brk: ulong,
    start_stack: ulong,
    arg_start: ulong,
    arg_end: ulong,
    env_start: ulong,
    env_end: ulong,
    rss: ulong,
    anon_rss: ulong,
    total_vm: ulong,
    locked_vm: ulong,
    shared_vm: ulong,
    exec_vm: ulong,
    stack_vm: ulong,
    reserved_vm: ulong,
    def_flags: ulong,
    nr_ptes: ulong,
    dumpable: uint,
    cpu_vm_mask: ulong,
  },
  { doc: "an address space: its areas, its page tables, its sizes in pages (include/linux/sched.h)" },
);
