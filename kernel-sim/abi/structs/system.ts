// What the kernel knows of the machine and of itself (asm-x86_64/e820.h, processor.h, linux/swap.h, kernel/panic.c of 2.6.9).
import { array, char, int, ptr, struct, u16, u64, u8, uint, ulong, voidPtr } from "../types.ts";
import type { CType } from "../types.ts";
import { listHead, spinlock_t } from "./base.ts";
import { file } from "./fs.ts";

export const tnt = struct(
  "tnt",
  { bit: u8, true: char, false: char },
  { doc: "a bit of tainted_mask, and its letter when it is set and when not (kernel/panic.c)" },
);

export const E820MAX = 128;
export const E820_RAM = 1;
export const E820_RESERVED = 2;
export const e820entry = struct("e820entry", { addr: u64, size: u64, type: uint }, { packed: true });
export const e820map = struct(
  "e820map",
  { nr_map: int, map: array(e820entry, E820MAX) },
  { doc: "the firmware's memory map (asm-x86_64/e820.h)" },
);

export const cpuinfo_x86 = struct(
  "cpuinfo_x86",
  {
    x86: u8,
    x86_vendor: u8,
    x86_model: u8,
    x86_mask: u8,
    cpuid_level: int,
    x86_capability: array(uint, 7),
    x86_vendor_id: array(char, 16),
    x86_model_id: array(char, 64),
    x86_cache_size: int,
    x86_clflush_size: int,
    x86_cache_alignment: int,
    x86_tlbsize: int,
    x86_virt_bits: u8,
    x86_phys_bits: u8,
    x86_num_cores: u8,
    x86_apicid: u8,
    x86_power: uint,
    loops_per_jiffy: ulong,
  },
  { doc: "what a CPU says of itself (asm-x86_64/processor.h)" },
);

export const MAX_SWAPFILES = 32;
export const swap_extent = struct("swap_extent", {
  list: listHead,
  start_page: ulong,
  nr_pages: ulong,
  start_block: u64,
});
export const swap_info_struct = struct(
  "swap_info_struct",
  {
    flags: uint,
    sdev_lock: spinlock_t,
    swap_file: ptr((): CType => file),
    bdev: voidPtr,
    extent_list: listHead,
    nr_extents: int,
    curr_swap_extent: ptr((): CType => swap_extent),
    old_block_size: uint,
    swap_map: ptr(() => u16),
    lowest_bit: uint,
    highest_bit: uint,
    cluster_next: uint,
    cluster_nr: uint,
    prio: int,
    pages: int,
    max: ulong,
    inuse_pages: ulong,
    next: int,
  },
  { doc: "a swap area (include/linux/swap.h)" },
);
