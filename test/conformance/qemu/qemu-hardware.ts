// The hardware of a scenario with QEMU's adapter and disks in the place of ours: a whole trial then runs on them as on any other.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { FileSink } from "../../../diskdump/userspace/core-sink.ts";
import { nodeFiles } from "../../../diskdump/userspace/host-files.ts";
import type { Machine } from "../../../emulator/cpu/machine.ts";
import { RawFileBacking } from "../../../emulator/disk/raw-file-backing.ts";
import { ScsiDisk } from "../../../emulator/disk/scsi-disk.ts";
import type { PageStore } from "../../../emulator/memory/store.ts";
import { buildMachine, makeDisk, placeOf, type Hardware } from "../../../tools/machine/hardware.ts";
import type { Scenario } from "../../../tools/scenario/scenario.ts";
import type { QemuChip } from "./adapter.ts";
import { QemuFunction } from "./qemu-function.ts";
import { QemuMachine } from "./qemu-machine.ts";
import { temporaryFolder } from "./temporary.ts";

export interface QemuHardware {
  readonly hardware: Hardware;
  readonly qemu: QemuMachine;
  readonly adapter: QemuFunction;
  /** Raw image of each disk, by the kernel's name: "/dev/sdb". */
  readonly images: ReadonlyMap<string, string>;
  /** Folder of the images; `remove` deletes it. */
  readonly folder: string;
  stop(): Promise<void>;
  remove(): void;
}

/** Builds the machine of a scenario with one adapter. The pages of its disks are the images' from the start to the end. */
export async function buildQemuHardware(model: QemuChip, scenario: Scenario, seed: number): Promise<QemuHardware> {
  const folder = temporaryFolder("qemu");
  try {
    return await buildIn(folder, model, scenario, seed);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

async function buildIn(folder: string, model: QemuChip, scenario: Scenario, seed: number): Promise<QemuHardware> {
  const [adapter, ...others] = scenario.adapters;
  if (!adapter || others.length > 0) throw new Error("a trial on QEMU's chip has exactly one adapter");
  const { machine, preserved, requiredBlocks } = buildMachine(scenario, seed);
  const images = new Map<string, string>();
  const disks = new Map<string, ScsiDisk>();
  for (const disk of adapter.disks) {
    const path = join(folder, `${disk.device.replace("/dev/", "")}.img`);
    const { store } = makeDisk(machine, scenario, disk, requiredBlocks).media;
    writeImage(store, path);
    store.clear();
    images.set(disk.device, path);
    // Nobody attaches this one: it is how the trial's oracles look at the image.
    const backing = new RawFileBacking(path);
    const name = disk.device.replace("/dev/", "");
    disks.set(
      disk.device,
      new ScsiDisk(machine.events, machine.memory.pool, { name, sizeBytes: disk.sizeBytes, backing }),
    );
  }
  const drives = adapter.disks.flatMap((disk, i) => [
    ...["-drive", `if=none,id=drive${i},file=${images.get(disk.device)!},format=raw`],
    ...["-device", model.disk(disk.id, `drive${i}`)],
  ]);
  const qemu = await QemuMachine.start(machine.memory, [...model.device, ...drives]);
  const { fn, irq } = (model.plug ?? plugCard.bind(model))(machine, qemu, adapter.name);
  return {
    hardware: {
      machine,
      adapters: [{ scenario: adapter, chip: fn, devfn: model.devfn, irq, disks: [...disks.values()] }],
      ...{ disks, preserved },
      settle: () => {
        // What was read of the images before is forgotten.
        for (const disk of disks.values()) disk.media.store.clear();
      },
    },
    ...{ qemu, adapter: fn, images, folder },
    stop: () => qemu.stop(),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function plugCard(
  this: QemuChip,
  machine: Machine,
  qemu: QemuMachine,
  name: string,
): { fn: QemuFunction; irq: number } {
  const fn = new QemuFunction(machine, name, qemu, this);
  const { irq } = placeOf(0);
  machine.pci.plug(fn, this.devfn, irq, (line, asserted) => machine.ioApic.setLine(line, asserted));
  fn.writeConfig(0x3c, 1, irq);
  return { fn, irq };
}

function writeImage(store: PageStore, path: string): void {
  const file = nodeFiles.create(path);
  const sink = new FileSink(file);
  sink.begin(store.sizeBytes);
  sink.copy(0, store, 0, store.sizeBytes);
  sink.end();
  file.close();
}
