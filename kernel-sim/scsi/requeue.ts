// Counting commands in and out, and putting them back (drivers/scsi/scsi_lib.c of 2.6.9).
import { K } from "../core/kernel.ts";
import { pointed } from "../core/fault.ts";
import { moduleFunctions } from "../core/kfunc.ts";
import { list_del_init, list_empty, list_next } from "../core/list.ts";
import { spin_lock, spin_lock_irqsave, spin_unlock, spin_unlock_irqrestore } from "../core/spinlock.ts";
import { blk_insert_request, blk_requeue_request, blk_run_queue, type RequestQueue } from "../block/queue.ts";
import { REQ_DONTPREP } from "../block/request.ts";
import { scsi_put_command } from "./dispatch.ts";
import {
  SCSI_MLQUEUE_DEVICE_BUSY,
  SCSI_MLQUEUE_HOST_BUSY,
  type Scsi_Host,
  type scsi_cmnd,
  type scsi_device,
} from "./host.ts";
import { SCSI_OWNER_MIDLEVEL, SCSI_STATE_MLQUEUE, scsi_eh_wakeup, shost_in_recovery } from "./timeout.ts";

const kfunc = moduleFunctions("scsi_mod");

/** One command fewer in the host and the device. Locks: host_lock, then the device's queue_lock, inside. Context: any. */
export const scsi_device_unbusy = kfunc("scsi_device_unbusy", function* (sdev: scsi_device) {
  const shost = sdev.host;
  const flags = yield* spin_lock_irqsave(shost.host_lock);
  shost.s.host_busy = shost.s.host_busy - 1;
  if (shost_in_recovery(shost) && shost.s.host_failed > 0) yield* scsi_eh_wakeup(shost);
  spin_unlock(shost.host_lock);
  yield* spin_lock(sdev.request_queue.queue_lock);
  sdev.s.device_busy = sdev.s.device_busy - 1;
  yield* spin_unlock_irqrestore(sdev.request_queue.queue_lock, flags);
});

/**
 * Puts a command that was dispatched back at the front of its queue. `reason` SCSI_MLQUEUE_*_BUSY holds the host or the
 * device back until another command has ended or the block count has run down. Context: any. Locks: inside.
 */
export const scsi_queue_insert = kfunc("scsi_queue_insert", function* (cmd: scsi_cmnd, reason: number) {
  const { device } = cmd;
  const { host } = device;
  if (reason === SCSI_MLQUEUE_HOST_BUSY) host.s.host_blocked = host.s.max_host_blocked;
  else if (reason === SCSI_MLQUEUE_DEVICE_BUSY) device.s.device_blocked = device.s.max_device_blocked;
  cmd.s.state = SCSI_STATE_MLQUEUE;
  cmd.s.owner = SCSI_OWNER_MIDLEVEL;
  yield* K.flavour.scsi.deviceUnbusy(device);
  yield* blk_insert_request(device.request_queue, cmd.request!, 1, cmd, 1);
});

/** Lets the starved devices of the host have their turn, then this queue. Context: any. Locks: inside. */
export const scsi_run_queue = kfunc("scsi_run_queue", function* (q: RequestQueue) {
  const sdev = q.queuedata as scsi_device;
  const shost = sdev.host;
  const { s } = shost;
  let flags = yield* spin_lock_irqsave(shost.host_lock);
  while (
    !list_empty(shost.starved_list) &&
    s.host_blocked === 0 &&
    s.host_self_blocked === 0 &&
    s.host_busy < s.can_queue
  ) {
    const entry = list_next(shost.starved_list);
    list_del_init(entry);
    yield* spin_unlock_irqrestore(shost.host_lock, flags);
    yield* blk_run_queue(pointed(K.scsi.byStarvedEntry.get(entry), entry).request_queue);
    flags = yield* spin_lock_irqsave(shost.host_lock);
    // It lost a race and starves again: no endless loop.
    if (!list_empty(sdev.starved_entry)) break;
  }
  yield* spin_unlock_irqrestore(shost.host_lock, flags);
  yield* blk_run_queue(q);
});

/** The request of `cmd` goes back to the front of its queue, to be prepared anew. */
export const scsi_requeue_command = kfunc("scsi_requeue_command", function* (q: RequestQueue, cmd: scsi_cmnd) {
  const rq = cmd.request!;
  rq.s.flags = rq.s.flags & ~REQ_DONTPREP;
  const flags = yield* spin_lock_irqsave(q.queue_lock);
  yield* blk_requeue_request(q, rq);
  yield* spin_unlock_irqrestore(q.queue_lock, flags);
  yield* scsi_run_queue(q);
});

/** The command is free; whoever waited for its place goes on. */
export const scsi_next_command = kfunc("scsi_next_command", function* (cmd: scsi_cmnd) {
  const q = cmd.device.request_queue;
  yield* scsi_put_command(cmd);
  yield* K.flavour.scsi.runQueue(q);
});

export const scsi_run_host_queues = kfunc("scsi_run_host_queues", function* (shost: Scsi_Host) {
  for (const sdev of shost.devices) yield* K.flavour.scsi.runQueue(sdev.request_queue);
});
