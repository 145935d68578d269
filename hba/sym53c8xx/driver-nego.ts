// Wide and synchronous transfers: what the adapter can, what is asked for, what was agreed (sym_hipd.c of 2.6.9, negotiation).
import { EXTENDED, MESSAGE } from "../../emulator/disk/scsi-phases.ts";
import { periodNs } from "../../emulator/disk/transfer-agreement.ts";
import { get8 } from "./driver-memory.ts";
import type { SYM_CCB, SYM_HCB, SYM_TCB } from "./driver-hcb.ts";
import { HS_BUSY, HS_REG } from "./driver-scripts.ts";
import { SCNTL3_EWS, SYM } from "./registers.ts";

export const NS_SYNC = 1;
export const NS_WIDE = 2;

/** Divisors of SCNTL3's fields, codes 1 to 7. */
const DIVISORS = [1, 1.5, 2, 3, 4, 6, 8] as const;
/** Clocks of a transfer: SXFER holds them minus 4, in 3 bits. */
const FEWEST_CLOCKS = 4;
const MOST_CLOCKS = 11;
const SCNTL3_ULTRA = 0x80;
/** Period factor below which a transfer is an Ultra one. */
const ULTRA_FACTOR = 25;
/** INQUIRY byte 7. */
const INQUIRY_SYNC = 0x10;
const INQUIRY_WIDE = 0x20;

/** The divisor code for the asynchronous core clock: at most 25 MHz. */
export function asynchronousDivisor(clockKhz: number): number {
  return DIVISORS.findIndex((divisor) => clockKhz / divisor <= 25_000) + 1;
}

/** SCNTL3's divisor code and SXFER's clock count for a period factor; undefined when the adapter has no such period. */
export function synchronousTiming(clockKhz: number, factor: number): { divisor: number; clocks: number } | undefined {
  const wanted = (periodNs(factor) * clockKhz) / 1e6;
  for (const [i, divisor] of DIVISORS.entries()) {
    const clocks = Math.max(FEWEST_CLOCKS, Math.ceil(wanted / divisor - 1e-9));
    if (clocks <= MOST_CLOCKS) return { divisor: i + 1, clocks };
  }
  return undefined;
}

/** What the device said it can, and the adapter too. Called by slave_configure. */
export function sym_set_goal(np: SYM_HCB, tp: SYM_TCB, inquiry: number): void {
  const flags = get8(inquiry + 7);
  const wide = (flags & INQUIRY_WIDE) !== 0 && np.s.maxwide !== 0;
  const sync = (flags & INQUIRY_SYNC) !== 0;
  tp.s.goal_width = wide ? 1 : 0;
  tp.s.goal_period = sync ? np.s.minsync : 0;
  tp.s.goal_offset = sync ? np.s.maxoffs : 0;
  tp.s.check_nego = 1;
}

/** Asynchronous and narrow, as after a reset of bus or target; negotiated again with the next command. */
export function sym_reset_goal(np: SYM_HCB, tp: SYM_TCB): void {
  sym_settrans(np, tp, 0, 0, 0);
  tp.nego_cp = undefined;
  tp.s.check_nego = 1;
}

/** Puts the agreement into effect: for the target's later connections and for the commands that are queued already. */
export function sym_settrans(np: SYM_HCB, tp: SYM_TCB, width: number, period: number, offset: number): void {
  const { offsets } = np;
  const timing = offset > 0 ? synchronousTiming(np.s.clock_khz, period) : undefined;
  const base = np.s.rv_scntl3;
  const wval =
    (base & 0x07) |
    (width > 0 ? SCNTL3_EWS : 0) |
    (timing ? (timing.divisor << 4) | (period < ULTRA_FACTOR ? SCNTL3_ULTRA : 0) : base & 0x70);
  const sval = timing ? ((timing.clocks - FEWEST_CLOCKS) << 5) | offset : 0;
  tp.s.curr_width = width;
  tp.s.curr_period = timing ? period : 0;
  tp.s.curr_offset = timing ? offset : 0;
  tp.s.wval = wval;
  tp.s.sval = sval;
  const id = np.targets.indexOf(tp);
  for (const cp of np.ccbs) {
    if (cp.cmd === undefined || cp.s.target !== id) continue;
    np.setByte(cp.addr + offsets.ccb.select + 1, sval);
    np.setByte(cp.addr + offsets.ccb.select + 3, wval);
  }
}

/** The same for the connection that is open now. */
function setTransNow(np: SYM_HCB, tp: SYM_TCB, width: number, period: number, offset: number): void {
  sym_settrans(np, tp, width, period, offset);
  np.chip.writeb(tp.s.sval, SYM.SXFER);
  np.chip.writeb(tp.s.wval, SYM.SCNTL3);
}

/** Appends a negotiation message to a command's messages when one is due. Returns its length. */
export function sym_prepare_nego(np: SYM_HCB, cp: SYM_CCB, tp: SYM_TCB, at: number): number {
  const { s } = tp;
  if (tp.nego_cp !== undefined) return 0;
  let message: readonly number[];
  if (s.curr_width !== s.goal_width) {
    message = [MESSAGE.extended, 2, EXTENDED.wide, s.goal_width];
    cp.s.nego_status = NS_WIDE;
  } else if (s.curr_offset !== s.goal_offset || s.curr_period !== s.goal_period) {
    message = [MESSAGE.extended, 3, EXTENDED.synchronous, s.goal_period, s.goal_offset];
    cp.s.nego_status = NS_SYNC;
  } else {
    s.check_nego = 0;
    return 0;
  }
  message.forEach((byte, i) => np.setByte(at + i, byte));
  tp.nego_cp = cp;
  return message.length;
}

/** The target has answered, or not: nothing more is asked for what it does not want. */
function settle(np: SYM_HCB, cp: SYM_CCB, tp: SYM_TCB): void {
  cp.s.nego_status = 0;
  tp.nego_cp = undefined;
  np.chip.writeb(HS_BUSY, HS_REG);
}

/**
 * An extended message of `bytes` has come from the target. True when it answers what we asked; false when it is to be
 * rejected.
 */
export function sym_nego(np: SYM_HCB, cp: SYM_CCB, tp: SYM_TCB, bytes: readonly number[]): boolean {
  const [, length, kind] = bytes;
  if (cp.s.nego_status === NS_WIDE && kind === EXTENDED.wide && length === 2 && bytes[3]! <= tp.s.goal_width) {
    tp.s.goal_width = bytes[3]!;
    setTransNow(np, tp, bytes[3]!, 0, 0);
  } else if (cp.s.nego_status === NS_SYNC && kind === EXTENDED.synchronous && length === 3) {
    const [period, offset] = [bytes[3]!, bytes[4]!];
    const acceptable =
      offset === 0 ||
      (offset <= tp.s.goal_offset && period >= tp.s.goal_period && synchronousTiming(np.s.clock_khz, period));
    if (!acceptable) return false;
    tp.s.goal_period = offset === 0 ? 0 : period;
    tp.s.goal_offset = offset;
    setTransNow(np, tp, tp.s.curr_width, period, offset);
  } else return false;
  settle(np, cp, tp);
  return true;
}

/** The target does not know our negotiation message. */
export function sym_nego_rejected(np: SYM_HCB, cp: SYM_CCB, tp: SYM_TCB): void {
  if (cp.s.nego_status === NS_WIDE) {
    tp.s.goal_width = 0;
    setTransNow(np, tp, 0, 0, 0);
  } else {
    tp.s.goal_offset = 0;
    tp.s.goal_period = 0;
    setTransNow(np, tp, tp.s.curr_width, 0, 0);
  }
  settle(np, cp, tp);
}

/** The command has ended without an answer to its negotiation: what was asked is not asked again. */
export function sym_nego_ended(cp: SYM_CCB, tp: SYM_TCB): void {
  if (tp.nego_cp !== cp) return;
  tp.nego_cp = undefined;
  if (cp.s.nego_status === NS_WIDE) tp.s.goal_width = tp.s.curr_width;
  else if (cp.s.nego_status === NS_SYNC) {
    tp.s.goal_period = tp.s.curr_period;
    tp.s.goal_offset = tp.s.curr_offset;
  }
  cp.s.nego_status = 0;
}
