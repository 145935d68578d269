// SCRIPTS ask for help: the INT instructions of the driver's own program (sym_int_sir, sym_hipd.c of 2.6.9).
import { MESSAGE } from "../../emulator/disk/scsi-phases.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import type { SYM_CCB, SYM_HCB } from "./driver-hcb.ts";
import { kfuncOf } from "./driver-kfunc.ts";
import { put32le } from "./driver-memory.ts";
import { sym_nego, sym_nego_rejected } from "./driver-nego.ts";
import { sym_sir_abort_sent, sym_sir_task_recovery } from "./driver-recovery.ts";
import { sym_start_reset } from "./driver-reset.ts";
import { sym_complete_error, sym_compute_residual } from "./driver-scsi-io.ts";
import { HF_EXT_ERR, HF_REG, HF_SENSE, HS_BUSY, SIR } from "./driver-scripts.ts";
import { DCNTL_STD, SYM } from "./registers.ts";
import { M } from "../../kernel-sim/abi/ram.ts";

const CHECK_CONDITION = 0x02;
const COMMAND_TERMINATED = 0x22;
const REQUEST_SENSE = 0x03;
const SENSE_BYTES = 32;

/** SCRIPTS go on behind the INT. */
const goOn = (np: SYM_HCB): void => np.chip.writeb(np.s.rv_dcntl | DCNTL_STD, SYM.DCNTL);
const goTo = (np: SYM_HCB, label: string): void => np.chip.writel(np.ba(label), SYM.DSP);

/** Returns: nothing; SCRIPTS go on, or the bus is being reset. Locks held: host_lock. Context: hardirq or poll. */
export const sym_int_sir = kfuncOf("sym_int_sir", function* (np: SYM_HCB) {
  const { chip } = np;
  const num = chip.readl(SYM.DSPS);
  const cp = np.ccbAt.get(chip.readl(SYM.DSA));
  switch (num) {
    case SIR.scriptStopped:
      yield* sym_sir_task_recovery(np);
      return;
    case SIR.abortSent:
      yield* sym_sir_abort_sent(np);
      return;
    case SIR.badScsiStatus:
      if (cp?.cmd) yield* sym_sir_bad_scsi_status(np, cp);
      goTo(np, "start");
      return;
    case SIR.completeError:
      if (cp?.cmd) yield* sym_complete_error(np, cp);
      goTo(np, "start");
      return;
    case SIR.msgReceived:
      if (cp?.cmd) yield* sym_msg_received(np, cp);
      else reject(np);
      return;
    case SIR.msgWeird:
      reject(np);
      return;
    case SIR.msgOutDone:
      np.ram.writeb(MESSAGE.noOperation, np.ramOffset("msgout"));
      goOn(np);
      return;
    case SIR.dataOverrun:
      if (cp?.cmd) {
        cp.s.extra_bytes = cp.s.extra_bytes + (chip.readl(SYM.SCRATCHA) & 0xffffff);
        chip.writeb(chip.readb(HF_REG) | HF_EXT_ERR, HF_REG);
      }
      goOn(np);
      return;
    case SIR.reselBadLun:
    case SIR.reselBadItl:
    case SIR.reselBadItlq:
      // We have no task of that name: the target shall forget it.
      yield* printk(`${np.name}:${chip.readb(SYM.SSID) & 0xf}: reselected by a task that is not ours (${num})\n`, 4);
      np.ram.writeb(num === SIR.reselBadItlq ? MESSAGE.abortTag : MESSAGE.abort, np.ramOffset("msgout"));
      goOn(np);
      return;
    case SIR.reselAborted:
      np.ram.writeb(MESSAGE.noOperation, np.ramOffset("msgout"));
      goOn(np);
      return;
    default:
      yield* printk(`${np.name}: SCRIPTS stopped with code ${num}\n`, 4);
      yield* sym_start_reset(np);
  }
});

/** The message in msgin is not for us. */
function reject(np: SYM_HCB): void {
  np.ram.writeb(MESSAGE.reject, np.ramOffset("msgout"));
  goTo(np, "msg_reject");
}

const sym_msg_received = kfuncOf("sym_msg_received", function* (np: SYM_HCB, cp: SYM_CCB) {
  const tp = np.targets[cp.s.target]!;
  const at = np.ramOffset("msgin");
  const bytes = Array.from({ length: 8 }, (_, i) => np.ram.readb(at + i));
  switch (bytes[0]) {
    case MESSAGE.extended:
      if (!sym_nego(np, cp, tp, bytes)) {
        reject(np);
        return;
      }
      yield* sym_announce_transfer_rate(np, cp.s.target);
      break;
    case MESSAGE.reject:
      if (cp.s.nego_status !== 0) sym_nego_rejected(np, cp, tp);
      break;
    case MESSAGE.ignoreWideResidue:
      // A pad byte that the end of the list has swallowed counts for nothing; one that went into the buffer does.
      if (np.getCcb(cp, "lastp") !== cp.s.goalp) cp.s.extra_bytes = cp.s.extra_bytes - 1;
      break;
    default:
      reject(np);
      return;
  }
  goTo(np, "clrack");
});

const sym_announce_transfer_rate = kfuncOf("sym_announce_transfer_rate", function* (np: SYM_HCB, id: number) {
  const { curr_width, curr_period, curr_offset, curr_dt, goal_offset } = np.targets[id]!.s;
  // Width first, then the rest: one line for both.
  if (goal_offset !== curr_offset) return;
  const width = curr_width > 0 ? "WIDE" : "NARROW";
  const clocking = curr_dt !== 0 ? ", DT" : "";
  const rate =
    curr_offset > 0 ? `synchronous, period factor ${curr_period}, offset ${curr_offset}${clocking}` : "asynchronous";
  yield* printk(`${np.name}:${id}: ${width} SCSI, ${rate}\n`, 6);
});

/**
 * A status other than GOOD. A CHECK CONDITION is followed by REQUEST SENSE before anything else goes to that unit; the others
 * are the mid-layer's business.
 */
const sym_sir_bad_scsi_status = kfuncOf("sym_sir_bad_scsi_status", function* (np: SYM_HCB, cp: SYM_CCB) {
  const status = M.u8[np.statusAt(cp) + 2]!;
  const sensed = (M.u8[np.statusAt(cp) + 3]! & HF_SENSE) !== 0;
  if ((status !== CHECK_CONDITION && status !== COMMAND_TERMINATED) || sensed) {
    yield* sym_complete_error(np, cp);
    return;
  }
  cp.cmd!.s.resid = sym_compute_residual(np, cp);
  const { offsets } = np;
  const cdb = cp.s.sensecmd;
  M.u8.fill(0, cdb, cdb + 6);
  M.u8[cdb] = REQUEST_SENSE;
  M.u8[cdb + 1] = cp.s.lun << 5;
  M.u8[cdb + 4] = SENSE_BYTES;
  M.u8.fill(0, cp.s.sns_bbuf, cp.s.sns_bbuf + SENSE_BYTES);
  // Untagged, and without the right to disconnect: the unit keeps nothing else for us now. [SCSI-2 7.6]
  M.u8[cp.s.scsi_smsg] = MESSAGE.identify | cp.s.lun;
  const pair = (field: "smsg" | "cmd" | "sense", length: number, address: number): void => {
    put32le(cp.addr + offsets.ccb[field], length);
    put32le(cp.addr + offsets.ccb[field] + 4, address);
  };
  pair("smsg", 1, cp.s.scsi_smsg);
  pair("cmd", 6, cdb);
  pair("sense", SENSE_BYTES, cp.s.sns_bbuf);
  cp.s.extra_bytes = 0;
  cp.s.startp = np.ba("sdata_in");
  cp.s.goalp = np.ba("sdata_goal");
  np.setCcb(cp, "savep", np.ba("sdata_in"));
  np.setCcb(cp, "lastp", np.ba("sdata_in"));
  put32le(np.statusAt(cp), ((HF_SENSE << 24) | (HS_BUSY << 8)) >>> 0);
  np.putFirst(cp);
});
