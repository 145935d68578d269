// The error handler (drivers/scsi/scsi_error.c of 2.6.9): a thread per host that takes failed commands back from the
// adapter by abort, device reset, bus reset, host reset, and takes devices offline when nothing helps.
import { M } from "../abi/ram.ts";
import { semaphore } from "../abi/structs/base.ts";
import { RQ_SCSI_BUSY, RQ_SCSI_DONE } from "../block/request.ts";
import { K } from "../core/kernel.ts";
import { moduleFunctions } from "../core/kfunc.ts";
import { list_add_tail, list_del_init, list_empty, list_entries, list_next } from "../core/list.ts";
import { printk } from "../core/printk.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "../core/spinlock.ts";
import { del_timer, msleep } from "../core/timer.ts";
import { Semaphore, down, down_interruptible, up, wake_up_all } from "../core/wait.ts";
import { scsi_finish_command, scsi_retry_command, scsi_setup_cmd_retry } from "./dispatch.ts";
import {
  blk_noretry_request,
  clear_sense,
  scsi_check_sense,
  scsi_decide_disposition,
  scsi_device_online,
  scsi_sense_valid,
} from "./disposition.ts";
import {
  DMA_FROM_DEVICE,
  DMA_NONE,
  FAILED,
  SDEV_OFFLINE,
  SUCCESS,
  type Scsi_Host,
  type scsi_cmnd,
  type scsi_device,
} from "./host.ts";
import { scsi_run_host_queues } from "./requeue.ts";
import {
  ADD_TO_MLQUEUE,
  COMMAND_COMPLETE,
  DID_OK,
  DID_RESET,
  DRIVER_TIMEOUT,
  NEEDS_RETRY,
  REQUEST_SENSE,
  SAM_STAT_BUSY,
  SAM_STAT_CHECK_CONDITION,
  SAM_STAT_TASK_SET_FULL,
  TEST_UNIT_READY,
  host_byte,
  msg_byte,
} from "./status.ts";
import {
  SCSI_EH_CANCEL_CMD,
  SCSI_EH_REC_TIMEOUT,
  SCSI_OWNER_ERROR_HANDLER,
  SCSI_OWNER_LOWLEVEL,
  SHOST_RECOVERY,
  scsi_add_timer,
} from "./timeout.ts";

const kfunc = moduleFunctions("scsi_mod");

const SENSE_TIMEOUT_SECONDS = 10;
/** What a bus needs after a reset before its devices answer. */
const BUS_RESET_SETTLE_MS = 10_000;
const HOST_RESET_SETTLE_MS = 10_000;
const SENSE_BYTES = 252;

const commandsOn = (head: number): scsi_cmnd[] => list_entries(head).map((entry) => K.scsi.byEntry.get(entry)!);

/** The thread scsi_eh_N: sleeps until every command of the host has ended or failed. */
export const scsi_error_handler = kfunc("scsi_error_handler", function* (shost: Scsi_Host) {
  for (;;) {
    yield* down_interruptible(shost.eh_wait);
    shost.s.eh_active = 1;
    yield* scsi_unjam_host(shost);
    shost.s.eh_active = 0;
    yield* scsi_restart_operations(shost);
  }
});

const scsi_unjam_host = kfunc("scsi_unjam_host", function* (shost: Scsi_Host) {
  const { eh_work_q, eh_done_q } = shost;
  const flags = yield* spin_lock_irqsave(shost.host_lock);
  while (!list_empty(shost.eh_cmd_q)) {
    const entry = list_next(shost.eh_cmd_q);
    list_del_init(entry);
    list_add_tail(entry, eh_work_q);
  }
  yield* spin_unlock_irqrestore(shost.host_lock, flags);
  if (!(yield* scsi_eh_get_sense(shost)) && !(yield* scsi_eh_abort_cmds(shost))) yield* scsi_eh_ready_devs(shost);
  yield* scsi_eh_flush_done_q(eh_done_q);
});

const scsi_restart_operations = kfunc("scsi_restart_operations", function* (shost: Scsi_Host) {
  shost.s.shost_state = shost.s.shost_state & ~(1 << SHOST_RECOVERY);
  yield* wake_up_all(shost.host_wait);
  yield* scsi_run_host_queues(shost);
});

/** This command is dealt with: it will be retried or finished when the handler is through. */
const scsi_eh_finish_cmd = kfunc("scsi_eh_finish_cmd", function* (scmd: scsi_cmnd) {
  const shost = scmd.device.host;
  shost.s.host_failed = shost.s.host_failed - 1;
  scmd.s.eh_eflags = 0;
  scsi_setup_cmd_retry(scmd);
  list_del_init(scmd.eh_entry);
  list_add_tail(scmd.eh_entry, shost.eh_done_q);
});

/** The driver's end of a command of the error handler's own. In crash dump mode: nothing. */
export const scsi_eh_done = kfunc("scsi_eh_done", function* (scmd: scsi_cmnd) {
  if (K.dumpMode !== undefined) return;
  if ((yield* del_timer(scmd.eh_timeout)) === 0) return;
  if (scmd.request) scmd.request.s.rq_status = RQ_SCSI_DONE;
  scmd.s.owner = SCSI_OWNER_ERROR_HANDLER;
  const { eh_action } = scmd.device.host;
  if (eh_action) yield* up(eh_action);
});

const scsi_eh_times_out = kfunc("scsi_eh_times_out", function* (addr: number) {
  const scmd = K.scsi.byAddress.get(addr)!;
  scmd.s.eh_eflags = scmd.s.eh_eflags | SCSI_EH_REC_TIMEOUT;
  const { eh_action } = scmd.device.host;
  if (eh_action) yield* up(eh_action);
});

/** What an error-handler command's status means. Returns SUCCESS, NEEDS_RETRY or FAILED. */
function scsi_eh_completed_normally(scmd: scsi_cmnd): number {
  const { result } = scmd.s;
  if (host_byte(result) === DID_RESET) return scsi_check_sense(scmd);
  if (host_byte(result) !== DID_OK || msg_byte(result) !== COMMAND_COMPLETE) return FAILED;
  switch (result & 0x3e) {
    case SAM_STAT_CHECK_CONDITION:
      return scsi_check_sense(scmd);
    case SAM_STAT_BUSY:
    case SAM_STAT_TASK_SET_FULL:
      return FAILED;
    default:
      return SUCCESS;
  }
}

const actions = new WeakMap<Scsi_Host, Semaphore>();

/** Sends `scmd` (set up by the caller) outside the queues and waits for it. Returns SUCCESS, NEEDS_RETRY or FAILED. */
export const scsi_send_eh_cmnd = kfunc("scsi_send_eh_cmnd", function* (scmd: scsi_cmnd, timeout: number) {
  const shost = scmd.device.host;
  // DECLARE_MUTEX_LOCKED(sem): on the stack in C; one per host here, because a host has one error handler.
  let action = actions.get(shost);
  if (!action)
    actions.set(shost, (action = new Semaphore(K.bootmem(K.sizeOf(semaphore)), `${shost.host_no}.eh_action`, 0)));
  action.count = 0;
  scmd.s.owner = SCSI_OWNER_LOWLEVEL;
  shost.eh_action = action;
  shost.s.eh_action = action.addr;
  if (scmd.request) scmd.request.s.rq_status = RQ_SCSI_BUSY;
  yield* scsi_add_timer(scmd, timeout, scsi_eh_times_out);
  let flags = yield* spin_lock_irqsave(shost.host_lock);
  yield* shost.hostt.queuecommand(scmd, scsi_eh_done);
  yield* spin_unlock_irqrestore(shost.host_lock, flags);
  yield* down(action);
  shost.eh_action = undefined;
  shost.s.eh_action = 0;
  if ((scmd.s.eh_eflags & SCSI_EH_REC_TIMEOUT) !== 0) {
    scmd.s.eh_eflags = scmd.s.eh_eflags & ~SCSI_EH_REC_TIMEOUT;
    scmd.s.owner = SCSI_OWNER_LOWLEVEL;
    // The driver still has it: give it a chance to forget it.
    flags = yield* spin_lock_irqsave(shost.host_lock);
    if (shost.hostt.eh_abort_handler) yield* shost.hostt.eh_abort_handler(scmd);
    yield* spin_unlock_irqrestore(shost.host_lock, flags);
    if (scmd.request) scmd.request.s.rq_status = RQ_SCSI_DONE;
    scmd.s.owner = SCSI_OWNER_ERROR_HANDLER;
    return FAILED;
  }
  const rtn = scsi_eh_completed_normally(scmd);
  return rtn === ADD_TO_MLQUEUE ? NEEDS_RETRY : rtn;
});

/** Sets the command up as `cdb` without data or with `bytes` of input into `buffer`. */
function borrow(scmd: scsi_cmnd, cdb: readonly number[], buffer: number, bytes: number): void {
  const { s } = scmd;
  for (let i = 0; i < 16; i++) M.u8[scmd.cmnd + i] = cdb[i] ?? 0;
  clear_sense(scmd);
  s.request_buffer = buffer;
  s.request_bufflen = bytes;
  s.use_sg = 0;
  s.cmd_len = 6;
  s.underflow = 0;
  s.sc_data_direction = bytes === 0 ? DMA_NONE : DMA_FROM_DEVICE;
}

const TUR_RETRIES = 1;
const SENSE_TICKS = (): number => SENSE_TIMEOUT_SECONDS * K.hz;

/** Returns 0 when the device answers TEST UNIT READY. */
const scsi_eh_tur = kfunc("scsi_eh_tur", function* (scmd: scsi_cmnd) {
  for (let retries = TUR_RETRIES; ; retries--) {
    const { result } = scmd.s;
    borrow(scmd, [TEST_UNIT_READY], 0, 0);
    const rtn = yield* scsi_send_eh_cmnd(scmd, SENSE_TICKS());
    scmd.s.result = result;
    scsi_setup_cmd_retry(scmd);
    if (rtn === SUCCESS) return 0;
    if (rtn !== NEEDS_RETRY || retries <= 0) return 1;
  }
});

const senseBuffers = new WeakMap<Scsi_Host, number>();

/** Fetches the sense data of a command whose adapter did not. */
const scsi_request_sense = kfunc("scsi_request_sense", function* (scmd: scsi_cmnd) {
  const shost = scmd.device.host;
  let buffer = senseBuffers.get(shost);
  if (buffer === undefined) senseBuffers.set(shost, (buffer = K.bootmem(256)));
  M.u8.fill(0, buffer, buffer + 256);
  const { result } = scmd.s;
  borrow(scmd, [REQUEST_SENSE, 0, 0, 0, SENSE_BYTES, 0], buffer, SENSE_BYTES);
  const rtn = yield* scsi_send_eh_cmnd(scmd, SENSE_TICKS());
  if (!scsi_sense_valid(scmd)) for (let i = 0; i < 96; i++) M.u8[scmd.sense_buffer + i] = M.u8[buffer + i]!;
  scsi_setup_cmd_retry(scmd);
  scmd.s.result = result;
  return rtn;
});

/** Returns true when no command is left to deal with. */
const scsi_eh_get_sense = kfunc("scsi_eh_get_sense", function* (shost: Scsi_Host) {
  for (const scmd of commandsOn(shost.eh_work_q)) {
    if ((scmd.s.eh_eflags & SCSI_EH_CANCEL_CMD) !== 0 || scsi_sense_valid(scmd)) continue;
    if ((yield* scsi_request_sense(scmd)) !== SUCCESS) continue;
    const disposition = scsi_decide_disposition(scmd);
    // Only the sense data was missing: finish it, do not send it again.
    if (disposition === SUCCESS) scmd.s.retries = scmd.s.allowed;
    else if (disposition !== NEEDS_RETRY) continue;
    yield* scsi_eh_finish_cmd(scmd);
  }
  return list_empty(shost.eh_work_q);
});

const scsi_try_to_abort_cmd = kfunc("scsi_try_to_abort_cmd", function* (scmd: scsi_cmnd) {
  const { host } = scmd.device;
  if (!host.hostt.eh_abort_handler) return FAILED;
  if (scmd.s.serial_number === 0) return SUCCESS;
  scmd.s.owner = SCSI_OWNER_LOWLEVEL;
  const flags = yield* spin_lock_irqsave(host.host_lock);
  const rtn = yield* host.hostt.eh_abort_handler(scmd);
  yield* spin_unlock_irqrestore(host.host_lock, flags);
  return rtn;
});

const scsi_eh_abort_cmds = kfunc("scsi_eh_abort_cmds", function* (shost: Scsi_Host) {
  for (const scmd of commandsOn(shost.eh_work_q)) {
    if ((scmd.s.eh_eflags & SCSI_EH_CANCEL_CMD) === 0) continue;
    if ((yield* scsi_try_to_abort_cmd(scmd)) !== SUCCESS) continue;
    scmd.s.eh_eflags = scmd.s.eh_eflags & ~SCSI_EH_CANCEL_CMD;
    if (!scsi_device_online(scmd.device) || (yield* scsi_eh_tur(scmd)) === 0) yield* scsi_eh_finish_cmd(scmd);
  }
  return list_empty(shost.eh_work_q);
});

const scsi_eh_ready_devs = kfunc("scsi_eh_ready_devs", function* (shost: Scsi_Host) {
  if (yield* scsi_eh_bus_device_reset(shost)) return;
  if (yield* scsi_eh_bus_reset(shost)) return;
  if (yield* scsi_eh_host_reset(shost)) return;
  yield* scsi_eh_offline_sdevs(shost);
});

/** The device will say "unit attention" once because of us. */
function noteReset(sdev: scsi_device): void {
  sdev.s.was_reset = 1;
  sdev.s.expecting_cc_ua = 1;
}

const scsi_eh_bus_device_reset = kfunc("scsi_eh_bus_device_reset", function* (shost: Scsi_Host) {
  const handler = shost.hostt.eh_device_reset_handler;
  if (!handler) return false;
  for (const sdev of shost.devices) {
    const first = commandsOn(shost.eh_work_q).find((scmd) => scmd.device === sdev);
    if (!first) continue;
    first.s.owner = SCSI_OWNER_LOWLEVEL;
    const flags = yield* spin_lock_irqsave(shost.host_lock);
    const rtn = yield* handler(first);
    yield* spin_unlock_irqrestore(shost.host_lock, flags);
    if (rtn !== SUCCESS) continue;
    noteReset(sdev);
    if (scsi_device_online(sdev) && (yield* scsi_eh_tur(first)) !== 0) continue;
    for (const scmd of commandsOn(shost.eh_work_q)) if (scmd.device === sdev) yield* scsi_eh_finish_cmd(scmd);
  }
  return list_empty(shost.eh_work_q);
});

/** After a reset of bus or host: commands whose device answers are dealt with. */
const finishReady = kfunc("scsi_eh_finish_ready", function* (shost: Scsi_Host) {
  for (const scmd of commandsOn(shost.eh_work_q)) {
    if (!scsi_device_online(scmd.device) || (yield* scsi_eh_tur(scmd)) === 0) yield* scsi_eh_finish_cmd(scmd);
  }
  return list_empty(shost.eh_work_q);
});

const scsi_eh_bus_reset = kfunc("scsi_eh_bus_reset", function* (shost: Scsi_Host) {
  const handler = shost.hostt.eh_bus_reset_handler;
  const first = commandsOn(shost.eh_work_q)[0];
  if (!handler || !first) return false;
  first.s.owner = SCSI_OWNER_LOWLEVEL;
  const flags = yield* spin_lock_irqsave(shost.host_lock);
  const rtn = yield* handler(first);
  yield* spin_unlock_irqrestore(shost.host_lock, flags);
  if (rtn !== SUCCESS) return false;
  yield* msleep(BUS_RESET_SETTLE_MS);
  for (const sdev of shost.devices) noteReset(sdev);
  return yield* finishReady(shost);
});

const scsi_eh_host_reset = kfunc("scsi_eh_host_reset", function* (shost: Scsi_Host) {
  const handler = shost.hostt.eh_host_reset_handler;
  const first = commandsOn(shost.eh_work_q)[0];
  if (!handler || !first) return false;
  first.s.owner = SCSI_OWNER_LOWLEVEL;
  const flags = yield* spin_lock_irqsave(shost.host_lock);
  const rtn = yield* handler(first);
  yield* spin_unlock_irqrestore(shost.host_lock, flags);
  if (rtn !== SUCCESS) return false;
  yield* msleep(HOST_RESET_SETTLE_MS);
  for (const sdev of shost.devices) noteReset(sdev);
  return yield* finishReady(shost);
});

const scsi_eh_offline_sdevs = kfunc("scsi_eh_offline_sdevs", function* (shost: Scsi_Host) {
  for (const scmd of commandsOn(shost.eh_work_q)) {
    const { device } = scmd;
    yield* printk(
      `scsi: Device offlined - not ready after error recovery: host ${shost.host_no} channel ${device.channel} id ${device.id} lun ${device.lun}\n`,
      3,
    );
    device.s.sdev_state = SDEV_OFFLINE;
    yield* scsi_eh_finish_cmd(scmd);
  }
});

const scsi_eh_flush_done_q = kfunc("scsi_eh_flush_done_q", function* (done_q: number) {
  while (!list_empty(done_q)) {
    const scmd = K.scsi.byEntry.get(list_next(done_q))!;
    list_del_init(scmd.eh_entry);
    scmd.s.retries = scmd.s.retries + 1;
    if (scsi_device_online(scmd.device) && !blk_noretry_request(scmd) && scmd.s.retries < scmd.s.allowed) {
      yield* scsi_retry_command(scmd);
    } else {
      if (scmd.s.result === 0) scmd.s.result = DRIVER_TIMEOUT << 24;
      yield* scsi_finish_command(scmd);
    }
  }
});
