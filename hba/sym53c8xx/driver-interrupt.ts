// sym_interrupt: what the chip has to say, for the interrupt handler and for the dump's poll alike (sym_hipd.c of 2.6.9).
import { finished, isFinished, type Running } from "../../emulator/cpu/cpu.ts";
import { kquick, moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import type { SYM_CCB, SYM_HCB } from "./driver-hcb.ts";
import { sym_int_ma } from "./driver-phase-mismatch.ts";
import { sym_start_reset, sym_start_up } from "./driver-reset.ts";
import { sym_complete_error, sym_complete_ok, sym_complete_with } from "./driver-scsi-io.ts";
import { HS_SEL_TIMEOUT, HS_UNEXPECTED } from "./driver-scripts.ts";
import { sym_int_sir } from "./driver-sir.ts";
import { DID_NO_CONNECT } from "../../kernel-sim/scsi/status.ts";
import {
  DSTAT_SIR,
  ISTAT_DIP,
  ISTAT_INTF,
  ISTAT_SEM,
  ISTAT_SIGP,
  ISTAT_SIP,
  SIST_MA,
  SIST_RST,
  SIST_STO,
  SIST_UDC,
  SYM,
} from "./registers.ts";

const kfunc = moduleFunctions("sym53c8xx");

/** An adapter that has something new to say after that many rounds is broken. */
const MAX_ROUNDS = 10_000;
const DFE = 0x80;

/**
 * The chip reports something: commands that have ended, SCRIPTS that need help, trouble on the bus.
 * Returns: nothing. Locks held: host_lock. Context: hardirq, or the dump's poll with interrupts off. Must not: sleep, allocate.
 */
export const sym_interrupt = kquick("sym_interrupt", serveChip, "sym53c8xx");

/** Its body. The dump's poll, which is nothing but this, has it without the call. */
export function serveChip(np: SYM_HCB): Running {
  const istat = np.chip.readb(SYM.ISTAT0);
  if ((istat & (ISTAT_INTF | ISTAT_SIP | ISTAT_DIP)) === 0) return finished();
  return (istat & (ISTAT_SIP | ISTAT_DIP)) === 0 ? serveDone(np, istat) : serve(np, istat);
}

/** Commands have ended, nothing else: the usual case, without giving way when their ends do not. */
function serveDone(np: SYM_HCB, istat: number): Running {
  const after = acknowledge(np, istat);
  for (let cp = np.takeDone(); cp; cp = np.takeDone()) {
    if (cp.cmd === undefined) continue;
    const done = sym_complete_ok(np, cp);
    if (!isFinished(done)) return serveLater(np, done, after);
  }
  return (after & (ISTAT_INTF | ISTAT_SIP | ISTAT_DIP)) === 0 ? finished() : serve(np, after);
}

function* serveLater(np: SYM_HCB, done: Running, istat: number): Generator<void, void, void> {
  yield* done;
  yield* sym_wakeup_done(np);
  if ((istat & (ISTAT_INTF | ISTAT_SIP | ISTAT_DIP)) !== 0) yield* serve(np, istat);
}

/** Takes the interrupt on the fly back; writing SIGP and SEM as they are keeps them, and reading flushes. Returns ISTAT. */
function acknowledge(np: SYM_HCB, istat: number): number {
  np.chip.writeb((istat & ISTAT_SIGP) | ISTAT_INTF | np.s.istat_sem, SYM.ISTAT0);
  return np.chip.readb(SYM.ISTAT0);
}

const serve = kfunc("sym_interrupt_serve", function* (np: SYM_HCB, first: number) {
  const { chip } = np;
  let istat = first;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if ((istat & ISTAT_INTF) !== 0) {
      istat = acknowledge(np, istat);
      yield* sym_wakeup_done(np);
    }
    if ((istat & (ISTAT_SIP | ISTAT_DIP)) === 0) {
      if ((istat & ISTAT_INTF) === 0) return;
      continue;
    }
    const sist = (istat & ISTAT_SIP) !== 0 ? chip.readw(SYM.SIST0) : 0;
    const dstat = (istat & ISTAT_DIP) !== 0 ? chip.readb(SYM.DSTAT) & ~DFE : 0;
    // What SCRIPTS had completed before is older than what stopped them.
    if ((chip.readb(SYM.ISTAT0) & ISTAT_INTF) !== 0) {
      chip.writeb(ISTAT_INTF | np.s.istat_sem, SYM.ISTAT0);
    }
    yield* sym_wakeup_done(np);
    yield* handle(np, sist, dstat);
    istat = chip.readb(SYM.ISTAT0);
    if ((istat & (ISTAT_INTF | ISTAT_SIP | ISTAT_DIP)) === 0) return;
  }
  yield* printk(`${np.name}: the interrupt does not go away\n`, 3);
});

function* handle(np: SYM_HCB, sist: number, dstat: number): Generator<void, void, void> {
  if ((sist & SIST_RST) !== 0) {
    yield* printk(`${np.name}: SCSI BUS reset detected.\n`, 5);
    yield* sym_start_up(np, 1);
  } else if ((sist & SIST_STO) !== 0) yield* sym_int_sto(np);
  else if (sist === SIST_MA && dstat === 0) yield* sym_int_ma(np);
  else if (sist === SIST_UDC) yield* sym_int_udc(np);
  else if (sist === 0 && dstat === DSTAT_SIR) yield* sym_int_sir(np);
  else {
    yield* printk(
      `${np.name}: ERROR (${dstat.toString(16)}:${sist.toString(16)}) dsp ${np.chip.readl(SYM.DSP).toString(16)}\n`,
      3,
    );
    yield* sym_start_reset(np);
  }
}

/** Completes what the chip has put into the done queue. */
export const sym_wakeup_done = kfunc("sym_wakeup_done", function* (np: SYM_HCB) {
  for (;;) {
    const cp = np.takeDone();
    if (!cp) return;
    // A reset may have ended it already.
    if (cp.cmd !== undefined) yield* sym_complete_ok(np, cp);
  }
});

/** The command that SCRIPTS were at work on, if it is one. */
function currentCcb(np: SYM_HCB): SYM_CCB | undefined {
  const cp = np.ccbAt.get(np.chip.readl(SYM.DSA));
  return cp?.cmd === undefined ? undefined : cp;
}

/** Nobody answered the selection. */
const sym_int_sto = kfunc("sym_int_sto", function* (np: SYM_HCB) {
  const cp = currentCcb(np);
  if (np.chip.readl(SYM.DSP) !== np.ba("wf_sel_done") + 8 || !cp) {
    yield* sym_start_reset(np);
    return;
  }
  np.setByte(np.statusAt(cp) + 1, HS_SEL_TIMEOUT);
  yield* sym_complete_with(np, cp, DID_NO_CONNECT);
  restart(np);
});

/** A target went to bus free where it should not have. */
const sym_int_udc = kfunc("sym_int_udc", function* (np: SYM_HCB) {
  yield* printk(`${np.name}: unexpected disconnect\n`, 4);
  const cp = currentCcb(np);
  if (!cp) {
    yield* sym_start_reset(np);
    return;
  }
  np.setByte(np.statusAt(cp) + 1, HS_UNEXPECTED);
  yield* sym_complete_error(np, cp);
  restart(np);
});

/** SCRIPTS go on with the next job. */
function restart(np: SYM_HCB): void {
  np.chip.writeb((np.chip.readb(SYM.ISTAT0) & ISTAT_SEM) | ISTAT_SIGP, SYM.ISTAT0);
  np.chip.writel(np.ba("start"), SYM.DSP);
}
