// The adapters that a machine can have: the one table from which scenarios, hardware, boot and vmlinux take what they need.
//
// Another adapter is one more entry here (and its names in scenario/schema.json, for editors).
import type { PciDevice } from "../../emulator/bus/pci.ts";
import type { Machine } from "../../emulator/cpu/machine.ts";
import type { Running } from "../../emulator/cpu/cpu.ts";
import type { ScsiDisk } from "../../emulator/disk/scsi-disk.ts";
import { PiixIdeChip, type PiixVariant } from "../../hba/ide/chip.ts";
import { loadPiixIde, piix_ide_init } from "../../hba/ide/driver.ts";
import { FusionMptChip } from "../../hba/mptfusion/chip.ts";
import type { FusionVariant } from "../../hba/mptfusion/chip-profile.ts";
import { loadMptFusion, mptscsih_init } from "../../hba/mptfusion/driver.ts";
import { VirtDevice, struct_MPT_ADAPTER, struct_MPT_SCSI_HOST } from "../../hba/mptfusion/driver-structs.ts";
import { Sym53c8xxChip } from "../../hba/sym53c8xx/chip.ts";
import type { SymVariant } from "../../hba/sym53c8xx/chip-profile.ts";
import { loadSym53c8xx, sym2_init } from "../../hba/sym53c8xx/driver.ts";
import { struct_sym_hcb, sym_ccb, sym_lcb, sym_tcb } from "../../hba/sym53c8xx/driver-structs.ts";
import type { CType } from "../../kernel-sim/abi/types.ts";

/** A chip with its disks not yet on it. */
export interface AdapterChip extends PciDevice {
  /** Puts a disk on the adapter. Throws when the id cannot carry one. */
  attach(id: number, disk: ScsiDisk): void;
}

/** One chip of a family. */
export interface AdapterModel {
  /** Ids that a disk can have: 0 to maxId without `ownId`. */
  readonly maxId: number;
  /** The adapter's own id on its bus; null when it takes none. */
  readonly ownId: number | null;
}

/** What a disk on such an adapter is unless its scenario says otherwise. */
export interface DiskDefaults {
  readonly writeCache: boolean;
  /** Megabytes per second between controller and buffer. */
  readonly busMbPerS: number;
}

/** One driver and the chips that it drives. */
export interface AdapterKind {
  /** By the name that scenarios use; the first one is the default. */
  readonly models: Readonly<Record<string, AdapterModel>>;
  makeChip(machine: Machine, name: string, model: string): AdapterChip;
  /** Puts the driver's modules into RAM. Context: process. */
  loadModules(): void;
  /** The modules' init: finds the adapters, brings them up and scans for disks. Context: process. */
  probe(): Running<unknown>;
  /** The driver's structs, for the debugger. */
  readonly structs: readonly CType[];
  /** How the kernel names its disks: "sd" by order of discovery, "hd" by place. */
  readonly diskNames: "sd" | "hd";
  readonly diskDefaults: DiskDefaults;
  /** A machine has room for one such adapter: its ports are the PC's own. */
  readonly alone?: boolean;
  /** The interrupt lines that such an adapter has whatever a scenario says. */
  readonly ownLines?: string;
}

/** SCSI parallel, wide: the adapter is id 7. */
const WIDE_SCSI: AdapterModel = { maxId: 15, ownId: 7 };

const SCSI_DISK: DiskDefaults = { writeCache: false, busMbPerS: 320 };
/** ATA drives leave the factory with their cache on. The cable's own speed comes on top: the transfer mode's. */
const ATA_DISK: DiskDefaults = { writeCache: true, busMbPerS: 320 };

/** By the name that scenarios use. */
export const ADAPTERS: Readonly<Record<string, AdapterKind>> = {
  mptfusion: {
    models: { "53c1030": WIDE_SCSI, sas1068: { maxId: 7, ownId: null } },
    makeChip: (machine, name, model) => new FusionMptChip(machine, name, { variant: model as FusionVariant }),
    loadModules: loadMptFusion,
    probe: mptscsih_init,
    structs: [struct_MPT_ADAPTER, struct_MPT_SCSI_HOST, VirtDevice],
    diskNames: "sd",
    diskDefaults: SCSI_DISK,
  },
  sym53c8xx: {
    models: { "53c895a": WIDE_SCSI, "53c875": WIDE_SCSI, "53c1010": WIDE_SCSI },
    makeChip: (machine, name, model) => new Sym53c8xxChip(machine, name, { variant: model as SymVariant }),
    loadModules: loadSym53c8xx,
    probe: sym2_init,
    structs: [struct_sym_hcb, sym_ccb, sym_tcb, sym_lcb],
    diskNames: "sd",
    diskDefaults: SCSI_DISK,
  },
  ide: {
    models: { piix4: { maxId: 3, ownId: null }, piix3: { maxId: 3, ownId: null } },
    makeChip: (machine, name, model) => new PiixIdeChip(machine, name, model as PiixVariant),
    loadModules: loadPiixIde,
    probe: piix_ide_init,
    structs: [],
    diskNames: "hd",
    diskDefaults: ATA_DISK,
    alone: true,
    ownLines: "14 and 15",
  },
};

export const ADAPTER_TYPES: readonly string[] = Object.keys(ADAPTERS);

/** What a machine has when its scenario does not say. */
export const DEFAULT_ADAPTER_TYPE = "mptfusion";

export const modelsOf = (type: string): readonly string[] => Object.keys(ADAPTERS[type]?.models ?? {});

/** The names that `--adapter` takes: what they put in the place of every adapter of a scenario. */
export const ADAPTER_CHOICES: Readonly<Record<string, { readonly type: string; readonly model: string }>> = {
  mptspi: { type: "mptfusion", model: "53c1030" },
  mptsas: { type: "mptfusion", model: "sas1068" },
  sym53c8xx: { type: "sym53c8xx", model: "53c895a" },
  sym53c1010: { type: "sym53c8xx", model: "53c1010" },
  ide: { type: "ide", model: "piix4" },
};

/**
 * The adapters' places in the order in which the kernel finds them: a driver's init finds all of its own by slot, and the
 * drivers are loaded in the order in which the scenario first names them.
 */
export function probeOrder(types: readonly string[]): number[] {
  return [...new Set(types)].flatMap((type) => types.flatMap((other, place) => (other === type ? [place] : [])));
}
