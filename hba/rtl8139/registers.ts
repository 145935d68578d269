// The registers of a Realtek RTL8139C, as data. Names are the data sheet's (RTL8139C(L) data sheet 1.6, chapter 6).
import { defineRegisters, namesByOffset, type RegisterSpec } from "../../emulator/bus/registers.ts";

/** BAR 0: 256 I/O ports; BAR 1: the same registers in memory. */
export const RTL_IO_BAR = 0;
export const RTL_MEMORY_BAR = 1;
export const RTL_REGISTER_BYTES = 256;
export const RTL_VENDOR = 0x10ec;
export const RTL_DEVICE = 0x8139;

/** Transmit descriptors; status and start address of each. */
export const TX_DESCRIPTORS = 4;

const sheet = (section: string): string => `RTL8139C(L) data sheet 1.6, ${section}`;
const tsd = (n: number) => ({
  ...({ offset: 0x10 + n * 4, size: 4, reset: 0x00002000, writable: 0x003f1fff } as const),
  bits: {
    CRS: 0x80000000,
    TABT: 0x40000000,
    OWC: 0x20000000,
    CDH: 0x10000000,
    NCC: 0x0f000000,
    ERTXTH: 0x003f0000,
    TOK: 0x8000,
    TUN: 0x4000,
    OWN: 0x2000,
    SIZE: 0x1fff,
  },
  source: sheet("6.2"),
});
const tsad = (n: number): RegisterSpec => ({
  ...{ offset: 0x20 + n * 4, size: 4, reset: 0, writable: 0xffffffff, source: sheet("6.2") },
});
const idr = (n: number): RegisterSpec => ({
  offset: n,
  size: 1,
  reset: 0,
  writable: 0xff,
  source: sheet("6: loaded from the EEPROM"),
});
const mar = (n: number): RegisterSpec => ({ offset: 8 + n, size: 1, reset: 0, writable: 0xff, source: sheet("6") });

const INTERRUPT_BITS = {
  SERR: 0x8000,
  TimeOut: 0x4000,
  LenChg: 0x2000,
  FOVW: 0x0040,
  PUN_LinkChg: 0x0020,
  RXOVW: 0x0010,
  TER: 0x0008,
  TOK: 0x0004,
  RER: 0x0002,
  ROK: 0x0001,
} as const;
/** Every cause that there is. */
export const ALL_INTERRUPTS = 0xe07f;

export const RTL_REGISTERS = defineRegisters("rtl8139", {
  IDR0: idr(0),
  IDR1: idr(1),
  IDR2: idr(2),
  IDR3: idr(3),
  IDR4: idr(4),
  IDR5: idr(5),
  MAR0: mar(0),
  MAR1: mar(1),
  MAR2: mar(2),
  MAR3: mar(3),
  MAR4: mar(4),
  MAR5: mar(5),
  MAR6: mar(6),
  MAR7: mar(7),
  TSD0: tsd(0),
  TSD1: tsd(1),
  TSD2: tsd(2),
  TSD3: tsd(3),
  TSAD0: tsad(0),
  TSAD1: tsad(1),
  TSAD2: tsad(2),
  TSAD3: tsad(3),
  RBSTART: { offset: 0x30, size: 4, reset: 0, writable: 0xffffffff, source: sheet("6") },
  ERBCR: { offset: 0x34, size: 2, reset: 0, writable: 0, source: sheet("6: early receive, not used here") },
  ERSR: { offset: 0x36, size: 1, reset: 0, writable: 0, source: sheet("6.3") },
  CR: {
    ...{ offset: 0x37, size: 1, reset: 0x01, writable: 0x1c },
    bits: { RST: 0x10, RE: 0x08, TE: 0x04, BUFE: 0x01 },
    source: sheet("6.4"),
  },
  CAPR: { offset: 0x38, size: 2, reset: 0xfff0, writable: 0xffff, source: sheet("6: read pointer less 16") },
  CBR: { offset: 0x3a, size: 2, reset: 0, writable: 0, source: sheet("6: write pointer") },
  IMR: { offset: 0x3c, size: 2, reset: 0, writable: ALL_INTERRUPTS, bits: INTERRUPT_BITS, source: sheet("6.5") },
  /** Writing a one clears a cause. */
  ISR: { offset: 0x3e, size: 2, reset: 0, writable: ALL_INTERRUPTS, bits: INTERRUPT_BITS, source: sheet("6.6") },
  TCR: {
    ...{ offset: 0x40, size: 4, reset: 0x74000600, writable: 0x030707f0 },
    bits: {
      HWVERID_A: 0x7c000000,
      IFG: 0x03000000,
      LBK: 0x00060000,
      CRC: 0x00010000,
      MXDMA: 0x700,
      TXRR: 0xf0,
      CLRABT: 1,
    },
    source: sheet("6.7: 11101 in HWVERID is an RTL8139C"),
  },
  RCR: {
    ...{ offset: 0x44, size: 4, reset: 0, writable: 0x0f03ffbf },
    bits: {
      ERTH: 0x0f000000,
      MulERINT: 0x20000,
      RER8: 0x10000,
      RXFTH: 0xe000,
      RBLEN: 0x1800,
      MXDMA: 0x700,
      WRAP: 0x80,
      AER: 0x20,
      AR: 0x10,
      AB: 0x08,
      AM: 0x04,
      APM: 0x02,
      AAP: 0x01,
    },
    source: sheet("6.8"),
  },
  TCTR: { offset: 0x48, size: 4, reset: 0, writable: 0, source: sheet("6: timer, 33 MHz; a write clears it") },
  MPC: { offset: 0x4c, size: 4, reset: 0, writable: 0, source: sheet("6: missed packets; a write clears it") },
  CR9346: {
    ...{ offset: 0x50, size: 1, reset: 0, writable: 0xce },
    bits: { EEM: 0xc0, EECS: 0x08, EESK: 0x04, EEDI: 0x02, EEDO: 0x01 },
    source: sheet("6.9"),
  },
  CONFIG0: { offset: 0x51, size: 1, reset: 0, writable: 0, source: sheet("6.10") },
  CONFIG1: { offset: 0x52, size: 1, reset: 0x0d, writable: 0xf3, source: sheet("6.11: memory and ports mapped") },
  TimerInt: { offset: 0x54, size: 4, reset: 0, writable: 0xffffffff, source: sheet("6: 0 is never") },
  MSR: {
    ...{ offset: 0x58, size: 1, reset: 0x10, writable: 0xc0 },
    bits: { TXFCE: 0x80, RXFCE: 0x40, Aux_Status: 0x10, SPEED_10: 0x08, LINKB: 0x04, TXPF: 0x02, RXPF: 0x01 },
    source: sheet("6.12"),
  },
  CONFIG3: { offset: 0x59, size: 1, reset: 0x01, writable: 0x70, source: sheet("6.13") },
  CONFIG4: { offset: 0x5a, size: 1, reset: 0, writable: 0xff, source: sheet("6.14") },
  HLTCLK: { offset: 0x5b, size: 1, reset: 0, writable: 0xff, source: sheet("6: R runs the clock") },
  MULINT: { offset: 0x5c, size: 2, reset: 0, writable: 0x0fff, source: sheet("6.15") },
  RERID: { offset: 0x5e, size: 1, reset: 0x10, writable: 0, source: sheet("6: PCI revision") },
  TSAD: { offset: 0x60, size: 2, reset: 0x000f, writable: 0, source: sheet("6.17: all four descriptors' bits") },
  BMCR: {
    ...{ offset: 0x62, size: 2, reset: 0x3100, writable: 0x3300 },
    bits: { Spd_Set: 0x2000, ANE: 0x1000, RestartAN: 0x0200, Duplex: 0x0100 },
    source: sheet("6.18"),
  },
  BMSR: {
    ...{ offset: 0x64, size: 2, reset: 0x782d, writable: 0 },
    bits: { Negotiated: 0x0020, Link: 0x0004 },
    source: sheet("6.19: link up, negotiated"),
  },
  ANAR: { offset: 0x66, size: 2, reset: 0x05e1, writable: 0x0de0, source: sheet("6.20") },
  ANLPAR: {
    offset: 0x68,
    size: 2,
    reset: 0x45e1,
    writable: 0,
    source: sheet("6.21: a switch, 100 Mbit/s full duplex"),
  },
  ANER: { offset: 0x6a, size: 2, reset: 0x0001, writable: 0, source: sheet("6.22") },
  DIS: { offset: 0x6c, size: 2, reset: 0, writable: 0, source: sheet("6.23") },
  FCSC: { offset: 0x6e, size: 2, reset: 0, writable: 0, source: sheet("6.24") },
  NWAYTR: { offset: 0x70, size: 2, reset: 0, writable: 0x0080, source: sheet("6.25") },
  REC: { offset: 0x72, size: 2, reset: 0, writable: 0, source: sheet("6.26") },
  CSCR: {
    ...{ offset: 0x74, size: 2, reset: 0x07c8, writable: 0x03e0 },
    bits: { LinkOK: 0x0400, LinkChange: 0x0800, Testfun: 0x8000 },
    source: sheet("6.27"),
  },
  PHY1_PARM: { offset: 0x78, size: 4, reset: 0x60f60c59, writable: 0xffffffff, source: sheet("6: undefined, r/w") },
  TW_PARM: { offset: 0x7c, size: 4, reset: 0x7b732660, writable: 0xffffffff, source: sheet("6: undefined, r/w") },
  PHY2_PARM: { offset: 0x80, size: 1, reset: 0, writable: 0xff, source: sheet("6: undefined, r/w") },
  CONFIG5: { offset: 0xd8, size: 1, reset: 0, writable: 0xff, source: sheet("6: wake-up frames") },
} as const);

export type RtlRegister = keyof typeof RTL_REGISTERS;
export const RTL_NAMES = namesByOffset(RTL_REGISTERS);

/** Register name -> offset. */
export const RTL = Object.fromEntries(
  Object.entries(RTL_REGISTERS).map(([name, { offset }]) => [name, offset]),
) as Readonly<Record<RtlRegister, number>>;

export const TSD_BITS = RTL_REGISTERS.TSD0.bits;
export const CR_BITS = RTL_REGISTERS.CR.bits;
export const ISR_BITS = INTERRUPT_BITS;
export const RCR_BITS = RTL_REGISTERS.RCR.bits;
export const EEPROM_BITS = RTL_REGISTERS.CR9346.bits;
export const MSR_BITS = RTL_REGISTERS.MSR.bits;
export const BMSR_BITS = RTL_REGISTERS.BMSR.bits;
export const CSCR_BITS = RTL_REGISTERS.CSCR.bits;
/** CR9346 with EEM = 11: the configuration registers may be written; with EEM = 10: the EEPROM's pins are the host's. */
export const CONFIG_WRITE_ENABLE = 0xc0;
export const EEPROM_PROGRAM = 0x80;

/** The status word that the chip puts before each packet; the length behind it counts the check sequence. [data sheet 5.1] */
export const RX_STATUS = {
  ROK: 0x0001,
  FAE: 0x0002,
  CRC: 0x0004,
  LONG: 0x0008,
  RUNT: 0x0010,
  BAR: 0x2000,
  PAM: 0x4000,
  MAR: 0x8000,
};
