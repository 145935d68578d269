// Wide and synchronous transfers: what the adapter can, what is asked for, what was agreed (sym_hipd.c of 2.6.9, negotiation).
import { EXTENDED, MESSAGE, PPR_DT } from "../../emulator/disk/scsi-phases.ts";
import { periodNs } from "../../emulator/disk/transfer-agreement.ts";
import { get8 } from "./driver-memory.ts";
import type { SYM_CCB, SYM_HCB, SYM_TCB } from "./driver-hcb.ts";
import { FE_C10, FE_U3EN } from "./driver-reset.ts";
import { HS_BUSY, HS_REG } from "./driver-scripts.ts";
import { SCNTL3_EWS, SCNTL4_U3EN, STEST4_LVD, SYM } from "./registers.ts";

export const NS_SYNC = 1;
export const NS_WIDE = 2;
export const NS_PPR = 4;

/** Divisors of SCNTL3's fields, codes 1 to 7. */
const DIVISORS = [1, 1.5, 2, 3, 4, 6, 8] as const;
/** Clocks of a transfer: SXFER holds them minus 4, in 3 bits. */
const FEWEST_CLOCKS = 4;
const MOST_CLOCKS = 11;
const SCNTL3_ULTRA = 0x80;
/** Period factor below which a transfer is an Ultra one. */
const ULTRA_FACTOR = 25;
/** With DT clocking: 12.5 ns; the offset that a board without NVRAM gets; clocks of a transfer at least. (sym_hipd.c, FE_U3EN) */
const MINSYNC_DT = 9;
const MAXOFFS_DT = 31;
const FEWEST_CLOCKS_DT = 2;
/** Clocks that the 53C1010 can add to a transfer, by SCNTL4. */
const EXTRA_CLOCKS = 2;
const SCNTL4_XCLKH = 0x0c;
const SCNTL4_XCLKS = 0x03;
const STEST4_SMODE = 0xc0;
/** INQUIRY byte 7. */
const INQUIRY_SYNC = 0x10;
const INQUIRY_WIDE = 0x20;
/** INQUIRY byte 56, CLOCKING: the bit of those that know DT. It is there when byte 4 says so. [SPC-3 6.4.2] */
const INQUIRY_CLOCKING_DT = 0x04;
const INQUIRY_BYTES_WITH_CLOCKING = 57;

/** The divisor code for the asynchronous core clock: at most 25 MHz. */
export function asynchronousDivisor(clockKhz: number): number {
  return DIVISORS.findIndex((divisor) => clockKhz / divisor <= 25_000) + 1;
}

/** SCNTL3's divisor code and a transfer's clock count for a period factor; undefined when the adapter has no such period. */
export function synchronousTiming(
  clockKhz: number,
  factor: number,
  fewest = FEWEST_CLOCKS,
  most = MOST_CLOCKS,
): { divisor: number; clocks: number } | undefined {
  const wanted = (periodNs(factor) * clockKhz) / 1e6;
  for (const [i, divisor] of DIVISORS.entries()) {
    const clocks = Math.max(fewest, Math.ceil(wanted / divisor - 1e-9));
    if (clocks <= most) return { divisor: i + 1, clocks };
  }
  return undefined;
}

/** The same for an adapter: the 53C1010 adds fewer clocks, and needs fewer of them with DT clocking. */
function timingOf(
  np: SYM_HCB,
  period: number,
  dt: number,
): { divisor: number; clocks: number; extra: number } | undefined {
  const { features, clock_khz } = np.s;
  const fewest = dt !== 0 ? FEWEST_CLOCKS_DT : FEWEST_CLOCKS;
  const most = (features & FE_C10) !== 0 ? fewest + EXTRA_CLOCKS : MOST_CLOCKS;
  const timing = synchronousTiming(clock_khz, period, fewest, most);
  return timing && { ...timing, extra: timing.clocks - fewest };
}

/** DT clocking takes a bus in LVD mode and a device that says it knows it. */
function canDt(np: SYM_HCB, inquiry: number): boolean {
  if ((np.s.features & FE_U3EN) === 0) return false;
  if ((np.chip.readb(SYM.STEST4) & STEST4_SMODE) !== STEST4_LVD) return false;
  return get8(inquiry + 4) + 5 >= INQUIRY_BYTES_WITH_CLOCKING && (get8(inquiry + 56) & INQUIRY_CLOCKING_DT) !== 0;
}

/** What the device said it can, and the adapter too. Called by slave_configure. */
export function sym_set_goal(np: SYM_HCB, tp: SYM_TCB, inquiry: number): void {
  const flags = get8(inquiry + 7);
  const wide = (flags & INQUIRY_WIDE) !== 0 && np.s.maxwide !== 0;
  const sync = (flags & INQUIRY_SYNC) !== 0;
  tp.s.goal_width = wide ? 1 : 0;
  tp.s.goal_period = sync ? np.s.minsync : 0;
  tp.s.goal_offset = sync ? np.s.maxoffs : 0;
  if (wide && sync && canDt(np, inquiry)) {
    tp.s.goal_dt = 1;
    tp.s.goal_period = MINSYNC_DT;
    tp.s.goal_offset = MAXOFFS_DT;
  }
  tp.s.check_nego = 1;
}

/** Asynchronous and narrow, as after a reset of bus or target; negotiated again with the next command. */
export function sym_reset_goal(np: SYM_HCB, tp: SYM_TCB): void {
  sym_settrans(np, tp, 0, 0, 0);
  tp.nego_cp = undefined;
  tp.s.check_nego = 1;
}

/** Puts the agreement into effect: for the target's later connections and for the commands that are queued already. */
export function sym_settrans(np: SYM_HCB, tp: SYM_TCB, width: number, period: number, offset: number, dt = 0): void {
  const { offsets } = np;
  const c10 = (np.s.features & FE_C10) !== 0;
  const timing = offset > 0 ? timingOf(np, period, dt) : undefined;
  const base = np.s.rv_scntl3;
  const ultra = period < ULTRA_FACTOR && !c10 ? SCNTL3_ULTRA : 0;
  const wval = (base & 0x07) | (width > 0 ? SCNTL3_EWS : 0) | (timing ? (timing.divisor << 4) | ultra : base & 0x70);
  const extra = timing ? timing.extra : 0;
  // The extra clocks: in SXFER, or in SCNTL4 as data hold, then data setup.
  const sval = timing ? (c10 ? 0 : extra << 5) | offset : 0;
  const uval = (dt !== 0 ? SCNTL4_U3EN : 0) | (extra >= 1 ? SCNTL4_XCLKH : 0) | (extra >= 2 ? SCNTL4_XCLKS : 0);
  tp.s.curr_width = width;
  tp.s.curr_period = timing ? period : 0;
  tp.s.curr_offset = timing ? offset : 0;
  tp.s.wval = wval;
  tp.s.sval = sval;
  if (c10) {
    tp.s.uval = uval;
    tp.s.curr_dt = timing ? dt : 0;
  }
  const id = np.targets.indexOf(tp);
  for (const cp of np.ccbs) {
    if (cp.cmd === undefined || cp.s.target !== id) continue;
    np.setByte(cp.addr + offsets.ccb.select + 1, sval);
    np.setByte(cp.addr + offsets.ccb.select + 3, wval);
    if (c10) np.setByte(cp.addr + offsets.ccb.select, uval);
  }
}

/** The same for the connection that is open now. */
function setTransNow(np: SYM_HCB, tp: SYM_TCB, width: number, period: number, offset: number, dt = 0): void {
  sym_settrans(np, tp, width, period, offset, dt);
  np.chip.writeb(tp.s.sval, SYM.SXFER);
  np.chip.writeb(tp.s.wval, SYM.SCNTL3);
  if ((np.s.features & FE_C10) !== 0) np.chip.writeb(tp.s.uval, SYM.SCNTL4);
}

/** Appends a negotiation message to a command's messages when one is due. Returns its length. */
export function sym_prepare_nego(np: SYM_HCB, cp: SYM_CCB, tp: SYM_TCB, at: number): number {
  const { s } = tp;
  if (tp.nego_cp !== undefined) return 0;
  let message: readonly number[];
  const { goal_period, goal_offset, goal_width } = s;
  if (s.goal_dt !== 0 && (s.curr_dt === 0 || s.curr_period !== goal_period || s.curr_offset !== goal_offset)) {
    message = [MESSAGE.extended, 6, EXTENDED.parallelProtocol, goal_period, 0, goal_offset, goal_width, PPR_DT];
    cp.s.nego_status = NS_PPR;
  } else if (s.curr_width !== s.goal_width) {
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

/** What both can with DT clocking is not to be had: what single transitions reach is asked for the older way. (sym_nego_default) */
function withoutDt(np: SYM_HCB, tp: SYM_TCB): void {
  tp.s.goal_dt = 0;
  tp.s.goal_period = Math.max(tp.s.goal_period, np.s.minsync);
  tp.s.goal_offset = Math.min(tp.s.goal_offset, np.s.maxoffs);
}

/** The target's answer to PPR. False when it is more than was asked for, or nothing that the adapter has. */
function answeredPpr(np: SYM_HCB, tp: SYM_TCB, bytes: readonly number[]): boolean {
  const [period, offset, width, options] = [bytes[3]!, bytes[5]!, bytes[6]!, bytes[7]!];
  const dt = options === PPR_DT ? 1 : 0;
  if ((dt === 0 && options !== 0) || width > tp.s.goal_width || (dt !== 0 && width === 0)) return false;
  const [minsync, maxoffs] = dt !== 0 ? [MINSYNC_DT, MAXOFFS_DT] : [np.s.minsync, np.s.maxoffs];
  if (offset > 0 && (offset > maxoffs || period < minsync || !timingOf(np, period, dt))) return false;
  tp.s.goal_width = width;
  tp.s.goal_offset = offset;
  tp.s.goal_period = offset === 0 ? 0 : period;
  tp.s.goal_dt = offset === 0 ? 0 : dt;
  setTransNow(np, tp, width, period, offset, tp.s.goal_dt);
  return true;
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
      offset === 0 || (offset <= tp.s.goal_offset && period >= tp.s.goal_period && timingOf(np, period, 0));
    if (!acceptable) return false;
    tp.s.goal_period = offset === 0 ? 0 : period;
    tp.s.goal_offset = offset;
    setTransNow(np, tp, tp.s.curr_width, period, offset);
  } else if (cp.s.nego_status === NS_PPR && kind === EXTENDED.parallelProtocol && length === 6) {
    if (!answeredPpr(np, tp, bytes)) return false;
  } else return false;
  settle(np, cp, tp);
  return true;
}

/** The target does not know our negotiation message. */
export function sym_nego_rejected(np: SYM_HCB, cp: SYM_CCB, tp: SYM_TCB): void {
  if (cp.s.nego_status === NS_PPR) withoutDt(np, tp);
  else if (cp.s.nego_status === NS_WIDE) {
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
export function sym_nego_ended(np: SYM_HCB, cp: SYM_CCB, tp: SYM_TCB): void {
  if (tp.nego_cp !== cp) return;
  tp.nego_cp = undefined;
  if (cp.s.nego_status === NS_PPR) withoutDt(np, tp);
  else if (cp.s.nego_status === NS_WIDE) tp.s.goal_width = tp.s.curr_width;
  else if (cp.s.nego_status === NS_SYNC) {
    tp.s.goal_period = tp.s.curr_period;
    tp.s.goal_offset = tp.s.curr_offset;
  }
  cp.s.nego_status = 0;
}
