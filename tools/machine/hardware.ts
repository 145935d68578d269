// The machine without its kernel: memory, CPUs, adapters, disks, partition tables, signatures on the dump partition.
import { Machine } from "../../emulator/cpu/machine.ts";
import { RawFileBacking } from "../../emulator/disk/raw-file-backing.ts";
import { writePartitionTable } from "../../emulator/disk/partition-table.ts";
import { ScsiDisk } from "../../emulator/disk/scsi-disk.ts";
import type { Fault, FaultKind } from "../../emulator/disk/faults.ts";
import { FRAME_SIZE, PagePool } from "../../emulator/memory/pool.ts";
import { PhysicalMemory, type MemoryRange } from "../../emulator/memory/memory.ts";
import type { PciDevice } from "../../emulator/bus/pci.ts";
import { DATA_MODELS } from "../../kernel-sim/abi/types.ts";
import { pagesIn } from "../../diskdump/format/bitmap.ts";
import { blocksRequired } from "../../diskdump/format/layout.ts";
import { writeSwapHeader } from "../../diskdump/format/swap-header.ts";
import { maxPfn, ramPageRanges } from "../../diskdump/module/ram-map.ts";
import { SignatureBacking } from "../../diskdump/format/signature-backing.ts";
import { PartitionStore } from "../../diskdump/userspace/partition-store.ts";
import { systemReason, UsageError } from "../../diskdump/userspace/errors.ts";
import { readPartitions } from "../../diskdump/userspace/partition-table.ts";
import { formatPartition } from "../../diskdump/userspace/format.ts";
import { isLkcdDumper } from "../scenario/dumpers.ts";
import type { AdapterScenario, DiskFault, DiskScenario, PartitionScenario, Scenario } from "../scenario/scenario.ts";
import { ADAPTERS } from "./adapters.ts";
import { openMemoryImage, type ImageRange } from "./memory-image.ts";
import { buildNetwork, isNetworked, type MakeNic, type Network } from "./network.ts";
import { flatBytesFor } from "./crash-region.ts";
import { imageBaseOf, memoryMapOf } from "./memory-map.ts";

const SECTOR = 512;
/** Adapters sit in PCI slots from this one on, one interrupt line each while there are lines, and unless they are to share one. */
const FIRST_SLOT = 3;
const FIRST_IRQ = 16;

export interface PluggedAdapter {
  readonly scenario: AdapterScenario;
  readonly chip: PciDevice;
  readonly devfn: number;
  readonly irq: number;
  readonly disks: readonly ScsiDisk[];
}

export interface Hardware {
  readonly machine: Machine;
  readonly adapters: readonly PluggedAdapter[];
  /** Disks by the kernel's name: "/dev/sde". */
  readonly disks: ReadonlyMap<string, ScsiDisk>;
  /** The memory image that is to be dumped instead of the machine's own RAM: its ranges, and where its address 0 lies. */
  readonly preserved: { readonly ranges: readonly ImageRange[]; readonly biasBytes: number } | undefined;
  /** The Ethernet, when the scenario's dumper needs one. */
  readonly network?: Network;
  /** Called when the machine has stopped and before anybody looks at its disks: for media that are kept elsewhere. */
  readonly settle?: () => void;
}

const pools = new Map<number, PagePool>();
/** Lasting frames that are never too many: 2 MiB. */
const LITTLE_FRAMES = 512;

/**
 * Trials of one thread share their slab: it keeps its pages between them, so that only the first one pays for faults. What
 * processes have in memory lasts, too, unless this machine's have less than half of that: it may need the room.
 */
function poolFor(scenario: Scenario): PagePool {
  const flatBytes = flatBytesFor(scenario);
  const { inUseFraction, sizeBytes } = scenario.memory;
  let pool = pools.get(flatBytes);
  if (pool) pool.reset(2 * Math.ceil((inUseFraction * sizeBytes) / FRAME_SIZE) + LITTLE_FRAMES);
  else {
    pools.clear();
    pool = new PagePool(flatBytes);
    pools.set(flatBytes, pool);
  }
  return pool;
}

const FAULT_KINDS: Readonly<Record<DiskFault["kind"], FaultKind>> = {
  mediaError: "media error",
  timeout: "timeout",
  lostCompletion: "lost completion",
  unitAttention: "unit attention",
  deviceGone: "device gone",
  busHang: "bus hang",
  slow: "slow",
};

function faultOf(fault: DiskFault): Fault {
  return {
    kind: FAULT_KINDS[fault.kind],
    on: fault.on,
    fromNs: fault.fromNs,
    ...(fault.count === null ? {} : { count: fault.count }),
    ...(fault.lba === null ? {} : { firstLba: fault.lba, lastLba: fault.lba + fault.sectors - 1 }),
    ...(fault.kind === "slow" ? { factor: fault.factor } : {}),
  };
}

/** A disk of a scenario, partitioned, its dump partitions signed. */
export function makeDisk(machine: Machine, scenario: Scenario, disk: DiskScenario, requiredBlocks: number): ScsiDisk {
  const { timing } = disk;
  const { pool } = machine.memory;
  const made = new ScsiDisk(machine.events, pool, {
    name: disk.device.replace("/dev/", ""),
    sizeBytes: disk.sizeBytes,
    writeCacheEnabled: disk.writeCache,
    timing: {
      rpm: timing.rpm,
      averageSeekNs: timing.averageSeekNs,
      mediaBytesPerSecond: timing.mediaBytesPerS,
      busBytesPerSecond: timing.busBytesPerS,
      commandOverheadNs: timing.commandOverheadNs,
    },
    ...(disk.imagePath === null ? {} : { backing: openDiskImage(disk, disk.imagePath) }),
  });
  if (!hasTableOfItsOwn(made, disk)) partitionDisk(made, scenario, disk, requiredBlocks);
  for (const fault of disk.faults) made.faults.lay(faultOf(fault));
  return made;
}

function openDiskImage(disk: DiskScenario, path: string): RawFileBacking {
  let image: RawFileBacking;
  try {
    image = new RawFileBacking(path);
  } catch (error) {
    throw new UsageError(`image of ${disk.device}: ${path} cannot be read: ${systemReason(error)}`, { cause: error });
  }
  if (image.sizeBytes <= disk.sizeBytes) return image;
  image.close();
  throw new UsageError(
    `image of ${disk.device}: ${path} has ${image.sizeBytes} bytes, the disk only ${disk.sizeBytes}`,
  );
}

/**
 * True when the disk came with an image that is partitioned: then it stays as it is, signatures and all. Throws a UsageError
 * when its table is not the scenario's.
 */
function hasTableOfItsOwn(made: ScsiDisk, disk: DiskScenario): boolean {
  if (disk.imagePath === null || disk.partitions.length === 0) return false;
  const table = readPartitions(made.media.store);
  if (!table) return false;
  for (const { device, number, startSector, sectors } of disk.partitions) {
    const found = table.find((p) => p.number === number);
    if (found && found.startSector === startSector && found.sectorCount === sectors) continue;
    const what = found ? `at sector ${found.startSector} with ${found.sectorCount} sectors` : "not there";
    throw new UsageError(
      `image of ${disk.device}: in the partition table of ${disk.imagePath}, ${device} is ${what}; the scenario has it at ${startSector} with ${sectors}`,
    );
  }
  return true;
}

function partitionDisk(made: ScsiDisk, scenario: Scenario, disk: DiskScenario, requiredBlocks: number): void {
  if (disk.partitions.length > 0) {
    writePartitionTable(
      made.media.store,
      disk.partitions.map((p) => ({
        startSector: p.startSector,
        sectors: p.sectors,
        type: 0x83,
        logical: p.number > 4,
      })),
    );
  }
  for (const partition of disk.partitions) {
    if (!scenario.dump.devices.includes(partition.device)) continue;
    if (isLkcdDumper(scenario.dump.dumper)) makeSwap(made, scenario, partition);
    else signPartition(made, scenario, partition, requiredBlocks);
  }
}

/** What mkswap did: LKCD's dump device is a swap partition. */
function makeSwap(disk: ScsiDisk, scenario: Scenario, { device, startSector, sectors }: PartitionScenario): void {
  const { pageSize, littleEndian } = DATA_MODELS[scenario.platform];
  const view = new PartitionStore(disk.media.store, device, startSector * SECTOR, sectors * SECTOR);
  writeSwapHeader(view, pageSize, littleEndian);
}

/** What `service diskdump initialformat` did before the trial began. */
function signPartition(disk: ScsiDisk, scenario: Scenario, partition: PartitionScenario, requiredBlocks: number): void {
  const { store } = disk.media;
  const { dump, platform } = scenario;
  const { pageSize: blockSize, littleEndian } = DATA_MODELS[platform];
  const offset = partition.startSector * SECTOR;
  const style = { formula: dump.signature, littleEndian };
  if (dump.format === "laid") {
    if (offset % FRAME_SIZE !== 0) {
      throw new UsageError(
        `${partition.device}: dump.format "laid" needs a partition that starts at a multiple of 8 sectors, not at ${partition.startSector}; use "full" or "sparse"`,
      );
    }
    const pages = Math.floor((partition.sectors * SECTOR) / FRAME_SIZE);
    const firstPage = offset / FRAME_SIZE;
    store.lay(new SignatureBacking(store.pool, { firstPage, pages, blockSize, ...style }), firstPage, pages);
    return;
  }
  const view = new PartitionStore(store, partition.device, offset, partition.sectors * SECTOR);
  formatPartition(view, {
    ...style,
    blockSize,
    ...(dump.format === "sparse"
      ? { sparse: { blockOrder: dump.blockOrder, sampleRate: dump.sampleRate, requiredBlocks } }
      : {}),
  });
}

/** What diskdump will print as "total blocks required": a sparse format signs the blocks that are sampled up to there. */
function requiredBlocksOf(scenario: Scenario, map: readonly MemoryRange[]): number {
  const model = DATA_MODELS[scenario.platform];
  const ranges = ramPageRanges(map, model.pageSize);
  return blocksRequired({ ramPages: pagesIn(ranges), maxMapnr: maxPfn(ranges), model }).total;
}

/** A machine without adapters, and what its disks are to be made for. */
export interface BareMachine {
  readonly machine: Machine;
  readonly preserved: Hardware["preserved"];
  /** Blocks that a dump of it takes. */
  readonly requiredBlocks: number;
}

/** CPUs and memory of a scenario. Throws a UsageError for a memory image that cannot be used. */
export function buildMachine(scenario: Scenario, seed: number): BareMachine {
  const map = memoryMapOf(scenario.platform, scenario.memory);
  const { imagePath } = scenario.memory;
  const image = imagePath === null ? undefined : openMemoryImage(imagePath);
  const imageBase = imageBaseOf(map);
  if (image) {
    for (const { start, end } of image.ranges)
      map.push({ start: imageBase + start, end: imageBase + end, type: "preserved" });
  }
  const pool = poolFor(scenario);
  const machine = new Machine({
    cpus: scenario.cpus,
    seed,
    memory: new PhysicalMemory(pool, map),
    sapic: scenario.platform === "ia64",
  });
  image?.load(machine.memory, imageBase);
  const dumped = image ? image.ranges.map((range) => ({ ...range, type: "ram" as const })) : map;
  return {
    machine,
    preserved: image ? { ranges: image.ranges, biasBytes: imageBase } : undefined,
    requiredBlocks: requiredBlocksOf(scenario, dumped),
  };
}

/** Slot and interrupt line of the n-th adapter. */
export const placeOf = (n: number, irq = FIRST_IRQ + (n % 8)): { readonly devfn: number; readonly irq: number } => ({
  devfn: (FIRST_SLOT + n) << 3,
  irq,
});

/** Builds the machine of a scenario. Throws a UsageError for what cannot be built. */
export const buildHardware = (scenario: Scenario, seed: number): Hardware =>
  plugHardware(scenario, buildMachine(scenario, seed));

/** Plugs adapters, disks and network into a machine; the NIC is ours unless `makeNic` makes another. */
export function plugHardware(scenario: Scenario, bare: BareMachine, makeNic?: MakeNic): Hardware {
  const { machine, preserved, requiredBlocks } = bare;
  const disks = new Map<string, ScsiDisk>();
  const adapters = scenario.adapters.map((adapter, i) => {
    const chip = ADAPTERS[adapter.type]!.makeChip(machine, adapter.name, adapter.model);
    const own = adapter.disks.map((disk) => {
      const made = makeDisk(machine, scenario, disk, requiredBlocks);
      chip.attach(disk.id, made);
      disks.set(disk.device, made);
      return made;
    });
    const place = placeOf(i, adapter.irq);
    for (const line of chip.identity.legacyIrqs ?? []) machine.ioApic.entry(line).level = false;
    machine.pci.plug(chip, place.devfn, place.irq, (line, asserted) => machine.ioApic.setLine(line, asserted));
    return { scenario: adapter, chip, ...place, disks: own };
  });
  if (!isNetworked(scenario)) return { machine, adapters, disks, preserved };
  const network = buildNetwork(machine, scenario, makeNic);
  const place = placeOf(adapters.length);
  machine.pci.plug(network.chip, place.devfn, place.irq, (line, asserted) => machine.ioApic.setLine(line, asserted));
  return { machine, adapters, disks, preserved, network };
}
