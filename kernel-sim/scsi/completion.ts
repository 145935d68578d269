// The upper half of a command's end: what becomes of the request (scsi_io_completion, scsi_lib.c of 2.6.9).
import { M } from "../abi/ram.ts";
import { REQ_QUIET, end_that_request_chunk, end_that_request_last } from "../block/request.ts";
import { K } from "../core/kernel.ts";
import { moduleFunctions } from "../core/kfunc.ts";
import { printk } from "../core/printk.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "../core/spinlock.ts";
import { blk_noretry_request, sense_asc, sense_ascq, sense_key } from "./disposition.ts";
import type { scsi_cmnd } from "./host.ts";
import { scsi_next_command, scsi_requeue_command } from "./requeue.ts";
import {
  DID_RESET,
  ILLEGAL_REQUEST,
  MEDIUM_ERROR,
  NOT_READY,
  UNIT_ATTENTION,
  VOLUME_OVERFLOW,
  driver_byte,
  host_byte,
} from "./status.ts";

const kfunc = moduleFunctions("scsi_mod");

/**
 * Ends the first `bytes` bytes of the command's request. The last ones free the command too.
 * Returns: true when the command is gone, false when something is left (requeued if `requeue`).
 */
export const scsi_end_request = kfunc(
  "scsi_end_request",
  function* (cmd: scsi_cmnd, uptodate: number, bytes: number, requeue: boolean) {
    const q = cmd.device.request_queue;
    const rq = cmd.request!;
    if ((yield* end_that_request_chunk(rq, uptodate, bytes)) !== 0) {
      if (uptodate === 0 && blk_noretry_request(cmd)) yield* end_that_request_chunk(rq, 0, rq.s.hard_nr_sectors * 512);
      else {
        if (requeue) yield* scsi_requeue_command(q, cmd);
        return false;
      }
    }
    const flags = yield* spin_lock_irqsave(q.queue_lock);
    rq.special = undefined;
    rq.s.special = 0;
    yield* end_that_request_last(rq);
    yield* spin_unlock_irqrestore(q.queue_lock, flags);
    yield* scsi_next_command(cmd);
    return true;
  },
);

/**
 * Decides from a finished command's result what becomes of its request: `good_bytes` of it are done.
 * `block_bytes`: how many more are lost to a medium error. Context: softirq, error handler. Locks: none held.
 */
export const scsi_io_completion = kfunc(
  "scsi_io_completion",
  function* (cmd: scsi_cmnd, good_bytes: number, block_bytes: number) {
    const { result } = cmd.s;
    const this_count = cmd.s.bufflen;
    const q = cmd.device.request_queue;
    const rq = cmd.request!;
    cmd.s.use_sg = 0;
    cmd.s.request_buffer = 0;
    if (result === 0) rq.s.errors = 0;
    const gone = yield* K.flavour.scsi.endRequest(cmd, 1, good_bytes, result === 0);
    if (result === 0 || gone) return;
    if (driver_byte(result) !== 0 && (M.u8[cmd.sense_buffer]! & 0x7f) === 0x70) {
      const key = sense_key(cmd);
      if (sense_asc(cmd) === 0x04 && sense_ascq(cmd) === 0x01) {
        yield* K.flavour.scsi.requeueCommand(q, cmd);
        return;
      }
      switch (key) {
        case UNIT_ATTENTION:
          if (cmd.device.s.removable !== 0) {
            cmd.device.s.changed = 1;
            yield* K.flavour.scsi.endRequest(cmd, 0, this_count, true);
          } else yield* K.flavour.scsi.requeueCommand(q, cmd);
          return;
        case ILLEGAL_REQUEST:
          yield* K.flavour.scsi.endRequest(cmd, 0, this_count, true);
          return;
        case NOT_READY:
          yield* printk("Device not ready.  Make sure there is a disc in the drive.\n", 6);
          yield* K.flavour.scsi.endRequest(cmd, 0, this_count, true);
          return;
        case MEDIUM_ERROR:
        case VOLUME_OVERFLOW:
          if ((rq.s.flags & REQ_QUIET) === 0) yield* report(cmd);
          yield* K.flavour.scsi.endRequest(cmd, 0, block_bytes > 0 ? block_bytes : this_count, true);
          return;
        default:
          break;
      }
    }
    if (host_byte(result) === DID_RESET) {
      yield* K.flavour.scsi.requeueCommand(q, cmd);
      return;
    }
    if ((rq.s.flags & REQ_QUIET) === 0) yield* report(cmd);
    // Not a word about where it went wrong: fail the first part, try the rest.
    yield* K.flavour.scsi.endRequest(cmd, 0, Math.max(512, rq.s.hard_cur_sectors * 512), true);
  },
);

const report = kfunc("scsi_report_error", function* (cmd: scsi_cmnd) {
  const { host, channel, id, lun } = cmd.device;
  const result = (cmd.s.result >>> 0).toString(16);
  yield* printk(`SCSI error : <${host.host_no} ${channel} ${id} ${lun}> return code = 0x${result}\n`, 6);
  const rq = cmd.request!;
  yield* printk(`end_request: I/O error, dev ${rq.disk?.name ?? "?"}, sector ${rq.s.sector}\n`, 3);
});
