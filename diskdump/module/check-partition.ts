// The signature check: is this the partition that was formatted for dumps? (white paper 2.1; check_dump_partition of diskdump 1.0)
import { step } from "../../emulator/cpu/cpu.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { isCheckedBlock } from "../format/signature.ts";
import { SignatureKernel } from "../format/wasm-signature.ts";
import { read_blocks } from "./block-io.ts";
import type { DiskDump, DumpPartition } from "./disk-dump.ts";
import { EINVAL } from "./errno.ts";
import { StatusLine, clear_status, print_status } from "./status-line.ts";

const kfunc = moduleFunctions("diskdump");

/** Comparing 1024 words, one multiplication each. */
const CHECK_FRAME_NS = 1000;

const kernels = new WeakMap<DiskDump, SignatureKernel>();

function signaturesOf(dd: DiskDump): SignatureKernel {
  let kernel = kernels.get(dd);
  if (!kernel) {
    const style = { formula: dd.options.formula, littleEndian: dd.kernel.map.model.littleEndian };
    kernels.set(dd, (kernel = new SignatureKernel(M.memory.pool.memory, style)));
  }
  return kernel;
}

/** True when the block of scratch at `at` is signed as block `block`. Pays for the comparison. */
function check_block_signature(dd: DiskDump, signatures: SignatureKernel, at: number, block: number): boolean {
  if (!isCheckedBlock(block, dd.options.formula)) return true;
  step((CHECK_FRAME_NS * dd.pageSize) / 4096);
  const { memory } = M;
  if (dd.checkBuffer === 0) {
    const offset = memory.offsetForRead(at);
    return offset >= 0 && signatures.check(offset, block, dd.pageSize) < 0;
  }
  // The page frames of a larger block need not be neighbours in the simulator's memory.
  memory.readBytes(at, memory.pool.u8.subarray(dd.checkBuffer, dd.checkBuffer + dd.pageSize));
  return signatures.check(dd.checkBuffer, block, dd.pageSize) < 0;
}

/**
 * Checks the signatures of the part of the partition that the dump will need: a chunk of `1 << block_order` blocks in every
 * `1 << sample_rate` chunks, and the last chunk.
 * Returns: 1 when they are right (or sample_rate is negative), else 0.
 */
export const check_dump_partition = kfunc("check_dump_partition", function* (dd: DiskDump, partition: DumpPartition) {
  const { sample_rate, block_order } = dd.parameters;
  const size = dd.required.total;
  if (sample_rate < 0) return 1;
  const chunk = 2 ** block_order;
  const skips = chunk * 2 ** sample_rate;
  const signatures = signaturesOf(dd);
  const line = new StatusLine();
  line.begin();
  let last = false;
  for (let block = 0; block < size;) {
    const count = Math.min(chunk, size - block);
    const ret = yield* read_blocks(dd, partition, block, count);
    if (ret < 0) {
      dd.outcome.reject(`/dev/${partition.target.name}`, "read error", ret, block);
      return 0;
    }
    if (line.isDue()) yield* print_status(line, block + 1, size);
    for (let i = 0; i < count; i++) {
      if (check_block_signature(dd, signatures, dd.scratch + i * dd.pageSize, block + i)) continue;
      yield* printk(`disk_dump: bad signature in block ${block + i}\n`, 3);
      dd.outcome.reject(`/dev/${partition.target.name}`, "bad signature", -EINVAL, block + i);
      return 0;
    }
    if (last) break;
    const covered = block + count;
    block += skips;
    // The end of the area is always looked at.
    if (block >= size && covered < size) {
      block = size - chunk;
      last = true;
    }
  }
  yield* clear_status(line);
  return 1;
});
