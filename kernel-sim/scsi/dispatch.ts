// From the mid-layer to the driver and back (drivers/scsi/scsi.c of 2.6.9): dispatch, done, the SCSI softirq.
import { cpu, finished, type Running } from "../../emulator/cpu/cpu.ts";
import { M, poke32 } from "../abi/ram.ts";
import { blk_dev_init } from "../block/block-layer.ts";
import { K } from "../core/kernel.ts";
import { pointed } from "../core/fault.ts";
import { moduleFunctions, moduleLeaves } from "../core/kfunc.ts";
import { INIT_LIST_HEAD, list_add, list_add_tail, list_del_init, list_empty, list_next } from "../core/list.ts";
import { SCSI_SOFTIRQ, open_softirq, raise_softirq_irqoff } from "../core/softirq.ts";
import {
  local_irq_disable,
  local_irq_enable,
  local_irq_restore,
  local_irq_save,
  spin_lock_irqsave,
  spin_unlock_irqrestore,
} from "../core/spinlock.ts";
import { clear_sense, scsi_decide_disposition, scsi_sense_valid } from "./disposition.ts";
import {
  SCSI_MLQUEUE_DEVICE_BUSY,
  SCSI_MLQUEUE_EH_RETRY,
  SCSI_MLQUEUE_HOST_BUSY,
  SDEV_DEL,
  SUCCESS,
  type scsi_cmnd,
  type scsi_device,
} from "./host.ts";
import { SCSI_EXPORTS, ScsiMidlayer, scsi_mod_data } from "./midlayer.ts";
import { scsi_queue_insert } from "./requeue.ts";
import { ADD_TO_MLQUEUE, COMMAND_SIZE, DID_ABORT, DID_NO_CONNECT, DRIVER_SENSE, NEEDS_RETRY } from "./status.ts";
import {
  SCSI_OWNER_HIGHLEVEL,
  SCSI_OWNER_LOWLEVEL,
  SCSI_STATE_FINISHED,
  SCSI_STATE_QUEUED,
  SHOST_CANCEL,
  scsi_add_timer,
  scsi_delete_timer,
  scsi_eh_scmd_add,
  scsi_times_out,
} from "./timeout.ts";

const kfunc = moduleFunctions("scsi_mod");
const kleaf = moduleLeaves("scsi_mod");

const SCSI_2 = 3;
/** Room for a list_head on a stack, aligned. */
const LIST_HEAD_BYTES = 16;

/** Sets the mid-layer up for the running kernel. Called once by the boot, before any host is added. */
export function init_scsi(): void {
  blk_dev_init();
  K.modules.load("scsi_mod", { data: scsi_mod_data, exports: SCSI_EXPORTS });
  K.scsi = new ScsiMidlayer();
  K.flavour.scsi.init();
}

/** 2.6: commands end in a softirq of their own. */
export function init_scsi_softirq(): void {
  open_softirq(SCSI_SOFTIRQ, scsi_softirq);
}

/** A command from the host's free list, or undefined: try later. Locks: free_list_lock, inside. Context: any. */
export const scsi_get_command = kfunc("scsi_get_command", function* (sdev: scsi_device) {
  const { host } = sdev;
  const flags = yield* spin_lock_irqsave(host.free_list_lock);
  let cmd: scsi_cmnd | undefined;
  if (!list_empty(host.free_list)) {
    const entry = list_next(host.free_list);
    list_del_init(entry);
    cmd = pointed(K.scsi.byEntry.get(entry), entry);
    // The C has a lock per device for this list; here it changes with the host's pool.
    list_add_tail(cmd.list, sdev.cmd_list);
  }
  yield* spin_unlock_irqrestore(host.free_list_lock, flags);
  if (cmd) {
    cmd.device = sdev;
    const { s } = cmd;
    s.device = sdev.addr;
    s.retries = 0;
    s.eh_eflags = 0;
    s.result = 0;
    s.resid = 0;
    s.use_sg = 0;
    s.request_bufflen = 0;
    s.request_buffer = 0;
    s.serial_number = 0;
    s.sc_request = 0;
    cmd.sc_request = undefined;
    cmd.done = undefined;
  }
  return cmd;
});

/** Back to the free list. Locks: free_list_lock, inside. Context: any. */
export const scsi_put_command = kfunc("scsi_put_command", function* (cmd: scsi_cmnd) {
  const { host } = cmd.device;
  const flags = yield* spin_lock_irqsave(host.free_list_lock);
  cmd.request = undefined;
  cmd.s.request = 0;
  list_del_init(cmd.list);
  list_add(cmd.eh_entry, host.free_list);
  yield* spin_unlock_irqrestore(host.free_list_lock, flags);
});

/** A command's serial number, and the lun in its CDB where the device wants it there. */
export function numberCommand(cmd: scsi_cmnd): void {
  const { device, s } = cmd;
  const { scsi } = K;
  scsi.serialNumber = scsi.serialNumber + 1 || 1;
  s.serial_number = scsi.serialNumber;
  s.pid = scsi.pid++;
  if (device.s.scsi_level <= SCSI_2) {
    M.u8[cmd.cmnd + 1] = (M.u8[cmd.cmnd + 1]! & 0x1f) | ((device.lun << 5) & 0xe0);
  }
}

/**
 * Gives a command to the driver.
 * Returns: 0 when the driver took it, else it was put back on its queue. Locks: none held; host_lock inside. Context: any.
 */
export const scsi_dispatch_cmd = kfunc("scsi_dispatch_cmd", function* (cmd: scsi_cmnd) {
  const { device, s } = cmd;
  const { host } = device;
  const count = device.s.iorequest_cnt;
  count.counter = count.counter + 1;
  if (device.s.sdev_state === SDEV_DEL) {
    s.result = DID_NO_CONNECT << 16;
    yield* __scsi_done(cmd);
    return 0;
  }
  numberCommand(cmd);
  yield* scsi_add_timer(cmd, s.timeout_per_command, scsi_times_out);
  s.state = SCSI_STATE_QUEUED;
  s.owner = SCSI_OWNER_LOWLEVEL;
  if (COMMAND_SIZE(M.u8[cmd.cmnd]!) > host.s.max_cmd_len) {
    s.result = DID_ABORT << 16;
    yield* scsi_done(cmd);
    return 0;
  }
  const flags = yield* spin_lock_irqsave(host.host_lock);
  let rtn = 0;
  if ((host.s.shost_state & (1 << SHOST_CANCEL)) !== 0) {
    s.result = DID_NO_CONNECT << 16;
    yield* scsi_done(cmd);
  } else rtn = yield* host.hostt.queuecommand(cmd, scsi_done);
  yield* spin_unlock_irqrestore(host.host_lock, flags);
  if (rtn !== 0) {
    yield* scsi_delete_timer(cmd);
    yield* scsi_queue_insert(cmd, rtn === SCSI_MLQUEUE_DEVICE_BUSY ? rtn : SCSI_MLQUEUE_HOST_BUSY);
  }
  return rtn;
});

/**
 * What drivers call at a command's end. A command whose timer has expired belongs to the error handler: then nothing.
 * In crash dump mode it returns at once: the dumper has its own done function. Context: any, usually hardirq.
 */
export const scsi_done = kfunc("scsi_done", function* (cmd: scsi_cmnd) {
  if (K.dumpMode !== undefined) return;
  if ((yield* scsi_delete_timer(cmd)) === 0) return;
  yield* __scsi_done(cmd);
});

/** Links the command into this CPU's done queue; the SCSI softirq does the rest. Context: any. */
export const __scsi_done = kleaf("__scsi_done", (cmd: scsi_cmnd): Running => {
  cmd.s.serial_number = 0;
  const done = cmd.device.s.iodone_cnt;
  done.counter = done.counter + 1;
  if (cmd.s.result !== 0) {
    const errors = cmd.device.s.ioerr_cnt;
    errors.counter = errors.counter + 1;
  }
  const flags = local_irq_save();
  list_add_tail(cmd.eh_entry, K.scsi.doneQueues[cpu.id]!);
  raise_softirq_irqoff(SCSI_SOFTIRQ);
  return flags === 0 ? finished() : local_irq_restore(flags);
});

/** SCSI_SOFTIRQ: takes this CPU's done queue and deals with each command. */
export const scsi_softirq = kfunc("scsi_softirq", function* () {
  const done = K.scsi.doneQueues[cpu.id]!;
  // LIST_HEAD(local_q): on the stack. What is on it when the CPU is lost, nobody finds again.
  cpu.sp -= LIST_HEAD_BYTES;
  const local = cpu.sp;
  INIT_LIST_HEAD(local);
  local_irq_disable();
  // list_splice_init
  if (!list_empty(done)) {
    while (!list_empty(done)) {
      const entry = list_next(done);
      list_del_init(entry);
      list_add_tail(entry, local);
    }
    INIT_LIST_HEAD(done);
  }
  yield* local_irq_enable();
  while (!list_empty(local)) {
    const entry = list_next(local);
    list_del_init(entry);
    yield* disposeOf(pointed(K.scsi.byEntry.get(entry), entry));
  }
});

/** What becomes of a command that has ended. */
export function* disposeOf(cmd: scsi_cmnd): Generator<void, void, void> {
  switch (scsi_decide_disposition(cmd)) {
    case SUCCESS:
      yield* scsi_finish_command(cmd);
      break;
    case NEEDS_RETRY:
      yield* scsi_retry_command(cmd);
      break;
    case ADD_TO_MLQUEUE:
      yield* scsi_queue_insert(cmd, SCSI_MLQUEUE_DEVICE_BUSY);
      break;
    default:
      if ((yield* scsi_eh_scmd_add(cmd, 0)) === 0) yield* scsi_finish_command(cmd);
  }
}

/** Puts back what the upper level had asked for, after the command was used for something else or is to be repeated. */
export function scsi_setup_cmd_retry(cmd: scsi_cmnd): void {
  const { s } = cmd;
  const from = s.data_cmnd;
  for (let i = 0; i < 16; i++) M.u8[cmd.cmnd + i] = M.u8[from + i]!;
  s.request_buffer = s.buffer;
  s.request_bufflen = s.bufflen;
  s.use_sg = s.old_use_sg;
  s.cmd_len = s.old_cmd_len;
  s.sc_data_direction = s.sc_old_data_direction;
  s.underflow = s.old_underflow;
}

/** The other way round: keeps what was asked for. Called before the first dispatch. */
export function scsi_init_cmd_errh(cmd: scsi_cmnd): void {
  const { s } = cmd;
  s.owner = 0x101;
  s.serial_number = 0;
  s.serial_number_at_timeout = 0;
  clear_sense(cmd);
  if (s.cmd_len === 0) s.cmd_len = COMMAND_SIZE(M.u8[cmd.cmnd]!);
  const to = s.data_cmnd;
  for (let i = 0; i < 16; i += 4) poke32(to + i, M.u32[(cmd.cmnd + i) >>> 2]!);
  s.buffer = s.request_buffer;
  s.bufflen = s.request_bufflen;
  s.old_use_sg = s.use_sg;
  s.old_cmd_len = s.cmd_len;
  s.sc_old_data_direction = s.sc_data_direction;
  s.old_underflow = s.underflow;
  s.internal_timeout = 0;
}

/** Again, from the front of the queue. */
export const scsi_retry_command = kfunc("scsi_retry_command", function* (cmd: scsi_cmnd) {
  scsi_setup_cmd_retry(cmd);
  clear_sense(cmd);
  cmd.s.result = 0;
  yield* scsi_queue_insert(cmd, SCSI_MLQUEUE_EH_RETRY);
});

/** A command is over: gives its place in the queues free and tells the upper level. Context: softirq, error handler. */
export const scsi_finish_command = kfunc("scsi_finish_command", function* (cmd: scsi_cmnd) {
  const { device, s } = cmd;
  yield* K.flavour.scsi.deviceUnbusy(device);
  device.host.s.host_blocked = 0;
  device.s.device_blocked = 0;
  if (scsi_sense_valid(cmd)) s.result = s.result | (DRIVER_SENSE << 24);
  s.state = SCSI_STATE_FINISHED;
  s.owner = SCSI_OWNER_HIGHLEVEL;
  s.use_sg = s.old_use_sg;
  const sreq = cmd.sc_request;
  if (sreq) {
    sreq.s.sr_result = s.result;
    if (s.result !== 0) {
      const to = sreq.s.sr_sense_buffer;
      for (let i = 0; i < 96; i++) M.u8[to + i] = M.u8[cmd.sense_buffer + i]!;
    }
  }
  yield* cmd.done!(cmd);
});

/** Sets how many commands a device may have at once, within the host's limit. Context: any. Locks: none (an int store). */
export const scsi_adjust_queue_depth = kleaf("scsi_adjust_queue_depth", (sdev: scsi_device, tags: number) => {
  if (tags <= 0) return;
  sdev.s.queue_depth = Math.min(tags, sdev.host.hostt.can_queue);
});
