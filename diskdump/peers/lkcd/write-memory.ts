// Memory to the device: kernel pages, those in use, the free ones, each behind a header of its own; 64 KiB at a time.
import { giveWay, cpu, mustGiveWay, step } from "../../../emulator/cpu/cpu.ts";
import { FRAME_SIZE } from "../../../emulator/memory/pool.ts";
import { M } from "../../../kernel-sim/abi/ram.ts";
import { K } from "../../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../../kernel-sim/core/kfunc.ts";
import { touch_nmi_watchdog } from "../../../kernel-sim/core/nmi.ts";
import { printk } from "../../../kernel-sim/core/printk.ts";
import {
  ALL_ZERO,
  APART,
  PG_lru,
  PG_reserved,
  countAt,
  flagsAt,
  page_count,
  page_flags,
  pfn_to_page,
  structPagesAt,
} from "../../../kernel-sim/mm/page.ts";
import { DP, DUMP_PAGE_BYTES } from "../../cores/lkcd-header.ts";
import { runLengthsIn, type RunLengths } from "../../cores/run-lengths.ts";
import { deflatePage } from "../../cores/zlib-page.ts";
import { BUFFERS_PER_HEADER, DUMP_BUFFER_BYTES, DUMP_HEADER_ROOM, type Lkcd } from "./lkcd.ts";
import { LKCD_LEVELS } from "./options.ts";

const kfunc = moduleFunctions("dump");

/** memcpy of a page frame that is not in the cache. */
const COPY_FRAME_NS = 1500;
/** Compressing one byte, about: run lengths and zlib at its fastest on a CPU of 2004. */
export const PACK_NS_PER_BYTE = { none: 0, rle: 2, gzip: 30 } as const;
/** Looking at a struct page. */
export const LOOK_NS = 10;
const REPORT_PAGES = 65536;
/** A section between two preemption points, at most. */
export const PIECE_NS = 1000;

type Kind = "kernel" | "referenced" | "unreferenced";
export const PASSES: readonly Kind[] = ["kernel", "referenced", "unreferenced"];

/** Reserved, or in use and on no LRU list, is the kernel's; a count of 0 is free. */
function kindOfFrame(flags: number, count: number): Kind {
  if ((flags & PG_reserved) !== 0) return "kernel";
  if (count === 0) return "unreferenced";
  return (flags & PG_lru) !== 0 ? "referenced" : "kernel";
}

/** mem_map has an entry for each 4 KiB here: a larger page is what the most important of its parts is. */
export function kindOf(firstFrame: number, frames: number): Kind {
  const { pageStructBytes } = K.pages;
  const first = pfn_to_page(firstFrame);
  const at = structPagesAt(first, frames);
  let kind: Kind = "unreferenced";
  if (at === ALL_ZERO) return kind;
  for (let offset = 0; offset < frames * pageStructBytes; offset += pageStructBytes) {
    const page = first + offset;
    const one =
      at === APART
        ? kindOfFrame(page_flags(page), page_count(page))
        : kindOfFrame(flagsAt(at + offset), countAt(at + offset));
    if (one === "kernel") return one;
    if (one === "referenced") kind = one;
  }
  return kind;
}

/** The buffer that fills, and what is counted on the way. */
export class Filling {
  readonly lkcd: Lkcd;
  /** Bytes in the buffer. */
  used = 0;
  buffers = 0;
  /** takeAll() stopped at a page whose packing takes longer than the CPUs' clocks may drift apart. */
  slow = false;
  private readonly runs: RunLengths;
  /** Where a page is put together, outside of the machine, whose frames do not lie in a row. */
  private readonly page: Uint8Array;
  /** What a page of zeroes packs to. */
  private readonly packedZeroes: Uint8Array | undefined;
  /** Packing a page. */
  readonly packNs: number;

  constructor(lkcd: Lkcd) {
    this.lkcd = lkcd;
    this.runs = runLengthsIn(M.memory.pool);
    this.page = this.runs.roomToPack(lkcd.pageSize);
    this.packedZeroes = this.pack(new Uint8Array(lkcd.pageSize))?.slice();
    this.packNs = PACK_NS_PER_BYTE[lkcd.options.compress] * lkcd.pageSize;
  }

  /** Valid until the next page is packed. */
  private pack(page: Uint8Array): Uint8Array | undefined {
    const { compress } = this.lkcd.options;
    return compress === "none" ? undefined : compress === "rle" ? this.runs.encode(page) : deflatePage(page);
  }

  /** The bytes of a page: those of the slab where its frames lie in a row, as they mostly do. */
  private bytesAt(address: number): Uint8Array {
    const { memory, u8 } = M;
    const { pageSize } = this.lkcd;
    const at = memory.offsetForRead(address);
    let inARow = at >= 0;
    for (let done = FRAME_SIZE; inARow && done < pageSize; done += FRAME_SIZE)
      inARow = memory.offsetForRead(address + done) === at + done;
    if (inARow) return u8.subarray(at, at + pageSize);
    memory.readBytes(address, this.page);
    return this.page;
  }

  private describe(address: number, size: number, flags: number): void {
    const at = this.lkcd.bufferAt + this.used;
    const { view } = M;
    view.setUint32(at, address >>> 0, true);
    view.setUint32(at + 4, address / 2 ** 32, true);
    view.setUint32(at + 8, size, true);
    view.setUint32(at + 12, flags, true);
    this.used += DUMP_PAGE_BYTES;
  }

  /** One page of the kernel's size: header and contents, packed when that makes it smaller and it is not our own stack. */
  add(pfn: number): void {
    const { lkcd } = this;
    const { pageSize, bufferAt } = lkcd;
    const address = pfn * pageSize;
    step(COPY_FRAME_NS * (pageSize / FRAME_SIZE));
    const { u8, memory } = M;
    let zero = true;
    for (let at = address; zero && at < address + pageSize; at += FRAME_SIZE) zero = memory.offsetForRead(at) < 0;
    let packed: Uint8Array | undefined;
    if (lkcd.options.compress !== "none" && !(cpu.sp >= address && cpu.sp < address + pageSize)) {
      if (zero) packed = this.packedZeroes;
      else {
        lkcd.outcome.onPage?.(pfn);
        packed = this.pack(this.bytesAt(address));
      }
    }
    this.describe(address, packed ? packed.length : pageSize, packed ? DP.COMPRESSED : DP.RAW);
    if (packed) u8.set(packed, bufferAt + this.used);
    else {
      // Behind its header, which may lie in this very page: the dump's own buffer is dumped as it is while it fills.
      lkcd.outcome.onPage?.(pfn);
      copyPage(lkcd, address, bufferAt + this.used);
    }
    this.used += packed ? packed.length : pageSize;
  }

  /** A page of the pass, which has been packed. */
  take(pfn: number): void {
    this.add(pfn);
    const { data } = this.lkcd;
    data.dump_num_pages = data.dump_num_pages + 1;
  }

  /**
   * Looks at the pages from `pfn` to before `end`, and takes those of this kind, for as long as nothing has to wait. Returns: the first page
   * that it did not take. That one has been looked at already, and is to be packed in pieces, when `slow` says so.
   * Hot: once per page of RAM and pass; a generator would not be.
   */
  takeAll(pfn: number, end: number, kind: Kind): number {
    const { lkcd, packNs } = this;
    const frames = lkcd.pageSize / FRAME_SIZE;
    this.slow = false;
    while (pfn < end) {
      step(LOOK_NS);
      if (kindOf(pfn * frames, frames) === kind) {
        if (cpu.clock + packNs > cpu.horizon) {
          this.slow = true;
          return pfn;
        }
        step(packNs);
        this.take(pfn);
        pfn++;
        if (this.full || this.reportDue) return pfn;
      } else pfn++;
      if (mustGiveWay()) return pfn;
    }
    return pfn;
  }

  get full(): boolean {
    return this.used >= DUMP_BUFFER_BYTES;
  }
  get reportDue(): boolean {
    return this.lkcd.data.dump_num_pages % REPORT_PAGES === 0;
  }

  end(): void {
    this.describe(0, 0, DP.END);
    // To whole sectors, or pages; what stood in the buffer before follows the mark.
    const { grainBytes } = this.lkcd.device;
    this.used = Math.ceil(this.used / grainBytes) * grainBytes;
  }

  /** What did not fit moves to the front. */
  emptied(): void {
    const { bufferAt } = this.lkcd;
    const rest = Math.max(0, this.used - DUMP_BUFFER_BYTES);
    M.u8.copyWithin(bufferAt, bufferAt + DUMP_BUFFER_BYTES, bufferAt + DUMP_BUFFER_BYTES + rest);
    this.used = rest;
    this.buffers++;
  }
}

/** To an address of the flat window, which need not be aligned. */
function copyPage(lkcd: Lkcd, from: number, to: number): void {
  const { u8, memory } = M;
  if (from + lkcd.pageSize <= memory.flatBytes) {
    // In one piece: the buffer itself is dumped, too, and overlaps with where it goes.
    u8.copyWithin(to, from, from + lkcd.pageSize);
    return;
  }
  for (let done = 0; done < lkcd.pageSize; done += FRAME_SIZE) {
    const at = memory.offsetForRead(from + done);
    if (at < 0) u8.fill(0, to + done, to + done + FRAME_SIZE);
    else u8.copyWithin(to + done, at, at + FRAME_SIZE);
  }
}

/** Writes a full buffer and waits for it, then the header if its turn has come. Returns: 0 or a negative errno. */
const dump_write_buffer = kfunc("dump_write_buffer", function* (filling: Filling, bytes: number) {
  const { lkcd } = filling;
  touch_nmi_watchdog();
  let error = yield* lkcd.device.write(lkcd.bufferAt, bytes);
  if (error === 0) error = yield* lkcd.device.ready();
  if (error !== 0) return error;
  filling.emptied();
  lkcd.outcome.pagesWritten = lkcd.data.dump_num_pages;
  if (filling.buffers % BUFFERS_PER_HEADER !== 0) return 0;
  return yield* dump_update_header(lkcd);
});

/** The header, with the number of pages as it is now; the device goes on where it was. Returns: 0 or a negative errno. */
export const dump_update_header = kfunc("dump_update_header", function* (lkcd: Lkcd) {
  const { data, device } = lkcd;
  step(500);
  lkcd.header().set("dh_num_pages", data.dump_num_pages);
  const offset = data.dump_offset;
  data.dump_offset = device.startOffset;
  let error = yield* device.write(lkcd.headerAt, lkcd.headerBytes);
  if (error === 0) error = yield* device.ready();
  data.dump_offset = offset;
  if (error === 0) lkcd.outcome.touched = true;
  return error;
});

/**
 * All passes that the level asks for. Returns: 0 or a negative errno.
 * Pass 4, memory that is not RAM (the firmware's), is beyond the level "all".
 */
export const dump_write_memory = kfunc("dump_execute_memdump", function* (lkcd: Lkcd) {
  const { data, options } = lkcd;
  const passes = PASSES.slice(0, LKCD_LEVELS.indexOf(options.level) + 1);
  const filling = new Filling(lkcd);
  data.dump_offset = lkcd.device.startOffset + DUMP_HEADER_ROOM;
  let error = 0;
  for (const kind of passes) {
    for (const { first, count } of lkcd.ram) {
      const end = first + count;
      for (let pfn = first; pfn < end;) {
        const before = data.dump_num_pages;
        pfn = filling.takeAll(pfn, end, kind);
        if (filling.slow) {
          for (let left = filling.packNs; left > 0; left -= PIECE_NS) {
            step(Math.min(left, PIECE_NS));
            if (mustGiveWay()) yield* giveWay(cpu);
          }
          filling.take(pfn++);
        }
        if (data.dump_num_pages > before && filling.reportDue) yield* printk(".", 1);
        if (filling.full) {
          error = yield* dump_write_buffer(filling, DUMP_BUFFER_BYTES);
          if (error !== 0) return error;
        }
        if (mustGiveWay()) yield* giveWay(cpu);
      }
    }
  }
  filling.end();
  while (filling.used > 0 && error === 0) {
    error = yield* dump_write_buffer(filling, Math.min(filling.used, DUMP_BUFFER_BYTES));
  }
  return error;
});
