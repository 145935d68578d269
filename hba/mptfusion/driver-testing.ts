// A machine with one Fusion-MPT controller and real disks, booted and probed, for specs.
import type { DmaPort } from "../../emulator/bus/pci.ts";
import type { Running } from "../../emulator/cpu/cpu.ts";
import { ScsiDisk, type ScsiDiskOptions } from "../../emulator/disk/scsi-disk.ts";
import {
  BIO_RW,
  BIO_RW_SYNC,
  BIO_UPTODATE,
  bio_add_page,
  bio_alloc,
  bio_put,
  bio_target,
  type Bio,
} from "../../kernel-sim/block/bio.ts";
import { submit_bio } from "../../kernel-sim/block/make-request.ts";
import { K, type Kernel } from "../../kernel-sim/core/kernel.ts";
import { kfunc } from "../../kernel-sim/core/kfunc.ts";
import { Completion, complete, wait_for_completion } from "../../kernel-sim/core/wait.ts";
import { GFP_KERNEL } from "../../kernel-sim/mm/page-alloc.ts";
import { virt_to_page } from "../../kernel-sim/mm/page.ts";
import { bootTestMachine, runToEnd } from "../../kernel-sim/core/testing.ts";
import { init_scsi } from "../../kernel-sim/scsi/dispatch.ts";
import type { Scsi_Host } from "../../kernel-sim/scsi/host.ts";
import { sd_attach_all, type scsi_disk } from "../../kernel-sim/scsi/sd.ts";
import { FusionMptChip, type FusionOptions } from "./chip.ts";
import { loadMptFusion, mptscsih_init } from "./driver.ts";

export interface RigOptions {
  readonly variant?: FusionOptions["variant"];
  readonly highPriorityQueue?: boolean;
  readonly cpus?: number;
  readonly seed?: number;
  /** Target ids of the disks. */
  readonly ids?: readonly number[];
  readonly disk?: Partial<ScsiDiskOptions>;
  /** Told of every DMA mapping, as for a chip that does not see RAM. */
  readonly dmaPort?: DmaPort;
}

/** What a spec works on. */
export interface Rig {
  readonly kernel: Kernel;
  readonly chip: FusionMptChip;
  readonly disks: ScsiDisk[];
  hosts: Scsi_Host[];
  sds: scsi_disk[];
  /** Console lines so far. */
  readonly log: () => string[];
  /** Runs a program as a process; throws when it does not end within `seconds` of virtual time. */
  readonly run: (program: () => Running, seconds?: number) => void;
}

const CHIP_IRQ = 18;

/** Pages of memory for a spec, every other one, so that they cannot be merged. Returns `count` addresses. */
export function scatteredPages(kernel: Kernel, count: number): number[] {
  const base = kernel.bootmem(count * 2 * 4096, 4096);
  return Array.from({ length: count }, (_, i) => base + i * 8192);
}

const testEndIo = kfunc("test_end_io", function* (bio: Bio) {
  if (bio.s.bi_size === 0) yield* complete(bio.private_ as Completion);
});

/** Reads or writes whole pages at a sector of a disk, one bio, and waits. Returns true when it went well. */
export const transfer = kfunc(
  "test_transfer",
  function* (sd: scsi_disk, write: boolean, sector: number, pages: number[]) {
    const bio = (yield* bio_alloc(GFP_KERNEL, pages.length))!;
    const done = new Completion(K.bootmem(64), "test_transfer");
    bio_target(bio, K.block.devices.get(sd.disk.name)!, sector, testEndIo, done);
    for (const page of pages) {
      if (bio_add_page(bio, virt_to_page(page), 4096, 0) !== 4096)
        throw new Error("the bio does not take another page");
    }
    yield* submit_bio((write ? BIO_RW : 0) | BIO_RW_SYNC, bio);
    yield* wait_for_completion(done);
    const good = (bio.s.bi_flags & BIO_UPTODATE) !== 0;
    yield* bio_put(bio);
    return good;
  },
);

/** What is on the disk. */
export function onDisk(disk: ScsiDisk, sector: number, bytes: number): Uint8Array {
  const into = new Uint8Array(bytes);
  disk.media.store.read(sector * 512, into);
  return into;
}

/** Boots, loads the driver, finds the disks. */
export function makeRig(options: RigOptions = {}): Rig {
  const kernel = bootTestMachine({ cpus: options.cpus ?? 2, seed: options.seed ?? 1 });
  const { machine } = kernel;
  const chip = new FusionMptChip(machine, "mpt0", {
    variant: options.variant ?? "53c1030",
    highPriorityQueue: options.highPriorityQueue ?? false,
  });
  chip.reset();
  chip.dmaPort = options.dmaPort;
  machine.pci.plug(chip, 8, CHIP_IRQ, (irq, asserted) => machine.ioApic.setLine(irq, asserted));
  const disks = (options.ids ?? [0, 1]).map((id) => {
    const disk = new ScsiDisk(machine.events, machine.memory.pool, {
      name: `disk${id}`,
      sizeBytes: 64 << 20,
      ...options.disk,
    });
    chip.attach(id, disk);
    return disk;
  });
  const rig: Rig = {
    kernel,
    chip,
    disks,
    hosts: [],
    sds: [],
    log: () => kernel.console.lines.map((line) => line.text),
    run: (program, seconds) => runToEnd(kernel, program, seconds),
  };
  init_scsi();
  loadMptFusion();
  rig.run(function* () {
    rig.hosts = yield* mptscsih_init();
    rig.sds = yield* sd_attach_all();
  });
  return rig;
}
