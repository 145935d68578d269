// From the form that people write to the resolved one: applies defaults and turns sizes and times into numbers.
// The document has passed the schema; what a schema cannot say is checked afterwards, in check.ts.
import type {
  AdapterDocument,
  DamageDocument,
  DiskDocument,
  FaultDocument,
  MomentDocument,
  ScenarioDocument,
  SizeText,
  TimeText,
} from "./document.ts";
import { ADAPTERS, DEFAULT_ADAPTER_TYPE, modelsOf, probeOrder, type DiskDefaults } from "../machine/adapters.ts";
import { DEFAULT_LINUX_2_4 } from "../../kernel-sim/flavours/linux-2.4.21.ts";
import { DEFAULT_DUMPER } from "./dumpers.ts";
import { lkdtmFunction, lkdtmTrigger } from "./lkdtm.ts";
import type {
  AdapterScenario,
  CrashMoment,
  Damage,
  DiskFault,
  DiskScenario,
  LkcdScenario,
  MemoryScenario,
  Scenario,
  ScenarioSource,
} from "./scenario.ts";
import { parseSize, parseTime } from "./units.ts";

const MIB = 2 ** 20;
const MB = 1e6;
/** What `service netdump propagate` would have drawn. */
const DEFAULT_MAGIC = "0x5d0a3c6e17f2948b";

export function resolveScenario(document: ScenarioDocument, source: ScenarioSource): Scenario {
  const { load = {}, dump = {}, network = {}, netdump = {}, crash = {}, limits = {} } = document;
  const adapters = resolveAdapters(document.adapters ?? []);
  const dumpDevices = dump.devices ?? [];
  const loadDevices = load.devices ?? spareDevices(adapters, dumpDevices);
  return {
    name: document.name ?? "unnamed",
    description: document.description ?? "",
    platform: document.platform ?? "x86_64",
    kernel: document.kernel ?? "2.6.9",
    ...linux24(document),
    cpus: document.cpus ?? 2,
    hz: document.hz ?? 1000,
    memory: resolveMemory(document.memory ?? {}),
    adapters,
    load: {
      processes: load.processes ?? (load.perDisk ?? 2) * loadDevices.length,
      devices: loadDevices,
      mix: { bufferedWrite: 4, fsync: 1, directRead: 2, directWrite: 3, ...load.mix },
      ...(load.access === "sequential" ? { access: load.access } : {}),
      startNs: load.start === undefined ? null : time(load.start),
      sizeMinBytes: size(load.sizeMin ?? "4KiB"),
      sizeMaxBytes: size(load.sizeMax ?? "64KiB"),
      thinkTimeNs: time(load.thinkTime ?? "100us"),
      dirtyLimitBytes: load.dirtyLimit === undefined ? null : size(load.dirtyLimit),
    },
    dump: {
      dumper: dump.dumper ?? DEFAULT_DUMPER,
      devices: dumpDevices,
      signature: dump.signature ?? "paper",
      format: dump.format ?? "laid",
      blockOrder: dump.blockOrder ?? 2,
      sampleRate: dump.sampleRate ?? 8,
      fallbackOnErr: dump.fallbackOnErr ?? true,
      fallback: dump.fallback ?? "none",
      allowRiskyDumps: dump.allowRiskyDumps ?? true,
      freeze: dump.freeze ?? "ipi",
      lkcd: resolveLkcd(dump.lkcd ?? {}),
      panicTimeoutS: time(dump.panicTimeout ?? "10s") / 1e9,
    },
    network: {
      latencyNs: time(network.latency ?? "20us"),
      bitsPerS: (network.megabitsPerS ?? 100) * 1e6,
      lossFraction: network.lossFraction ?? 0,
      reorderFraction: network.reorderFraction ?? 0,
      duplicateFraction: network.duplicateFraction ?? 0,
      reorderDelayNs: time(network.reorderDelay ?? "1ms"),
      broadcastsPerS: network.broadcastsPerS ?? 20,
      driverIrqs: network.driverIrqs ?? "restore",
    },
    netdump: {
      server: netdump.server ?? "alive",
      magic: netdump.magic ?? DEFAULT_MAGIC,
      serverMagic: netdump.serverMagic ?? null,
      checksMagic: netdump.checksMagic ?? false,
      netconsole: netdump.netconsole ?? true,
      retryNs: time(netdump.retry ?? "50ms"),
      silentNs: time(netdump.silent ?? "30s"),
      windowPages: netdump.window ?? 4,
      spoof: netdump.spoof
        ? {
            command: netdump.spoof.command ?? "reboot",
            everyNs: time(netdump.spoof.every ?? "500ms"),
            magic: netdump.spoof.magic ?? "0x0",
          }
        : null,
    },
    kdump: {
      crashkernelBytes: size(document.kdump?.crashkernel ?? "24MiB"),
      crashkernelAt: document.kdump?.at === undefined ? null : size(document.kdump.at),
      irqpoll: document.kdump?.irqpoll ?? true,
      resetDevices: document.kdump?.resetDevices ?? true,
      damageOffset: document.kdump?.damageOffset ?? null,
    },
    crash: {
      trigger: (crash.at?.function && lkdtmTrigger(crash.at.function.type)) ?? crash.trigger ?? "os_init",
      context: crash.context ?? "any",
      holding: crash.holding ?? null,
      cpu: crash.cpu ?? null,
      at: resolveMoment(crash.at ?? { random: { from: "20ms", to: "120ms" } }),
      initTargets: crash.initTargets ?? "all",
    },
    damage: (document.damage ?? []).map(resolveDamage),
    limits: { virtualTimeNs: time(limits.virtualTime ?? "1h"), hostEvents: limits.hostEvents ?? 1e9 },
    source,
  };
}

/** A kernel that is none of 2.4 has no such key: its scenarios are what they were before there was one. */
function linux24({ kernel, linux24: keys = {} }: ScenarioDocument): Pick<Scenario, "linux24"> {
  if (kernel !== "2.4.21") return {};
  const { hostLock, blockBytes } = DEFAULT_LINUX_2_4;
  return {
    linux24: {
      hostLock: keys.hostLock ?? hostLock,
      blockBytes: keys.blockSize === undefined ? blockBytes : size(keys.blockSize),
    },
  };
}

/** The schema has checked the text already. */
function size(text: SizeText): number {
  return parseSize(text)!;
}

function time(text: TimeText): number {
  return parseTime(text)!;
}

function resolveMemory(memory: NonNullable<ScenarioDocument["memory"]>): MemoryScenario {
  const map = memory.map?.map((range) => ({
    startBytes: size(range.start),
    sizeBytes: size(range.size),
    type: range.type,
  }));
  const ramBytes = map?.reduce((sum, range) => sum + (range.type === "ram" ? range.sizeBytes : 0), 0);
  return {
    sizeBytes: ramBytes ?? size(memory.size ?? 64 * MIB),
    map: map?.sort((a, b) => a.startBytes - b.startBytes) ?? null,
    imagePath: memory.image ?? null,
    inUseFraction: memory.inUse ?? 0.1,
  };
}

function resolveAdapters(documents: readonly AdapterDocument[]): AdapterScenario[] {
  const types = documents.map((document) => document.type ?? DEFAULT_ADAPTER_TYPE);
  const ofType = new Map<string, number>();
  const resolved: AdapterScenario[] = [];
  let disksBefore = 0;
  for (const place of probeOrder(types)) {
    const document = documents[place]!;
    const type = types[place]!;
    const model = document.model ?? modelsOf(type)[0]!;
    const number = ofType.get(type) ?? 0;
    ofType.set(type, number + 1);
    const ownId = ADAPTERS[type]!.models[model]?.ownId ?? null;
    const freeId = freeIds(ownId === null ? [] : [ownId], document.disks ?? []);
    const { diskNames, diskDefaults } = ADAPTERS[type]!;
    const disks = (document.disks ?? []).map((disk) => {
      const id = disk.id ?? freeId();
      const device = diskNames === "hd" ? ideDiskName(id) : diskName(disksBefore++);
      return resolveDisk(disk, device, id, diskDefaults);
    });
    const { irq } = document;
    resolved[place] = { type, model, name: `${type}${number}`, ...(irq === undefined ? {} : { irq }), disks };
  }
  return resolved;
}

function freeIds(taken: readonly number[], disks: readonly DiskDocument[]): () => number {
  const used = new Set([...taken, ...disks.flatMap((disk) => disk.id ?? [])]);
  let next = 0;
  return () => {
    while (used.has(next)) next++;
    return next++;
  };
}

/** The kernel's naming: sda ... sdz, sdaa ... */
export function diskName(index: number): string {
  let letters = "";
  for (let rest = index; rest >= 0; rest = Math.floor(rest / 26) - 1) {
    letters = String.fromCharCode(97 + (rest % 26)) + letters;
  }
  return `/dev/sd${letters}`;
}

/** The kernel's naming of IDE drives: hda and hdb on the first cable, hdc and hdd on the second. */
export const ideDiskName = (id: number): string => `/dev/hd${String.fromCharCode(97 + id)}`;

function resolveDisk(document: DiskDocument, device: string, id: number, defaults: DiskDefaults): DiskScenario {
  const timing = document.timing ?? {};
  return {
    device,
    id,
    sizeBytes: size(document.size),
    partitions: (document.partitions ?? []).map((partition, index) => {
      const number = partition.number ?? index + 1;
      return {
        device: `${device}${number}`,
        number,
        startSector: partition.startSector,
        sectors: partition.sectors,
      };
    }),
    writeCache: document.writeCache ?? defaults.writeCache,
    timing: {
      averageSeekNs: time(timing.averageSeek ?? "4700us"),
      rpm: timing.rpm ?? 10_000,
      mediaBytesPerS: (timing.mediaMbPerS ?? 70) * MB,
      busBytesPerS: (timing.busMbPerS ?? defaults.busMbPerS) * MB,
      commandOverheadNs: time(timing.commandOverhead ?? "100us"),
    },
    imagePath: document.image ?? null,
    faults: (document.faults ?? []).map(resolveFault),
  };
}

function resolveFault(fault: FaultDocument): DiskFault {
  return {
    kind: fault.kind,
    lba: fault.lba ?? null,
    sectors: fault.sectors ?? 1,
    on: fault.on ?? "any",
    fromNs: time(fault.from ?? "0s"),
    count: fault.count ?? null,
    factor: fault.factor ?? 10,
  };
}

/** Every partition on which the load can work without touching a dump device. */
function spareDevices(adapters: readonly AdapterScenario[], dumpDevices: readonly string[]): string[] {
  return adapters
    .flatMap((adapter) => adapter.disks)
    .filter((disk) => !dumpDevices.includes(disk.device))
    .flatMap((disk) => disk.partitions.map((partition) => partition.device))
    .filter((device) => !dumpDevices.includes(device));
}

function resolveMoment(at: MomentDocument): CrashMoment {
  if (at.time !== undefined) return { kind: "time", timeNs: time(at.time) };
  if (at.function) return { kind: "function", name: lkdtmFunction(at.function.name), count: at.function.count ?? 1 };
  if (at.access) return { kind: "access", adapter: at.access.adapter, count: at.access.count };
  if (at.lock) return { kind: "lock", name: at.lock.name, count: at.lock.count ?? 1 };
  return { kind: "random", fromNs: time(at.random?.from ?? "20ms"), toNs: time(at.random?.to ?? "120ms") };
}

function resolveLkcd(lkcd: NonNullable<NonNullable<ScenarioDocument["dump"]>["lkcd"]>): LkcdScenario {
  const { ipiWait = "forever" } = lkcd;
  const { method = "disk" } = lkcd;
  return {
    // A dump to a disk has no such key: its scenarios are what they were before there was one.
    ...(method === "disk" ? {} : { method }),
    compress: lkcd.compress ?? "none",
    level: lkcd.level ?? "all",
    version: lkcd.version ?? 8,
    ipiWaitNs: ipiWait === "forever" ? null : time(ipiWait),
    initSlaves: lkcd.initSlaves ?? "answer",
  };
}

function resolveDamage(damage: DamageDocument): Damage {
  switch (damage.kind) {
    case "flipDumpedBit":
      return { kind: damage.kind, page: damage.page, bit: damage.bit ?? 0 };
    case "writeOutsidePartition":
      return { kind: damage.kind, sectorsBeyond: damage.sectorsBeyond ?? 0 };
    case "dropCompletion":
      return { kind: damage.kind, write: damage.write ?? 1 };
    case "damageModule":
      return { kind: damage.kind, offset: damage.offset ?? 0 };
  }
}
