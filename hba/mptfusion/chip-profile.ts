// What distinguishes the members of the family, as data.
import type { PciIdentity } from "../../emulator/bus/pci.ts";
import { type FusionLatencies, SAS_LATENCIES, SPI_LATENCIES } from "./chip-latencies.ts";
import { MPI_PORTFACTS_PORTTYPE_SAS, MPI_PORTFACTS_PORTTYPE_SCSI } from "./messages.ts";

export type FusionVariant = "53c1030" | "sas1068";

export interface FusionProfile {
  readonly variant: FusionVariant;
  readonly transport: "spi" | "sas";
  readonly pci: PciIdentity;
  readonly productId: number;
  readonly portType: number;
  /** SPI: the adapter's own id. SAS: drivers take it as the number of targets. */
  readonly portScsiId: number;
  readonly maxTargets: number;
  readonly phys: number;
  readonly chipName: string;
  readonly boardName: string;
  /** FWVersion: major, minor, unit, dev from the high byte down. */
  readonly firmwareVersion: number;
  readonly latencies: FusionLatencies;
}

/** Depths that IOCFacts announces and the FIFOs have. */
export const REQUEST_FRAME_DWORDS = 0x20;
export const REPLY_QUEUE_DEPTH = 128;
export const GLOBAL_CREDITS = 128;
export const MAX_CHAIN_DEPTH = 0x22;
export const MPI_MESSAGE_VERSION = 0x0105;

const bars = [
  { kind: "io", size: 0x100 },
  { kind: "memory", size: 0x4000 },
  { kind: "memory", size: 0x10000 },
] as const;

export const FUSION_PROFILES: Readonly<Record<FusionVariant, FusionProfile>> = {
  // Revision 8 is C0; older ones make drivers take an errata path (facts section 1).
  "53c1030": {
    variant: "53c1030",
    transport: "spi",
    pci: { vendorId: 0x1000, deviceId: 0x0030, classCode: 0x010000, revision: 8, subsystemId: 0x1000, bars },
    productId: 0x0104,
    portType: MPI_PORTFACTS_PORTTYPE_SCSI,
    portScsiId: 7,
    maxTargets: 16,
    phys: 0,
    chipName: "C1030",
    boardName: "LSI22320",
    firmwareVersion: 0x01032900,
    latencies: SPI_LATENCIES,
  },
  sas1068: {
    variant: "sas1068",
    transport: "sas",
    pci: { vendorId: 0x1000, deviceId: 0x0054, classCode: 0x010000, revision: 1, subsystemId: 0x8000, bars },
    productId: 0x2102,
    portType: MPI_PORTFACTS_PORTTYPE_SAS,
    portScsiId: 8,
    maxTargets: 8,
    phys: 8,
    chipName: "C1068",
    boardName: "SAS3080X",
    firmwareVersion: 0x01210000,
    latencies: SAS_LATENCIES,
  },
};
