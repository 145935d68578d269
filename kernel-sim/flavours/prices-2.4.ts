// What steps of the 2.4 paths cost beside the stores and list walks that are paid for one by one, ns.
//
// Source of each: the mean hold times that lockmeter saw on four Itaniums of 733 MHz with 2.4.8 (linux-kernel, 22 August 2001,
// "The cause of the VM performance problem with 2.4.X", 4 mkfs on 4 disks): io_request_lock in __make_request 2.3 us,
// blk_get_queue 0.5, scsi_dispatch_cmd 14, scsi_finish_command 0.5, scsi_queue_next_request 1.8, scsi_request_fn 2.9,
// generic_unplug_device 2.6, __get_request_wait 0.9. How a hold divides into steps is a reconstruction. They were set from those
// rows and nothing else: no success rate of any dumper had a part in it.

/** blk_get_queue(): a look into blk_dev[], lock held. */
export const GET_QUEUE_NS = 450;
/** __make_request() without the elevator's walk: limits, counters, filling in. */
export const MAKE_REQUEST_NS = 1200;
/** The elevator's look at one queued request: a cache line that another CPU wrote last. */
export const ELEVATOR_WALK_NS = 60;
/** get_request(), blkdev_release_request(): their part beside list and counter. */
export const REQUEST_POOL_NS = 300;
/** scsi_request_fn(), lock held, per command: host and device checks, and the copy of the request (memcpy of struct request). */
export const REQUEST_FN_NS = 1400;
export const COPY_REQUEST_NS = 500;
/** What queuecommand takes beside what the driver pays: its CPU's uncached reads and writes are not the 2.6.9 machine's. */
export const QUEUECOMMAND_NS = 6000;
/** scsi_finish_command(), scsi_queue_next_request(): lock held. */
export const FINISH_NS = 350;
export const QUEUE_NEXT_NS = 600;
/** scsi_malloc(), scsi_free(): the search of the bitmap (kernprof, 28 August 2001: 2.43 s in 82692 calls, 0.03 ms; most of it profiling). */
export const DMA_POOL_NS = 800;
/** goodness() of one task (half a cache miss at 733 MHz). No measured row: an estimate. */
export const GOODNESS_NS = 40;

/** brw_kiovec(), per block: a buffer head found, filled in, submitted; no lock held. P. Wong's second run (7 Sep 2001) left 7.9 us at most. */
export const KIOBUF_BLOCK_NS = 1500;
/** end_buffer_io_kiobuf(): end_buffer_io_sync took 0.59 us (kernprof, 28 Aug 2001). */
export const END_BUFFER_NS = 500;
