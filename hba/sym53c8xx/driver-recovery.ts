// Error handling: aborts and resets (sym_glue.c's eh handlers, sym_hipd.c's task recovery, 2.6.9).
import { MESSAGE } from "../../emulator/disk/scsi-phases.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { spin_lock_irq, spin_unlock_irq } from "../../kernel-sim/core/spinlock.ts";
import { wait_for_completion_timeout } from "../../kernel-sim/core/wait.ts";
import { FAILED, SUCCESS, type scsi_cmnd } from "../../kernel-sim/scsi/host.ts";
import { DID_ABORT, DID_RESET } from "../../kernel-sim/scsi/status.ts";
import type { SYM_CCB, SYM_HCB } from "./driver-hcb.ts";
import { kfuncOf } from "./driver-kfunc.ts";
import { put32le } from "./driver-memory.ts";
import { sym_reset_goal } from "./driver-nego.ts";
import { sym_reset_scsi_bus, sym_start_up } from "./driver-reset.ts";
import { sym_complete_with } from "./driver-scsi-io.ts";
import { HS_DISCONNECT } from "./driver-scripts.ts";
import { ISTAT_SEM, ISTAT_SIGP, SYM } from "./registers.ts";

/** How long the error handler waits for an abort or a device reset, seconds. */
const EH_TIMEOUT_S = 5;
const NO_TAG = 0xffff;
/** What is being sent to a target: nothing, an abort of a command, a reset. */
type Recovery = { readonly kind: "abort"; readonly cp: SYM_CCB } | { readonly kind: "reset"; readonly target: number };

const recovering = new WeakMap<SYM_HCB, Recovery>();

/** SCRIPTS shall stop at the next job, so that queues can be changed. */
function stopScripts(np: SYM_HCB): void {
  np.s.istat_sem = ISTAT_SEM;
  np.chip.writeb(ISTAT_SIGP | ISTAT_SEM, SYM.ISTAT0);
}

/**
 * SCRIPTS have stopped: the next thing to recover goes to its target; when nothing is left they go on.
 * Locks held: host_lock. Context: hardirq.
 */
export const sym_sir_task_recovery = kfuncOf("sym_sir_task_recovery", function* (np: SYM_HCB) {
  recovering.delete(np);
  const reset = np.targets.findIndex((tp) => tp.s.to_reset !== 0);
  if (reset >= 0) {
    recovering.set(np, { kind: "reset", target: reset });
    send(np, reset, [MESSAGE.identify, MESSAGE.busDeviceReset]);
    return;
  }
  for (const cp of np.ccbs) {
    if (cp.cmd === undefined || cp.s.to_abort === 0) continue;
    // Not yet with the target: it is enough to take it back.
    if (np.dequeue((queued) => queued === cp).length > 0) {
      yield* endAborted(np, cp);
      continue;
    }
    if (M.u8[np.statusAt(cp) + 1] !== HS_DISCONNECT) {
      cp.s.to_abort = 0;
      continue;
    }
    recovering.set(np, { kind: "abort", cp });
    const { lun, tag } = cp.s;
    const message =
      tag === NO_TAG
        ? [MESSAGE.identify | lun, MESSAGE.abort]
        : [MESSAGE.identify | lun, MESSAGE.simpleQueueTag, tag, MESSAGE.abortTag];
    send(np, cp.s.target, message);
    return;
  }
  np.s.istat_sem = 0;
  np.chip.writeb(ISTAT_SIGP, SYM.ISTAT0);
  np.chip.writel(np.ba("start"), SYM.DSP);
});

/** Selects a target and sends it messages that end in bus free. */
function send(np: SYM_HCB, target: number, message: readonly number[]): void {
  const { offsets, addr, chip } = np;
  const tp = np.targets[target]!;
  const select = addr + offsets.hcb.abrt_sel;
  M.u8[select] = tp.s.uval;
  M.u8[select + 1] = tp.s.sval;
  M.u8[select + 2] = target;
  M.u8[select + 3] = tp.s.wval;
  message.forEach((byte, i) => (M.u8[np.s.abrt_msg + i] = byte));
  put32le(addr + offsets.hcb.abrt_tbl, message.length);
  put32le(addr + offsets.hcb.abrt_tbl + 4, np.s.abrt_msg);
  chip.writel(addr, SYM.DSA);
  chip.writel(np.ba("sel_for_abort"), SYM.DSP);
}

function* endAborted(np: SYM_HCB, cp: SYM_CCB): Generator<void, void, void> {
  yield* sym_complete_with(np, cp, DID_ABORT);
}

/** The target has taken the message and let go of the bus. */
export const sym_sir_abort_sent = kfuncOf("sym_sir_abort_sent", function* (np: SYM_HCB) {
  const sent = recovering.get(np);
  if (sent?.kind === "abort" && sent.cp.cmd !== undefined) yield* endAborted(np, sent.cp);
  if (sent?.kind === "reset") {
    const { target } = sent;
    const tp = np.targets[target]!;
    tp.s.to_reset = 0;
    np.dequeue((cp) => cp.s.target === target);
    for (const cp of np.ccbs) {
      if (cp.cmd === undefined || cp.s.target !== target) continue;
      yield* sym_complete_with(np, cp, DID_RESET);
    }
    sym_reset_goal(np, tp);
  }
  yield* sym_sir_task_recovery(np);
});

const ccbOf = (np: SYM_HCB, cmd: scsi_cmnd): SYM_CCB | undefined => np.ccbs.find((cp) => cp.cmd === cmd);

/** Waits for the end of a command that is being recovered. host_lock is let go meanwhile. Returns SUCCESS or FAILED. */
function* waitFor(
  np: SYM_HCB,
  cp: SYM_CCB,
  host_lock: scsi_cmnd["device"]["host"]["host_lock"],
): Generator<void, number, void> {
  const waiter = np.eh_done;
  waiter.done = 0;
  cp.waiter = waiter;
  stopScripts(np);
  yield* spin_unlock_irq(host_lock);
  const left = yield* wait_for_completion_timeout(waiter, EH_TIMEOUT_S * K.hz);
  yield* spin_lock_irq(host_lock);
  if (cp.waiter === waiter) cp.waiter = undefined;
  return left > 0 ? SUCCESS : FAILED;
}

/**
 * Returns: SUCCESS when the adapter does not have the command any more. Locks held: host_lock (let go inside). Context: error
 * handler. Must not: be called in a dump (it sleeps).
 */
export const sym53c8xx_eh_abort_handler = kfuncOf("sym53c8xx_eh_abort_handler", function* (cmd: scsi_cmnd) {
  const np = cmd.device.host.hostdata as SYM_HCB;
  yield* printk(`${np.name}:${cmd.device.id}:${cmd.device.lun}: ABORT operation started.\n`, 4);
  const cp = ccbOf(np, cmd);
  if (!cp) return SUCCESS;
  cp.s.to_abort = 1;
  const rc = yield* waitFor(np, cp, cmd.device.host.host_lock);
  yield* printk(
    `${np.name}:${cmd.device.id}:${cmd.device.lun}: ABORT operation ${rc === SUCCESS ? "complete" : "timed-out"}.\n`,
    4,
  );
  return rc;
});

/** Resets the target. Returns, locks, context: as sym53c8xx_eh_abort_handler. */
export const sym53c8xx_eh_device_reset_handler = kfuncOf(
  "sym53c8xx_eh_device_reset_handler",
  function* (cmd: scsi_cmnd) {
    const np = cmd.device.host.hostdata as SYM_HCB;
    yield* printk(`${np.name}:${cmd.device.id}: DEVICE RESET operation started.\n`, 4);
    const cp = ccbOf(np, cmd);
    if (!cp) return FAILED;
    np.targets[cmd.device.id]!.s.to_reset = 1;
    const rc = yield* waitFor(np, cp, cmd.device.host.host_lock);
    yield* printk(
      `${np.name}:${cmd.device.id}: DEVICE RESET operation ${rc === SUCCESS ? "complete" : "timed-out"}.\n`,
      4,
    );
    return rc;
  },
);

/** Resets the bus; the reset's interrupt ends all commands. Returns SUCCESS. Locks held: host_lock. Context: error handler. */
export const sym53c8xx_eh_bus_reset_handler = kfuncOf("sym53c8xx_eh_bus_reset_handler", function* (cmd: scsi_cmnd) {
  const np = cmd.device.host.hostdata as SYM_HCB;
  yield* printk(`${np.name}: BUS RESET operation started.\n`, 4);
  const rc = yield* sym_reset_scsi_bus(np, 1);
  return rc === 0 ? SUCCESS : FAILED;
});

/**
 * Resets bus and chip, and ends all commands at once: also what the dumper uses.
 * Returns SUCCESS or FAILED. Locks held: host_lock. Context: error handler, dump. Must not: sleep, enable interrupts.
 */
export const sym53c8xx_eh_host_reset_handler = kfuncOf("sym53c8xx_eh_host_reset_handler", function* (cmd: scsi_cmnd) {
  const np = cmd.device.host.hostdata as SYM_HCB;
  yield* printk(`${np.name}: HOST RESET operation started.\n`, 4);
  const rc = yield* sym_reset_scsi_bus(np, 0);
  yield* sym_start_up(np, 1);
  return rc === 0 ? SUCCESS : FAILED;
});
