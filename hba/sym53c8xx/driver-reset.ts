// Resets of bus and chip, and the chip's set-up afterwards (sym_reset_scsi_bus, sym_start_up of 2.6.9).
import type { Running } from "../../emulator/cpu/cpu.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { mdelay, mod_timer, udelay } from "../../kernel-sim/core/timer.ts";
import { DID_RESET } from "../../kernel-sim/scsi/status.ts";
import type { SYM_HCB } from "./driver-hcb.ts";
import { kfuncOf } from "./driver-kfunc.ts";
import { sym_reset_goal } from "./driver-nego.ts";
import { sym_complete_with } from "./driver-scsi-io.ts";
import {
  CTEST3_CLF,
  DCNTL_COM,
  DSTAT_ABRT,
  DSTAT_BF,
  DSTAT_IID,
  DSTAT_MDPE,
  DSTAT_SIR,
  DSTAT_SSI,
  ISTAT_SIGP,
  ISTAT_SRST,
  SCNTL1_RST,
  SIST_MA,
  SIST_PAR,
  SIST_RST,
  SIST_SBMC,
  SIST_SGE,
  SIST_STO,
  SIST_UDC,
  SSTAT0_RST,
  STEST1_DBLEN,
  STEST1_DBLSEL,
  STEST3_CSF,
  STEST3_HSC,
  STEST4_LCKFRQ,
  SYM,
} from "./registers.ts";

export const FE_WIDE = 0x01;
export const FE_ULTRA2 = 0x02;
export const FE_DBLR = 0x04;
export const FE_QUAD = 0x08;
export const FE_LCKFRQ = 0x10;
export const FE_DAC = 0x20;
export const FE_VARCLK = 0x40;
/** The 53C1010's core: SCNTL4, hardwired divisors for asynchronous transfers. */
export const FE_C10 = 0x80;
/** Its SCNTL4.U3EN can be used. */
export const FE_U3EN = 0x100;

/** Seconds that the devices get after a bus reset. */
const SETTLE_S = 3;
const SELECTION_TIMEOUT_250MS = 0x0c;
const TOLERANT = 0x80;
const BUSRESET_US = 200;
const GPCNTL_LED = 0x01;

/** In crash dump mode the delay that the dumper provides (white paper 4.3, rule 4), else mdelay. */
const sym_mdelay = (ms: number): Running => (K.dumpMode ? K.dumpMode.mdelay(ms) : mdelay(ms));

/** Half a second: how often sym_timer comes. */
export const timerInterval = (): number => Math.ceil(K.hz / 2);

/** The chip forgets everything. Context: any. */
export const sym_chip_reset = kfuncOf("sym_chip_reset", function* (np: SYM_HCB) {
  const { chip } = np;
  chip.writeb(ISTAT_SRST, SYM.ISTAT0);
  // A read flushes the posted write.
  chip.readb(SYM.MBOX1);
  yield* udelay(10);
  chip.writeb(0, SYM.ISTAT0);
  chip.readb(SYM.MBOX1);
  yield* sym_mdelay(2);
});

/** Commands bounce until the devices have recovered from a reset. */
const sym_start_settle = kfuncOf("sym_start_settle", function* (np: SYM_HCB) {
  np.s.settle_time_valid = 1;
  np.s.settle_time = K.time.jiffies + SETTLE_S * K.hz;
  yield* mod_timer(np.timer, K.time.jiffies + timerInterval());
});

/** The driver's heartbeat: ends the settle time. Context: softirq, or the dump's update. */
export const sym_timer = kfuncOf("sym_timer", function* (np: SYM_HCB) {
  const now = K.time.jiffies;
  np.s.lasttime = now;
  if (np.s.settle_time_valid !== 0 && np.s.settle_time <= now) np.s.settle_time_valid = 0;
  yield* mod_timer(np.timer, now + timerInterval());
});

/**
 * Resets the SCSI bus. With `enab_int` the chip's interrupt then does the rest; without, the caller calls sym_start_up.
 * Returns: 0, or 1 when lines are up that must not be. Locks held: host_lock. Context: any. Must not: sleep.
 */
export const sym_reset_scsi_bus = kfuncOf("sym_reset_scsi_bus", function* (np: SYM_HCB, enab_int: number) {
  const { chip } = np;
  np.s.bus_resets = np.s.bus_resets + 1;
  yield* sym_chip_reset(np);
  if (enab_int !== 0) chip.writeb(SIST_RST, SYM.SIEN0);
  chip.writeb(TOLERANT, SYM.STEST3);
  chip.writeb(np.s.rv_dcntl & ~DCNTL_COM, SYM.DCNTL);
  chip.writeb(SCNTL1_RST, SYM.SCNTL1);
  chip.readb(SYM.MBOX1);
  yield* udelay(BUSRESET_US);
  // RST must be up and nothing else.
  const reset = chip.readb(SYM.SSTAT0) & SSTAT0_RST;
  const lines = chip.readb(SYM.SBCL) | chip.readw(SYM.SBDL);
  const suspicious = reset === 0 || lines !== 0;
  if (suspicious) {
    yield* printk(`${np.name}: suspicious SCSI data while resetting the BUS.\n`, 3);
  }
  chip.writeb(0, SYM.SCNTL1);
  yield* sym_start_settle(np);
  return suspicious ? 1 : 0;
});

/** Something is wrong with the bus or with us: start again. Context: hardirq or poll. */
export const sym_start_reset = kfuncOf("sym_start_reset", function* (np: SYM_HCB) {
  yield* sym_reset_scsi_bus(np, 1);
});

/** Switches the clock multiplier on. Context: any. */
const sym_selectclock = kfuncOf("sym_selectclock", function* (np: SYM_HCB, scntl3: number) {
  const { chip } = np;
  if (np.s.multiplier <= 1) {
    chip.writeb(scntl3, SYM.SCNTL3);
    return;
  }
  chip.writeb(STEST1_DBLEN, SYM.STEST1);
  if ((np.s.features & FE_LCKFRQ) !== 0) {
    for (let i = 0; (chip.readb(SYM.STEST4) & STEST4_LCKFRQ) === 0 && i < 20; i++) yield* udelay(20);
    if ((chip.readb(SYM.STEST4) & STEST4_LCKFRQ) === 0) {
      yield* printk(`${np.name}: the chip cannot lock the frequency\n`, 4);
    }
  } else yield* udelay(120);
  chip.writeb(STEST3_HSC, SYM.STEST3);
  chip.writeb(scntl3, SYM.SCNTL3);
  chip.writeb(STEST1_DBLEN | STEST1_DBLSEL, SYM.STEST1);
  chip.writeb(0, SYM.STEST3);
});

/**
 * Ends all commands as reset and sets the chip up from nothing: queues, registers, SCRIPTS.
 * Locks held: host_lock. Context: any. Must not: sleep.
 */
export const sym_start_up = kfuncOf("sym_start_up", function* (np: SYM_HCB, reason: number) {
  const { chip, s } = np;
  if (reason === 1) yield* sym_chip_reset(np);
  else {
    chip.writeb(TOLERANT | STEST3_CSF, SYM.STEST3);
    chip.writeb(CTEST3_CLF, SYM.CTEST3);
  }
  np.initQueues();
  s.istat_sem = 0;
  for (const cp of np.ccbs) {
    if (cp.cmd === undefined) continue;
    yield* sym_complete_with(np, cp, DID_RESET);
  }
  for (const tp of np.targets) {
    tp.s.to_reset = 0;
    sym_reset_goal(np, tp);
  }

  chip.writeb(0, SYM.ISTAT0);
  yield* sym_mdelay(2);
  chip.writeb(s.rv_scntl0, SYM.SCNTL0);
  chip.writeb(0, SYM.SCNTL1);
  yield* sym_selectclock(np, s.rv_scntl3);
  chip.writeb(0x40 | s.myaddr, SYM.SCID);
  chip.writew(1 << s.myaddr, SYM.RESPID);
  chip.writeb(ISTAT_SIGP, SYM.ISTAT0);
  chip.writeb(s.rv_dmode, SYM.DMODE);
  chip.writeb(s.rv_ctest5, SYM.CTEST5);
  chip.writeb(s.rv_dcntl | DCNTL_COM, SYM.DCNTL);
  chip.writeb(s.rv_ctest3, SYM.CTEST3);
  chip.writeb(s.rv_ctest4, SYM.CTEST4);
  chip.writeb(s.rv_stest2, SYM.STEST2);
  chip.writeb(TOLERANT, SYM.STEST3);
  chip.writeb(SELECTION_TIMEOUT_250MS, SYM.STIME0);
  if ((s.features & FE_ULTRA2) !== 0) {
    chip.writeb(s.rv_ccntl0, SYM.CCNTL0);
    chip.writeb(s.rv_ccntl1, SYM.CCNTL1);
    chip.writel(0, SYM.MMRS);
    chip.writel(0, SYM.MMWS);
    chip.writel(0, SYM.SFS);
  }
  chip.writeb(chip.readb(SYM.GPCNTL) & ~GPCNTL_LED, SYM.GPCNTL);
  const sien = SIST_STO | SIST_MA | SIST_SGE | SIST_UDC | SIST_RST | SIST_PAR;
  chip.writew((s.features & FE_ULTRA2) !== 0 ? sien | SIST_SBMC : sien, SYM.SIEN0);
  chip.writeb(DSTAT_MDPE | DSTAT_BF | DSTAT_SSI | DSTAT_SIR | DSTAT_IID | DSTAT_ABRT, SYM.DIEN);
  yield* sym_load_scripts(np);
  chip.writel(np.addr, SYM.DSA);
  chip.writel(np.ba("start"), SYM.DSP);
});

/** Copies the SCRIPTS into on-chip RAM and tells them where the queues are. */
const sym_load_scripts = kfuncOf("sym_load_scripts", function* (np: SYM_HCB) {
  const { ram, s } = np;
  const { words } = np.script;
  for (let i = 0; i < words.length; i++) ram.writel(words[i]!, 4 * i);
  np.startpos = s.squeue_ba;
  ram.writel(s.dqueue_ba, np.ramOffset("done_pos"));
  ram.writel(s.targtbl, np.ramOffset("targtbl"));
  ram.writeb(0x08, np.ramOffset("msgout"));
});
