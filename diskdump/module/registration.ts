// Registration of dump types, devices and partitions (drivers/block/diskdump.c): lists in RAM, under disk_dump_mutex.
import { poke32 } from "../../kernel-sim/abi/ram.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { moduleFunctions, textAddressOf } from "../../kernel-sim/core/kfunc.ts";
import { INIT_LIST_HEAD, list_add, list_add_tail, list_del } from "../../kernel-sim/core/list.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { delayNs } from "../../kernel-sim/core/timer.ts";
import { down, up } from "../../kernel-sim/core/wait.ts";
import { checksum, checksumNs } from "./checksum.ts";
import type {
  DiskDump,
  DumpDevice,
  DumpPartition,
  DumpTarget,
  DumpType,
  DumpTypeDefinition,
  disk_dump_device_ops,
} from "./disk-dump.ts";
import { EEXIST, ENOENT, ENXIO } from "./errno.ts";
import {
  disk_dump_device,
  disk_dump_device_ops as ops_struct,
  disk_dump_partition,
  disk_dump_type,
} from "./structs.ts";

const kfunc = moduleFunctions("diskdump");

const functionAddress = (f: unknown): number => textAddressOf((f as { id?: number } | undefined)?.id ?? 0);

/** Saves the module's checksum. The caller holds disk_dump_mutex, as the one who compares will. */
export const set_crc_modules = kfunc("set_crc_modules", function* (dd: DiskDump) {
  yield* delayNs(checksumNs(dd.module));
  dd.bss.module_crc = checksum(dd.module);
});

/** Returns 0. Context: process. */
export const register_disk_dump_type = kfunc(
  "register_disk_dump_type",
  function* (dd: DiskDump, definition: DumpTypeDefinition) {
    yield* down(dd.mutex);
    const s = K.view(disk_dump_type, definition.addr);
    const list = definition.addr + K.offsetOf(disk_dump_type, "list");
    s.probe = functionAddress(definition.probe);
    s.add_device = functionAddress(definition.add_device);
    s.remove_device = functionAddress(definition.remove_device);
    s.owner = definition.owner;
    INIT_LIST_HEAD(list);
    list_add(list, dd.typesHead);
    dd.types.unshift({ ...definition, s, list });
    yield* set_crc_modules(dd);
    for (const type of dd.types) type.compute_cksum?.();
    yield* up(dd.mutex);
    return 0;
  },
);

export const unregister_disk_dump_type = kfunc("unregister_disk_dump_type", function* (dd: DiskDump, name: string) {
  const at = dd.types.findIndex((type) => type.name === name);
  if (at < 0) return -ENOENT;
  yield* down(dd.mutex);
  const [type] = dd.types.splice(at, 1);
  list_del(type!.list);
  yield* set_crc_modules(dd);
  for (const other of dd.types) other.compute_cksum?.();
  yield* up(dd.mutex);
  return 0;
});

/**
 * Registers a partition for dumps.
 * Returns: 0; -EEXIST when it is registered, -ENXIO when no dump type knows its device (its driver has no dump_poll),
 * or what add_device says. Context: process.
 */
export const register_disk_dump_device = kfunc(
  "register_disk_dump_device",
  function* (dd: DiskDump, target: DumpTarget) {
    yield* down(dd.mutex);
    const ret = yield* add_dump(dd, target);
    yield* set_crc_modules(dd);
    yield* up(dd.mutex);
    return ret;
  },
);

/** Returns: 0, or -ENOENT when it is not registered. Context: process. */
export const unregister_disk_dump_device = kfunc("unregister_disk_dump_device", function* (dd: DiskDump, name: string) {
  yield* down(dd.mutex);
  const ret = yield* remove_dump(dd, name);
  yield* set_crc_modules(dd);
  yield* up(dd.mutex);
  return ret;
});

/** Returns: 1 when the partition is registered, else 0. */
export const find_disk_dump_device = kfunc("find_disk_dump_device", function* (dd: DiskDump, name: string) {
  yield* down(dd.mutex);
  const ret = dd.partitions.some((partition) => partition.target.name === name) ? 1 : 0;
  yield* up(dd.mutex);
  return ret;
});

const add_dump = kfunc("add_dump", function* (dd: DiskDump, target: DumpTarget) {
  if (dd.partitions.some((partition) => partition.target.name === target.name)) return -EEXIST;
  const found = find_real_device(dd, target.device);
  if (!found) return -ENXIO;
  let device = dd.devices.find((known) => known.device === found.device);
  if (!device) {
    device = new_device(dd, found.type, found.device);
    const ret = yield* found.type.add_device(device);
    if (ret < 0) return ret;
    put_ops(device);
    if (device.s.max_blocks < 2 ** dd.parameters.block_order) {
      yield* printk("disk_dump: I/O size exceeds the maximum block size of SCSI device. Signature check may fail\n", 4);
    }
    list_add_tail(device.list, dd.devicesHead);
    dd.devices.push(device);
  }
  yield* add_dump_partition(dd, device, target);
  return 0;
});

function find_real_device(dd: DiskDump, candidate: unknown): { type: DumpType; device: unknown } | undefined {
  for (const type of dd.types) {
    const device = type.probe(candidate);
    if (device !== undefined) return { type, device };
  }
  return undefined;
}

const NO_OPS: disk_dump_device_ops = {
  sanity_check: () => {
    throw new Error("a dump type's add_device did not set the device's ops");
  },
  rw_block: () => {
    throw new Error("a dump type's add_device did not set the device's ops");
  },
};

/** Memory for a registered object. It is given back when the system goes down, not at unregistration. */
function allocate(bytes: number): number {
  const at = K.bootmem(bytes);
  for (let i = 0; i < bytes; i += 4) poke32(at + i, 0);
  return at;
}

function new_device(dd: DiskDump, type: DumpType, device: unknown): DumpDevice {
  const addr = allocate(K.sizeOf(disk_dump_device));
  const s = K.view(disk_dump_device, addr);
  const list = addr + K.offsetOf(disk_dump_device, "list");
  const partitionList = addr + K.offsetOf(disk_dump_device, "partitions");
  INIT_LIST_HEAD(partitionList);
  s.dump_type = type.addr;
  s.device = (device as { addr?: number }).addr ?? 0;
  return { s, addr, list, partitionList, type, device, ops: NO_OPS, partitions: [], failure: undefined };
}

function put_ops(device: DumpDevice): void {
  const s = K.view(ops_struct, device.addr + K.offsetOf(disk_dump_device, "ops"));
  s.sanity_check = functionAddress(device.ops.sanity_check);
  s.quiesce = functionAddress(device.ops.quiesce);
  s.shutdown = functionAddress(device.ops.shutdown);
  s.rw_block = functionAddress(device.ops.rw_block);
}

const add_dump_partition = kfunc(
  "add_dump_partition",
  function* (dd: DiskDump, device: DumpDevice, target: DumpTarget) {
    const addr = allocate(K.sizeOf(disk_dump_partition));
    const s = K.view(disk_dump_partition, addr);
    const list = addr + K.offsetOf(disk_dump_partition, "list");
    const part_list = addr + K.offsetOf(disk_dump_partition, "part_list");
    const { start_sect, nr_sects } = target;
    s.device = device.addr;
    s.bdev = target.bdev ?? 0;
    s.start_sect = start_sect;
    s.nr_sects = nr_sects;
    const blocks = Math.floor(nr_sects / dd.sectorsPerBlock);
    if (blocks < dd.required.total) {
      yield* printk(`disk_dump: ${target.name} is too small to save whole system memory\n\n`, 4);
    }
    const partition: DumpPartition = { s, addr, list, part_list, device, target, start_sect, nr_sects, blocks };
    list_add_tail(list, device.partitionList);
    list_add_tail(part_list, dd.partitionsHead);
    device.partitions.push(partition);
    dd.partitions.push(partition);
  },
);

const remove_dump = kfunc("remove_dump", function* (dd: DiskDump, name: string) {
  const at = dd.partitions.findIndex((partition) => partition.target.name === name);
  if (at < 0) return -ENOENT;
  const [partition] = dd.partitions.splice(at, 1);
  const { device } = partition!;
  list_del(partition!.list);
  list_del(partition!.part_list);
  device.partitions.splice(device.partitions.indexOf(partition!), 1);
  if (device.partitions.length === 0) {
    yield* device.type.remove_device(device);
    list_del(device.list);
    dd.devices.splice(dd.devices.indexOf(device), 1);
  }
  return 0;
});

/** What /proc/diskdump reads as: a line per partition with its first sector and its sectors (white paper 5.2). */
export function procDiskdump(dd: DiskDump): string {
  const rhel = dd.options.procStyle === "rhel4";
  const lines = dd.partitions.map(
    ({ target, start_sect, nr_sects }) => `${rhel ? "" : "/dev/"}${target.name} ${start_sect} ${nr_sects}\n`,
  );
  if (!rhel) return lines.join("");
  const { sample_rate, block_order, fallback_on_err, allow_risky_dumps } = dd.parameters;
  return [
    `# sample_rate: ${sample_rate >>> 0}\n`,
    `# block_order: ${block_order}\n`,
    `# fallback_on_err: ${fallback_on_err}\n`,
    `# allow_risky_dumps: ${allow_risky_dumps}\n`,
    "# dump_level: 0\n",
    "# compress: 0\n",
    `# total_blocks: ${dd.required.total}\n`,
    "#\n",
    ...lines,
  ].join("");
}
