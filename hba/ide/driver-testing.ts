// A machine with one PIIX function and real drives, booted and probed, for specs.
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
import { bootTestMachine, runToEnd } from "../../kernel-sim/core/testing.ts";
import { Completion, complete, wait_for_completion } from "../../kernel-sim/core/wait.ts";
import type { ide_drive_t } from "../../kernel-sim/ide/ide.ts";
import { GFP_KERNEL } from "../../kernel-sim/mm/page-alloc.ts";
import { virt_to_page } from "../../kernel-sim/mm/page.ts";
import { PiixIdeChip, type PiixVariant } from "./chip.ts";
import { loadPiixIde, piix_ide_init } from "./driver.ts";
import { PIIX_IRQS } from "./registers.ts";

export interface IdeRigOptions {
  readonly variant?: PiixVariant;
  readonly cpus?: number;
  readonly seed?: number;
  /** Places of the drives: 0 to 3. */
  readonly ids?: readonly number[];
  readonly disk?: Partial<ScsiDiskOptions>;
  /** What the firmware does differently. */
  readonly firmware?: (chip: PiixIdeChip) => void;
  /** Stands between the chip's interrupt and the line. */
  readonly line?: (irq: number, asserted: boolean, pass: () => void) => void;
}

export interface IdeRig {
  readonly kernel: Kernel;
  readonly chip: PiixIdeChip;
  readonly disks: ScsiDisk[];
  readonly drives: ide_drive_t[];
  /** Console lines so far. */
  readonly log: () => string[];
  /** Runs a program as a process; throws when it does not end within `seconds` of virtual time. */
  readonly run: (program: () => Running, seconds?: number) => void;
}

const testEndIo = kfunc("ide_test_end_io", function* (bio: Bio) {
  if (bio.s.bi_size === 0) yield* complete(bio.private_ as Completion);
});

/** Reads or writes whole pages at a sector of a drive, one bio, and waits. Returns true when it went well. */
export const transfer = kfunc(
  "ide_test_transfer",
  function* (drive: ide_drive_t, write: boolean, sector: number, pages: readonly number[]) {
    const bio = (yield* bio_alloc(GFP_KERNEL, pages.length))!;
    const done = new Completion(K.bootmem(64), "ide_test_transfer");
    bio_target(bio, K.block.devices.get(drive.name)!, sector, testEndIo, done);
    for (const page of pages) {
      if (bio_add_page(bio, virt_to_page(page), 4096, 0) !== 4096) throw new Error("the bio takes no further page");
    }
    yield* submit_bio((write ? BIO_RW : 0) | BIO_RW_SYNC, bio);
    yield* wait_for_completion(done);
    const good = (bio.s.bi_flags & BIO_UPTODATE) !== 0;
    yield* bio_put(bio);
    return good;
  },
);

/** Boots, loads the driver, finds the drives. */
export function makeIdeRig(options: IdeRigOptions = {}): IdeRig {
  const kernel = bootTestMachine({ cpus: options.cpus ?? 2, seed: options.seed ?? 1 });
  const { machine } = kernel;
  const chip = new PiixIdeChip(machine, "ide0", options.variant ?? "piix4");
  const disks = (options.ids ?? [0]).map((id) => {
    const name = `hd${"abcd"[id]}`;
    const disk = new ScsiDisk(machine.events, machine.memory.pool, { name, sizeBytes: 64 << 20, ...options.disk });
    chip.attach(id, disk);
    return disk;
  });
  chip.reset();
  options.firmware?.(chip);
  for (const irq of PIIX_IRQS) machine.ioApic.entry(irq).level = false;
  machine.pci.plug(chip, 8, 0, (irq, asserted) => {
    const pass = (): void => machine.ioApic.setLine(irq, asserted);
    if (options.line) options.line(irq, asserted, pass);
    else pass();
  });
  const rig: IdeRig = {
    ...{ kernel, chip, disks, drives: [] },
    log: () => kernel.console.lines.map((line) => line.text),
    run: (program, seconds) => runToEnd(kernel, program, seconds),
  };
  loadPiixIde();
  rig.run(function* () {
    yield* piix_ide_init();
  });
  for (const hwif of kernel.ide!.hwifs) rig.drives.push(...hwif.drives.filter((drive) => drive.s.present !== 0));
  return rig;
}

/** Pages that cannot be merged, filled with bytes that tell their place. */
export function filledPages(kernel: Kernel, count: number, seed: number): number[] {
  const base = kernel.bootmem(count * 2 * 4096, 4096);
  const { u8 } = kernel.machine.memory.pool;
  return Array.from({ length: count }, (_, i) => {
    const at = base + i * 8192;
    for (let k = 0; k < 4096; k++) u8[at + k] = (k * 5 + i * 17 + seed) & 0xff;
    return at;
  });
}

export const bytesOf = (kernel: Kernel, pages: readonly number[]): Uint8Array =>
  Buffer.concat(pages.map((page) => kernel.machine.memory.pool.u8.slice(page, page + 4096)));

/** What is on the media. */
export function onMedia(disk: ScsiDisk, sector: number, bytes: number): Uint8Array {
  const into = new Uint8Array(bytes);
  disk.media.store.read(sector * 512, into);
  return Buffer.from(into);
}
