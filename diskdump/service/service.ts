// `service diskdump initialformat|start|stop|status`, `chkconfig diskdump on`, and what the boot's rc script does (white paper
// 1.2, 5.2, 5.3): save the dump that is there, format the partition again, register it for the next panic.
import { finished, type Running } from "../../emulator/cpu/cpu.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { kfunc } from "../../kernel-sim/core/kfunc.ts";
import { diskdumpOf } from "../module/disk-dump.ts";
import { cleanup_diskdump, init_diskdump } from "../module/init-diskdump.ts";
import { parseParameters, type DiskdumpOptions } from "../module/parameters.ts";
import { cleanup_ide_dump, init_ide_dump } from "../module/ide-dump.ts";
import { cleanup_scsi_dump, init_scsi_dump } from "../module/scsi-dump.ts";
import { addDumpFile, dumpFileOf } from "../module/sysfs.ts";
import { hasDump } from "../userspace/dump-image.ts";
import { formatOf, formatPartition, type FormatResult } from "../userspace/format.ts";
import { savecore, type SavecoreResult } from "../userspace/savecore.ts";
import {
  RUNLEVELS_FILE,
  configuredDevices,
  moduleParameters,
  partitionOf,
  type DiskdumpSystem,
  type SystemPartition,
} from "./system.ts";

/** How the partition is formatted: every block, or only the sampled ones (quick; see diskdump/userspace/format.ts). */
export interface FormatChoice {
  readonly sparse?: boolean;
}

const say = (system: DiskdumpSystem, line: string): void => system.onMessage?.(line);

function formatOne(
  system: DiskdumpSystem,
  partition: SystemPartition,
  options: DiskdumpOptions,
  choice: FormatChoice,
): FormatResult {
  const { model } = system.kernel.map;
  const { block_order, sample_rate } = options.parameters;
  const dd = diskdumpOf(system.kernel);
  return formatPartition(partition.store, {
    formula: options.formula,
    littleEndian: model.littleEndian,
    blockSize: model.pageSize,
    sparse: choice.sparse
      ? {
          blockOrder: block_order,
          sampleRate: sample_rate,
          ...(dd ? { requiredBlocks: dd.required.total } : {}),
        }
      : false,
  });
}

/** The options that the module gets: the caller's, with the parameters of /etc/modprobe.conf. Throws for a bad parameter. */
export function optionsFor(system: DiskdumpSystem, options: Omit<DiskdumpOptions, "parameters">): DiskdumpOptions {
  return { ...options, parameters: parseParameters(moduleParameters(system.root)) };
}

/** `service diskdump initialformat`: what the partitions hold is lost. Throws for a device that is not there. */
export function initialformat(
  system: DiskdumpSystem,
  options: DiskdumpOptions,
  choice: FormatChoice = {},
): FormatResult[] {
  return configuredDevices(system.root).map((device) => {
    const partition = partitionOf(system, device);
    const result = formatOne(system, partition, options, choice);
    say(system, `${device}: ${result.writtenBlocks} of ${result.deviceBlocks} blocks formatted`);
    return result;
  });
}

/** `chkconfig diskdump on|off`. */
export function chkconfig(system: DiskdumpSystem, on: boolean): void {
  system.root.write(RUNLEVELS_FILE, on ? "on\n" : "off\n");
}

export const isEnabled = (system: DiskdumpSystem): boolean =>
  system.root.exists(RUNLEVELS_FILE) && system.root.read(RUNLEVELS_FILE).trim() === "on";

export interface SavedDump {
  readonly device: string;
  readonly result: SavecoreResult;
}

/**
 * The part of `start` that runs before anything else: a dump on a configured device becomes a core in /var/crash, then the
 * device is formatted again. Throws a UsageError for a device that holds neither signatures nor a dump, as savecore does.
 */
export function saveDumps(system: DiskdumpSystem): SavedDump[] {
  const saved: SavedDump[] = [];
  for (const device of configuredDevices(system.root)) {
    const { store } = partitionOf(system, device);
    if (!hasDump(store)) continue;
    const result = savecore(store, {
      directory: system.crashDirectory,
      ...(system.files ? { files: system.files } : {}),
      ...(system.onMessage ? { onMessage: system.onMessage } : {}),
    });
    saved.push({ device, result });
  }
  return saved;
}

/** modprobe diskdump, scsi_dump, and ide_dump where there are IDE drives. Returns: 0 or -1 when the module could not be loaded. Context: process. */
const load_modules = kfunc("sys_init_module", function* (options: DiskdumpOptions) {
  const dd = yield* init_diskdump(options);
  if (!dd) return -1;
  yield* init_scsi_dump(dd);
  if (K.ide) yield* init_ide_dump(dd);
  return 0;
});

/**
 * `service diskdump start`: loads the modules and registers the configured devices. Dumps were saved before (saveDumps).
 * Returns: the devices that could not be registered, with the errno; empty when all were. Context: process.
 */
export const start = kfunc("sys_diskdump_start", function* (system: DiskdumpSystem, options: DiskdumpOptions) {
  const failed: { device: string; errno: number }[] = [];
  const devices = configuredDevices(system.root);
  if ((yield* load_modules(options)) < 0) return devices.map((device) => ({ device, errno: -1 }));
  for (const device of devices) {
    const partition = partitionOf(system, device);
    if (!formatOf(partition.store)) say(system, `${device}: not formatted; run service diskdump initialformat`);
    const path = addDumpFile(partition.target);
    const errno = yield* writeTo(path, "1\n");
    if (errno < 0) {
      say(system, `${device}: cannot be registered (error ${errno})`);
      failed.push({ device, errno });
    }
  }
  return failed;
});

function writeTo(path: string, text: string): Running<number> {
  const write = K.files.file(path)?.write;
  return write ? write(text) : finished(-1);
}

/** `service diskdump stop`: unregisters every device and removes the modules. Context: process. */
export const stop = kfunc("sys_diskdump_stop", function* (_system: DiskdumpSystem) {
  const dd = diskdumpOf(K);
  if (!dd) return;
  for (const partition of [...dd.partitions]) {
    yield* writeTo(dumpFileOf(partition.target), "0\n");
  }
  if (K.ide) yield* cleanup_ide_dump(dd);
  yield* cleanup_scsi_dump(dd);
  yield* cleanup_diskdump(dd);
});

/** `service diskdump status`: "diskdump enabled" when /proc/diskdump shows a device. */
export function status(system: DiskdumpSystem): string {
  const text = system.kernel.files.read("/proc/diskdump");
  const active = text !== undefined && text.split("\n").some((line) => line !== "" && !line.startsWith("#"));
  return active ? "diskdump enabled" : "diskdump not enabled";
}

/** What the boot's rc script does when the service is enabled: save, format again (savecore does), start. */
export const rc = kfunc("sys_diskdump_rc", function* (system: DiskdumpSystem, options: DiskdumpOptions) {
  if (!isEnabled(system)) return undefined;
  const saved = saveDumps(system);
  const failed = yield* start(system, options);
  return { saved, failed };
});
