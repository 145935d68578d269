// The module's files: /proc/diskdump, the parameters under /sys/module, and a `dump` file per partition under /sys/block.
import { K } from "../../kernel-sim/core/kernel.ts";
import { kfunc } from "../../kernel-sim/core/kfunc.ts";
import { diskdumpOf, type DumpTarget } from "./disk-dump.ts";
import { EINVAL, ENXIO } from "./errno.ts";
import { procDiskdump, register_disk_dump_device, unregister_disk_dump_device } from "./registration.ts";

const PARAMETERS = ["block_order", "sample_rate", "fallback_on_err", "allow_risky_dumps"] as const;

/** /sys/block/sde/sde1/dump for a partition, /sys/block/sde/dump for a whole disk. */
export function dumpFileOf(target: Pick<DumpTarget, "name">): string {
  const disk = target.name.replace(/\d+$/, "");
  return disk === target.name ? `/sys/block/${disk}/dump` : `/sys/block/${disk}/${target.name}/dump`;
}

/**
 * echo 1 > dump registers the partition, echo 0 unregisters it.
 * Returns: 0 or a negative errno: -EINVAL for other text, -ENXIO while the module is not loaded. Context: process.
 */
const diskdump_sysfs_store = kfunc("diskdump_sysfs_store", function* (target: DumpTarget, text: string) {
  const dd = diskdumpOf(K);
  if (!dd) return -ENXIO;
  const value = text.trim();
  if (value === "1") return yield* register_disk_dump_device(dd, target);
  if (value === "0") return yield* unregister_disk_dump_device(dd, target.name);
  return -EINVAL;
});

/** Gives a partition its `dump` file. Returns the file's path. */
export function addDumpFile(target: DumpTarget): string {
  const path = dumpFileOf(target);
  K.files.add(path, {
    read: () => {
      const dd = diskdumpOf(K);
      return dd?.partitions.some((partition) => partition.target.name === target.name) ? "1\n" : "0\n";
    },
    write: (text) => diskdump_sysfs_store(target, text),
  });
  return path;
}

/** Makes the files that exist while the module is loaded. */
export function addModuleFiles(): void {
  K.files.add("/proc/diskdump", { read: () => procDiskdump(diskdumpOf(K)!) });
  for (const name of PARAMETERS) {
    K.files.add(`/sys/module/diskdump/parameters/${name}`, { read: () => `${diskdumpOf(K)!.parameters[name]}\n` });
  }
  K.files.add("/sys/module/diskdump/parameters/total_blocks", {
    read: () => `${diskdumpOf(K)!.required.total}\n`,
  });
}

export function removeModuleFiles(): void {
  K.files.remove("/proc/diskdump");
  for (const path of K.files.list("/sys/module/diskdump/")) K.files.remove(path);
}
