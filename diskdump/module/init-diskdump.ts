// Loading and unloading the diskdump module (init_diskdump and cleanup_diskdump of drivers/block/diskdump.c).
import { K } from "../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { down, up } from "../../kernel-sim/core/wait.ts";
import { GFP_HIGHUSER, alloc_pages } from "../../kernel-sim/mm/page-alloc.ts";
import { page_to_phys } from "../../kernel-sim/mm/page.ts";
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import { DiskDump, diskdumpBss, diskdumpOf, setDiskdump } from "./disk-dump.ts";
import { DEFAULT_OPTIONS, type DiskdumpOptions } from "./parameters.ts";
import { set_crc_modules } from "./registration.ts";
import { start_disk_dump } from "./start-disk-dump.ts";
import { diskdump_data } from "./structs.ts";
import { addModuleFiles, removeModuleFiles } from "./sysfs.ts";

const kfunc = moduleFunctions("diskdump");

/** What dump types and drivers call (EXPORT_SYMBOL). */
const DISKDUMP_EXPORTS = [
  "register_disk_dump_device",
  "register_disk_dump_type",
  "unregister_disk_dump_device",
  "unregister_disk_dump_type",
  "diskdump_mdelay",
  "diskdump_update",
] as const;

/**
 * modprobe diskdump. Returns: the module's state, or undefined when there is no memory for its scratch buffer.
 * Loading it again returns what is there. Context: process.
 */
export const init_diskdump = kfunc("init_diskdump", function* (options: Partial<DiskdumpOptions>) {
  const known = diskdumpOf(K);
  if (known) return known;
  const module = K.modules.load("diskdump", { data: diskdump_data, bss: diskdumpBss(K), exports: DISKDUMP_EXPORTS });
  const dd = new DiskDump(K, module, { ...DEFAULT_OPTIONS, ...options });
  const scratch = yield* scratch_pages(dd);
  if (scratch === 0) {
    yield* printk("disk_dump: alloc_pages failed.\n", 3);
    return undefined;
  }
  dd.scratch = scratch;
  dd.bss.scratch = scratch;
  yield* printk(`disk_dump: Maximum block size: ${dd.pageSize << dd.parameters.block_order}\n`, 6);
  const { total, header, bitmap, memory } = dd.required;
  yield* printk(
    `disk_dump: total blocks required: ${total} (header ${header} + bitmap ${bitmap} + memory ${memory})\n`,
    6,
  );
  setDiskdump(K, dd);
  addModuleFiles();
  K.crashdump.diskdump = (regs) => start_disk_dump(dd, regs);
  yield* down(dd.mutex);
  yield* set_crc_modules(dd);
  yield* up(dd.mutex);
  return dd;
});

/** Pages for the scratch buffer, behind the flat window: pages move through it by reference. Returns: its address, or 0. */
const scratch_pages = kfunc("diskdump_alloc_scratch", function* (dd: DiskDump) {
  if (dd.options.scratchAt !== undefined) return dd.options.scratchAt;
  const order = dd.parameters.block_order + Math.log2(dd.pageSize / FRAME_SIZE);
  const page = yield* alloc_pages(GFP_HIGHUSER, order);
  return page === 0 ? 0 : page_to_phys(page);
});

/** rmmod diskdump: the crash hook goes. Its memory stays taken. */
export const cleanup_diskdump = kfunc("cleanup_diskdump", function* (dd: DiskDump) {
  yield* printk("disk_dump: shut down.\n", 6);
  K.crashdump.diskdump = undefined;
  removeModuleFiles();
  setDiskdump(dd.kernel, undefined);
});
