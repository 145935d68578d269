// The chipset driver of Intel's PIIX3 and PIIX4 (drivers/ide/pci/piix.c of 2.6.9): finds the function, sets its timing.
//
// What drives the drives is the IDE subsystem's (kernel-sim/ide); a chipset only says how fast and by which DMA mode.
import { pciFunctions, type PciFunction } from "../../emulator/bus/mmio.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { DMA_STATUS, ide_hwif_t, init_ide, type ide_chipset_ops, type ide_drive_t } from "../../kernel-sim/ide/ide.ts";
import { ide_dma_speed } from "../../kernel-sim/ide/ide-dma.ts";
import { ide_config_drive_speed } from "../../kernel-sim/ide/ide-iops.ts";
import { hwif_init, probe_hwif } from "../../kernel-sim/ide/ide-probe.ts";
import { BUS_MASTER_BAR, BUS_MASTER_STRIDE, PIIX_CONFIG, PIIX_IRQS, PIIX_PORTS } from "./registers.ts";

const kfunc = moduleFunctions("piix");

const INTEL = 0x8086;
const PCI_COMMAND = 0x04;
/** I/O space and bus master. */
const PCI_COMMAND_ENABLE = 0x05;
const IDETIM_DECODE = 0x80;

interface PiixChipset {
  readonly name: string;
  /** UDMA modes that it can do. */
  readonly ultraMask: number;
}
const DEVICES: ReadonlyMap<number, PiixChipset> = new Map([
  [0x7010, { name: "PIIX3", ultraMask: 0 }],
  [0x7111, { name: "PIIX4", ultraMask: 0x07 }],
]);

/** IORDY sample point and recovery time per PIO mode. */
const PIO_TIMINGS = [
  [0, 0],
  [0, 0],
  [1, 0],
  [2, 1],
  [2, 3],
] as const;
/** Shortest cycle of the data port per PIO mode, for 16 bits. [ATA/ATAPI-6 table 50] */
const PIO_CYCLE_NS = [600, 383, 240, 180, 120] as const;
const MAX_PIO = 4;

/** The best PIO mode of the drive, at most `pio` (255: no limit). */
function ide_get_best_pio_mode(drive: ide_drive_t, pio: number): number {
  const { id } = drive;
  const best =
    (id.field_valid & 2) !== 0 && (id.eide_pio_modes & 3) !== 0 ? ((id.eide_pio_modes & 2) !== 0 ? 4 : 3) : 2;
  return Math.min(best, pio, MAX_PIO);
}

/** Returns: nothing. Locks: none. Context: process, or the dump. Sets IDETIM (and SIDETIM) for a PIO mode. */
export const piix_tune_drive = kfunc("piix_tune_drive", function* (drive: ide_drive_t, pio: number) {
  const { hwif } = drive;
  const { pdev } = hwif;
  const mode = ide_get_best_pio_mode(drive, pio);
  const [isp, rtc] = PIO_TIMINGS[mode]!;
  const master = hwif.channel === 0 ? PIIX_CONFIG.IDETIM_PRIMARY.offset : PIIX_CONFIG.IDETIM_SECONDARY.offset;
  const slave = PIIX_CONFIG.SIDETIM.offset;
  let timing = pdev.readConfig(master, 2);
  if (drive.unit === 1) {
    timing |= 0x4000;
    if (mode > 1) timing |= 0x0070;
    const shift = hwif.channel === 0 ? 0 : 4;
    const others = pdev.readConfig(slave, 1) & (hwif.channel === 0 ? 0xf0 : 0x0f);
    pdev.writeConfig(slave, 1, others | (((isp << 2) | rtc) << shift));
  } else {
    timing = (timing & 0xccf8) | (isp << 12) | (rtc << 8);
    if (mode > 1) timing |= 0x0007;
  }
  pdev.writeConfig(master, 2, timing);
  drive.s.pio_speed = 0x08 | mode;
  hwif.io.stringCycleNs = PIO_CYCLE_NS[mode]!;
});

/** Sets chipset and drive to a transfer mode. Returns: 0, or 1 when the drive refuses. Context: process. */
const piix_tune_chipset = kfunc(
  "piix_tune_chipset",
  function* (drive: ide_drive_t, speed: number, chipset: PiixChipset) {
    const { pdev } = drive.hwif;
    if (chipset.ultraMask !== 0) {
      const { UDMACTL, UDMATIM } = PIIX_CONFIG;
      const { dn } = drive.s;
      const enabled = pdev.readConfig(UDMACTL.offset, 1);
      const ultra = speed >= 0x40;
      pdev.writeConfig(UDMACTL.offset, 1, ultra ? enabled | (1 << dn) : enabled & ~(1 << dn));
      const field = 3 << (dn * 4);
      const timing = pdev.readConfig(UDMATIM.offset, 2) & ~field;
      pdev.writeConfig(UDMATIM.offset, 2, ultra ? timing | ((speed - 0x40) << (dn * 4)) : timing);
    }
    return yield* ide_config_drive_speed(drive, speed);
  },
);

/** Returns: 0 when DMA is on. Locks: none. Context: process. */
const piix_config_drive_xfer_rate = kfunc(
  "piix_config_drive_xfer_rate",
  function* (drive: ide_drive_t, chipset: PiixChipset) {
    const { hwif } = drive;
    const speed = ide_dma_speed(drive, chipset.ultraMask);
    if (speed === 0 || (yield* piix_tune_chipset(drive, speed, chipset)) !== 0) return 1;
    const capable = hwif.bm.inb(hwif.dmaBase + DMA_STATUS) | (0x20 << drive.unit);
    hwif.bm.outb(capable, hwif.dmaBase + DMA_STATUS);
    return 0;
  },
);

/** Sets one function up: its two channels, unless the firmware has left one switched off. Context: process. */
const piix_init_one = kfunc("piix_init_one", function* (pdev: PciFunction, chipset: PiixChipset) {
  pdev.writeConfig(PCI_COMMAND, 2, pdev.readConfig(PCI_COMMAND, 2) | PCI_COMMAND_ENABLE);
  const dev = `${pdev.devfn >> 3}.${pdev.devfn & 7}`;
  yield* printk(`${chipset.name}: IDE controller at PCI slot 0000:00:${dev.padStart(4, "0")}\n`, 6);
  const base = pdev.readConfig(0x10 + 4 * BUS_MASTER_BAR, 4) & ~3;
  const ops: ide_chipset_ops = {
    tuneproc: piix_tune_drive,
    ide_dma_check: (drive) => piix_config_drive_xfer_rate(drive, chipset),
  };
  const hwifs: ide_hwif_t[] = [];
  for (let channel = 0; channel < 2; channel++) {
    if ((pdev.readConfig(PIIX_CONFIG.IDETIM_PRIMARY.offset + 1 + 2 * channel, 1) & IDETIM_DECODE) === 0) {
      yield* printk(`${chipset.name}: channel ${channel} is disabled\n`, 6);
      continue;
    }
    const bar = 2 * channel;
    const ports = {
      ...{ io: pdev.ports(bar), ctl: pdev.ports(bar + 1), bm: pdev.ports(BUS_MASTER_BAR) },
      ...{ ioBase: PIIX_PORTS[bar]!.base, ctlBase: PIIX_PORTS[bar + 1]!.base },
      dmaBase: channel * BUS_MASTER_STRIDE,
    };
    const hwif = new ide_hwif_t(channel, pdev, ports, PIIX_IRQS[channel]!, ops);
    hwif.s.dma_base = base + ports.dmaBase;
    hwif.s.dma_command = hwif.s.dma_base;
    hwif.s.dma_status = hwif.s.dma_base + 2;
    hwif.s.dma_prdtable = hwif.s.dma_base + 4;
    hwif.s.ultra_mask = chipset.ultraMask;
    hwif.s.mwdma_mask = 0x06;
    hwifs.push(hwif);
    yield* probe_hwif(hwif);
  }
  for (const hwif of hwifs) yield* hwif_init(hwif);
});

/** Probes the PIIX function on the bus (there can be only one: its ports are the PC's own). Context: process. */
export const piix_ide_init = kfunc("piix_ide_init", function* () {
  init_ide();
  yield* printk("Uniform Multi-Platform E-IDE driver Revision: 7.00alpha2\n", 6);
  for (const pdev of pciFunctions(K.machine.pci)) {
    if (pdev.readConfig(0x00, 2) !== INTEL) continue;
    const chipset = DEVICES.get(pdev.readConfig(0x02, 2));
    if (!chipset) continue;
    yield* piix_init_one(pdev, chipset);
    return;
  }
});

/** Puts the module's text and data into RAM; must come before piix_ide_init. Context: process or boot. */
export function loadPiixIde(): void {
  K.modules.load("piix", 1024);
}
