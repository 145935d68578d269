// Finding out what chip it is, whether it works, and how fast its clock is (sym_attach, sym_prepare_setting of 2.6.9).
import type { PciFunction } from "../../emulator/bus/mmio.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { SA_SHIRQ, request_irq } from "../../kernel-sim/core/irq.ts";
import { pci_alloc_consistent } from "../../kernel-sim/core/pci-dma.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "../../kernel-sim/core/spinlock.ts";
import { udelay } from "../../kernel-sim/core/timer.ts";
import { SYM_HCB } from "./driver-hcb.ts";
import { sym_interrupt } from "./driver-interrupt.ts";
import { kfuncOf } from "./driver-kfunc.ts";
import { get32le, put32le } from "./driver-memory.ts";
import { asynchronousDivisor } from "./driver-nego.ts";
import {
  FE_C10,
  FE_DAC,
  FE_DBLR,
  FE_LCKFRQ,
  FE_QUAD,
  FE_U3EN,
  FE_ULTRA2,
  FE_VARCLK,
  FE_WIDE,
  sym_chip_reset,
  sym_reset_scsi_bus,
  sym_start_up,
  sym_timer,
} from "./driver-reset.ts";
import { SIR } from "./driver-scripts.ts";
import { struct_sym_hcb } from "./driver-structs.ts";
import {
  DSTAT_BF,
  DSTAT_IID,
  DSTAT_MDPE,
  ISTAT_DIP,
  ISTAT_INTF,
  ISTAT_SIP,
  SIST_GEN,
  SYM,
  SYM_MEMORY_BAR,
  SYM_RAM_BAR,
} from "./registers.ts";

export interface SymPciChip {
  readonly name: string;
  readonly features: number;
  /** Fastest transfer period factor, and deepest offset, with single transitions. */
  readonly minsync: number;
  readonly maxoffs: number;
}

/** What the driver takes, by device id. */
export const SYM_PCI_CHIPS: ReadonlyMap<number, SymPciChip> = new Map([
  [0x000f, { name: "875", features: FE_WIDE | FE_DBLR | FE_VARCLK, minsync: 12, maxoffs: 16 }],
  [0x0012, { name: "895a", features: FE_WIDE | FE_ULTRA2 | FE_QUAD | FE_LCKFRQ | FE_DAC, minsync: 10, maxoffs: 31 }],
  [
    0x0020,
    {
      name: "1010-33",
      features: FE_WIDE | FE_ULTRA2 | FE_QUAD | FE_DAC | FE_C10 | FE_U3EN,
      minsync: 10,
      maxoffs: 31,
    },
  ],
]);

const PCI_COMMAND = 0x04;
/** I/O space, memory space, bus master. */
const PCI_COMMAND_ENABLE = 0x07;
const PCI_BASE_MEMORY_64 = 0x04;
/** What a RAID board leaves in on-chip RAM. */
const RAID_SIGNATURE = 0x52414944;
const FOUR_GIB = 2 ** 32;
const OWN_ID = 7;
const POLL_LIMIT = 1000;
/** Full arbitration, parity checked, and what the manual wants with it. */
const SCNTL0 = 0xca;
const CTEST4_MPEE = 0x08;
const CTEST5_DFS = 0x20;
const DMODE_BURST_AND_FETCH = 0x40 | 0x08 | 0x02;
const DCNTL_CLSE_PFEN = 0x80 | 0x20;
const CCNTL1_XTIMOD_EXTIBMV = 0x06;
/** Code of the general purpose timer with which the clock is measured, and the constant of its period. */
const CLOCK_TIMER_CODE = 11;
const CLOCK_CONSTANT = 4340 * 4;

/** The SCSI clock in kHz by the general purpose timer. Takes a quarter of a second. */
const sym_getfreq = kfuncOf("sym_getfreq", function* (np: SYM_HCB) {
  const { chip } = np;
  chip.writeb(0, SYM.STEST1);
  chip.writeb(0, SYM.SCNTL3);
  chip.writew(SIST_GEN, SYM.SIEN0);
  chip.readw(SYM.SIST0);
  chip.writeb(CLOCK_TIMER_CODE, SYM.STIME1);
  let quarters = 0;
  while ((chip.readw(SYM.SIST0) & SIST_GEN) === 0 && quarters < 100_000) {
    yield* udelay(250);
    quarters++;
  }
  chip.writeb(0, SYM.STIME1);
  chip.writew(0, SYM.SIEN0);
  return quarters === 0 ? 0 : Math.floor(((1 << CLOCK_TIMER_CODE) * CLOCK_CONSTANT) / quarters);
});

const sym_getclock = kfuncOf("sym_getclock", function* (np: SYM_HCB) {
  const { features } = np.s;
  const multiplier = (features & FE_QUAD) !== 0 ? 4 : (features & FE_DBLR) !== 0 ? 2 : 1;
  let khz = 40_000;
  if ((features & FE_VARCLK) !== 0) {
    const measured = yield* sym_getfreq(np);
    khz = measured < 45_000 ? 40_000 : measured < 55_000 ? 50_000 : 80_000;
  }
  np.s.multiplier = khz < 80_000 ? multiplier : 1;
  np.s.clock_khz = khz * np.s.multiplier;
});

/** Registers that read back what nothing wrote are no registers. Returns 0 when it is a chip. */
function sym_regtest(np: SYM_HCB): number {
  const { chip } = np;
  chip.writel(0xffffffff, SYM.DSTAT);
  return chip.readl(SYM.DSTAT) === 0xffffffff ? 0x10 : 0;
}

/** Runs a few SCRIPTS and looks whether chip and memory agree. Returns 0 when they do. Context: process. */
const sym_snooptest = kfuncOf("sym_snooptest", function* (np: SYM_HCB) {
  const err = sym_regtest(np);
  if (err !== 0) {
    yield* printk(`${np.name}: CACHE TEST FAILED: reg dstat-sstat2 readback\n`, 3);
    return err;
  }
  const { chip, ram } = np;
  const { words } = np.script;
  for (let i = 0; i < words.length; i++) ram.writel(words[i]!, 4 * i);
  const variable = np.addr + np.offsets.hcb.scratch;
  put32le(variable, 1);
  chip.writeb(CTEST4_MPEE, SYM.CTEST4);
  chip.writel(2, SYM.TEMP);
  chip.writel(np.addr, SYM.DSA);
  chip.writel(np.ba("snooptest"), SYM.DSP);
  let polls = 0;
  while ((chip.readb(SYM.ISTAT0) & (ISTAT_INTF | ISTAT_SIP | ISTAT_DIP)) === 0 && polls++ < POLL_LIMIT) {
    yield* udelay(1);
  }
  if (polls >= POLL_LIMIT) {
    yield* printk(`${np.name}: CACHE TEST FAILED: timeout.\n`, 3);
    return 0x20;
  }
  const dstat = chip.readb(SYM.DSTAT);
  const code = chip.readl(SYM.DSPS);
  if ((dstat & (DSTAT_MDPE | DSTAT_BF | DSTAT_IID)) !== 0 || code !== SIR.selfTest) {
    yield* printk(`${np.name}: CACHE TEST FAILED: DMA error (dstat=0x${dstat.toString(16)}).\n`, 3);
    return 0x40;
  }
  const end = chip.readl(SYM.DSP);
  if (end !== np.ba("snoopend")) {
    yield* printk(`${np.name}: CACHE TEST FAILED: script execution failed at ${end.toString(16)}.\n`, 3);
    return 0x40;
  }
  const host = get32le(variable);
  const [scratch, temp] = [chip.readl(SYM.SCRATCHA), chip.readl(SYM.TEMP)];
  if (host === 2 && scratch === 1 && temp === 2) return 0;
  yield* printk(`${np.name}: CACHE TEST FAILED: host ${host}, chip read ${scratch}, read back ${temp}.\n`, 3);
  return 0x07;
});

/** What the registers are set to, from the chip's features. */
function sym_prepare_setting(np: SYM_HCB, chip: SymPciChip): void {
  const { s } = np;
  s.myaddr = OWN_ID;
  s.minsync = chip.minsync;
  s.maxoffs = chip.maxoffs;
  s.maxwide = (chip.features & FE_WIDE) !== 0 ? 1 : 0;
  s.clock_divn = 7;
  s.rv_scntl0 = SCNTL0;
  s.rv_scntl3 = (chip.features & FE_C10) !== 0 ? 0 : asynchronousDivisor(s.clock_khz);
  s.rv_dmode = DMODE_BURST_AND_FETCH;
  s.rv_dcntl = DCNTL_CLSE_PFEN;
  s.rv_ctest3 = 0x01;
  s.rv_ctest4 = CTEST4_MPEE;
  s.rv_ctest5 = CTEST5_DFS;
  s.rv_stest2 = 0;
  s.rv_ccntl0 = 0;
  s.rv_ccntl1 = M.memory.endOfRam > FOUR_GIB ? CCNTL1_XTIMOD_EXTIBMV : 0;
}

/** The interrupt handler: sym_interrupt under the host's lock. */
const sym53c8xx_intr = kfuncOf("sym53c8xx_intr", function* (np: SYM_HCB) {
  const { host_lock } = np.host;
  const flags = yield* spin_lock_irqsave(host_lock);
  yield* sym_interrupt(np);
  yield* spin_unlock_irqrestore(host_lock, flags);
  return true;
});

/** Base address and index of the BAR behind a memory BAR, which may take two places. */
function ramBar(pdev: PciFunction): number {
  const low = pdev.readConfig(0x10 + 4 * SYM_MEMORY_BAR, 4);
  return (low & PCI_BASE_MEMORY_64) !== 0 ? SYM_RAM_BAR + 1 : SYM_RAM_BAR;
}

/** Takes one chip: tests it, resets the bus, starts SCRIPTS. Returns: the adapter, or undefined. Context: process. */
export const sym_attach = kfuncOf("sym_attach", function* (pdev: PciFunction, unit: number) {
  const chip = SYM_PCI_CHIPS.get(pdev.readConfig(0x02, 2))!;
  pdev.writeConfig(PCI_COMMAND, 2, pdev.readConfig(PCI_COMMAND, 2) | PCI_COMMAND_ENABLE);
  const bar = ramBar(pdev);
  const ram = pdev.map(bar);
  const ramBa = (pdev.readConfig(0x10 + 4 * bar, 4) & ~0xf) >>> 0;
  if (ram.readl(ram.size - 16) === RAID_SIGNATURE) {
    yield* printk(`sym${unit}: not initializing, driven by RAID controller.\n`, 6);
    return undefined;
  }
  if (M.memory.endOfRam > FOUR_GIB && (chip.features & FE_DAC) === 0) {
    yield* printk(
      `sym${unit}: <${chip.name}> cannot address the memory above 4 GiB, which this kernel does not bounce\n`,
      3,
    );
    return undefined;
  }
  const addr = pci_alloc_consistent(pdev, K.sizeOf(struct_sym_hcb));
  const np = new SYM_HCB(
    unit,
    pdev,
    pdev.map(SYM_MEMORY_BAR),
    ram,
    ramBa,
    addr,
    (chip.features & FE_C10) !== 0,
    sym_timer,
  );
  np.s.mmio_ba = (pdev.readConfig(0x10 + 4 * SYM_MEMORY_BAR, 4) & ~0xf) >>> 0;
  np.s.device_id = pdev.readConfig(0x02, 2);
  np.s.revision_id = pdev.readConfig(0x08, 1);
  np.s.features = chip.features;
  np.s.irq = pdev.readConfig(0x3c, 1);
  yield* printk(`${np.name}: <${chip.name}> rev 0x${np.s.revision_id.toString(16)} irq ${np.s.irq}\n`, 6);
  yield* sym_chip_reset(np);
  yield* sym_getclock(np);
  sym_prepare_setting(np, chip);
  yield* sym_chip_reset(np);
  if ((yield* sym_snooptest(np)) !== 0) {
    yield* printk(`${np.name}: CACHE INCORRECTLY CONFIGURED.\n`, 3);
    return undefined;
  }
  return np;
});

/** Interrupt, bus reset and start, when the host exists. Returns: 0, or non-zero when the bus is not well. Context: process. */
export const sym_start = kfuncOf("sym_start", function* (np: SYM_HCB) {
  const intr = Object.assign(() => sym53c8xx_intr(np), { id: sym53c8xx_intr.id });
  if ((yield* request_irq(np.s.irq, intr, SA_SHIRQ, "sym53c8xx", np.addr)) !== 0) return 1;
  const { host_lock } = np.host;
  const flags = yield* spin_lock_irqsave(host_lock);
  const rc = yield* sym_reset_scsi_bus(np, 0);
  yield* sym_start_up(np, 1);
  yield* spin_unlock_irqrestore(host_lock, flags);
  return rc;
});
