// The end of a command in 2.4 (drivers/scsi/scsi.c): scsi_done() puts it on one queue for the whole machine, under
// scsi_bhqueue_lock, and the bottom half SCSI_BH does the rest, with global_bh_lock held all the time.
import { list_head } from "../abi/structs/base.ts";
import { SCSI_BH, init_bh, mark_bh } from "../core/bottom-half.ts";
import { K, type Kernel } from "../core/kernel.ts";
import { pointed } from "../core/fault.ts";
import { versionFunctions } from "../core/version-functions.ts";
import { INIT_LIST_HEAD, list_add_tail, list_del_init, list_empty, list_next, list_splice_init } from "../core/list.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore, staticLock, type Spinlock } from "../core/spinlock.ts";
import { disposeOf } from "./dispatch.ts";
import type { scsi_cmnd } from "./host.ts";
import { SCSI_OWNER_BH_HANDLER, SCSI_STATE_BHQUEUE, scsi_delete_timer } from "./timeout.ts";

const kfunc = versionFunctions("2.4.21", "scsi_mod");

class BhQueue {
  readonly scsi_bhqueue_lock: Spinlock = staticLock("scsi_bhqueue_lock");
  /** scsi_bh_queue_head: commands that have ended. */
  readonly head: number = K.static("scsi_bh_queue_head", list_head);
  /** What the bottom half took off the queue: a local variable in C. There is never more than one bottom half. */
  readonly taken: number = K.bootmem(32);

  constructor() {
    INIT_LIST_HEAD(this.head);
    INIT_LIST_HEAD(this.taken);
  }
}

const queues = new WeakMap<Kernel, BhQueue>();

export function init_scsi_bh(): void {
  queues.set(K, new BhQueue());
  init_bh(SCSI_BH, scsi_bottom_half_handler);
}

/**
 * What drivers call at a command's end. A command whose timer has expired belongs to the error handler: then nothing.
 * In crash dump mode it returns at once. Locks: scsi_bhqueue_lock, inside; the host's may be held. Context: any, usually hardirq.
 */
export const scsi_done_24 = kfunc("scsi_done", function* (cmd: scsi_cmnd) {
  if (K.dumpMode !== undefined) return;
  if ((yield* scsi_delete_timer(cmd)) === 0) return;
  const { s, device } = cmd;
  s.serial_number = 0;
  const done = device.s.iodone_cnt;
  done.counter = done.counter + 1;
  if (s.result !== 0) {
    const errors = device.s.ioerr_cnt;
    errors.counter = errors.counter + 1;
  }
  const queue = queues.get(K)!;
  const flags = yield* spin_lock_irqsave(queue.scsi_bhqueue_lock);
  s.serial_number_at_timeout = 0;
  s.state = SCSI_STATE_BHQUEUE;
  s.owner = SCSI_OWNER_BH_HANDLER;
  list_add_tail(cmd.eh_entry, queue.head);
  yield* mark_bh(SCSI_BH);
  yield* spin_unlock_irqrestore(queue.scsi_bhqueue_lock, flags);
});

/** SCSI_BH: until no command is on the queue. */
const scsi_bottom_half_handler = kfunc("scsi_bottom_half_handler", function* () {
  const queue = queues.get(K)!;
  for (;;) {
    INIT_LIST_HEAD(queue.taken);
    const flags = yield* spin_lock_irqsave(queue.scsi_bhqueue_lock);
    list_splice_init(queue.head, queue.taken);
    yield* spin_unlock_irqrestore(queue.scsi_bhqueue_lock, flags);
    if (list_empty(queue.taken)) return;
    while (!list_empty(queue.taken)) {
      const entry = list_next(queue.taken);
      list_del_init(entry);
      yield* disposeOf(pointed(K.scsi.byEntry.get(entry), entry));
    }
  }
});
