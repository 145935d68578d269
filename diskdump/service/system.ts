// The user space that diskdump's service lives in: a few files of the root file system, the disks' partitions, and the kernel.
import type { ByteStore } from "../../emulator/memory/store.ts";
import type { Kernel } from "../../kernel-sim/core/kernel.ts";
import type { DumpTarget } from "../module/disk-dump.ts";
import type { HostFiles } from "../userspace/host-files.ts";

/** Files of the root file system that the service reads and writes, by path. They outlive a reboot. */
export class RootFiles {
  private readonly texts = new Map<string, string>();

  /** Throws an Error that names the file when it is not there. */
  read(path: string): string {
    const text = this.texts.get(path);
    if (text === undefined) throw new Error(`${path}: No such file or directory`);
    return text;
  }

  exists(path: string): boolean {
    return this.texts.has(path);
  }

  write(path: string, text: string): void {
    this.texts.set(path, text);
  }
}

/** A partition as both sides of the system call see it. */
export interface SystemPartition {
  /** "/dev/sde1". */
  readonly path: string;
  readonly target: DumpTarget;
  /** What stands on the disk there. User-space tools read and write it directly: their disk time is not simulated. */
  readonly store: ByteStore;
}

export interface DiskdumpSystem {
  /** The kernel that runs. */
  readonly kernel: Kernel;
  readonly root: RootFiles;
  readonly partitions: readonly SystemPartition[];
  /** Where savecore puts the cores: /var/crash as a path on the host. */
  readonly crashDirectory: string;
  /** The host's files; tests give their own. */
  readonly files?: HostFiles;
  /** What the service prints. */
  readonly onMessage?: (line: string) => void;
}

export const CONFIG_FILE = "/etc/sysconfig/diskdump";
export const MODPROBE_FILE = "/etc/modprobe.conf";
export const RUNLEVELS_FILE = "/etc/chkconfig.d/diskdump";

/** The files as the package installs them, with the device chosen. */
export function installFiles(root: RootFiles, devices: readonly string[], modprobeLines: readonly string[] = []): void {
  root.write(CONFIG_FILE, `DEVICE=${devices.join(":")}\n`);
  root.write(MODPROBE_FILE, modprobeLines.map((line) => `${line}\n`).join(""));
  root.write(RUNLEVELS_FILE, "off\n");
}

/**
 * The devices of /etc/sysconfig/diskdump: `DEVICE=/dev/sde1`, several separated by colons or blanks.
 * Throws an Error that names the file and what is missing in it.
 */
export function configuredDevices(root: RootFiles): string[] {
  const text = root.read(CONFIG_FILE);
  for (const line of text.split("\n")) {
    const [, value] = /^\s*DEVICE=(.*)$/.exec(line) ?? [];
    if (value === undefined) continue;
    const devices = value
      .replace(/["']/g, "")
      .split(/[:\s]+/)
      .filter((device) => device !== "");
    if (devices.length > 0) return devices;
  }
  throw new Error(`${CONFIG_FILE}: no DEVICE= line with a device: choose the dump partition there`);
}

/** Parameters for the module: `options diskdump block_order=3 'sample_rate=0'` (the white paper writes `option`). */
export function moduleParameters(root: RootFiles): string {
  if (!root.exists(MODPROBE_FILE)) return "";
  return root
    .read(MODPROBE_FILE)
    .split("\n")
    .map((line) => /^\s*options?\s+diskdump\s+(.*)$/.exec(line)?.[1] ?? "")
    .join(" ");
}

/** Throws an Error that names the device and the file in which it is configured. */
export function partitionOf(system: DiskdumpSystem, device: string): SystemPartition {
  const partition = system.partitions.find(({ path }) => path === device);
  if (partition) return partition;
  const known = system.partitions.map(({ path }) => path).join(", ");
  throw new Error(`${device}: there is no such device (${CONFIG_FILE}; there are ${known || "none"})`);
}
