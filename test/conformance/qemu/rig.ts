// Our kernel and driver on a machine whose adapter and disks are QEMU's, booted and probed.
import { closeSync, openSync, readSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Running } from "../../../emulator/cpu/cpu.ts";
import type { Kernel } from "../../../kernel-sim/core/kernel.ts";
import { bootTestMachine, runToEnd, type TestMachineOptions } from "../../../kernel-sim/core/testing.ts";
import { init_scsi } from "../../../kernel-sim/scsi/dispatch.ts";
import type { Scsi_Host } from "../../../kernel-sim/scsi/host.ts";
import { sd_attach_all, type scsi_disk } from "../../../kernel-sim/scsi/sd.ts";
import type { QemuAdapter } from "./adapter.ts";
import { QemuFunction } from "./qemu-function.ts";
import { QemuMachine } from "./qemu-machine.ts";
import { temporaryFolder } from "./temporary.ts";

const IRQ = 18;

export interface RigDisk {
  /** Target id. */
  readonly id: number;
  readonly sizeBytes: number;
  /** More properties of QEMU's -drive: ",throttling.iops-write=2". */
  readonly drive?: string;
  /** Lines of a configuration of QEMU's blkdebug, which fails requests of our choice. */
  readonly blkdebug?: readonly string[];
}

export interface RigOptions extends TestMachineOptions {
  readonly disks?: readonly RigDisk[];
  /** Called with the images' paths before QEMU opens them. */
  readonly prepare?: (images: readonly string[]) => void | Promise<void>;
}

export class QemuRig {
  readonly kernel: Kernel;
  readonly qemu: QemuMachine;
  readonly adapter: QemuFunction;
  /** Raw disk images, in the order of the disks. */
  readonly images: readonly string[];
  hosts: Scsi_Host[] = [];
  sds: scsi_disk[] = [];
  private readonly folder: string;

  private constructor(
    kernel: Kernel,
    qemu: QemuMachine,
    adapter: QemuFunction,
    images: readonly string[],
    folder: string,
  ) {
    this.kernel = kernel;
    this.qemu = qemu;
    this.adapter = adapter;
    this.images = images;
    this.folder = folder;
  }

  /** Boots both, loads the driver, finds the disks. */
  static async start(adapter: QemuAdapter, options: RigOptions = {}): Promise<QemuRig> {
    const folder = temporaryFolder("qemu");
    const disks = options.disks ?? [{ id: 0, sizeBytes: 64 << 20 }];
    const images = disks.map(({ id, sizeBytes }) => {
      const path = join(folder, `disk${id}.img`);
      writeFileSync(path, "");
      truncateSync(path, sizeBytes);
      return path;
    });
    try {
      await options.prepare?.(images);
      const kernel = bootTestMachine(options);
      const { machine } = kernel;
      const drives = disks.flatMap((disk, i) => [
        ...["-drive", `if=none,id=drive${i},file=${fileOf(disk, images[i]!)},format=raw${disk.drive ?? ""}`],
        ...["-device", adapter.disk(disk.id, `drive${i}`)],
      ]);
      const qemu = await QemuMachine.start(machine.memory, [...adapter.device, ...drives]);
      const fn = new QemuFunction(machine, adapter.model, qemu, adapter);
      machine.pci.plug(fn, adapter.devfn, IRQ, (irq, asserted) => machine.ioApic.setLine(irq, asserted));
      fn.writeConfig(0x3c, 1, IRQ);
      const rig = new QemuRig(kernel, qemu, fn, images, folder);
      try {
        init_scsi();
        adapter.load();
        rig.run(function* () {
          rig.hosts = yield* adapter.init();
          rig.sds = yield* sd_attach_all();
        });
      } catch (error) {
        await rig.stop();
        throw error;
      }
      return rig;
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Console lines so far. */
  log(): string[] {
    return this.kernel.console.lines.map((line) => line.text);
  }

  /** Runs a program as a process; throws when it does not end within `seconds` of virtual time. */
  run(program: () => Running, seconds = 300): void {
    runToEnd(this.kernel, program, seconds, () => this.adapter.disappointments);
  }

  /** What is in a disk's image, as the host sees it. */
  onDisk(disk: number, sector: number, bytes: number): Uint8Array {
    const into = Buffer.alloc(bytes);
    const descriptor = openSync(this.images[disk]!, "r");
    readSync(descriptor, into, 0, bytes, sector * 512);
    closeSync(descriptor);
    return into;
  }

  /** Ends QEMU; the images stay until `remove`. */
  async stop(): Promise<void> {
    await this.qemu.stop();
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The file that QEMU opens: the image, or blkdebug before it. */
function fileOf(disk: RigDisk, image: string): string {
  if (!disk.blkdebug) return image;
  writeFileSync(`${image}.blkdebug`, `${disk.blkdebug.join("\n")}\n`);
  return `blkdebug:${image}.blkdebug:${image}`;
}
