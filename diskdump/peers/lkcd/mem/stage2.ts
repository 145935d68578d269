// The second stage, in the next kernel: the dump is read from the pages that it lies in, and goes to the disk by the normal way of a
// kernel that works. What matters most goes first.
import { step } from "../../../../emulator/cpu/cpu.ts";
import { M } from "../../../../kernel-sim/abi/ram.ts";
import { K } from "../../../../kernel-sim/core/kernel.ts";
import { machine_restart } from "../../../../kernel-sim/core/panic.ts";
import { printk } from "../../../../kernel-sim/core/printk.ts";
import { PAGE_SIZE } from "../../../../kernel-sim/mm/page.ts";
import { init_scsi } from "../../../../kernel-sim/scsi/dispatch.ts";
import { DP, DUMP_PAGE_BYTES } from "../../../cores/lkcd-header.ts";
import { ENOSPC } from "../blockdev.ts";
import { init_lkcd } from "../init-lkcd.ts";
import { DUMP_BUFFER_BYTES, DUMP_HEADER_ROOM, type Lkcd } from "../lkcd.ts";
import { lookup, type Memdev } from "./map.ts";
import type { DumpMemdev } from "./memdev.ts";
import { kfunc } from "./module.ts";
import { DUMP_MAGIC_LIVE, PASS_COUNT, dump_config_block } from "./structs.ts";

const COPY_PAGE_NS = 1500;
const EINVAL = 22;
const ENOENT = 2;

/** Why the second stage failed, by errno. */
const WHY: Readonly<Record<number, string>> = {
  [ENOSPC]: "no space left on the dump device",
  [EINVAL]: "an invalid page header in the saved dump: its memory was written over",
  [ENOENT]: "the saved dump breaks off",
};

/** What `lkcd config` does first in the next kernel. Restarts the machine. Context: process. */
export const dump_init_stage2 = kfunc("dump_init_stage2", function* (dev: DumpMemdev, block: number) {
  const { softBoot, plan } = dev;
  softBoot.onStage("next kernel");
  init_scsi();
  yield* plan.probe();
  const config = K.view(dump_config_block, block);
  if (M.view.getBigUint64(block + K.offsetOf(dump_config_block, "magic"), true) !== DUMP_MAGIC_LIVE) {
    yield* printk("Invalid dump magic. Ignoring dump\n", 4);
    softBoot.end("incomplete", "the next kernel found no dump in memory: its magic number was written over");
    yield* machine_restart("lkcd");
  }
  yield* printk("Dump may be available from previous boot\n", 6);
  const lkcd = yield* init_lkcd(plan.open, {
    level: "all",
    compress: "none",
    version: 8,
    ipiWaitMs: Infinity,
    slavesAnswer: false,
    modified: false,
  });
  if (typeof lkcd === "string") {
    softBoot.end("incomplete", `the next kernel cannot open ${plan.target}: ${lkcd}`);
    yield* machine_restart("lkcd");
    return;
  }
  // A crash in here is not to begin another dump over this one.
  K.crashdump = {};
  softBoot.second = lkcd;
  softBoot.onStage("writing saved dump");
  const memdev = dev.savedMemdev();
  const passes = Array.from({ length: PASS_COUNT }, (_, pass) => ({
    start: M.memory.read64(config.pass_start + pass * 8),
    end: M.memory.read64(config.pass_end + pass * 8),
  }));
  const error = yield* dump_write_saved(dev, lkcd, memdev, config.header_len, passes);
  if (error !== 0) softBoot.end("incomplete", WHY[-error] ?? "write error");
  else if (dev.full) softBoot.end("incomplete", "the free pages did not suffice for the dump in memory");
  else softBoot.end("complete");
  yield* printk(
    error === 0 ? `Dump complete; ${softBoot.pagesWritten} pages saved.\n` : `dump: writing failed. error ${error}\n`,
    1,
  );
  softBoot.onStage("ended");
  yield* machine_restart("lkcd");
});

/** Writes the buffer and waits. */
const write_out = kfunc("dump_ll_write", function* (lkcd: Lkcd, bytes: number) {
  const error = yield* lkcd.device.write(lkcd.bufferAt, bytes);
  return error !== 0 ? error : yield* lkcd.device.ready();
});

/** The header as it was saved. */
const dump_passthru_update_header = kfunc(
  "dump_passthru_update_header",
  function* (lkcd: Lkcd, memdev: Memdev, bytes: number) {
    for (let at = 0; at < bytes; at += PAGE_SIZE) {
      const pfn = lookup(memdev, at / PAGE_SIZE);
      if (pfn === undefined) return -ENOENT;
      step(COPY_PAGE_NS);
      M.memory.copyPage(pfn * PAGE_SIZE, lkcd.bufferAt + at);
    }
    lkcd.data.dump_offset = lkcd.device.startOffset;
    return yield* write_out(lkcd, bytes);
  },
);

/** Bytes of contents behind the page header at `offset` of the saved dump; undefined when none is there. It may cross a page. */
function pageSizeAt(memdev: Memdev, offset: number): number | undefined {
  const bytes = new Uint8Array(DUMP_PAGE_BYTES);
  for (let i = 0; i < DUMP_PAGE_BYTES; i++) {
    const pfn = lookup(memdev, Math.floor((offset + i) / PAGE_SIZE));
    if (pfn === undefined) return undefined;
    bytes[i] = M.memory.read8(pfn * PAGE_SIZE + ((offset + i) % PAGE_SIZE));
  }
  const head = new DataView(bytes.buffer);
  const size = head.getUint32(8, true);
  const flags = head.getUint32(12, true);
  return size <= PAGE_SIZE && (flags === DP.RAW || flags === DP.COMPRESSED) ? size : undefined;
}

interface Pass {
  readonly start: number;
  readonly end: number;
}

/** Returns: 0 or a negative errno. */
const dump_write_saved = kfunc(
  "dump_passthru_sequencer",
  function* (dev: DumpMemdev, lkcd: Lkcd, memdev: Memdev, headerBytes: number, passes: readonly Pass[]) {
    const { data, bufferAt, device } = lkcd;
    const { u8, memory, view } = M;
    let error = yield* dump_passthru_update_header(lkcd, memdev, headerBytes);
    if (error !== 0) return error;
    data.dump_offset = device.startOffset + DUMP_HEADER_ROOM;
    let used = 0;
    for (const { start, end } of passes) {
      // Where the next page header is expected: dump_verify_lcrash_data().
      let header = start;
      for (let at = start; at < end; at += PAGE_SIZE) {
        const pfn = lookup(memdev, at / PAGE_SIZE);
        if (pfn === undefined) return -ENOENT;
        step(COPY_PAGE_NS);
        const bytes = Math.min(PAGE_SIZE, end - at);
        memory.readBytes(pfn * PAGE_SIZE, u8.subarray(bufferAt + used, bufferAt + used + bytes));
        used += bytes;
        for (; header + DUMP_PAGE_BYTES <= at + bytes; dev.softBoot.pagesWritten++) {
          const size = pageSizeAt(memdev, header);
          if (size === undefined) {
            yield* printk(`Invalid page hdr at offset 0x${header.toString(16)}\n`, 4);
            return -EINVAL;
          }
          header += DUMP_PAGE_BYTES + size;
        }
        if (used >= DUMP_BUFFER_BYTES) {
          error = yield* write_out(lkcd, DUMP_BUFFER_BYTES);
          if (error !== 0) return error;
          used -= DUMP_BUFFER_BYTES;
          u8.copyWithin(bufferAt, bufferAt + DUMP_BUFFER_BYTES, bufferAt + DUMP_BUFFER_BYTES + used);
        }
      }
    }
    view.setBigUint64(bufferAt + used, 0n, true);
    view.setUint32(bufferAt + used + 8, 0, true);
    view.setUint32(bufferAt + used + 12, DP.END, true);
    // To a whole page, in which nothing else is.
    const last = Math.ceil((used + DUMP_PAGE_BYTES) / device.grainBytes) * device.grainBytes;
    u8.fill(0, bufferAt + used + DUMP_PAGE_BYTES, bufferAt + last);
    error = yield* write_out(lkcd, Math.min(last, DUMP_BUFFER_BYTES));
    if (error === 0 && last > DUMP_BUFFER_BYTES) {
      u8.copyWithin(bufferAt, bufferAt + DUMP_BUFFER_BYTES, bufferAt + last);
      error = yield* write_out(lkcd, last - DUMP_BUFFER_BYTES);
    }
    return error !== 0 ? error : yield* dump_passthru_update_header(lkcd, memdev, headerBytes);
  },
);
