// The modified LKCD: what it unlocks before its first write, in one place.
//
// No source of it is known. The white paper (3.6) says that LKCD was changed "to unlock several key resources" and that its success
// rate rose from 69 % to 92 %; it names none of them. The list below is our reconstruction: every spinlock that a write of the
// dump takes in code that all adapters share, from submit_bio() to the end_io routine. What is not in it, and why:
//  - an adapter driver's own locks (FreeQlock and its like): LKCD has no knowledge of drivers;
//  - IRQ_INPROGRESS, a vector in service, a tasklet's RUN bit, the recovery of a host: they are no locks, and a dumper that opened
//    locks would not have touched them (later releases of LKCD cleaned up the interrupt state, and then stopped using interrupts);
//  - locks of the page cache and of processes, which only the completion of other I/O takes.
// A lock is opened whoever holds it and whatever its holder was about: what it guards stays as the holder left it.
import { K } from "../../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../../kernel-sim/core/kfunc.ts";
import { printk } from "../../../kernel-sim/core/printk.ts";
import { force_unlock } from "../../../kernel-sim/core/spinlock.ts";
import type { Lkcd } from "./lkcd.ts";

const kfunc = moduleFunctions("dump");

export interface KeyResource {
  /** For people. */
  readonly name: string;
  /** The locks' names, as `crash.at.lock` has them. */
  readonly locks: RegExp;
  /** Where a write of the dump takes it. */
  readonly neededAt: string;
  /** Who holds it when a CPU is stopped: why it is worth opening. */
  readonly holders: string;
}

export const KEY_RESOURCES: readonly KeyResource[] = [
  {
    name: "io_request_lock (2.4)",
    locks: /^io_request_lock$/,
    neededAt: "__make_request, generic_unplug_device, scsi_request_fn, scsi_finish_command",
    holders: "anybody who submits or ends I/O: held for a fifth of the time under heavy load",
  },
  {
    name: "the queue locks of SCSI devices (2.6)",
    locks: /^sdev .*\.sdev_lock$/,
    neededAt: "__make_request, generic_unplug_device, scsi_request_fn, scsi_end_request",
    holders: "as io_request_lock, for one disk each; all disks of the adapter end their commands by one interrupt",
  },
  {
    name: "host_lock",
    locks: /^scsi\d+\.host_lock$/,
    neededAt: "scsi_request_fn, scsi_dispatch_cmd, scsi_device_unbusy",
    holders: "queuecommand, which is the longest plain section of the path",
  },
  {
    name: "the command pool's lock",
    locks: /^scsi\d+\.free_list_lock$|^device_request_lock$|^allocator_request_lock$/,
    neededAt: "scsi_get_command, scsi_put_command (2.4: scsi_allocate_device, scsi_malloc)",
    holders: "every dispatch and every completion, briefly",
  },
  {
    name: "global_bh_lock (2.4)",
    locks: /^global_bh_lock$/,
    neededAt: "bh_action: SCSI_BH, TIMER_BH, TQUEUE_BH, IMMEDIATE_BH",
    holders: "any bottom half that runs anywhere; its trylock fails for ever when the holder is stopped",
  },
  {
    name: "the SCSI bottom half's queue (2.4)",
    locks: /^scsi_bhqueue_lock$/,
    neededAt: "scsi_done, scsi_bottom_half_handler",
    holders: "the adapter's interrupt handler and the bottom half",
  },
  {
    name: "the timer wheels",
    locks: /^timerlist_lock$|^tvec_bases\.\d+\.lock$/,
    neededAt: "scsi_add_timer and scsi_delete_timer around each command, blk_plug_device",
    holders: "add_timer, del_timer and the timer softirq on any CPU",
  },
  {
    name: "the task queues (2.4)",
    locks: /^tqueue_lock$/,
    neededAt: "blk_plug_device (queue_task on tq_disk), run_task_queue",
    holders: "whoever plugs or unplugs a queue",
  },
  {
    name: "the runqueues",
    locks: /^runqueue_lock(\.\d+)?$/,
    neededAt: "the tick, and the wake-up of whoever waits for I/O that ends together with the dump's",
    holders: "schedule() and wake_up() on any CPU",
  },
  {
    name: "who waits for a free request",
    locks: /\.rq\.wait\[(READ|WRITE)\]\.lock$/,
    neededAt: "get_request_wait, freed_request",
    holders: "writers: under heavy load the pool is empty most of the time",
  },
  {
    name: "the slab caches of requests",
    locks: /^kmem_cache\[(blkdev_requests|deadline_drq|bio|biovec-\d+)\]\.spinlock$/,
    neededAt: "get_request, __blk_put_request",
    holders: "a cache that is refilled or emptied",
  },
];

/**
 * Opens every key resource that is held, whoever holds it, and says afterwards which: the first message could be interrupted by a
 * handler that waits for the next lock. Context: the dump, other CPUs stopped or running, interrupts on.
 */
export const dump_unlock_resources = kfunc("dump_unlock_resources", function* (_lkcd: Lkcd) {
  const opened: string[] = [];
  for (const lock of K.locks.values()) {
    if (!lock.isHeld || !KEY_RESOURCES.some(({ locks }) => locks.test(lock.name))) continue;
    force_unlock(lock);
    opened.push(lock.name);
  }
  for (const name of opened) yield* printk(`dump: ${name} was held: unlocked\n`, 4);
});
