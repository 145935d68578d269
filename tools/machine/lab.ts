// The machine with its kernel: what init does from power-on to the moment at which the crash is armed.
import { cpu } from "../../emulator/cpu/cpu.ts";
import { pciFunctionOf } from "../../emulator/bus/mmio.ts";
import { PartitionStore } from "../../diskdump/userspace/partition-store.ts";
import { UsageError } from "../../diskdump/userspace/errors.ts";
import type { ByteStore } from "../../emulator/memory/store.ts";
import { ADDRESS_MAPS } from "../../kernel-sim/abi/address-maps.ts";
import { flavourOf } from "./flavour.ts";
import { bootKernel } from "../../kernel-sim/core/boot.ts";
import { K, type Kernel } from "../../kernel-sim/core/kernel.ts";
import { kfunc } from "../../kernel-sim/core/kfunc.ts";
import { sd_attach_all } from "../../kernel-sim/scsi/sd.ts";
import { fillMemory } from "../../kernel-sim/load/fill-memory.ts";
import { start_load, type Load } from "../../kernel-sim/load/load.ts";
import { init_scsi } from "../../kernel-sim/scsi/dispatch.ts";
import type { Scenario } from "../scenario/scenario.ts";
import { arm_crash, setAccessHook, sleepExactly } from "../trial/trigger.ts";
import { ADAPTERS } from "./adapters.ts";
import type { DumperRun, MayWrite } from "./dumper.ts";
import { DUMPER_KINDS } from "./dumpers.ts";
import type { Hardware } from "./hardware.ts";
import { firstKernelOf } from "./crash-region.ts";

const SECTOR = 512;

export interface DumpPartitionPlace {
  /** "/dev/sde1" */
  readonly device: string;
  /** "/dev/sde" */
  readonly disk: string;
  readonly startSector: number;
  readonly sectors: number;
  /** Its bytes on the media. */
  store(): ByteStore;
}

export interface Lab {
  readonly hardware: Hardware;
  readonly kernel: Kernel;
  readonly scenario: Scenario;
  /** In the scenario's order. */
  readonly dumpPartitions: readonly DumpPartitionPlace[];
  /** Told when the dump enters a stage. */
  onDumpStage: (stage: string) => void;
  /** Told when memory is as the dump is to save it, and who may write to disks from now on. */
  onFreeze: (mayWrite: MayWrite) => void;
  /** The dumper; undefined before its service started. */
  dumper: DumperRun | undefined;
  /** Done at the moment the crash is armed. */
  readonly onCrashArmed: (() => void)[];
  /** The I/O load; undefined before it started. */
  load: Load | undefined;
  /** /proc/diskdump when the load started. */
  procDiskdump: string;
  /** When the load started; undefined before. */
  loadStartNs: number | undefined;
}

function dumpPartitionsOf(hardware: Hardware, scenario: Scenario): DumpPartitionPlace[] {
  return scenario.dump.devices.map((device) => {
    for (const adapter of scenario.adapters) {
      for (const disk of adapter.disks) {
        const partition = disk.partitions.find((p) => p.device === device);
        if (!partition && disk.device !== device) continue;
        const startSector = partition?.startSector ?? 0;
        const sectors = partition?.sectors ?? disk.sizeBytes / SECTOR;
        const { store } = hardware.disks.get(disk.device)!.media;
        return {
          ...{ device, disk: disk.device, startSector, sectors },
          store: () => new PartitionStore(store, device, startSector * SECTOR, sectors * SECTOR),
        };
      }
    }
    throw new UsageError(`dump.devices: there is no ${device}`);
  });
}

/** Boots the kernel of a scenario on its hardware. Nothing has run when it returns: `hardware.machine.run()` goes on from there. */
export function bootLab(hardware: Hardware, scenario: Scenario): Lab {
  const { machine } = hardware;
  const kernel = bootKernel({
    machine,
    map: ADDRESS_MAPS[scenario.platform],
    flavour: flavourOf(scenario),
    hz: scenario.hz,
    bootArguments: {
      panicTimeoutSeconds: scenario.dump.panicTimeoutS,
      panicOnOops: true,
      nmiWatchdog: scenario.crash.trigger === "nmi_watchdog",
    },
    init: () => init(lab),
    ...firstKernelOf(scenario, machine),
  });
  const lab: Lab = {
    ...{ hardware, kernel, scenario, dumpPartitions: dumpPartitionsOf(hardware, scenario) },
    onDumpStage: () => {},
    onFreeze: () => {},
    dumper: undefined,
    onCrashArmed: [],
    load: undefined,
    procDiskdump: "",
    loadStartNs: undefined,
  };
  setAccessHook((devfn, count, hit) => {
    const adapter = hardware.adapters.find((a) => a.devfn === devfn)!;
    pciFunctionOf(adapter.chip, devfn).accesses.at(count, hit);
  });
  return lab;
}

/** Process 1: drivers, the dump, the load, and then the crash is armed. */
const init = kfunc("init_lab", function* (lab: Lab) {
  init_scsi();
  const drivers = [...new Set(lab.scenario.adapters.map(({ type }) => ADAPTERS[type]!))];
  for (const { loadModules } of drivers) loadModules();
  for (const { probe } of drivers) yield* probe();
  yield* sd_attach_all();
  lab.dumper = yield* DUMPER_KINDS[lab.scenario.dump.dumper].start(lab);
  const { load, memory } = lab.scenario;
  fillMemory(memory.inUseFraction);
  const stated = load.startNs !== null && load.startNs > cpu.clock ? load.startNs : undefined;
  if (stated !== undefined) yield* sleepExactly(stated - cpu.clock);
  lab.load = yield* start_load({
    ...{ processes: load.processes, devices: load.devices, mix: load.mix, thinkTimeNs: load.thinkTimeNs },
    ...{ sizeMinBytes: load.sizeMinBytes, sizeMaxBytes: load.sizeMaxBytes },
    ...(load.access === undefined ? {} : { access: load.access }),
    dirtyLimitBytes: load.dirtyLimitBytes ?? undefined,
  });
  // A stated start is the same for every dumper, however long the processes took to be made.
  lab.loadStartNs = stated ?? cpu.clock;
  lab.procDiskdump = K.files.read("/proc/diskdump") ?? "";
  for (const act of lab.onCrashArmed) act();
  yield* arm_crash(lab.scenario.crash, lab.hardware.adapters, stated);
});
