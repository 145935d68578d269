// LKCD's variables in RAM (drivers/dump/dump_base.c and dump_blockdev.c of the October 2002 generation).
import { array, int, struct, uint, ulong, voidPtr } from "../../../kernel-sim/abi/types.ts";

/** As many CPUs as the kernel is built for. */
const NR_CPUS = 64;

export const lkcd_data = struct("lkcd_data", {
  /** Configured, and not under way. */
  dump_okay: int,
  /** schedule() looks at this on every CPU. */
  dump_in_progress: int,
  /** -1: none. */
  dumping_cpu: int,
  /** CPUs that have not answered yet. */
  waiting_for_dump_ipi: int,
  dump_level: uint,
  dump_compress: uint,
  dump_device: uint,
  /** Parts of the write that have not ended: one bio in 2.6, a buffer head for each block in 2.4 (kiobuf.io_count). */
  dump_io_count: int,
  dump_io_error: int,
  dump_bio: voidPtr,
  dump_buf: voidPtr,
  /** Bytes from the device's beginning: where the next write goes. */
  dump_offset: ulong,
  /** Pages in the dump. */
  dump_num_pages: ulong,
  dump_header: voidPtr,
  /** A bit per CPU that waited in INIT's slave loop and answered from there. */
  dump_init_slaves: ulong,
  /** Interrupt lines' destinations before the dump steered them. */
  saved_affinity: array(uint, 224),
  /** The hardirq and softirq counters of the dumping CPU before they were cleared. */
  saved_irq_count: uint,
  saved_bh_count: uint,
  /** Registers and stacks of every CPU as they were when it answered. */
  dump_saved_task: array(voidPtr, NR_CPUS),
  dump_saved_regs: array(voidPtr, NR_CPUS),
  dump_saved_stack: array(voidPtr, NR_CPUS),
});
