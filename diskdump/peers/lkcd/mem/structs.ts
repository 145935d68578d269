// What the memory method keeps (drivers/dump/dump_memdev.c and dump_overlay.c).
import { array, int, struct, u64, uint, voidPtr } from "../../../../kernel-sim/abi/types.ts";

/** DUMP_MAGIC_LIVE: there is a dump in memory. */
export const DUMP_MAGIC_LIVE = 0xa8190173618f23cdn;

/** Passes of a dump: the kernel's pages, those in use, the rest. */
export const PASS_COUNT = 3;

/** struct dump_memdev: pages of memory as a device. Offsets in bytes of the dump; addresses are physical. */
export const dump_memdev = struct("dump_memdev", {
  /** The first indirect map: page frame numbers of maps; its last entry is the address of the next. */
  indirect_map_root: voidPtr,
  /** Entry of an indirect map: the map that grows. */
  curr_map: voidPtr,
  curr_map_offset: uint,
  /** End of the space that there is, and of what of it was there before the crash. */
  last_offset: u64,
  last_bs_offset: u64,
  last_used_offset: u64,
  nr_free: u64,
});

export const dump_memdev_bss = struct("dump_memdev_bss", {
  memdev: dump_memdev,
  /** DUMP_HALT_CPUS: whoever waits in schedule() is to stop for good. */
  halt_cpus: int,
  /** A bit per CPU that did. */
  halted: u64,
  dump_saved_config: voidPtr,
});

/** struct dump_config_block: one page that the next kernel looks at. */
export const dump_config_block = struct("dump_config_block", {
  magic: u64,
  memdev: dump_memdev,
  header_len: uint,
  pass_start: array(u64, PASS_COUNT),
  pass_end: array(u64, PASS_COUNT),
});
