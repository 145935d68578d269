// Memory to the partition: the bitmap of RAM pages, then the pages, `1 << block_order` at a time through the scratch buffer.
import { step } from "../../emulator/cpu/cpu.ts";
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { local_irq_disable } from "../../kernel-sim/core/spinlock.ts";
import { encodeBitmap } from "../format/bitmap.ts";
import { COPY_FRAME_NS, fillScratch, write_blocks } from "./block-io.ts";
import { WRITE, type DiskDump, type DumpPartition } from "./disk-dump.ts";
import { StatusLine, print_last_status, print_status } from "./status-line.ts";

const kfunc = moduleFunctions("diskdump");

/** Writes the bitmap blocks. Returns: 0 or a negative errno. */
export const write_bitmap = kfunc("write_bitmap", function* (dd: DiskDump, partition: DumpPartition) {
  const { header, bitmap } = dd.required;
  const bits = encodeBitmap(dd.ram, bitmap * dd.pageSize);
  for (let nr = 0; nr < bitmap; nr++) {
    fillScratch(dd, bits.subarray(nr * dd.pageSize, (nr + 1) * dd.pageSize));
    const ret = yield* write_blocks(dd, partition, header + nr, 1);
    if (ret < 0) {
      yield* printk(`disk_dump: I/O error ${ret} on block ${header + nr}\n`, 3);
      return ret;
    }
  }
  return 0;
});

/** One page of the kernel's size into scratch: the drivers need memory that they can reach and map. */
function copyPage(dd: DiskDump, from: number, to: number): void {
  const { memory } = M;
  for (let done = 0; done < dd.pageSize; done += FRAME_SIZE) {
    step(COPY_FRAME_NS);
    memory.copyPage(from + done, to + done);
  }
}

/**
 * Writes all of RAM to the blocks behind the bitmap, in ascending order of page frame number.
 * Returns: 0 or a negative errno; header.written_blocks counts what was written.
 */
export const write_memory = kfunc("write_memory", function* (dd: DiskDump, partition: DumpPartition) {
  const { header, outcome, pageSize, scratch } = dd;
  const { rw_block } = partition.device.ops;
  const chunk = 2 ** dd.parameters.block_order;
  const all = dd.required.memory;
  const line = new StatusLine();
  line.begin();
  let block = dd.required.header + dd.required.bitmap;
  let inChunk = 0;
  let written = 0;
  let ret = 0;
  for (let r = 0; r < dd.ram.length && ret >= 0; r++) {
    const { first, count } = dd.ram[r]!;
    const end = (first + count) * pageSize + dd.biasBytes;
    for (let from = first * pageSize + dd.biasBytes; from < end; from += pageSize) {
      copyPage(dd, from, scratch + inChunk * pageSize);
      if (++inChunk < chunk) continue;
      // write_blocks(), without a call of its own: half a million times a dump.
      local_irq_disable();
      K.watchdogTouches++; // touch_nmi_watchdog()
      ret = yield* rw_block(partition, WRITE, block, scratch, chunk);
      if (ret < 0) {
        yield* printk(`disk_dump: write error on block ${block}\n`, 3);
        break;
      }
      outcome.blocksWritten += chunk;
      block += chunk;
      written += chunk;
      inChunk = 0;
      header.written_blocks = header.written_blocks + chunk;
      outcome.pagesWritten = written;
      if (line.isDue()) yield* print_status(line, written, all);
    }
  }
  if (ret >= 0 && inChunk > 0) {
    ret = yield* write_blocks(dd, partition, block, inChunk);
    if (ret >= 0) {
      written += inChunk;
      header.written_blocks = header.written_blocks + inChunk;
      outcome.pagesWritten = written;
    }
  }
  if (ret < 0) {
    yield* printk(`disk_dump: I/O error ${ret} on block ${block}\n`, 3);
    outcome.reject(`/dev/${partition.target.name}`, "write error", ret, block);
  }
  yield* print_last_status(written, all);
  return ret;
});
