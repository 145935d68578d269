// Blocks of the dump partition in and out of the scratch buffer.
import { step } from "../../emulator/cpu/cpu.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { touch_nmi_watchdog } from "../../kernel-sim/core/nmi.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { local_irq_disable } from "../../kernel-sim/core/spinlock.ts";
import { HEADER_BLOCK } from "../format/layout.ts";
import { READ, WRITE, type DiskDump, type DumpPartition } from "./disk-dump.ts";

const kfunc = moduleFunctions("diskdump");

/** memcpy of a page frame of 4 KiB that is not in the cache. */
export const COPY_FRAME_NS = 1500;

/** Reads blocks into scratch. Returns: 0 or a negative errno. */
export const read_blocks = kfunc(
  "read_blocks",
  function* (dd: DiskDump, partition: DumpPartition, block: number, count: number) {
    // A driver may have left interrupts on behind our back.
    local_irq_disable();
    touch_nmi_watchdog();
    const ret = yield* partition.device.ops.rw_block(partition, READ, block, dd.scratch, count);
    if (ret < 0) {
      yield* printk(`disk_dump: read error on block ${block}\n`, 3);
      return ret;
    }
    return 0;
  },
);

/** Writes blocks from scratch. Returns: 0 or a negative errno. */
export const write_blocks = kfunc(
  "write_blocks",
  function* (dd: DiskDump, partition: DumpPartition, block: number, count: number) {
    local_irq_disable();
    touch_nmi_watchdog();
    const ret = yield* partition.device.ops.rw_block(partition, WRITE, block, dd.scratch, count);
    if (ret < 0) {
      yield* printk(`disk_dump: write error on block ${block}\n`, 3);
      return ret;
    }
    dd.outcome.blocksWritten += count;
    return 0;
  },
);

/** Puts `bytes`, and zeroes behind them, into the first block of scratch. Pays for the copy. */
export function fillScratch(dd: DiskDump, bytes: Uint8Array): void {
  step((COPY_FRAME_NS * dd.pageSize) / 4096);
  const block = new Uint8Array(dd.pageSize);
  block.set(bytes);
  M.memory.writeBytes(dd.scratch, block);
}

/** Writes the common header as it stands in RAM. Returns: 0 or a negative errno. */
export const write_header = kfunc("write_header", function* (dd: DiskDump, partition: DumpPartition) {
  const { addr } = dd.header;
  fillScratch(dd, M.u8.subarray(addr, addr + dd.headerBytes));
  return yield* write_blocks(dd, partition, HEADER_BLOCK, 1);
});
