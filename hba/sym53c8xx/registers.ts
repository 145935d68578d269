// The operating registers of the LSI 53C8xx family (53C875, 53C895A, 53C1010), as data. Names are the manual's.
//
// `writable` counts for a host's and for SCRIPTS' writes alike. What a register does beyond storing bits is in
// chip-registers.ts; the ones that do are listed there.
import { defineRegisters, namesByOffset } from "../../emulator/bus/registers.ts";

export const SYM_IO_BAR = 0;
export const SYM_MEMORY_BAR = 1;
export const SYM_RAM_BAR = 2;
/** The register file repeats through the memory BAR. */
export const SYM_REGISTER_BYTES = 0x100;

const linux = "Linux sym_defs.h (struct sym_reg, C1010 only); facts hba/sym53c8xx.md section 2";
const manual = "LSI53C895A technical manual, chapter 4; facts hba/sym53c8xx.md section 2";
const r1 = (
  offset: number,
  reset: number,
  writable: number,
  bits: Readonly<Record<string, number>> = {},
  clearOnRead = 0,
) => ({ offset, size: 1, reset, writable, clearOnRead, bits, source: manual }) as const;
const r2 = (offset: number, reset: number, writable: number) =>
  ({ offset, size: 2, reset, writable, source: manual }) as const;
const r4 = (offset: number, reset = 0, writable = 0xffffffff) =>
  ({ offset, size: 4, reset, writable, source: manual }) as const;

export const SCNTL1_EXC = 0x80;
export const SCNTL1_CON = 0x10;
export const SCNTL1_RST = 0x08;
export const SCNTL2_SDU = 0x80;
export const SCNTL2_WSS = 0x08;
export const SCNTL2_WSR = 0x01;
export const SCNTL3_EWS = 0x08;
export const SCNTL3_CCF = 0x07;
export const SCNTL4_U3EN = 0x80;
export const SSID_VAL = 0x80;
export const SBCL_REQ = 0x80;
export const SBCL_ACK = 0x40;
export const SBCL_BSY = 0x20;
export const SBCL_SEL = 0x10;
export const SBCL_ATN = 0x08;
export const DSTAT_DFE = 0x80;
export const DSTAT_MDPE = 0x40;
export const DSTAT_BF = 0x20;
export const DSTAT_ABRT = 0x10;
export const DSTAT_SSI = 0x08;
export const DSTAT_SIR = 0x04;
export const DSTAT_IID = 0x01;
export const SSTAT0_RST = 0x02;
export const SSTAT2_LDSC = 0x02;
export const ISTAT_ABRT = 0x80;
export const ISTAT_SRST = 0x40;
export const ISTAT_SIGP = 0x20;
export const ISTAT_SEM = 0x10;
export const ISTAT_CON = 0x08;
export const ISTAT_INTF = 0x04;
export const ISTAT_SIP = 0x02;
export const ISTAT_DIP = 0x01;
export const ISTAT1_SCRUN = 0x02;
export const ISTAT1_SIRQD = 0x01;
export const CTEST2_SIGP = 0x40;
export const CTEST3_CLF = 0x04;
export const CTEST5_DFS = 0x20;
export const DMODE_MAN = 0x01;
export const DCNTL_SSM = 0x10;
export const DCNTL_STD = 0x04;
export const DCNTL_IRQD = 0x02;
export const DCNTL_COM = 0x01;
/** SIST0 in the low byte, SIST1 in the high one. */
export const SIST_MA = 0x0080;
export const SIST_CMP = 0x0040;
export const SIST_SEL = 0x0020;
export const SIST_RSL = 0x0010;
export const SIST_SGE = 0x0008;
export const SIST_UDC = 0x0004;
export const SIST_RST = 0x0002;
export const SIST_PAR = 0x0001;
export const SIST_SBMC = 0x1000;
export const SIST_STO = 0x0400;
export const SIST_GEN = 0x0200;
export const SIST_HTH = 0x0100;
export const STEST1_DBLEN = 0x08;
export const STEST1_DBLSEL = 0x04;
export const STEST3_HSC = 0x20;
export const STEST3_CSF = 0x02;
export const STEST4_LCKFRQ = 0x20;
/** STEST4.SMODE: what the DIFFSENS line says. */
export const STEST4_SE = 0x80;
export const STEST4_LVD = 0xc0;
export const CCNTL0_ENPMJ = 0x80;
export const CCNTL0_PMJCTL = 0x40;
export const CCNTL0_ENNDJ = 0x20;
export const CCNTL1_XTIMOD = 0x04;
export const CCNTL1_EXTIBMV = 0x02;

export const SYM_REGISTERS = defineRegisters("53c8xx", {
  SCNTL0: r1(0x00, 0xc0, 0xfb, { ARB: 0xc0, START: 0x20, WATN: 0x10, EPC: 0x08, AAP: 0x02, TRG: 0x01 }),
  SCNTL1: r1(0x01, 0, 0xef, { EXC: 0x80, ADB: 0x40, DHP: 0x20, CON: 0x10, RST: 0x08, AESP: 4, IARB: 2, SST: 1 }),
  SCNTL2: r1(0x02, 0, 0xf6, { SDU: 0x80, CHM: 0x40, SLPMD: 0x20, SLPHBEN: 0x10, WSS: 8, VUE0: 4, VUE1: 2, WSR: 1 }),
  SCNTL3: r1(0x03, 0, 0xff, { ULTRA: 0x80, SCF: 0x70, EWS: 0x08, CCF: 0x07 }),
  SCID: r1(0x04, 0, 0x6f, { RRE: 0x40, SRE: 0x20, ID: 0x0f }),
  SXFER: r1(0x05, 0, 0xff, { TP: 0xe0, MO: 0x1f }),
  SDID: r1(0x06, 0, 0x0f, { ID: 0x0f }),
  GPREG: r1(0x07, 0x1f, 0x1f, { GPIO: 0x1f }),
  SFBR: r1(0x08, 0, 0xff),
  SOCL: r1(0x09, 0, 0xff, { REQ: 0x80, ACK: 0x40, BSY: 0x20, SEL: 0x10, ATN: 8, MSG: 4, CD: 2, IO: 1 }),
  SSID: r1(0x0a, 0, 0, { VAL: 0x80, ID: 0x0f }),
  SBCL: r1(0x0b, 0, 0, { REQ: 0x80, ACK: 0x40, BSY: 0x20, SEL: 0x10, ATN: 8, MSG: 4, CD: 2, IO: 1 }),
  DSTAT: r1(0x0c, 0x80, 0, { DFE: 0x80, MDPE: 0x40, BF: 0x20, ABRT: 0x10, SSI: 8, SIR: 4, IID: 1 }, 0x7f),
  SSTAT0: r1(0x0d, 0, 0, { ILF: 0x80, ORF: 0x40, OLF: 0x20, AIP: 0x10, LOA: 8, WOA: 4, RST: 2, SDP0: 1 }),
  SSTAT1: r1(0x0e, 0, 0, { FF: 0xf0, SDP0L: 8, MSG: 4, CD: 2, IO: 1 }),
  SSTAT2: r1(0x0f, 0, 0, { ILF1: 0x80, ORF1: 0x40, OLF1: 0x20, FF4: 0x10, SPL1: 8, DM: 4, LDSC: 2, SDP1: 1 }),
  DSA: r4(0x10),
  ISTAT0: r1(0x14, 0, 0xf0, { ABRT: 0x80, SRST: 0x40, SIGP: 0x20, SEM: 0x10, CON: 8, INTF: 4, SIP: 2, DIP: 1 }),
  ISTAT1: r1(0x15, 0, 0x05, { FLSH: 4, SCRUN: 2, SIRQD: 1 }),
  MBOX0: r1(0x16, 0, 0xff),
  MBOX1: r1(0x17, 0, 0xff),
  CTEST0: r1(0x18, 0xff, 0),
  CTEST1: r1(0x19, 0xf0, 0, { FMT: 0xf0, FFL: 0x0f }),
  CTEST2: r1(0x1a, 0x01, 0x08, { DDIR: 0x80, SIGP: 0x40, CIO: 0x20, CM: 0x10, SRTCH: 8, TEOP: 4, DREQ: 2, DACK: 1 }),
  CTEST3: r1(0x1b, 0, 0x03, { V: 0xf0, FLF: 8, CLF: 4, FM: 2, WRIE: 1 }),
  TEMP: r4(0x1c),
  DFIFO: r1(0x20, 0, 0xff),
  CTEST4: r1(0x21, 0, 0xff, { BDIS: 0x80, ZMOD: 0x40, ZSD: 0x20, SRTM: 0x10, MPEE: 8, FBL: 7 }),
  CTEST5: r1(0x22, 0, 0x3f, { ADCK: 0x80, BBCK: 0x40, DFS: 0x20, MASR: 0x10, DDIR: 8, BL2: 4, BO: 3 }),
  CTEST6: r1(0x23, 0, 0xff),
  DBC: r2(0x24, 0, 0xffff),
  DBC2: r1(0x26, 0, 0xff),
  DCMD: r1(0x27, 0, 0xff),
  DNAD: r4(0x28),
  DSP: r4(0x2c),
  DSPS: r4(0x30),
  SCRATCHA: r4(0x34),
  DMODE: r1(0x38, 0, 0xff, { BL: 0xc0, SIOM: 0x20, DIOM: 0x10, ERL: 8, ERMP: 4, BOF: 2, MAN: 1 }),
  DIEN: r1(0x39, 0, 0x7d, { MDPE: 0x40, BF: 0x20, ABRT: 0x10, SSI: 8, SIR: 4, IID: 1 }),
  SBR: r1(0x3a, 0, 0xff),
  DCNTL: r1(0x3b, 0, 0xfb, { CLSE: 0x80, PFF: 0x40, PFEN: 0x20, SSM: 0x10, IRQM: 8, STD: 4, IRQD: 2, COM: 1 }),
  ADDER: r4(0x3c, 0, 0),
  SIEN0: r1(0x40, 0, 0xff, { MA: 0x80, CMP: 0x40, SEL: 0x20, RSL: 0x10, SGE: 8, UDC: 4, RST: 2, PAR: 1 }),
  SIEN1: r1(0x41, 0, 0x17, { SBMC: 0x10, STO: 4, GEN: 2, HTH: 1 }),
  SIST0: r1(0x42, 0, 0, { MA: 0x80, CMP: 0x40, SEL: 0x20, RSL: 0x10, SGE: 8, UDC: 4, RST: 2, PAR: 1 }, 0xff),
  SIST1: r1(0x43, 0, 0, { SBMC: 0x10, STO: 4, GEN: 2, HTH: 1 }, 0x17),
  SLPAR: r1(0x44, 0, 0xff),
  SWIDE: r1(0x45, 0, 0xff),
  MACNTL: r1(0x46, 0x0f, 0x0f),
  GPCNTL: r1(0x47, 0x0f, 0xff, { ME: 0x80, FE: 0x40, LEDC: 0x20, GPIO: 0x1f }),
  STIME0: r1(0x48, 0, 0xff, { HTH: 0xf0, SEL: 0x0f }),
  STIME1: r1(0x49, 0, 0x7f, { HTHBA: 0x40, GENSF: 0x20, HTHSF: 0x10, GEN: 0x0f }),
  RESPID: r2(0x4a, 0, 0xffff),
  STEST0: r1(0x4c, 0, 0, { SSAID: 0xf0, SLT: 8, ART: 4, SOZ: 2, SOM: 1 }),
  STEST1: r1(0x4d, 0, 0xcc, { SCLK: 0x80, ISO: 0x40, DBLEN: 8, DBLSEL: 4 }),
  STEST2: r1(0x4e, 0, 0xff, { SCE: 0x80, ROF: 0x40, DIF: 0x20, SLB: 0x10, SZM: 8, AWS: 4, EXT: 2, LOW: 1 }),
  STEST3: r1(0x4f, 0, 0xfd, { TE: 0x80, STR: 0x40, HSC: 0x20, DSI: 0x10, S16: 8, TTM: 4, CSF: 2, STW: 1 }),
  SIDL: r2(0x50, 0, 0),
  STEST4: r1(0x52, 0, 0, { SMODE: 0xc0, LCKFRQ: 0x20 }),
  SODL: r2(0x54, 0, 0xffff),
  CCNTL0: r1(0x56, 0, 0xf7, { ENPMJ: 0x80, PMJCTL: 0x40, ENNDJ: 0x20, DISFC: 0x10, DILS: 2, DPR: 1 }),
  CCNTL1: r1(0x57, 0, 0xff, { ZMOD: 0x80, DDAC: 8, XTIMOD: 4, EXTIBMV: 2, EXDBMV: 1 }),
  SBDL: r2(0x58, 0, 0),
  SCRATCHB: r4(0x5c),
  SCRATCHC: r4(0x60),
  SCRATCHD: r4(0x64),
  SCRATCHE: r4(0x68),
  SCRATCHF: r4(0x6c),
  SCRATCHG: r4(0x70),
  SCRATCHH: r4(0x74),
  SCRATCHI: r4(0x78),
  SCRATCHJ: r4(0x7c),
  SCRATCHK: r4(0x80),
  SCRATCHL: r4(0x84),
  SCRATCHM: r4(0x88),
  SCRATCHN: r4(0x8c),
  SCRATCHO: r4(0x90),
  SCRATCHP: r4(0x94),
  SCRATCHQ: r4(0x98),
  SCRATCHR: r4(0x9c),
  MMRS: r4(0xa0),
  MMWS: r4(0xa4),
  SFS: r4(0xa8),
  DRS: r4(0xac),
  SBMS: r4(0xb0),
  DBMS: r4(0xb4),
  DNAD64: r4(0xb8),
  // Of the 53C1010 only, like CRCPAD and what follows it. Reserved bits keep what is written, as everywhere.
  SCNTL4: { ...r1(0xbc, 0, 0xff, { U3EN: 0x80, AIPCKEN: 0x40, XCLKH: 0x0c, XCLKS: 0x03 }), source: linux },
  AIPCNTL0: { ...r1(0xbe, 0, 0xff), source: linux },
  AIPCNTL1: { ...r1(0xbf, 0, 0xff, { DISAIP: 0x08 }), source: linux },
  PMJAD1: r4(0xc0),
  PMJAD2: r4(0xc4),
  RBC: r4(0xc8),
  UA: r4(0xcc),
  ESA: r4(0xd0),
  IA: r4(0xd4),
  SBC: r4(0xd8, 0, 0),
  CSBC: r4(0xdc),
  CRCPAD: { ...r2(0xe0, 0, 0xffff), source: linux },
  CRCCNTL0: { ...r1(0xe2, 0, 0xff, { SNDCRC: 0x10 }), source: linux },
  CRCCNTL1: { ...r1(0xe3, 0, 0xff), source: linux },
  CRCDATA: { ...r4(0xe4), source: linux },
  // The FIFO is empty between transfers.
  DFBC: { ...r2(0xf0, 0, 0), source: linux },
});

/** Offsets by name: `readb(SYM.ISTAT0)`. */
export const SYM = {
  SCNTL0: 0x00,
  SCNTL1: 0x01,
  SCNTL2: 0x02,
  SCNTL3: 0x03,
  SCID: 0x04,
  SXFER: 0x05,
  SDID: 0x06,
  GPREG: 0x07,
  SFBR: 0x08,
  SOCL: 0x09,
  SSID: 0x0a,
  SBCL: 0x0b,
  DSTAT: 0x0c,
  SSTAT0: 0x0d,
  SSTAT1: 0x0e,
  SSTAT2: 0x0f,
  DSA: 0x10,
  ISTAT0: 0x14,
  ISTAT1: 0x15,
  MBOX0: 0x16,
  MBOX1: 0x17,
  CTEST0: 0x18,
  CTEST1: 0x19,
  CTEST2: 0x1a,
  CTEST3: 0x1b,
  TEMP: 0x1c,
  DFIFO: 0x20,
  CTEST4: 0x21,
  CTEST5: 0x22,
  CTEST6: 0x23,
  DBC: 0x24,
  DBC2: 0x26,
  DCMD: 0x27,
  DNAD: 0x28,
  DSP: 0x2c,
  DSPS: 0x30,
  SCRATCHA: 0x34,
  DMODE: 0x38,
  DIEN: 0x39,
  SBR: 0x3a,
  DCNTL: 0x3b,
  ADDER: 0x3c,
  SIEN0: 0x40,
  SIEN1: 0x41,
  SIST0: 0x42,
  SIST1: 0x43,
  SLPAR: 0x44,
  SWIDE: 0x45,
  MACNTL: 0x46,
  GPCNTL: 0x47,
  STIME0: 0x48,
  STIME1: 0x49,
  RESPID: 0x4a,
  STEST0: 0x4c,
  STEST1: 0x4d,
  STEST2: 0x4e,
  STEST3: 0x4f,
  SIDL: 0x50,
  STEST4: 0x52,
  SODL: 0x54,
  CCNTL0: 0x56,
  CCNTL1: 0x57,
  SBDL: 0x58,
  SCRATCHB: 0x5c,
  SCRATCHC: 0x60,
  SCRATCHD: 0x64,
  SCRATCHE: 0x68,
  SCRATCHF: 0x6c,
  SCRATCHG: 0x70,
  SCRATCHH: 0x74,
  SCRATCHI: 0x78,
  SCRATCHJ: 0x7c,
  SCRATCHK: 0x80,
  SCRATCHL: 0x84,
  SCRATCHM: 0x88,
  SCRATCHN: 0x8c,
  SCRATCHO: 0x90,
  SCRATCHP: 0x94,
  SCRATCHQ: 0x98,
  SCRATCHR: 0x9c,
  MMRS: 0xa0,
  MMWS: 0xa4,
  SFS: 0xa8,
  DRS: 0xac,
  SBMS: 0xb0,
  DBMS: 0xb4,
  DNAD64: 0xb8,
  SCNTL4: 0xbc,
  AIPCNTL0: 0xbe,
  AIPCNTL1: 0xbf,
  PMJAD1: 0xc0,
  PMJAD2: 0xc4,
  RBC: 0xc8,
  UA: 0xcc,
  ESA: 0xd0,
  IA: 0xd4,
  SBC: 0xd8,
  CSBC: 0xdc,
  CRCPAD: 0xe0,
  CRCCNTL0: 0xe2,
  CRCCNTL1: 0xe3,
  CRCDATA: 0xe4,
  DFBC: 0xf0,
} as const satisfies { [Name in keyof typeof SYM_REGISTERS]: number };

export const SYM_REGISTER_NAMES: ReadonlyMap<number, string> = namesByOffset(SYM_REGISTERS);
