// The SCSI mid-layer's queueing of 2.4 (drivers/scsi/scsi_lib.c, scsi_merge.c, scsi.c): all of it under the host's lock, which is
// io_request_lock unless the host brought its own.
//
// The block request is copied into the command (SCpnt->request) and given back to its pool before the command is sent.
import { step } from "../../emulator/cpu/cpu.ts";
import { request as request_struct } from "../abi/structs/block.ts";
import { firstQueued } from "../block/elevator.ts";
import {
  __blk_put_request,
  blk_plug_device,
  blk_queue_plugged,
  blk_requeue_request,
  blkdev_dequeue_request,
  elv_queue_empty,
  type RequestQueue,
} from "../block/queue.ts";
import {
  REQ_QUIET,
  REQ_SPECIAL,
  Request,
  WRITE,
  end_that_request_chunk,
  end_that_request_last,
  rq_data_dir,
} from "../block/request.ts";
import { K } from "../core/kernel.ts";
import { pointed } from "../core/fault.ts";
import { versionFunctions } from "../core/version-functions.ts";
import { list_add_tail, list_del_init, list_empty, list_next } from "../core/list.ts";
import { spin_lock_irq, spin_lock_irqsave, spin_unlock_irq, spin_unlock_irqrestore } from "../core/spinlock.ts";
import { complete } from "../core/wait.ts";
import { COPY_REQUEST_NS, FINISH_NS, QUEUECOMMAND_NS, QUEUE_NEXT_NS, REQUEST_FN_NS } from "../flavours/prices-2.4.ts";
import { numberCommand, scsi_get_command, scsi_init_cmd_errh, scsi_put_command } from "./dispatch.ts";
import { blk_noretry_request, scsi_device_online } from "./disposition.ts";
import { scsi_free, scsi_malloc } from "./dma-pool.ts";
import {
  DMA_FROM_DEVICE,
  DMA_TO_DEVICE,
  SCSI_MLQUEUE_DEVICE_BUSY,
  SCSI_MLQUEUE_HOST_BUSY,
  scsi_request,
  type Scsi_Host,
  type scsi_cmnd,
  type scsi_device,
} from "./host.ts";
import { scsi_init_cmd_from_req, scsi_init_io } from "./queue.ts";
import { scsi_queue_insert } from "./requeue.ts";
import { scsi_done_24 } from "./scsi-bh.ts";
import {
  SCSI_OWNER_LOWLEVEL,
  SCSI_STATE_QUEUED,
  scsi_add_timer,
  scsi_delete_timer,
  scsi_eh_wakeup,
  scsi_times_out,
  shost_in_recovery,
} from "./timeout.ts";

const kfunc = versionFunctions("2.4.21", "scsi_mod");
const BLKPREP_OK = 0;

/** May the host take a command? A device that has none under way and may not is starved: others' ends will start it. */
function hostReady(shost: Scsi_Host, sdev: scsi_device): boolean {
  const { s } = shost;
  // In C the refused command is tried again at once when the host has no other; here the queue is looked at again, as in 2.6.
  if (s.host_busy === 0 && s.host_blocked !== 0) s.host_blocked = s.host_blocked - 1;
  if ((s.can_queue > 0 && s.host_busy >= s.can_queue) || s.host_blocked !== 0 || s.host_self_blocked !== 0) {
    if (sdev.s.device_busy === 0 && list_empty(sdev.starved_entry))
      list_add_tail(sdev.starved_entry, shost.starved_list);
    return false;
  }
  if (!list_empty(sdev.starved_entry)) list_del_init(sdev.starved_entry);
  return true;
}

function deviceReady(sdev: scsi_device): boolean {
  const { s } = sdev;
  if (s.device_busy === 0 && s.device_blocked !== 0) s.device_blocked = s.device_blocked - 1;
  // A device has as many command blocks as it may have commands.
  return s.device_blocked === 0 && s.device_busy < s.queue_depth;
}

/** SCpnt->request = *req. */
function copyRequest(cmd: scsi_cmnd, rq: Request): Request {
  const own = (cmd.ownRequest ??= new Request(K.bootmem(K.sizeOf(request_struct))));
  step(COPY_REQUEST_NS);
  own.init(rq.q!, rq.s.flags);
  const { s } = own;
  const from = rq.s;
  s.sector = from.sector;
  s.hard_sector = from.hard_sector;
  s.nr_sectors = from.nr_sectors;
  s.hard_nr_sectors = from.hard_nr_sectors;
  s.current_nr_sectors = from.current_nr_sectors;
  s.hard_cur_sectors = from.hard_cur_sectors;
  s.bio = from.bio;
  s.biotail = from.biotail;
  s.nr_phys_segments = from.nr_phys_segments;
  s.nr_hw_segments = from.nr_hw_segments;
  s.start_time = from.start_time;
  s.rq_disk = from.rq_disk;
  s.waiting = from.waiting;
  own.disk = rq.disk;
  own.waiting = rq.waiting;
  return own;
}

/** Sends commands until the queue is empty or somebody cannot take more. Locks: queue_lock held, irqs off; let go inside. */
export const scsi_request_fn_24 = kfunc("scsi_request_fn", function* (q: RequestQueue) {
  const sdev = q.queuedata as scsi_device;
  const shost = sdev.host;
  for (;;) {
    if (shost_in_recovery(shost) || blk_queue_plugged(q)) return;
    if (elv_queue_empty(q)) return;
    if (!hostReady(shost, sdev) || !deviceReady(sdev)) {
      // Nobody's end will come by here: let whoever runs tq_disk try again.
      if (shost.s.host_busy === 0) yield* blk_plug_device(q);
      return;
    }
    step(REQUEST_FN_NS);
    const rq = firstQueued(q)!;
    const special = (rq.s.flags & REQ_SPECIAL) !== 0;
    const owner = rq.special;
    const cmd =
      owner !== undefined && !(owner instanceof scsi_request) ? (owner as scsi_cmnd) : yield* scsi_get_command(sdev);
    if (!cmd) return;
    if (owner instanceof scsi_request) scsi_init_cmd_from_req(cmd, owner);
    shost.s.host_busy = shost.s.host_busy + 1;
    sdev.s.device_busy = sdev.s.device_busy + 1;
    blkdev_dequeue_request(rq);
    if (rq.fromPool) {
      cmd.request = copyRequest(cmd, rq);
      yield* __blk_put_request(q, rq);
    } else cmd.request = rq;
    cmd.s.request = cmd.request.addr;
    cmd.request.special = cmd;
    cmd.request.s.special = cmd.addr;
    yield* spin_unlock_irq(q.queue_lock);
    if (!special) {
      if (!(yield* scsi_init_io_fn(cmd))) {
        yield* spin_lock_irq(q.queue_lock);
        yield* putBack(q, cmd);
        return;
      }
      if (!scsi_device_online(sdev) || sdev.driver?.init_command(cmd) !== 1) {
        yield* failCommand(cmd);
        yield* spin_lock_irq(q.queue_lock);
        shost.s.host_busy = shost.s.host_busy - 1;
        sdev.s.device_busy = sdev.s.device_busy - 1;
        continue;
      }
    }
    scsi_init_cmd_errh(cmd);
    yield* scsi_dispatch_cmd_24(cmd);
    yield* spin_lock_irq(q.queue_lock);
  }
});

/** The scatter-gather table, from the DMA pool. Returns: false when there was no room. Locks: none held. */
const scsi_init_io_fn = kfunc("scsi_init_io_v", function* (cmd: scsi_cmnd) {
  const rq = cmd.request!;
  cmd.s.sc_data_direction = rq_data_dir(rq) === WRITE ? DMA_TO_DEVICE : DMA_FROM_DEVICE;
  if (cmd.sglist < 0 && rq.bio !== undefined && !(yield* scsi_malloc(cmd))) return false;
  if (scsi_init_io(cmd) === BLKPREP_OK) return true;
  K.reports.push("scsi_init_io: a request has more segments than the host takes");
  return false;
});

/** No memory for its table: the request waits at the front for another command's end. Locks: queue_lock held. */
function* putBack(q: RequestQueue, cmd: scsi_cmnd): Generator<void, void, void> {
  const sdev = cmd.device;
  const { host } = sdev;
  host.s.host_busy = host.s.host_busy - 1;
  sdev.s.device_busy = sdev.s.device_busy - 1;
  if (sdev.s.device_busy === 0 && list_empty(sdev.starved_entry)) list_add_tail(sdev.starved_entry, host.starved_list);
  yield* blk_requeue_request(q, cmd.request!);
}

/** A request that no device will see. Locks: none held. */
const failCommand = kfunc("scsi_fail_command", function* (cmd: scsi_cmnd) {
  const rq = cmd.request!;
  rq.s.flags = rq.s.flags | REQ_QUIET;
  if (cmd.sglist >= 0) yield* scsi_free(cmd);
  while (rq.bio !== undefined && (yield* end_that_request_chunk(rq, 0, rq.s.nr_sectors * 512)) !== 0);
  if (rq.waiting) yield* complete(rq.waiting);
  yield* scsi_put_command(cmd);
});

/** Gives a command to the driver; one that is not taken goes back to its queue. Locks: none held; the host's inside. Context: any. */
const scsi_dispatch_cmd_24 = kfunc("scsi_dispatch_cmd", function* (cmd: scsi_cmnd) {
  const { device, s } = cmd;
  const { host } = device;
  const count = device.s.iorequest_cnt;
  count.counter = count.counter + 1;
  numberCommand(cmd);
  yield* scsi_add_timer(cmd, s.timeout_per_command, scsi_times_out);
  s.state = SCSI_STATE_QUEUED;
  s.owner = SCSI_OWNER_LOWLEVEL;
  const flags = yield* spin_lock_irqsave(host.host_lock);
  step(QUEUECOMMAND_NS);
  const rtn = yield* host.hostt.queuecommand(cmd, scsi_done_24);
  yield* spin_unlock_irqrestore(host.host_lock, flags);
  if (rtn === 0) return;
  yield* scsi_delete_timer(cmd);
  yield* scsi_queue_insert(cmd, rtn === SCSI_MLQUEUE_DEVICE_BUSY ? rtn : SCSI_MLQUEUE_HOST_BUSY);
});

/**
 * A driver's call of scsi_done(). Drivers of 2.4 hold io_request_lock for it (mptscsih.h's MPT_HOST_LOCK): the interrupt handler
 * waits for that lock. Context: hardirq, or the dump's poll.
 */
export const call_done_locked = kfunc("mptscsih_call_done", function* (cmd: scsi_cmnd) {
  const { host_lock } = cmd.device.host;
  const flags = yield* spin_lock_irqsave(host_lock);
  yield* cmd.scsi_done!(cmd);
  yield* spin_unlock_irqrestore(host_lock, flags);
});

/** One command fewer in the host and the device: scsi_finish_command()'s locked part. Context: any. */
export const scsi_host_busy_dec = kfunc("scsi_host_busy_dec_and_test", function* (sdev: scsi_device) {
  const shost = sdev.host;
  const flags = yield* spin_lock_irqsave(sdev.request_queue.queue_lock);
  step(FINISH_NS);
  shost.s.host_busy = shost.s.host_busy - 1;
  sdev.s.device_busy = sdev.s.device_busy - 1;
  if (shost_in_recovery(shost) && shost.s.host_failed > 0) yield* scsi_eh_wakeup(shost);
  yield* spin_unlock_irqrestore(sdev.request_queue.queue_lock, flags);
});

/** Ends the first bytes of a command's request. Returns: true when the command is gone. Locks: none held. */
export const __scsi_end_request = kfunc(
  "__scsi_end_request",
  function* (cmd: scsi_cmnd, uptodate: number, bytes: number, requeue: boolean) {
    const q = cmd.device.request_queue;
    const rq = cmd.request!;
    if (cmd.sglist >= 0) yield* scsi_free(cmd);
    if ((yield* end_that_request_chunk(rq, uptodate, bytes)) !== 0) {
      if (uptodate === 0 && blk_noretry_request(cmd)) yield* end_that_request_chunk(rq, 0, rq.s.hard_nr_sectors * 512);
      else {
        if (requeue) yield* scsi_requeue_24(q, cmd);
        return false;
      }
    }
    const flags = yield* spin_lock_irqsave(q.queue_lock);
    rq.special = undefined;
    rq.s.special = 0;
    yield* end_that_request_last(rq);
    yield* spin_unlock_irqrestore(q.queue_lock, flags);
    yield* scsi_put_command(cmd);
    yield* scsi_queue_next_request(q, undefined);
    return true;
  },
);

/** What is left of a command's request: to be prepared anew, by the same command. Context: any. */
export function scsi_requeue_24(q: RequestQueue, cmd: scsi_cmnd): ReturnType<typeof scsi_queue_next_request> {
  const rq = cmd.request!;
  rq.s.flags = rq.s.flags & ~REQ_SPECIAL;
  rq.special = cmd;
  rq.s.special = cmd.addr;
  return scsi_queue_next_request(q, cmd);
}

/**
 * Puts what is left of a command's request at the front, if there is something, and runs the queue; then the starved devices of
 * the host. All under one hold of the lock, which request_fn lets go for each command. Context: any.
 */
export const scsi_queue_next_request = kfunc(
  "scsi_queue_next_request",
  function* (q: RequestQueue, cmd: scsi_cmnd | undefined) {
    const sdev = q.queuedata as scsi_device;
    const shost = sdev.host;
    const flags = yield* spin_lock_irqsave(q.queue_lock);
    step(QUEUE_NEXT_NS);
    if (cmd) yield* blk_requeue_request(q, cmd.request!);
    yield* q.request_fn(q);
    const { s } = shost;
    for (let tries = shost.devices.length; tries > 0 && !list_empty(shost.starved_list); tries--) {
      if (s.host_blocked !== 0 || s.host_self_blocked !== 0 || (s.can_queue > 0 && s.host_busy >= s.can_queue)) break;
      const entry = list_next(shost.starved_list);
      list_del_init(entry);
      const starved = pointed(K.scsi.byStarvedEntry.get(entry), entry).request_queue;
      yield* starved.request_fn(starved);
    }
    yield* spin_unlock_irqrestore(q.queue_lock, flags);
  },
);
