// diskdump's own C structs and variables in RAM (include/linux/diskdump.h and drivers/block/diskdump.c of diskdump 1.0).
import { listHead, semaphore } from "../../kernel-sim/abi/structs/base.ts";
import { array, funcPtr, int, struct, u8, uint, ulong, voidPtr } from "../../kernel-sim/abi/types.ts";
import { NR_CPUS } from "../format/structs.ts";

export const disk_dump_type = struct(
  "disk_dump_type",
  {
    probe: funcPtr,
    add_device: funcPtr,
    remove_device: funcPtr,
    compute_cksum: funcPtr,
    owner: voidPtr,
    list: listHead,
  },
  { doc: "a kind of dump device (SCSI, IDE); include/linux/diskdump.h" },
);

export const disk_dump_device_ops = struct("disk_dump_device_ops", {
  sanity_check: funcPtr,
  quiesce: funcPtr,
  shutdown: funcPtr,
  rw_block: funcPtr,
});

export const disk_dump_device = struct(
  "disk_dump_device",
  {
    list: listHead,
    ops: disk_dump_device_ops,
    dump_type: voidPtr,
    device: voidPtr,
    max_blocks: uint,
    partitions: listHead,
    quiesce_result: int,
    // Two one-bit flags in C; the layout here has no bit fields.
    quiesce_done: u8,
    need_shutdown: u8,
  },
  { doc: "a registered dump device; include/linux/diskdump.h" },
);

export const disk_dump_partition = struct(
  "disk_dump_partition",
  {
    list: listHead,
    part_list: listHead,
    device: voidPtr,
    bdev: voidPtr,
    start_sect: ulong,
    nr_sects: ulong,
  },
  { doc: "a registered dump partition; include/linux/diskdump.h" },
);

/** enum disk_dump_states */
export const DISK_DUMP_INITIAL = 0;
export const DISK_DUMP_RUNNING = 1;
export const DISK_DUMP_SUCCESS = 2;
export const DISK_DUMP_FAILURE = 3;

/** The module's .data: what its checksum covers besides the text. A section shown as one struct. */
export const diskdump_data = struct("diskdump_data", {
  fallback_on_err: int,
  allow_risky_dumps: int,
  block_order: uint,
  sample_rate: int,
  disk_dump_devices: listHead,
  disk_dump_partitions: listHead,
  disk_dump_types: listHead,
  disk_dump_mutex: semaphore,
});

/** The module's .bss: behind `__this_module` in the image, so the checksum leaves it out and the dump may change it. */
export const diskdump_bss = struct("diskdump_bss", {
  module_crc: uint,
  header_blocks: uint,
  bitmap_blocks: uint,
  total_ram_blocks: uint,
  total_blocks: uint,
  disk_dump_state: int,
  dump_err: int,
  lapse: int,
  scratch: voidPtr,
  diskdump_stack: voidPtr,
  disk_dump_notifier_list: voidPtr,
  diskdump_base_jiffies: ulong,
  /** Where freeze_cpu() left each CPU's registers; not in the C, which keeps them on the frozen CPU's stack only. */
  frozen_regs: array(voidPtr, NR_CPUS),
});
