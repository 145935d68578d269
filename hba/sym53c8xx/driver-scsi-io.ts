// SCSI commands into control blocks, and back (sym53c8xx_queue_command, sym_glue.c and sym_hipd.c of 2.6.9). The dump's hot path.
import { finished, isFinished, step, type Running } from "../../emulator/cpu/cpu.ts";
import { MESSAGE } from "../../emulator/disk/scsi-phases.ts";
import { M, STORE_NS } from "../../kernel-sim/abi/ram.ts";
import { kquick } from "../../kernel-sim/core/kfunc.ts";
import { complete, type Completion } from "../../kernel-sim/core/wait.ts";
import { scsi_dma_map, scsi_dma_unmap } from "../../kernel-sim/scsi/dma.ts";
import {
  DMA_FROM_DEVICE,
  DMA_NONE,
  DMA_TO_DEVICE,
  SCSI_MLQUEUE_DEVICE_BUSY,
  SCSI_MLQUEUE_HOST_BUSY,
  sg_dma_address,
  sg_dma_len,
  type ScsiDone,
  type scsi_cmnd,
} from "../../kernel-sim/scsi/host.ts";
import { DID_ABORT, DID_ERROR, DID_NO_CONNECT, DID_OK, DID_SOFT_ERROR } from "../../kernel-sim/scsi/status.ts";
import { get32le, get8, put32le, put8 } from "./driver-memory.ts";
import type { SYM_CCB, SYM_HCB, SYM_LCB } from "./driver-hcb.ts";
import { sym_nego_ended, sym_prepare_nego } from "./driver-nego.ts";
import {
  HF_SENSE,
  HS_ABORTED,
  HS_BUSY,
  HS_COMPLETE,
  HS_IDLE,
  HS_NEGOTIATE,
  HS_SEL_TIMEOUT,
  HS_UNEXPECTED,
} from "./driver-scripts.ts";
import { SYM_CONF_MAX_SG, SYM_CONF_MAX_TASK } from "./driver-structs.ts";
import { ISTAT_SIGP, SYM } from "./registers.ts";

const TWO_32 = 4294967296;
const NO_TAG = 0xffff;
const IDENTIFY_DISC = 0xc0;
const SENSE_BYTES = 32;
/** Stores of a control block that are always made. */
const CCB_STORES = 27;

/** A control block with its nexus; undefined when there is none, or the unit must first finish commands of the other kind. */
function sym_get_ccb(np: SYM_HCB, lp: SYM_LCB, tagged: boolean): SYM_CCB | undefined {
  const { s } = lp;
  if (s.busy_itl !== 0 || (!tagged && s.busy_itlq !== 0)) return undefined;
  const cp = np.free_ccbq.pop();
  if (!cp) return undefined;
  if (tagged) {
    if (s.busy_itlq === SYM_CONF_MAX_TASK) {
      np.free_ccbq.push(cp);
      return undefined;
    }
    const tag = M.u8[s.cb_tags + s.ia_tag]!;
    s.ia_tag = (s.ia_tag + 1) % SYM_CONF_MAX_TASK;
    s.busy_itlq = s.busy_itlq + 1;
    cp.s.tag = tag;
    put32le(lp.itlq + tag, cp.addr);
    setLcb(lp, np.offsets.lcb.resel_sa, np.entries.resel_tag);
  } else {
    s.busy_itl = 1;
    cp.s.tag = NO_TAG;
    setLcb(lp, np.offsets.lcb.itl_task_sa, cp.addr);
    setLcb(lp, np.offsets.lcb.resel_sa, np.ba("resel_no_tag"));
  }
  cp.lcb = lp;
  np.s.busy_ccbs = np.s.busy_ccbs + 1;
  return cp;
}

/** A field by its offset: a name that is a variable costs more than all else here. */
function setLcb(lp: SYM_LCB, offset: number, value: number): void {
  step(STORE_NS);
  put32le(lp.addr + offset, value);
}

/** Gives a control block back; its tag leads nowhere from now on. */
export function sym_free_ccb(np: SYM_HCB, cp: SYM_CCB): void {
  const lp = cp.lcb!;
  const { s } = lp;
  const { tag } = cp.s;
  sym_nego_ended(np, cp, np.targets[cp.s.target]!);
  if (tag === NO_TAG) {
    s.busy_itl = 0;
    setLcb(lp, np.offsets.lcb.itl_task_sa, np.bad_itl.addr);
  } else {
    step(2 * STORE_NS);
    M.u8[s.cb_tags + s.if_tag] = tag;
    s.if_tag = (s.if_tag + 1) % SYM_CONF_MAX_TASK;
    s.busy_itlq = s.busy_itlq - 1;
    put32le(lp.itlq + tag, np.bad_itlq.addr);
  }
  M.u8[np.statusAt(cp) + 1] = HS_IDLE;
  np.setCommand(cp, undefined);
  cp.s.to_abort = 0;
  cp.waiter = undefined;
  np.s.busy_ccbs = np.s.busy_ccbs - 1;
  np.free_ccbq.push(cp);
}

/** A table entry: 24 bits of length, the address' bits 39:32 above them. */
function setEntry(at: number, length: number, address: number): void {
  put32le(at, address < TWO_32 ? length : (length | (Math.floor(address / TWO_32) << 24)) >>> 0);
  put32le(at + 4, address >>> 0);
}

/** The data of a command into the last entries of its table. Returns where its data SCRIPTS begin. */
function sym_setup_data(np: SYM_HCB, cp: SYM_CCB, cmd: scsi_cmnd): number {
  const { s } = cmd;
  const direction = s.sc_data_direction;
  const length = s.request_bufflen;
  if (length === 0 || direction === DMA_NONE || (direction !== DMA_TO_DEVICE && direction !== DMA_FROM_DEVICE)) {
    cp.s.segments = 0;
    cp.s.goalp = np.ba("no_data");
    return np.ba("no_data");
  }
  const table = cp.addr + np.offsets.ccb.data;
  let segments = 1;
  if (s.use_sg === 0) setEntry(table + 8 * (SYM_CONF_MAX_SG - 1), length, s.request_buffer);
  else {
    segments = s.use_sg;
    step(segments * 2 * STORE_NS);
    for (let i = 0; i < segments; i++) {
      const at = table + 8 * (SYM_CONF_MAX_SG - segments + i);
      setEntry(at, sg_dma_len(s.request_buffer, i), sg_dma_address(s.request_buffer, i));
    }
  }
  const { entries } = np;
  const inward = direction === DMA_FROM_DEVICE;
  cp.s.segments = segments;
  cp.s.goalp = inward ? entries.data_in_goal : entries.data_out_goal;
  return (inward ? entries.data_in : entries.data_out) + 8 * (SYM_CONF_MAX_SG - segments);
}

/**
 * Queues a command at the adapter.
 * Returns: 0; SCSI_MLQUEUE_HOST_BUSY while the bus settles after a reset or no control block is free;
 * SCSI_MLQUEUE_DEVICE_BUSY while tagged and untagged commands would mix. Locks held: host_lock. Context: any, interrupts off.
 * Must not: sleep, allocate.
 */
export const sym53c8xx_queue_command = kquick(
  "sym53c8xx_queue_command",
  (cmd: scsi_cmnd, done: ScsiDone): Running<number> => {
    const { device, s } = cmd;
    const np = device.host.hostdata as SYM_HCB;
    cmd.scsi_done = done;
    if (np.s.settle_time_valid !== 0) return finished(SCSI_MLQUEUE_HOST_BUSY);
    const tp = np.targets[device.id]!;
    const lp = tp.lcbs[device.lun];
    if (!lp) return finished(SCSI_MLQUEUE_HOST_BUSY);
    const cp = sym_get_ccb(np, lp, device.s.tagged_supported !== 0);
    if (!cp) return finished(np.free_ccbq.length === 0 ? SCSI_MLQUEUE_HOST_BUSY : SCSI_MLQUEUE_DEVICE_BUSY);
    const { offsets } = np;
    // The block is the driver's until it is in the start queue: its stores are paid for at once.
    step(CCB_STORES * STORE_NS);
    np.setCommand(cp, cmd);
    const { addr } = cp;
    put8(addr + offsets.ccb.target, device.id);
    put8(addr + offsets.ccb.lun, device.lun);
    put8(addr + offsets.ccb.nego_status, 0);
    cp.s.extra_bytes = 0;
    const startp = sym_setup_data(np, cp, cmd);
    cp.s.startp = startp;
    put32le(addr + offsets.ccb.go_start, np.entries.select);
    put32le(addr + offsets.ccb.go_restart, np.entries.resel_dsa);
    put32le(addr + offsets.ccb.savep, startp);
    put32le(addr + offsets.ccb.lastp, startp);
    const { u8 } = M;
    const message = cp.s.scsi_smsg;
    let length = 0;
    u8[message + length++] = IDENTIFY_DISC | device.lun;
    if (cp.s.tag !== NO_TAG) {
      u8[message + length++] = MESSAGE.simpleQueueTag;
      u8[message + length++] = cp.s.tag;
    }
    if (tp.s.check_nego !== 0) length += sym_prepare_nego(np, cp, tp, message + length);
    setEntry(addr + offsets.ccb.smsg, length, message);
    put32le(addr + offsets.ccb.select, tp.s.uval | (tp.s.sval << 8) | (device.id << 16) | (tp.s.wval << 24));
    const cdb = cp.s.cdb_buf;
    const { cmd_len } = s;
    const { cmnd } = cmd;
    for (let i = 0; i < cmd_len; i++) u8[cdb + i] = u8[cmnd + i]!;
    setEntry(addr + offsets.ccb.cmd, cmd_len, cdb);
    put32le(np.statusAt(cp), (cp.s.nego_status !== 0 ? HS_NEGOTIATE : HS_BUSY) << 8);
    scsi_dma_map(cmd, np.pcidev);
    np.putStartQueue(cp);
    np.chip.writeb(ISTAT_SIGP | np.s.istat_sem, SYM.ISTAT0);
    return finished(0);
  },
  "sym53c8xx",
);

/** Bytes that a command did not move; negative when the target wanted to move more than there was room for. */
export function sym_compute_residual(np: SYM_HCB, cp: SYM_CCB): number {
  const extra = cp.s.extra_bytes;
  let at = np.getCcb(cp, "lastp");
  if (at === cp.s.goalp) return -extra;
  let left = 0;
  for (const context of ["pm0", "pm1"] as const) {
    if (at !== np.ba(context === "pm0" ? "pm0_data" : "pm1_data")) continue;
    const sg = cp.addr + np.offsets.ccb[context];
    left += get32le(sg) & 0xffffff;
    at = get32le(sg + 8);
    break;
  }
  const base = cp.s.goalp === np.ba("data_in_goal") ? np.ba("data_in") : np.ba("data_out");
  const table = cp.addr + np.offsets.ccb.data;
  for (let i = (at - base) / 8; i < SYM_CONF_MAX_SG; i++) left += get32le(table + 8 * i) & 0xffffff;
  return left - extra;
}

/** Ends a command with a result: the block is free, the mid-layer is told. */
function endWith(np: SYM_HCB, cp: SYM_CCB, result: number): Running {
  const cmd = cp.cmd!;
  const { waiter } = cp;
  scsi_dma_unmap(cmd, np.pcidev);
  cmd.s.result = result;
  sym_free_ccb(np, cp);
  return waiter ? wakeAndDone(waiter, cmd) : cmd.scsi_done!(cmd);
}

/** However it ended: the error handler that waits for its end goes on (sym_eh_done). */
function* wakeAndDone(waiter: Completion, cmd: scsi_cmnd): Generator<void, void, void> {
  yield* cmd.scsi_done!(cmd);
  yield* complete(waiter);
}

/** A command that went well. Returns: what scsi_done returns. Locks held: host_lock. Context: hardirq, or the dump's poll. */
export const sym_complete_ok = kquick(
  "sym_complete_ok",
  (np: SYM_HCB, cp: SYM_CCB): Running => {
    const status = get8(np.statusAt(cp) + 2);
    cp.cmd!.s.resid = get32le(cp.addr + np.offsets.ccb.lastp) === cp.s.goalp ? 0 : sym_compute_residual(np, cp);
    const done = endWith(np, cp, (DID_OK << 16) | status);
    return isFinished(done) ? finished() : done;
  },
  "sym53c8xx",
);

/** A command that did not: its host status, its SCSI status and its sense data say how. As sym_complete_ok. */
export const sym_complete_error = kquick(
  "sym_complete_error",
  (np: SYM_HCB, cp: SYM_CCB): Running => {
    const cmd = cp.cmd!;
    const at = np.statusAt(cp);
    const sensed = (get8(at + 3) & HF_SENSE) !== 0;
    // With sense data the residual was computed when the command ended.
    if (!sensed && get8(at + 1) === HS_COMPLETE) cmd.s.resid = sym_compute_residual(np, cp);
    return endWith(np, cp, resultOf(cp, cmd, get8(at + 1), get8(at + 2), sensed));
  },
  "sym53c8xx",
);

function resultOf(cp: SYM_CCB, cmd: scsi_cmnd, host: number, status: number, sensed: boolean): number {
  switch (host) {
    case HS_COMPLETE:
      if (!sensed) return (DID_OK << 16) | status;
      // The REQUEST SENSE itself went wrong.
      if (status !== 0) return DID_ERROR << 16;
      step(SENSE_BYTES >>> 2);
      for (let i = 0; i < SENSE_BYTES; i++) M.u8[cmd.sense_buffer + i] = M.u8[cp.s.sns_bbuf + i]!;
      return (DID_OK << 16) | 0x02;
    case HS_SEL_TIMEOUT:
      return DID_NO_CONNECT << 16;
    case HS_UNEXPECTED:
      return DID_ERROR << 16;
    case HS_ABORTED:
      return DID_ABORT << 16;
    default:
      return DID_SOFT_ERROR << 16;
  }
}

/** Ends a command with a host byte, whatever SCRIPTS said of it. As sym_complete_ok. */
export const sym_complete_with = kquick(
  "sym_set_cam_status",
  (np: SYM_HCB, cp: SYM_CCB, did: number): Running => endWith(np, cp, did << 16),
  "sym53c8xx",
);
