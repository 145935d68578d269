// A machine with one 53C8xx and real disks, booted and probed, for specs.
import type { DmaPort } from "../../emulator/bus/pci.ts";
import type { Running } from "../../emulator/cpu/cpu.ts";
import type { PhaseTarget } from "../../emulator/disk/phase-target.ts";
import { ScsiDisk, type ScsiDiskOptions } from "../../emulator/disk/scsi-disk.ts";
import type { TransferLimits } from "../../emulator/disk/transfer-agreement.ts";
import type { Kernel } from "../../kernel-sim/core/kernel.ts";
import { bootTestMachine, runToEnd } from "../../kernel-sim/core/testing.ts";
import { init_scsi } from "../../kernel-sim/scsi/dispatch.ts";
import type { Scsi_Host } from "../../kernel-sim/scsi/host.ts";
import { sd_attach_all, type scsi_disk } from "../../kernel-sim/scsi/sd.ts";
import { Sym53c8xxChip } from "./chip.ts";
import type { SymVariant } from "./chip-profile.ts";
import type { SYM_HCB } from "./driver-hcb.ts";
import { loadSym53c8xx, sym2_init } from "./driver.ts";

export interface RigOptions {
  readonly variant?: SymVariant;
  readonly cpus?: number;
  readonly seed?: number;
  readonly ids?: readonly number[];
  readonly disk?: Partial<ScsiDiskOptions>;
  readonly limits?: TransferLimits;
  /** Of single disks, by id. */
  readonly limitsOf?: Readonly<Record<number, TransferLimits>>;
  /** Told of every DMA mapping, as for a chip that does not see RAM. */
  readonly dmaPort?: DmaPort;
  /** Called with the chip before the driver sees it: to break it. */
  readonly before?: (chip: Sym53c8xxChip) => void;
}

export interface Rig {
  readonly kernel: Kernel;
  readonly chip: Sym53c8xxChip;
  readonly disks: ScsiDisk[];
  readonly targets: PhaseTarget[];
  hosts: Scsi_Host[];
  sds: scsi_disk[];
  readonly np: SYM_HCB;
  readonly log: () => string[];
  /** Runs a program as a process; throws when it does not end within `seconds` of virtual time. */
  readonly run: (program: () => Running, seconds?: number) => void;
}

const CHIP_IRQ = 18;

/** Boots, loads the driver, finds the disks. */
export function makeRig(options: RigOptions = {}): Rig {
  const kernel = bootTestMachine({ cpus: options.cpus ?? 2, seed: options.seed ?? 1 });
  const { machine } = kernel;
  const chip = new Sym53c8xxChip(machine, "sym0", { variant: options.variant ?? "53c895a" });
  chip.reset();
  chip.dmaPort = options.dmaPort;
  machine.pci.plug(chip, 8, CHIP_IRQ, (irq, asserted) => machine.ioApic.setLine(irq, asserted));
  const disks: ScsiDisk[] = [];
  const targets: PhaseTarget[] = [];
  for (const id of options.ids ?? [0, 1]) {
    const disk = new ScsiDisk(machine.events, machine.memory.pool, {
      name: `disk${id}`,
      sizeBytes: 64 << 20,
      ...options.disk,
    });
    disks.push(disk);
    targets.push(chip.attach(id, disk, options.limitsOf?.[id] ?? options.limits));
  }
  options.before?.(chip);
  const rig: Rig = {
    ...{ kernel, chip, disks, targets, hosts: [], sds: [] },
    get np() {
      return this.hosts[0]!.hostdata as SYM_HCB;
    },
    log: () => kernel.console.lines.map((line) => line.text),
    run: (program, seconds) => runToEnd(kernel, program, seconds),
  };
  init_scsi();
  loadSym53c8xx();
  rig.run(function* () {
    rig.hosts = yield* sym2_init();
    rig.sds = yield* sd_attach_all();
  });
  return rig;
}
