// A SCSI device's request queue: preparing requests and sending commands (drivers/scsi/scsi_lib.c of 2.6.9).
import type { Segment } from "../../emulator/memory/memory.ts";
import { M } from "../abi/ram.ts";
import { K } from "../core/kernel.ts";
import { moduleFunctions } from "../core/kfunc.ts";
import { list_add_tail, list_del_init, list_empty } from "../core/list.ts";
import { printk } from "../core/printk.ts";
import { spin_lock, spin_lock_irq, spin_unlock, spin_unlock_irq } from "../core/spinlock.ts";
import {
  BLKPREP_DEFER,
  BLKPREP_KILL,
  BLKPREP_OK,
  blk_init_queue,
  blk_plug_device,
  blk_queue_max_hw_segments,
  blk_queue_max_phys_segments,
  blk_queue_max_sectors,
  blk_queue_plugged,
  blk_queue_prep_rq,
  blk_requeue_request,
  blkdev_dequeue_request,
  elv_next_request,
  type RequestQueue,
} from "../block/queue.ts";
import {
  REQ_BLOCK_PC,
  REQ_CMD,
  REQ_DONTPREP,
  REQ_QUIET,
  REQ_SPECIAL,
  WRITE,
  blk_rq_map_sg,
  end_that_request_first,
  end_that_request_last,
  rq_data_dir,
  type Request,
} from "../block/request.ts";
import { scsi_dispatch_cmd, scsi_get_command, scsi_init_cmd_errh, scsi_put_command } from "./dispatch.ts";
import { scsi_device_online } from "./disposition.ts";
import {
  DMA_FROM_DEVICE,
  DMA_TO_DEVICE,
  scsi_request,
  sg_set,
  type Scsi_Host,
  type scsi_cmnd,
  type scsi_device,
} from "./host.ts";
import { shost_in_recovery } from "./timeout.ts";

const kfunc = moduleFunctions("scsi_mod");

/** Reused for every request: scsi_init_io copies it into the command's table at once, without giving way in between. */
const segments: Segment[] = [];

/** Fills in the command's scatter-gather table from the request's bios. Returns BLKPREP_*. Locks: queue_lock held. */
export function scsi_init_io(cmd: scsi_cmnd): number {
  const rq = cmd.request!;
  const { s } = cmd;
  if (rq.bio === undefined) {
    s.request_bufflen = rq.s.data_len;
    s.request_buffer = rq.s.data;
    s.use_sg = 0;
    return BLKPREP_OK;
  }
  s.request_bufflen = (rq.s.flags & REQ_BLOCK_PC) !== 0 ? rq.s.data_len : rq.s.nr_sectors * 512;
  const count = blk_rq_map_sg(rq.q!, rq, segments);
  if (count > cmd.device.host.hostt.sg_tablesize) return BLKPREP_KILL;
  for (let i = 0; i < count; i++) sg_set(cmd.sgTable, i, segments[i]!.address, segments[i]!.length);
  s.use_sg = count;
  s.request_buffer = cmd.sgTable;
  return BLKPREP_OK;
}

/** Takes over what a scsi_request says (scsi_init_cmd_from_req). */
export function scsi_init_cmd_from_req(cmd: scsi_cmnd, sreq: scsi_request): void {
  const { s } = cmd;
  const from = sreq.s;
  cmd.sc_request = sreq;
  sreq.sr_command = cmd;
  from.sr_command = cmd.addr;
  s.sc_request = sreq.addr;
  s.cmd_len = from.sr_cmd_len;
  s.use_sg = from.sr_use_sg;
  for (let i = 0; i < 16; i++) M.u8[cmd.cmnd + i] = M.u8[from.sr_cmnd + i]!;
  s.request_bufflen = from.sr_bufflen;
  s.request_buffer = from.sr_buffer;
  s.sc_data_direction = from.sr_data_direction;
  s.timeout_per_command = from.sr_timeout_per_command;
  s.allowed = from.sr_allowed;
  s.underflow = from.sr_underflow;
  cmd.done = sreq.sr_done;
}

/** Makes a command for a request. Returns BLKPREP_*. Locks: queue_lock held. Context: any. */
export const scsi_prep_fn = kfunc("scsi_prep_fn", function* (q: RequestQueue, rq: Request) {
  const sdev = q.queuedata as scsi_device;
  let cmd: scsi_cmnd | undefined;
  const { special } = rq;
  if (special instanceof scsi_request) {
    cmd = yield* scsi_get_command(sdev);
    if (cmd) scsi_init_cmd_from_req(cmd, special);
  } else if ((rq.s.flags & (REQ_CMD | REQ_BLOCK_PC | REQ_SPECIAL)) !== 0) {
    cmd = (special as scsi_cmnd | undefined) ?? (yield* scsi_get_command(sdev));
  } else return BLKPREP_KILL;
  if (!cmd) {
    if (sdev.s.device_busy === 0) yield* blk_plug_device(q);
    return BLKPREP_DEFER;
  }
  rq.special = cmd;
  rq.s.special = cmd.addr;
  cmd.request = rq;
  cmd.s.request = rq.addr;
  if ((rq.s.flags & (REQ_CMD | REQ_BLOCK_PC)) !== 0) {
    cmd.s.sc_data_direction = rq_data_dir(rq) === WRITE ? DMA_TO_DEVICE : DMA_FROM_DEVICE;
    const ret = scsi_init_io(cmd);
    if (ret !== BLKPREP_OK || sdev.driver?.init_command(cmd) !== 1) {
      rq.special = undefined;
      rq.s.special = 0;
      yield* scsi_put_command(cmd);
      return BLKPREP_KILL;
    }
  }
  rq.s.flags = rq.s.flags | REQ_DONTPREP;
  return BLKPREP_OK;
});

/** May the device get another command now? Locks: queue_lock held. */
const scsi_dev_queue_ready = kfunc("scsi_dev_queue_ready", function* (q: RequestQueue, sdev: scsi_device) {
  const { s } = sdev;
  if (s.device_busy >= s.queue_depth) return false;
  if (s.device_busy === 0 && s.device_blocked !== 0) {
    // Unblocks when the count has run down: each look at the queue is one.
    s.device_blocked = s.device_blocked - 1;
    if (s.device_blocked !== 0) {
      yield* blk_plug_device(q);
      return false;
    }
  }
  return s.device_blocked === 0;
});

/** May the host get another command now? A device that may not is put on the starved list. Locks: host_lock held. */
const scsi_host_queue_ready = kfunc(
  "scsi_host_queue_ready",
  function* (q: RequestQueue, shost: Scsi_Host, sdev: scsi_device) {
    const { s } = shost;
    if (shost_in_recovery(shost)) return false;
    if (s.host_busy === 0 && s.host_blocked !== 0) {
      s.host_blocked = s.host_blocked - 1;
      if (s.host_blocked !== 0) {
        yield* blk_plug_device(q);
        return false;
      }
    }
    if ((s.can_queue > 0 && s.host_busy >= s.can_queue) || s.host_blocked !== 0 || s.host_self_blocked !== 0) {
      if (list_empty(sdev.starved_entry)) list_add_tail(sdev.starved_entry, shost.starved_list);
      return false;
    }
    if (!list_empty(sdev.starved_entry)) list_del_init(sdev.starved_entry);
    return true;
  },
);

/** Sends commands until the queue is empty or somebody cannot take more. Locks: queue_lock held, irqs off; let go inside. */
export const scsi_request_fn = kfunc("scsi_request_fn", function* (q: RequestQueue) {
  const sdev = q.queuedata as scsi_device;
  const shost = sdev.host;
  while (!blk_queue_plugged(q)) {
    const rq = yield* elv_next_request(q);
    if (!rq || !(yield* scsi_dev_queue_ready(q, sdev))) break;
    if (!scsi_device_online(sdev)) {
      yield* printk(`scsi${sdev.host.host_no} (${sdev.id}:${sdev.lun}): rejecting I/O to offline device\n`, 3);
      blkdev_dequeue_request(rq);
      rq.s.flags = rq.s.flags | REQ_QUIET;
      yield* kill_request(rq);
      continue;
    }
    blkdev_dequeue_request(rq);
    sdev.s.device_busy = sdev.s.device_busy + 1;
    spin_unlock(q.queue_lock);
    yield* spin_lock(shost.host_lock);
    if (!(yield* scsi_host_queue_ready(q, shost, sdev))) {
      yield* spin_unlock_irq(shost.host_lock);
      yield* spin_lock_irq(q.queue_lock);
      yield* blk_requeue_request(q, rq);
      sdev.s.device_busy = sdev.s.device_busy - 1;
      if (sdev.s.device_busy === 0) yield* blk_plug_device(q);
      return;
    }
    shost.s.host_busy = shost.s.host_busy + 1;
    yield* spin_unlock_irq(shost.host_lock);
    const cmd = rq.special as scsi_cmnd;
    scsi_init_cmd_errh(cmd);
    const rtn = yield* scsi_dispatch_cmd(cmd);
    yield* spin_lock_irq(q.queue_lock);
    if (rtn !== 0) {
      if (sdev.s.device_busy === 0) yield* blk_plug_device(q);
      break;
    }
  }
});

/** Ends a request that no device will see. Locks: queue_lock held. */
const kill_request = kfunc("scsi_kill_request", function* (rq: Request) {
  const { special } = rq;
  if (special instanceof scsi_request) {
    special.s.sr_result = 1 << 16;
    if (rq.waiting) yield* end_that_request_last(rq);
    return;
  }
  if (special) {
    yield* scsi_put_command(special as scsi_cmnd);
    rq.special = undefined;
    rq.s.special = 0;
  }
  while (rq.bio !== undefined && (yield* end_that_request_first(rq, 0, rq.s.nr_sectors)) !== 0);
  yield* end_that_request_last(rq);
});

/** Makes the device's queue, with the host's limits. The flavour says which lock is the queue's. */
export function scsi_alloc_queue(sdev: scsi_device): RequestQueue {
  const { hostt } = sdev.host;
  const { requestFn, prepFn, queueLock } = K.flavour.scsi;
  const q = blk_init_queue(requestFn, queueLock(sdev), `scsi ${sdev.bus_id}`);
  if (prepFn) blk_queue_prep_rq(q, prepFn);
  blk_queue_max_hw_segments(q, hostt.sg_tablesize);
  blk_queue_max_phys_segments(q, Math.min(128, hostt.sg_tablesize));
  blk_queue_max_sectors(q, Math.min(hostt.max_sectors, 1024));
  q.queuedata = sdev;
  q.s.queuedata = sdev.addr;
  sdev.request_queue = q;
  sdev.s.request_queue = q.addr;
  K.scsi.byStarvedEntry.set(sdev.starved_entry, sdev);
  return q;
}
