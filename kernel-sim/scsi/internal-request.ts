// Commands of the kernel's own through a device's queue: scsi_request, scsi_wait_req (scsi_lib.c, scsi.c of 2.6.9).
import { M } from "../abi/ram.ts";
import { completion, list_head } from "../abi/structs/base.ts";
import { request as request_struct } from "../abi/structs/block.ts";
import { SCSI_SENSE_BUFFERSIZE, struct_scsi_request } from "../abi/structs/scsi.ts";
import { blk_dev_init } from "../block/block-layer.ts";
import { blk_insert_request } from "../block/queue.ts";
import { RQ_SCSI_BUSY, RQ_SCSI_DONE, Request } from "../block/request.ts";
import { K } from "../core/kernel.ts";
import { moduleFunctions } from "../core/kfunc.ts";
import { Completion, complete, wait_for_completion } from "../core/wait.ts";
import { scsi_request, type scsi_cmnd, type scsi_device } from "./host.ts";
import { scsi_next_command } from "./requeue.ts";
import { COMMAND_SIZE, DRIVER_ERROR } from "./status.ts";

const kfunc = moduleFunctions("scsi_mod");

const MAGIC = 0x1234;

/** A scsi_request for the device; used by one process at a time, as often as it likes. Context: process. */
export function scsi_allocate_request(sdev: scsi_device): { sreq: scsi_request; waiting: Completion } {
  const request = new Request(K.bootmem(K.sizeOf(request_struct)));
  // The elevator finds the objects behind its lists by address.
  blk_dev_init().requests.set(request.addr, request);
  const sreq = new scsi_request(sdev, K.bootmem(K.sizeOf(struct_scsi_request)), request);
  sreq.s.sr_magic = MAGIC;
  const waiting = new Completion(K.bootmem(K.sizeOf(completion) + K.sizeOf(list_head)), `scsi_wait_req ${sdev.bus_id}`);
  sreq.sr_done = (cmd) => scsi_wait_done(cmd);
  return { sreq, waiting };
}

const scsi_wait_done = kfunc("scsi_wait_done", function* (cmd: scsi_cmnd) {
  const rq = cmd.request!;
  rq.s.rq_status = RQ_SCSI_DONE;
  if (rq.waiting) yield* complete(rq.waiting);
});

/**
 * Sends one command and sleeps until it has ended, retries included.
 * Returns: its result (0 is good); sense data is at sreq.s.sr_sense_buffer. Context: process. Must not: be called in dump mode.
 * @param buffer physical address in the flat window
 */
export const scsi_wait_req = kfunc(
  "scsi_wait_req",
  function* (
    sreq: scsi_request,
    waiting: Completion,
    cdb: readonly number[],
    buffer: number,
    bufflen: number,
    direction: number,
    timeout: number,
    retries: number,
  ) {
    const { s, sr_request: rq, sr_device } = sreq;
    const q = sr_device.request_queue;
    rq.init(q, 0);
    for (let i = 0; i < 16; i++) M.u8[s.sr_cmnd + i] = cdb[i] ?? 0;
    M.u8.fill(0, s.sr_sense_buffer, s.sr_sense_buffer + SCSI_SENSE_BUFFERSIZE);
    s.sr_cmd_len = COMMAND_SIZE(cdb[0]!);
    s.sr_buffer = buffer;
    s.sr_bufflen = bufflen;
    s.sr_data_direction = direction;
    s.sr_timeout_per_command = timeout;
    s.sr_allowed = retries;
    s.sr_use_sg = 0;
    s.sr_underflow = 0;
    s.sr_result = 0;
    waiting.done = 0;
    rq.waiting = waiting;
    rq.s.waiting = waiting.addr;
    rq.s.rq_status = RQ_SCSI_BUSY;
    yield* blk_insert_request(q, rq, 0, sreq, 0);
    yield* wait_for_completion(waiting);
    rq.waiting = undefined;
    rq.s.waiting = 0;
    if (rq.s.rq_status !== RQ_SCSI_DONE) s.sr_result = s.sr_result | (DRIVER_ERROR << 24);
    const cmd = sreq.sr_command;
    if (cmd) {
      sreq.sr_command = undefined;
      s.sr_command = 0;
      rq.special = undefined;
      yield* scsi_next_command(cmd);
    }
    return s.sr_result;
  },
);
