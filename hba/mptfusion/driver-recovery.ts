// Error handling: task management, resets, and what a reset means for the commands under way (mptscsih.c of 2.6.9).
import type { Running } from "../../emulator/cpu/cpu.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import {
  type Spinlock,
  spin_lock,
  spin_lock_irq,
  spin_lock_irqsave,
  spin_unlock,
  spin_unlock_irq,
  spin_unlock_irqrestore,
} from "../../kernel-sim/core/spinlock.ts";
import { del_timer, mod_timer } from "../../kernel-sim/core/timer.ts";
import { wait_event, wake_up } from "../../kernel-sim/core/wait.ts";
import { finished } from "../../emulator/cpu/cpu.ts";
import { FAILED, SUCCESS, type scsi_cmnd } from "../../kernel-sim/scsi/host.ts";
import { DID_RESET } from "../../kernel-sim/scsi/status.ts";
import { scsi_dma_unmap } from "../../kernel-sim/scsi/dma.ts";
import { mpt_initChainBuffers } from "./driver-bringup.ts";
import { mpt_GetIocState, mpt_send_handshake_request } from "./driver-doorbell.ts";
import {
  CAN_SLEEP,
  MPT_IOC_POST_RESET,
  MPT_IOC_PRE_RESET,
  MPT_IOC_SETUP_RESET,
  MPT_SCSI_TASK_CTX,
  NO_SLEEP,
  clearFrame,
  frameContext,
  get16le,
  mpt_free_msg_frame,
  mpt_get_msg_frame,
  put32le,
  put8,
  type MPT_ADAPTER,
} from "./driver-ioc.ts";
import { mpt_HardResetHandler } from "./driver-reset.ts";
import { TM_STATE_ERROR, TM_STATE_IN_PROGRESS, TM_STATE_NONE, type MPT_SCSI_HOST } from "./driver-scsi-host.ts";
import {
  MPI_FUNCTION_SCSI_TASK_MGMT,
  MPI_IOCFACTS_CAPABILITY_HIGH_PRI_Q,
  MPI_IOCSTATUS_MASK,
  MPI_SCSITASKMGMT_TASKTYPE_ABORT_TASK,
  MPI_SCSITASKMGMT_TASKTYPE_RESET_BUS,
  MPI_SCSITASKMGMT_TASKTYPE_TARGET_RESET,
  SCSITaskMgmt,
  SCSITaskMgmtReply,
} from "./messages.ts";
import { MPI, MPI_DOORBELL_ACTIVE, MPI_IOC_STATE_MASK, MPI_IOC_STATE_OPERATIONAL } from "./registers.ts";
import { M } from "../../kernel-sim/abi/ram.ts";

const kfunc = moduleFunctions("mptscsih");

/** White paper 4.3, rule 3: in crash dump mode interrupts must stay off. */
export function MPT_HOST_LOCK(host_lock: Spinlock): Running {
  return K.dumpMode ? spin_lock(host_lock) : spin_lock_irq(host_lock);
}
export function MPT_HOST_UNLOCK(host_lock: Spinlock): Running {
  if (!K.dumpMode) return spin_unlock_irq(host_lock);
  spin_unlock(host_lock);
  return finished();
}

const hostOf = (cmd: scsi_cmnd): MPT_SCSI_HOST | undefined => cmd.device.host.hostdata as MPT_SCSI_HOST | undefined;

/** The TM request's timer: nobody answered. Softirq. */
export const mptscsih_taskmgmt_timeout = kfunc("mptscsih_taskmgmt_timeout", function* (hd: MPT_SCSI_HOST) {
  hd.s.tmState = TM_STATE_ERROR;
  hd.s.TM_wait_done = 1;
  yield* wake_up(hd.TM_wait_q);
});

/** A task management reply (MptCallback). Context: hardirq or poll. */
export const mptscsih_taskmgmt_complete = kfunc(
  "mptscsih_taskmgmt_complete",
  function* (ioc: MPT_ADAPTER, _mf: number, mr: number) {
    const hd = ioc.hd!;
    if (hd.s.tmPtr === 0) return 1;
    yield* del_timer(hd.TMtimer);
    let state = TM_STATE_NONE;
    if (mr !== 0) {
      const status = get16le(mr + SCSITaskMgmtReply.IOCStatus) & MPI_IOCSTATUS_MASK;
      const response = M.u8[mr + SCSITaskMgmtReply.ResponseCode]!;
      if (status !== 0 || (response !== 0 && response !== 8)) state = TM_STATE_ERROR;
    }
    const flags = yield* spin_lock_irqsave(ioc.FreeQlock);
    hd.s.tmState = state;
    hd.s.tmPending = 0;
    yield* spin_unlock_irqrestore(ioc.FreeQlock, flags);
    hd.s.tmPtr = 0;
    hd.s.TM_wait_done = 1;
    yield* wake_up(hd.TM_wait_q);
    return 1;
  },
);

/**
 * Sends one task management request and sleeps until it is answered, at most `seconds`.
 * Returns 0, or -1 (refused, failed or unanswered; unanswered means a hard reset). Context: process. Locks: none held.
 */
const mptscsih_TMHandler = kfunc(
  "mptscsih_TMHandler",
  function* (hd: MPT_SCSI_HOST, type: number, target: number, lun: number, ctx2abort: number, seconds: number) {
    const { ioc } = hd;
    let flags = yield* spin_lock_irqsave(ioc.FreeQlock);
    if (hd.s.tmPending !== 0) {
      yield* spin_unlock_irqrestore(ioc.FreeQlock, flags);
      return -1;
    }
    hd.s.tmPending = 1 << type;
    yield* spin_unlock_irqrestore(ioc.FreeQlock, flags);
    const state = mpt_GetIocState(ioc, 0);
    let rc = -1;
    if ((state & MPI_IOC_STATE_MASK) >>> 0 === MPI_IOC_STATE_OPERATIONAL && (state & MPI_DOORBELL_ACTIVE) === 0) {
      rc = yield* mptscsih_IssueTaskMgmt(hd, type, target, lun, ctx2abort, seconds);
    } else yield* printk(`mptscsih: ${ioc.name}: TM Handler: IOC not operational (${state.toString(16)}h)!\n`, 4);
    if (rc !== 0) {
      flags = yield* spin_lock_irqsave(ioc.FreeQlock);
      hd.s.tmPending = 0;
      hd.s.tmState = TM_STATE_NONE;
      yield* spin_unlock_irqrestore(ioc.FreeQlock, flags);
    }
    return rc;
  },
);

const mptscsih_IssueTaskMgmt = kfunc(
  "mptscsih_IssueTaskMgmt",
  function* (hd: MPT_SCSI_HOST, type: number, target: number, lun: number, ctx2abort: number, seconds: number) {
    const { ioc } = hd;
    const mf = yield* mpt_get_msg_frame(MPT_SCSI_TASK_CTX, ioc);
    if (mf === 0) return -1;
    clearFrame(mf, 56);
    put8(mf + SCSITaskMgmt.TargetID, target);
    put8(mf + SCSITaskMgmt.Function, MPI_FUNCTION_SCSI_TASK_MGMT);
    put8(mf + SCSITaskMgmt.TaskType, type);
    put8(mf + SCSITaskMgmt.LUN + 1, lun);
    put32le(mf + SCSITaskMgmt.TaskMsgContext, ctx2abort);
    hd.s.tmState = TM_STATE_IN_PROGRESS;
    hd.s.tmPtr = mf;
    hd.s.TM_wait_done = 0;
    yield* mod_timer(hd.TMtimer, K.time.jiffies + seconds * K.hz);
    const urgent =
      (ioc.s.facts.IOCCapabilities & MPI_IOCFACTS_CAPABILITY_HIGH_PRI_Q) !== 0 && ioc.s.facts.MsgVersion >= 0x0105;
    if (urgent) ioc.chip.writel(mf, MPI.RequestHiPriFifo);
    else {
      const sent = yield* mpt_send_handshake_request(ioc, SCSITaskMgmt.bytes, mf, CAN_SLEEP);
      if (sent !== 0) {
        yield* printk(`mptscsih: ${ioc.name}: _send_handshake FAILED! (${sent})\n`, 4);
        yield* del_timer(hd.TMtimer);
        hd.s.tmPtr = 0;
        yield* mpt_free_msg_frame(ioc, mf);
        return -1;
      }
    }
    yield* wait_event(hd.TM_wait_q, () => hd.s.TM_wait_done !== 0);
    if (hd.s.tmPtr === 0) return hd.s.tmState === TM_STATE_NONE ? 0 : -1;
    // Timed out: the IOC is not what it was.
    hd.s.tmPtr = 0;
    yield* printk(`mptscsih: ${ioc.name}: Issue of TaskMgmt timed out, resetting the adapter\n`, 4);
    if ((yield* mpt_HardResetHandler(ioc, CAN_SLEEP)) < 0) {
      yield* printk(`mptscsih: ${ioc.name}: HardReset FAILED!!\n`, 4);
    }
    return -1;
  },
);

/** Returns SUCCESS when the adapter does not have the command any more. Locks held: host_lock (let go inside). */
export const mptscsih_abort = kfunc("mptscsih_abort", function* (cmd: scsi_cmnd) {
  const hd = hostOf(cmd);
  if (!hd || hd.s.resetPending !== 0) return FAILED;
  const { ioc } = hd;
  yield* printk(`mptscsih: ${ioc.name}: attempting task abort! (sc=${cmd.addr.toString(16)})\n`, 6);
  const index = hd.lookup.indexOf(cmd);
  if (index < 0) {
    // Not ours any more.
    cmd.s.result = DID_RESET << 16;
    return SUCCESS;
  }
  const mf = ioc.req_frames + (index << ioc.req_shift);
  const context = frameContext(mf);
  hd.s.abortSCpnt = cmd.addr;
  hd.s.timeouts = hd.s.timeouts + 1;
  const { host_lock } = cmd.device.host;
  yield* MPT_HOST_UNLOCK(host_lock);
  const { id, lun } = cmd.device;
  const rc = yield* mptscsih_TMHandler(hd, MPI_SCSITASKMGMT_TASKTYPE_ABORT_TASK, id, lun, context, 2);
  yield* MPT_HOST_LOCK(host_lock);
  hd.s.abortSCpnt = 0;
  // An IOC that says yes has completed the victim before it says so.
  const ok = rc === 0 && hd.lookup[index] !== cmd;
  yield* printk(`mptscsih: ${ioc.name}: task abort: ${ok ? "SUCCESS" : "FAILED"} (sc=${cmd.addr.toString(16)})\n`, 6);
  return ok ? SUCCESS : FAILED;
});

/** Target reset. Returns, locks: as mptscsih_abort. */
export const mptscsih_dev_reset = kfunc("mptscsih_dev_reset", function* (cmd: scsi_cmnd) {
  const hd = hostOf(cmd);
  if (!hd || hd.s.resetPending !== 0) return FAILED;
  yield* printk(`mptscsih: ${hd.ioc.name}: attempting target reset! (sc=${cmd.addr.toString(16)})\n`, 6);
  const { host_lock } = cmd.device.host;
  yield* MPT_HOST_UNLOCK(host_lock);
  const rc = yield* mptscsih_TMHandler(hd, MPI_SCSITASKMGMT_TASKTYPE_TARGET_RESET, cmd.device.id, 0, 0, 5);
  yield* MPT_HOST_LOCK(host_lock);
  yield* printk(`mptscsih: ${hd.ioc.name}: target reset: ${rc === 0 ? "SUCCESS" : "FAILED"}\n`, 6);
  return rc === 0 ? SUCCESS : FAILED;
});

/** Bus reset. Returns, locks: as mptscsih_abort. */
export const mptscsih_bus_reset = kfunc("mptscsih_bus_reset", function* (cmd: scsi_cmnd) {
  const hd = hostOf(cmd);
  if (!hd) return FAILED;
  yield* printk(`mptscsih: ${hd.ioc.name}: attempting bus reset! (sc=${cmd.addr.toString(16)})\n`, 6);
  const { host_lock } = cmd.device.host;
  yield* MPT_HOST_UNLOCK(host_lock);
  const rc = yield* mptscsih_TMHandler(hd, MPI_SCSITASKMGMT_TASKTYPE_RESET_BUS, 0, 0, 0, 5);
  yield* MPT_HOST_LOCK(host_lock);
  yield* printk(`mptscsih: ${hd.ioc.name}: bus reset: ${rc === 0 ? "SUCCESS" : "FAILED"}\n`, 6);
  return rc === 0 ? SUCCESS : FAILED;
});

/**
 * Adapter reset: also what the dumper uses to get an adapter it can trust.
 * Returns SUCCESS or FAILED. Locks held: host_lock (let go inside; in crash mode interrupts stay off). Context: error handler, dump.
 */
export const mptscsih_host_reset = kfunc("mptscsih_host_reset", function* (cmd: scsi_cmnd) {
  const hd = hostOf(cmd);
  if (!hd) return FAILED;
  yield* printk(`mptscsih: ${hd.ioc.name}: Attempting host reset! (sc=${cmd.addr.toString(16)})\n`, 4);
  const { host_lock } = cmd.device.host;
  yield* MPT_HOST_UNLOCK(host_lock);
  const rc = yield* mpt_HardResetHandler(hd.ioc, K.dumpMode ? NO_SLEEP : CAN_SLEEP);
  if (rc >= 0) {
    hd.s.tmPending = 0;
    hd.s.tmState = TM_STATE_NONE;
  }
  yield* MPT_HOST_LOCK(host_lock);
  return rc < 0 ? FAILED : SUCCESS;
});

/** Gives every command under way back to the mid-layer, as reset. Context: any. */
const mptscsih_flush_running_cmds = kfunc("mptscsih_flush_running_cmds", function* (hd: MPT_SCSI_HOST) {
  for (let i = 0; i < hd.lookup.length; i++) {
    const cmd = hd.lookup[i];
    if (!cmd) continue;
    hd.setLookup(i, undefined);
    scsi_dma_unmap(cmd, hd.ioc.pcidev);
    cmd.s.result = DID_RESET << 16;
    cmd.s.host_scribble = 0;
    yield* K.flavour.scsi.callDone(cmd);
  }
});

/** A reset of the adapter, before and after (MptResetHandler). */
export const mptscsih_ioc_reset = kfunc("mptscsih_ioc_reset", function* (ioc: MPT_ADAPTER, phase: number) {
  const { hd } = ioc;
  if (!hd) return;
  switch (phase) {
    case MPT_IOC_SETUP_RESET:
      hd.s.resetPending = 1;
      break;
    case MPT_IOC_PRE_RESET:
      yield* mptscsih_flush_running_cmds(hd);
      if (hd.s.tmPtr !== 0) {
        yield* del_timer(hd.TMtimer);
        hd.s.tmState = TM_STATE_ERROR;
        hd.s.tmPtr = 0;
        hd.s.TM_wait_done = 1;
        yield* wake_up(hd.TM_wait_q);
      }
      break;
    case MPT_IOC_POST_RESET:
      yield* mpt_initChainBuffers(ioc);
      hd.s.tmPtr = 0;
      hd.s.resetPending = 0;
      hd.s.tmPending = 0;
      hd.s.tmState = TM_STATE_NONE;
      hd.s.hard_resets = hd.s.hard_resets + 1;
      break;
    default:
  }
});
