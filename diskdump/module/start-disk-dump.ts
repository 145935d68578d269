// What happens when the kernel has died (drivers/block/diskdump.c: start_disk_dump and disk_dump).
import { cpu, halt, step } from "../../emulator/cpu/cpu.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { new_utsname } from "../../kernel-sim/abi/structs/base.ts";
import { K, smp_processor_id } from "../../kernel-sim/core/kernel.ts";
import { beginStack, moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { touch_nmi_watchdog } from "../../kernel-sim/core/nmi.ts";
import { machine_restart, notifier_call_chain } from "../../kernel-sim/core/panic.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { local_irq_disable, local_irq_save } from "../../kernel-sim/core/spinlock.ts";
import { delayNs } from "../../kernel-sim/core/timer.ts";
import { down_trylock } from "../../kernel-sim/core/wait.ts";
import { SUB_HEADER_BLOCK } from "../format/layout.ts";
import { DISK_DUMP_HEADER_VERSION, DISK_DUMP_SIGNATURE, DUMP_HEADER, disk_dump_header } from "../format/structs.ts";
import { fillScratch, write_blocks, write_header } from "./block-io.ts";
import { check_dump_partition } from "./check-partition.ts";
import { checksum, checksumNs } from "./checksum.ts";
import type { DiskDump, DumpPartition } from "./disk-dump.ts";
import { diskdump_mdelay, dump_clear_tasklet, dump_clear_timers, dump_clear_workqueue } from "./dump-library.ts";
import { EIO } from "./errno.ts";
import { freeze_other_cpus } from "./freeze.ts";
import type { DumpStage } from "./outcome.ts";
import { fillSubHeader } from "./registers.ts";
import { select_dump_partition } from "./select-partition.ts";
import { DISK_DUMP_FAILURE, DISK_DUMP_RUNNING, DISK_DUMP_SUCCESS } from "./structs.ts";
import { write_bitmap, write_memory } from "./write-memory.ts";

const kfunc = moduleFunctions("diskdump");

/**
 * The crash hook.
 * @param regs physical address of the crash's pt_regs
 * Returns: a negative errno when it could not dump and fallback_on_err lets the next dumper try. Does not return otherwise.
 * Context: any, at the end of a panic or oops. Locks: none may be assumed free.
 */
export const start_disk_dump = kfunc("start_disk_dump", function* (dd: DiskDump, regs: number) {
  const { outcome, bss } = dd;
  local_irq_save();
  outcome.result = "running";
  outcome.startedAtNs = cpu.clock;
  outcome.dumpingCpu = cpu.id;
  outcome.netdumpBehind = K.crashdump.netdump !== undefined;
  outcome.stage = "module check";
  bss.dump_err = -EIO;
  if (down_trylock(dd.mutex) !== 0) {
    yield* printk("disk_dump: down_trylock(disk_dump_mutex) failed.\n", 3);
    outcome.fail("mutex held", -EIO);
  } else if (!(yield* check_crc_module(dd))) {
    yield* printk("disk_dump: checksum error. diskdump common module may be compromised.\n", 3);
    outcome.fail("module damaged", -EIO);
  } else {
    bss.disk_dump_state = DISK_DUMP_RUNNING;
    K.dumpMode = dd.library;
    yield* notifier_call_chain(dd.notifiers, 0);
    touch_nmi_watchdog();
    outcome.stage = "freeze";
    yield* freeze_other_cpus(dd);
    dd.checker.start(cpu.id);
    yield* platform_start_crashdump(dd, regs);
    dd.checker.stop();
  }
  const failed = bss.dump_err !== 0;
  outcome.end(cpu.clock, !failed);
  bss.disk_dump_state = failed ? DISK_DUMP_FAILURE : DISK_DUMP_SUCCESS;
  if (failed) {
    if (dd.parameters.fallback_on_err !== 0) {
      yield* printk("disk_dump: diskdump failed, fall back to trying netdump\n", 6);
      outcome.fallback = outcome.netdumpBehind ? "netdump" : "no fallback registered";
      if (!outcome.netdumpBehind) yield* printk("disk_dump: no fallback registered\n", 6);
      return -EIO;
    }
    outcome.fallback = "fallback_on_err is 0";
    yield* printk("disk_dump: diskdump failed with error\n", 6);
  } else yield* printk("disk_dump: diskdump succeeded\n", 6);
  yield* notifier_call_chain(K.panicNotifiers, 0);
  yield* reboot_or_halt();
  return 0;
});

/** Compares the module's checksum with the one saved at registration. Returns: true when they are equal. */
const check_crc_module = kfunc("check_crc_module", function* (dd: DiskDump) {
  yield* delayNs(checksumNs(dd.module));
  return dd.bss.module_crc === checksum(dd.module);
});

/** Runs disk_dump() on the dump's own stack: the one that crashed may be what is broken. */
const platform_start_crashdump = kfunc("platform_start_crashdump", function* (dd: DiskDump, regs: number) {
  const { sp, fp } = cpu;
  beginStack(cpu, dd.stackTop);
  yield* disk_dump(dd, regs);
  cpu.sp = sp;
  cpu.fp = fp;
});

const reboot_or_halt = kfunc("diskdump_reboot", function* () {
  const seconds = K.boot.panicTimeoutSeconds;
  if (seconds > 0) {
    yield* printk(`Rebooting in ${seconds} seconds..`, 0);
    for (let i = 0; i < seconds; i++) {
      touch_nmi_watchdog();
      yield* diskdump_mdelay(1000);
    }
    yield* machine_restart("diskdump");
  }
  yield* printk("halt\n", 0);
  local_irq_disable();
  K.machine.stopReason = "diskdump halted the machine (panic_timeout is 0)";
  for (;;) yield* halt();
});

/** The dump itself: device after device until one holds the whole of memory, or none is left. */
const disk_dump = kfunc("disk_dump", function* (dd: DiskDump, regs: number) {
  dump_clear_timers(dd.library);
  dump_clear_tasklet(dd.library);
  dump_clear_workqueue(dd.library);
  dd.bss.diskdump_base_jiffies = K.time.jiffies;
  dd.library.setupTimestamp();
  fillHeader(dd);
  fillSubHeader(dd, regs);

  let partition: DumpPartition | undefined;
  for (;;) {
    dd.outcome.stage = "select";
    partition = yield* select_dump_partition(dd, partition);
    if (!partition) {
      yield* printk("disk_dump: No more dump device found\n", 3);
      const { rejected } = dd.outcome;
      // One device, one reason; with several, only that none was left.
      if (dd.partitions.length === 0) dd.outcome.fail("no dump device registered", -EIO);
      else if (rejected.length !== 1) dd.outcome.fail("no more dump devices", -EIO);
      yield* diskdump_shutdown(dd);
      return;
    }
    if (yield* dump_to_partition(dd, partition)) break;
  }
  dd.bss.dump_err = 0;
  dd.outcome.stage = "shutdown";
  yield* diskdump_shutdown(dd);
});

/** Everything from quiesce to the completed header. Returns: true when the dump is complete. */
const dump_to_partition = kfunc("dump_to_partition", function* (dd: DiskDump, partition: DumpPartition) {
  const { outcome, header, required } = dd;
  const { device } = partition;
  const name = `/dev/${partition.target.name}`;
  outcome.device = name;
  outcome.blocksWritten = 0;
  outcome.pagesWritten = 0;
  device.s.need_shutdown = 1;
  yield* printk(`start dumping to ${partition.target.name}\n`, 4);

  outcome.stage = "quiesce";
  if (device.s.quiesce_done === 0 && device.ops.quiesce) {
    device.s.quiesce_done = 1;
    device.failure = undefined;
    const ret = yield* device.ops.quiesce(device);
    device.s.quiesce_result = ret;
    if (ret < 0) yield* printk(`disk_dump: quiesce failed. error ${ret}\n`, 3);
  }
  if (device.s.quiesce_result < 0) {
    outcome.reject(name, device.failure ?? "quiesce failed", device.s.quiesce_result);
    return false;
  }
  if (partition.blocks < required.total) {
    yield* printk("disk_dump: dump partition is too small. Aborted\n", 4);
    outcome.reject(name, "device too small", -EIO);
    return false;
  }

  outcome.stage = "signature check";
  yield* printk("check dump partition...\n", 4);
  if ((yield* check_dump_partition(dd, partition)) === 0) {
    yield* printk("disk_dump: check partition failed.\n", 3);
    return false;
  }

  header.status = DUMP_HEADER.INCOMPLETED;
  header.bitmap_blocks = required.bitmap;
  header.device_blocks = partition.blocks;
  header.written_blocks = 2;
  if (!(yield* put_header(dd, partition, "header"))) return false;
  if ((yield* write_sub_header(dd, partition)) < 0) return false;
  outcome.stage = "bitmap";
  const bitmap = yield* write_bitmap(dd, partition);
  if (bitmap < 0) {
    outcome.reject(name, "write error", bitmap, required.header);
    return false;
  }
  header.written_blocks = header.written_blocks + header.sub_hdr_size + header.bitmap_blocks;
  if (!(yield* put_header(dd, partition, "header"))) return false;

  outcome.stage = "memory";
  yield* printk("dumping memory..\n", 4);
  header.status = DUMP_HEADER.IN_PROGRESS;
  const memory = yield* write_memory(dd, partition);
  if (memory < 0) {
    yield* printk(`disk_dump: writing memory failed. error ${memory}\n`, 3);
    return false;
  }
  header.status = DUMP_HEADER.COMPLETED;
  return yield* put_header(dd, partition, "completion");
});

/** Writes the header. Returns: true when it was written; says so when not. */
const put_header = kfunc("put_header", function* (dd: DiskDump, partition: DumpPartition, stage: DumpStage) {
  dd.outcome.stage = stage;
  dd.outcome.touched = true;
  const ret = yield* write_header(dd, partition);
  if (ret >= 0) return true;
  yield* printk(`disk_dump: writing header failed. error ${ret}\n`, 3);
  dd.outcome.reject(`/dev/${partition.target.name}`, "write error", ret, 1);
  return false;
});

const write_sub_header = kfunc("write_sub_header", function* (dd: DiskDump, partition: DumpPartition) {
  const size = K.sizeOf(dd.subHeaderType);
  fillScratch(dd, M.u8.subarray(dd.subHeaderAt, dd.subHeaderAt + size));
  const ret = yield* write_blocks(dd, partition, SUB_HEADER_BLOCK, 1);
  if (ret < 0) {
    yield* printk(`disk_dump: writing sub header failed. error ${ret}\n`, 3);
    dd.outcome.reject(`/dev/${partition.target.name}`, "write error", ret, SUB_HEADER_BLOCK);
  }
  return ret;
});

/** The common header's fields that do not depend on the device. tasks[] was filled by the freeze. */
function fillHeader(dd: DiskDump): void {
  const { header } = dd;
  const at = (field: keyof typeof disk_dump_header.fields): number => header.addr + K.offsetOf(disk_dump_header, field);
  step(100);
  for (let i = 0; i < DISK_DUMP_SIGNATURE.length; i++) {
    M.u8[at("signature") + i] = DISK_DUMP_SIGNATURE.charCodeAt(i);
  }
  header.header_version = DISK_DUMP_HEADER_VERSION;
  const utsname = K.symbol("system_utsname");
  M.u8.copyWithin(at("utsname"), utsname, utsname + K.sizeOf(new_utsname));
  const { xtime } = K.time;
  header.timestamp.tv_sec = xtime.tv_sec;
  header.timestamp.tv_nsec = xtime.tv_nsec;
  header.block_size = dd.pageSize;
  header.sub_hdr_size = dd.required.header - 2;
  header.max_mapnr = dd.maxPfn;
  header.total_ram_blocks = dd.required.memory;
  header.current_cpu = smp_processor_id();
  header.nr_cpus = K.machine.cpus.length;
}

/** Lets every device that was used end its part: the cache is flushed, the adapter shut down. */
const diskdump_shutdown = kfunc("diskdump_shutdown", function* (dd: DiskDump) {
  for (const device of dd.devices) {
    const { shutdown } = device.ops;
    if (device.s.need_shutdown === 0 || !shutdown) continue;
    if ((yield* shutdown(device)) < 0) yield* printk("disk_dump: adapter shutdown failed.\n", 3);
  }
});
