// What distinguishes the members of the family, as data.
import type { PciIdentity } from "../../emulator/bus/pci.ts";
import { STEST4_LVD } from "./registers.ts";

export type SymVariant = "53c875" | "53c895a";

export interface SymProfile {
  readonly variant: SymVariant;
  readonly pci: PciIdentity;
  readonly ramBytes: number;
  /** The chip's SCSI clock input, kHz, and what its multiplier makes of it. */
  readonly clockKhz: number;
  readonly multiplier: number;
  /** STEST4 exists, tells the bus mode and when the multiplier has locked. */
  readonly stest4: number | undefined;
  /** A phase mismatch can jump (CCNTL0.ENPMJ) instead of interrupting. */
  readonly phaseMismatchJump: boolean;
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
    phaseMismatchJump: true,
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
    phaseMismatchJump: false,
    lastRegister: 0x5f,
  },
};
