// For tests: a booted machine with the dump modules loaded and a fake adapter whose partition is formatted.
import { X86_64_MAP } from "../../kernel-sim/abi/address-maps.ts";
import type { AddressMap } from "../../kernel-sim/abi/ram.ts";
import { runKernel } from "../../kernel-sim/core/boot.ts";
import type { Kernel } from "../../kernel-sim/core/kernel.ts";
import { panic } from "../../kernel-sim/core/panic.ts";
import { bootTestMachine, type TestMachineOptions } from "../../kernel-sim/core/testing.ts";
import type { Running } from "../../emulator/cpu/cpu.ts";
import { SignatureBacking } from "../format/signature-backing.ts";
import { PartitionStore } from "../userspace/partition-store.ts";
import { diskdumpOf, type DiskDump } from "./disk-dump.ts";
import { FakeAdapter, type FakeAdapterOptions } from "./fake-adapter.ts";
import { init_diskdump } from "./init-diskdump.ts";
import { DEFAULT_PARAMETERS, type DiskdumpOptions, type DiskdumpParameters } from "./parameters.ts";
import { register_disk_dump_device } from "./registration.ts";
import { init_scsi_dump } from "./scsi-dump.ts";

const MIB = 1 << 20;
/** Sectors of 512 bytes before the partition. */
export const START_SECT = 2048;

export interface DumpMachineOptions extends TestMachineOptions {
  readonly parameters?: Partial<DiskdumpParameters>;
  readonly module?: Partial<DiskdumpOptions>;
  /** One per adapter; a registered partition each: sda1, sdb1... */
  readonly adapters?: readonly Partial<FakeAdapterOptions>[];
  /** Default: x86_64's. */
  readonly map?: AddressMap;
  /** Size of the partitions; default: enough for RAM, and a bit. */
  readonly partitionBytes?: number;
}

export interface DumpMachine {
  readonly k: Kernel;
  readonly dd: DiskDump;
  readonly adapters: readonly FakeAdapter[];
  readonly partitions: readonly PartitionStore[];
}

/** Boots, loads diskdump and scsi_dump, formats and registers a partition on each adapter. */
export function dumpMachine(options: DumpMachineOptions = {}): DumpMachine {
  const ramMiB = options.ramMiB ?? 64;
  const map = options.map ?? X86_64_MAP;
  const { pageSize, littleEndian } = map.model;
  const k = bootTestMachine({ ...options, ramMiB, boot: { ...options.boot, map } });
  const partitionBytes = options.partitionBytes ?? (ramMiB + 1) * MIB;
  const sectors = START_SECT + partitionBytes / 512;
  k.enter();
  const adapters = (options.adapters ?? [{}]).map(
    (adapter, hostNo) => new FakeAdapter({ sectors, hostNo, ...adapter }),
  );
  const formula = options.module?.formula ?? "paper";
  const partitions = adapters.map(({ disk }, i) => {
    const firstPage = (START_SECT * 512) / 4096;
    const area = { formula, littleEndian, firstPage, pages: partitionBytes / 4096, blockSize: pageSize };
    disk.lay(new SignatureBacking(disk.pool, area), firstPage, area.pages);
    return new PartitionStore(disk, `sd${"abc"[i]}1`, START_SECT * 512, partitionBytes);
  });
  const parameters = { ...DEFAULT_PARAMETERS, ...options.parameters };
  runKernel(k, function* () {
    const dd = (yield* init_diskdump({ ...options.module, parameters }))!;
    yield* init_scsi_dump(dd);
    for (let i = 0; i < adapters.length; i++) {
      yield* register_disk_dump_device(dd, adapters[i]!.target(`sd${"abc"[i]}1`, START_SECT, partitionBytes / 512));
    }
  });
  return { k, dd: diskdumpOf(k)!, adapters, partitions };
}

/** Runs `program` as a process; it may panic. Until nothing happens any more, at most `limitNs` of virtual time. */
export const run = (k: Kernel, program: () => Running, limitNs = 600e9): boolean => runKernel(k, program, limitNs);

/** Lets the kernel panic. */
export const crash = (k: Kernel): boolean => run(k, () => panic("test"));

export const consoleText = (k: Kernel): string => k.console.lines.map(({ text }) => text).join("\n");
