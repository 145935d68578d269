// The registers of an Intel PIIX IDE function, as data: task file, bus master, configuration. Names are the manual's.
import { defineRegisters, namesByOffset } from "../../emulator/bus/registers.ts";

/** BARs 0 to 3 stand for the legacy ports of the two channels; BAR 4 is the bus master's. [PCI IDE specification 2.1] */
export const PRIMARY_COMMAND_BAR = 0;
export const PRIMARY_CONTROL_BAR = 1;
export const SECONDARY_COMMAND_BAR = 2;
export const SECONDARY_CONTROL_BAR = 3;
export const BUS_MASTER_BAR = 4;
/** The second channel's bus master registers lie this far behind the first one's. */
export const BUS_MASTER_STRIDE = 8;

export const PIIX_PORTS = [
  { bar: PRIMARY_COMMAND_BAR, base: 0x1f0, size: 8 },
  { bar: PRIMARY_CONTROL_BAR, base: 0x3f4, size: 4 },
  { bar: SECONDARY_COMMAND_BAR, base: 0x170, size: 8 },
  { bar: SECONDARY_CONTROL_BAR, base: 0x374, size: 4 },
] as const;
export const PIIX_IRQS = [14, 15] as const;

const ata = "facts hba/ide.md section 2 (ATA/ATAPI-6 clause 7)";
const piix = "facts hba/ide.md sections 1, 3 (82371SB/AB datasheet, Linux ata_piix)";

/** The command block. Error and Status when read, Features and Command when written. */
export const ATA_COMMAND_BLOCK = defineRegisters("ata command block", {
  Data: { offset: 0, size: 1, reset: 0, writable: 0, source: `${ata}; 16 or 32 bits wide` },
  Error: {
    offset: 1,
    size: 1,
    reset: 1,
    writable: 0xff,
    bits: { ICRC: 0x80, UNC: 0x40, IDNF: 0x10, ABRT: 0x04 },
    source: ata,
  },
  SectorCount: { offset: 2, size: 1, reset: 1, writable: 0xff, source: ata },
  LbaLow: { offset: 3, size: 1, reset: 1, writable: 0xff, source: ata },
  LbaMid: { offset: 4, size: 1, reset: 0, writable: 0xff, source: ata },
  LbaHigh: { offset: 5, size: 1, reset: 0, writable: 0xff, source: ata },
  Device: { offset: 6, size: 1, reset: 0xa0, writable: 0xff, bits: { LBA: 0x40, DEV: 0x10 }, source: ata },
  /** Reading takes the interrupt away. */
  Status: {
    offset: 7,
    size: 1,
    reset: 0x50,
    writable: 0xff,
    bits: { BSY: 0x80, DRDY: 0x40, DF: 0x20, DSC: 0x10, DRQ: 0x08, ERR: 0x01 },
    source: ata,
  },
});

/** The control block: only offset 2 is the drive's. */
export const ATA_CONTROL_BLOCK = defineRegisters("ata control block", {
  AltStatus: {
    offset: 2,
    size: 1,
    reset: 0x50,
    writable: 0x86,
    bits: { HOB: 0x80, SRST: 0x04, nIEN: 0x02 },
    source: ata,
  },
});

export const BM_START = 0x01;
/** The bus master writes to memory: the command reads the disk. */
export const BM_READ = 0x08;
export const BM_ACTIVE = 0x01;
export const BM_ERROR = 0x02;
export const BM_INTERRUPT = 0x04;
export const BM_DRIVES_CAPABLE = 0x60;

/** One channel's bus master registers. */
export const PIIX_BUS_MASTER = defineRegisters("piix bus master", {
  BMICX: { offset: 0, size: 1, reset: 0, writable: 0x09, bits: { START: BM_START, RWCON: BM_READ }, source: piix },
  /** Bits 1 and 2 are cleared by writing them as ones. */
  BMISX: {
    offset: 2,
    size: 1,
    reset: 0,
    writable: 0x60,
    bits: { ACTIVE: BM_ACTIVE, ERROR: BM_ERROR, INTERRUPT: BM_INTERRUPT, DRIVES_CAPABLE: BM_DRIVES_CAPABLE },
    source: piix,
  },
  BMIDTPX: { offset: 4, size: 4, reset: 0, writable: 0xfffffffc, source: piix },
});

export const IDETIM_DECODE = 0x8000;

/** Configuration space behind the header. Timing has no other effect than being there: the drive's mode sets the pace. */
export const PIIX_CONFIG = defineRegisters("piix configuration", {
  /** The firmware has switched the ports on. */
  IDETIM_PRIMARY: {
    offset: 0x40,
    size: 2,
    reset: IDETIM_DECODE,
    writable: 0xffff,
    bits: {
      IDE: IDETIM_DECODE,
      SITRE: 0x4000,
      ISP: 0x3000,
      RTC: 0x0300,
      DTE1: 0x80,
      PPE1: 0x40,
      IE1: 0x20,
      TIME1: 0x10,
    },
    source: piix,
  },
  IDETIM_SECONDARY: { offset: 0x42, size: 2, reset: IDETIM_DECODE, writable: 0xffff, source: piix },
  SIDETIM: { offset: 0x44, size: 1, reset: 0, writable: 0xff, source: piix },
  /** PIIX4 only, as the next. */
  UDMACTL: { offset: 0x48, size: 1, reset: 0, writable: 0x0f, source: piix },
  UDMATIM: { offset: 0x4a, size: 2, reset: 0, writable: 0x3333, source: piix },
});

/** Offsets by name. */
export const ATA = {
  Data: 0,
  Error: 1,
  SectorCount: 2,
  LbaLow: 3,
  LbaMid: 4,
  LbaHigh: 5,
  Device: 6,
  Status: 7,
} as const satisfies { [Name in keyof typeof ATA_COMMAND_BLOCK]: number };
export const ATA_ALT_STATUS = 2;
export const BM = { BMICX: 0, BMISX: 2, BMIDTPX: 4 } as const satisfies {
  [Name in keyof typeof PIIX_BUS_MASTER]: number;
};

export const ATA_NAMES: ReadonlyMap<number, string> = namesByOffset(ATA_COMMAND_BLOCK);
export const BM_NAMES: ReadonlyMap<number, string> = namesByOffset(PIIX_BUS_MASTER);
