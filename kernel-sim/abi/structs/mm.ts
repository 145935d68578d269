// Memory management's structs (include/linux/mm.h, mmzone.h, mm/slab.c, include/linux/fs.h of 2.6.9).
import { array, charPtr, funcPtr, int, struct, uint, ulong, voidPtr } from "../types.ts";
import { atomic_t, listHead, spinlock_t, wait_queue_head_t } from "./base.ts";

export const page = struct(
  "page",
  {
    flags: ulong,
    _count: atomic_t,
    _mapcount: atomic_t,
    private: ulong,
    mapping: voidPtr,
    index: ulong,
    lru: listHead,
  },
  { doc: "one page frame (include/linux/mm.h); _count 0 is free, so that untouched parts of mem_map stay zero" },
);

/** Free blocks of one size: a list, and a bit per pair of buddies (1: exactly one of the two is free). */
export const free_area = struct("free_area", { free_list: listHead, map: voidPtr });
export const per_cpu_pages = struct("per_cpu_pages", { count: int, low: int, high: int, batch: int, list: listHead });
export const per_cpu_pageset = struct("per_cpu_pageset", { pcp: array(per_cpu_pages, 2) });

export const MAX_ORDER = 11;
export const MAX_NR_ZONES = 3;
const NR_CPUS = 64;

export const zone = struct("zone", {
  free_pages: ulong,
  pages_min: ulong,
  pages_low: ulong,
  pages_high: ulong,
  protection: array(ulong, MAX_NR_ZONES),
  pageset: array(per_cpu_pageset, NR_CPUS),
  lock: spinlock_t,
  free_area: array(free_area, MAX_ORDER),
  lru_lock: spinlock_t,
  active_list: listHead,
  inactive_list: listHead,
  nr_scan_active: ulong,
  nr_scan_inactive: ulong,
  nr_active: ulong,
  nr_inactive: ulong,
  all_unreclaimable: int,
  pages_scanned: ulong,
  wait_table: voidPtr,
  wait_table_size: ulong,
  wait_table_bits: ulong,
  zone_pgdat: voidPtr,
  zone_mem_map: voidPtr,
  zone_start_pfn: ulong,
  name: charPtr,
  spanned_pages: ulong,
  present_pages: ulong,
});

export const pglist_data = struct("pglist_data", {
  node_zones: array(zone, MAX_NR_ZONES),
  nr_zones: int,
  node_mem_map: voidPtr,
  node_start_pfn: ulong,
  node_present_pages: ulong,
  node_spanned_pages: ulong,
  node_id: int,
  pgdat_next: voidPtr,
  kswapd_wait: wait_queue_head_t,
});

/** What a CPU has at hand of a slab cache; `avail` object pointers follow it. */
export const array_cache = struct("array_cache", { avail: uint, limit: uint, batchcount: uint, touched: uint });
export const kmem_list3 = struct("kmem_list3", {
  slabs_partial: listHead,
  slabs_full: listHead,
  slabs_free: listHead,
  free_objects: ulong,
  free_touched: int,
  next_reap: ulong,
  shared: voidPtr,
});
export const kmem_cache_s = struct("kmem_cache_s", {
  array: array(voidPtr, NR_CPUS),
  batchcount: uint,
  limit: uint,
  lists: kmem_list3,
  objsize: uint,
  flags: uint,
  num: uint,
  free_limit: uint,
  spinlock: spinlock_t,
  gfporder: uint,
  gfpflags: uint,
  colour: ulong,
  colour_off: uint,
  colour_next: uint,
  slabp_cache: voidPtr,
  slab_size: uint,
  dflags: uint,
  ctor: funcPtr,
  dtor: funcPtr,
  name: charPtr,
  next: listHead,
});
export const slab = struct("slab", { list: listHead, colouroff: ulong, s_mem: voidPtr, inuse: uint, free: uint });
export const cache_sizes = struct("cache_sizes", { cs_size: ulong, cs_cachep: voidPtr, cs_dmacachep: voidPtr });

export const radix_tree_root = struct("radix_tree_root", { height: uint, gfp_mask: int, rnode: voidPtr });
export const address_space = struct(
  "address_space",
  {
    host: voidPtr,
    page_tree: radix_tree_root,
    tree_lock: spinlock_t,
    nrpages: ulong,
    writeback_index: ulong,
    a_ops: voidPtr,
    flags: ulong,
    backing_dev_info: voidPtr,
  },
  { doc: "the cached pages of a block device (include/linux/fs.h)" },
);

/** nr_dirty and its neighbours: counted per CPU in the real kernel, one page_state here. */
export const page_state = struct("page_state", {
  nr_dirty: ulong,
  nr_writeback: ulong,
  nr_page_table_pages: ulong,
  nr_mapped: ulong,
  nr_slab: ulong,
  pgpgin: ulong,
  pgpgout: ulong,
  pgalloc: ulong,
  pgfree: ulong,
});
export const pdflush_work = struct("pdflush_work", {
  who: voidPtr,
  fn: funcPtr,
  arg0: ulong,
  list: listHead,
  when_i_went_to_sleep: ulong,
});
export const dio = struct("dio", {
  bio_lock: spinlock_t,
  bios_in_flight: int,
  io_error: int,
  waiter: voidPtr,
});
