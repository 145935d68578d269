// The block layer's structs (include/linux/blkdev.h, bio.h, genhd.h, fs.h, drivers/block/deadline-iosched.c of 2.6.9).
import { array, char, funcPtr, int, struct, typedef, u64, u8, uint, ulong, u16, voidPtr, charPtr } from "../types.ts";
import { atomic_t, listHead, semaphore, spinlock_t, timer_list, wait_queue_head_t, work_struct } from "./base.ts";

/** 64 bits everywhere (CONFIG_LBD), so that a disk may be larger than 2 TiB. */
export const sector_t = typedef("sector_t", u64);

export const bio_vec = struct("bio_vec", { bv_page: voidPtr, bv_len: uint, bv_offset: uint });

export const bio = struct(
  "bio",
  {
    bi_sector: sector_t,
    bi_next: voidPtr,
    bi_bdev: voidPtr,
    bi_flags: ulong,
    bi_rw: ulong,
    bi_vcnt: u16,
    bi_idx: u16,
    bi_phys_segments: u16,
    bi_hw_segments: u16,
    bi_size: uint,
    bi_hw_front_size: uint,
    bi_hw_back_size: uint,
    bi_max_vecs: uint,
    bi_io_vec: voidPtr,
    bi_end_io: funcPtr,
    bi_cnt: atomic_t,
    bi_private: voidPtr,
    bi_destructor: funcPtr,
  },
  { doc: "one I/O on pages that lie one behind the other on the disk (include/linux/bio.h)" },
);

/** Bytes of a request's command block (BLK_MAX_CDB). */
export const BLK_MAX_CDB = 16;

export const request = struct(
  "request",
  {
    queuelist: listHead,
    flags: ulong,
    sector: sector_t,
    nr_sectors: ulong,
    current_nr_sectors: uint,
    hard_sector: sector_t,
    hard_nr_sectors: ulong,
    hard_cur_sectors: uint,
    bio: voidPtr,
    biotail: voidPtr,
    elevator_private: voidPtr,
    rq_status: int,
    rq_disk: voidPtr,
    errors: int,
    start_time: ulong,
    nr_phys_segments: u16,
    nr_hw_segments: u16,
    tag: int,
    buffer: voidPtr,
    ref_count: int,
    q: voidPtr,
    rl: voidPtr,
    waiting: voidPtr,
    special: voidPtr,
    cmd_len: uint,
    cmd: array(u8, BLK_MAX_CDB),
    data_len: uint,
    data: voidPtr,
    sense_len: uint,
    sense: voidPtr,
    timeout: uint,
    pm: voidPtr,
  },
  { doc: "what a driver works on: bios that follow each other on the disk (include/linux/blkdev.h)" },
);

export const request_list = struct("request_list", {
  count: array(int, 2),
  starved: array(int, 2),
  rq_pool: voidPtr,
  wait: array(wait_queue_head_t, 2),
});

export const elevator_queue = struct("elevator_queue", {
  ops: voidPtr,
  elevator_data: voidPtr,
  elevator_name: charPtr,
});

export const request_queue = struct(
  "request_queue",
  {
    queue_head: listHead,
    last_merge: voidPtr,
    elevator: elevator_queue,
    rq: request_list,
    request_fn: funcPtr,
    merge_fn: funcPtr,
    make_request_fn: funcPtr,
    prep_rq_fn: funcPtr,
    unplug_fn: funcPtr,
    unplug_timer: timer_list,
    unplug_thresh: int,
    unplug_delay: ulong,
    unplug_work: work_struct,
    queuedata: voidPtr,
    bounce_pfn: ulong,
    bounce_gfp: int,
    queue_flags: ulong,
    __queue_lock: spinlock_t,
    queue_lock: voidPtr,
    nr_requests: ulong,
    nr_congestion_on: uint,
    nr_congestion_off: uint,
    max_sectors: u16,
    max_hw_sectors: u16,
    max_phys_segments: u16,
    max_hw_segments: u16,
    hardsect_size: u16,
    max_segment_size: uint,
    seg_boundary_mask: ulong,
    dma_alignment: uint,
    refcnt: atomic_t,
    in_flight: uint,
    sg_timeout: uint,
    sg_reserved_size: uint,
  },
  { doc: "the requests for one device and the limits of its adapter (include/linux/blkdev.h)" },
);

export const deadline_data = struct("deadline_data", {
  sort_list: array(listHead, 2),
  fifo_list: array(listHead, 2),
  next_drq: array(voidPtr, 2),
  dispatch: voidPtr,
  batching: uint,
  last_sector: sector_t,
  starved: uint,
  fifo_expire: array(int, 2),
  fifo_batch: int,
  writes_starved: int,
  front_merges: int,
});

export const deadline_rq = struct("deadline_rq", {
  sort: listHead,
  sector: sector_t,
  request: voidPtr,
  fifo: listHead,
  expires: ulong,
});

export const hd_struct = struct("hd_struct", {
  start_sect: sector_t,
  nr_sects: sector_t,
  reads: uint,
  read_sectors: uint,
  writes: uint,
  write_sectors: uint,
  policy: int,
  partno: int,
});

export const disk_stats = struct("disk_stats", {
  read_sectors: uint,
  write_sectors: uint,
  reads: uint,
  writes: uint,
  read_merges: uint,
  write_merges: uint,
  read_ticks: uint,
  write_ticks: uint,
  io_ticks: uint,
  time_in_queue: uint,
});

export const gendisk = struct(
  "gendisk",
  {
    major: int,
    first_minor: int,
    minors: int,
    disk_name: array(char, 32),
    part: voidPtr,
    fops: voidPtr,
    queue: voidPtr,
    private_data: voidPtr,
    capacity: sector_t,
    flags: int,
    policy: int,
    stamp: ulong,
    stamp_idle: ulong,
    in_flight: int,
    dkstats: disk_stats,
  },
  { doc: "a disk and its partitions (include/linux/genhd.h)" },
);

export const block_device = struct("block_device", {
  bd_dev: uint,
  bd_inode: voidPtr,
  bd_openers: int,
  bd_sem: semaphore,
  bd_contains: voidPtr,
  bd_block_size: uint,
  bd_part: voidPtr,
  bd_part_count: uint,
  bd_invalidated: int,
  bd_disk: voidPtr,
  bd_list: listHead,
});
