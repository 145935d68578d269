// What distinguishes the members of the family, as data.
import type { PciIdentity } from "../../emulator/bus/pci.ts";
import { STEST4_LVD } from "./registers.ts";

export type SymVariant = "53c875" | "53c895a" | "53c1010";

export interface SymProfile {
  readonly variant: SymVariant;
  readonly pci: PciIdentity;
  readonly ramBytes: number;
  /** The chip's SCSI clock input, kHz, and what its multiplier makes of it. */
  readonly clockKhz: number;
  readonly multiplier: number;
  /** STEST4 exists and tells the bus mode. */
  readonly stest4: number | undefined;
  /** STEST4 tells when the multiplier has locked. */
  readonly showsLock: boolean;
  /** Timers follow SCNTL3.CCF and the multiplier; else they keep the manual's nominal times whatever is set. */
  readonly timersFollowClock: boolean;
  /** A phase mismatch can jump (CCNTL0.ENPMJ) instead of interrupting. */
  readonly phaseMismatchJump: boolean;
  /** SCNTL4 with DT clocking, SXFER with an offset of 6 bits. */
  readonly doubleTransition: boolean;
  /** The highest register that exists. */
  readonly lastRegister: number;
}

/** The adapter's own id: what boards come with. */
export const SYM_BUS_ID = 7;

const LSI = 0x1000;
const SCSI = 0x010000;

export const SYM_PROFILES: Readonly<Record<SymVariant, SymProfile>> = {
  "53c895a": {
    variant: "53c895a",
    pci: {
      vendorId: LSI,
      deviceId: 0x0012,
      classCode: SCSI,
      revision: 0,
      subsystemId: 0x1000,
      bars: [
        { kind: "io", size: 0x100 },
        { kind: "memory", size: 0x400 },
        { kind: "memory", size: 0x2000 },
      ],
    },
    ramBytes: 0x2000,
    clockKhz: 40_000,
    multiplier: 4,
    stest4: STEST4_LVD,
    showsLock: true,
    timersFollowClock: true,
    phaseMismatchJump: true,
    doubleTransition: false,
    lastRegister: 0xdf,
  },
  "53c875": {
    variant: "53c875",
    pci: {
      vendorId: LSI,
      deviceId: 0x000f,
      classCode: SCSI,
      // Revision 4 and later: 53C875 with LOAD/STORE and 16-deep offset.
      revision: 0x04,
      subsystemId: 0x1000,
      bars: [
        { kind: "io", size: 0x100 },
        { kind: "memory", size: 0x100 },
        { kind: "memory", size: 0x1000 },
      ],
    },
    ramBytes: 0x1000,
    clockKhz: 40_000,
    multiplier: 2,
    stest4: undefined,
    showsLock: false,
    timersFollowClock: true,
    phaseMismatchJump: false,
    doubleTransition: false,
    lastRegister: 0x5f,
  },
  // One of the two channels of an LSI53C1010-33. [facts hba/sym53c8xx.md sections 1 and 2; sym_hipd.c where it says FE_C10]
  "53c1010": {
    variant: "53c1010",
    pci: {
      vendorId: LSI,
      deviceId: 0x0020,
      classCode: SCSI,
      // Revision 1: the first whose SCNTL4.U3EN can be used.
      revision: 0x01,
      subsystemId: 0x1000,
      bars: [
        { kind: "io", size: 0x100 },
        { kind: "memory", size: 0x400 },
        { kind: "memory", size: 0x2000 },
      ],
    },
    ramBytes: 0x2000,
    clockKhz: 40_000,
    multiplier: 4,
    stest4: STEST4_LVD,
    showsLock: false,
    // Divisors other than the synchronous one are hardwired: SCNTL3's bits 0 to 2 are reserved (sym_defs.h).
    timersFollowClock: false,
    phaseMismatchJump: true,
    doubleTransition: true,
    lastRegister: 0xff,
  },
};
