// Where a core goes: a sparse file on the host, or a page store in the slab that takes pages over by reference.
import { FRAME_SIZE, HOLE, PagePool } from "../../emulator/memory/pool.ts";
import { PageSimd } from "../../emulator/memory/simd.ts";
import { PageStore, type ByteStore } from "../../emulator/memory/store.ts";
import type { HostFile } from "./host-files.ts";
import { nextHole, resolveStore } from "./partition-store.ts";

/** Receives a core in ascending file offsets. What nobody writes reads as zeroes. */
export interface CoreSink {
  /** Called first, with the size of the core. */
  begin(sizeBytes: number): void;
  bytes(offset: number, data: Uint8Array): void;
  /** `length` bytes of `source` from `sourceOffset` on, a multiple of 4096, to `offset` in the core. */
  copy(offset: number, source: ByteStore, sourceOffset: number, length: number): void;
  /** Called last; with the size of the core when `begin` could only be told the most that it may be. */
  end(sizeBytes?: number): void;
}

/** Bytes moved by one read and at most one write for each run of pages with contents. */
const CHUNK_BYTES = 1 << 20;

/** Reads into the slab of a small pool of its own, so that pages of zeroes are found by SIMD. */
export class FileSink implements CoreSink {
  private readonly file: HostFile;
  private readonly buffer: Uint8Array;
  private readonly simd: PageSimd;
  private sizeBytes = 0;
  /** Bytes that were not zero and so were written. */
  writtenBytes = 0;

  constructor(file: HostFile) {
    // Frame 0 is the pool's flat window; the buffer is what lies behind it.
    const pool = new PagePool(FRAME_SIZE, FRAME_SIZE + CHUNK_BYTES);
    this.file = file;
    this.buffer = pool.u8.subarray(FRAME_SIZE, FRAME_SIZE + CHUNK_BYTES);
    this.simd = new PageSimd(pool);
  }

  begin(sizeBytes: number): void {
    this.sizeBytes = sizeBytes;
  }

  /** The size is set last: ext4 was seen to take up to three times as long for writes below the end of a file. */
  end(sizeBytes = this.sizeBytes): void {
    this.file.truncate(sizeBytes);
  }

  bytes(offset: number, data: Uint8Array): void {
    this.file.write(offset, data);
    this.writtenBytes += data.length;
  }

  copy(offset: number, source: ByteStore, sourceOffset: number, length: number): void {
    const real = resolveStore(source, sourceOffset);
    for (let done = 0; done < length;) {
      const skip = real.store.nextData(real.offset + done) - real.offset;
      done = Math.max(done, skip - (skip % FRAME_SIZE));
      if (done >= length) return;
      const hole = Math.ceil((endOfData(real.store, real.offset + done) - real.offset) / FRAME_SIZE) * FRAME_SIZE;
      const size = Math.min(CHUNK_BYTES, length - done, hole - done);
      real.store.read(real.offset + done, this.buffer.subarray(0, size));
      this.writeNonZero(offset + done, size);
      done += size;
    }
  }

  /** Writes the runs of pages with contents among the first `size` bytes of the buffer. */
  private writeNonZero(offset: number, size: number): void {
    let start = -1;
    for (let at = 0; at <= size; at += FRAME_SIZE) {
      const empty = at === size || this.simd.isZero(1 + at / FRAME_SIZE);
      if (!empty && start < 0) start = at;
      else if (empty && start >= 0) {
        this.file.write(offset + start, this.buffer.subarray(start, at));
        this.writtenBytes += at - start;
        start = -1;
      }
    }
  }
}

/** The end of the data at `offset`, looking no further than one chunk. */
function endOfData(store: ByteStore, offset: number): number {
  if (!(store instanceof PageStore)) return nextHole(store, offset);
  const first = Math.floor(offset / FRAME_SIZE);
  const limit = Math.min(store.slots.length, first + CHUNK_BYTES / FRAME_SIZE + 1);
  let page = first + 1;
  while (page < limit && !store.isHole(page)) page++;
  return Math.min(store.sizeBytes, page * FRAME_SIZE);
}

/** Keeps the core in memory. Pages of a partition in the same pool are not copied: both stores own them from then on. */
export class PageStoreSink implements CoreSink {
  private readonly pool: PagePool;
  private readonly name: string;
  private core: PageStore | undefined;

  constructor(pool: PagePool, name = "vmcore") {
    this.pool = pool;
    this.name = name;
  }

  /** The finished core. */
  get store(): PageStore {
    if (!this.core) throw new Error(`${this.name}: nothing has been written`);
    return this.core;
  }

  begin(sizeBytes: number): void {
    this.core = new PageStore(this.pool, this.name, sizeBytes);
  }

  end(): void {
    // Every page is in its place already.
  }

  bytes(offset: number, data: Uint8Array): void {
    this.store.write(offset, data);
  }

  copy(offset: number, source: ByteStore, sourceOffset: number, length: number): void {
    const real = resolveStore(source, sourceOffset);
    if (
      real.store instanceof PageStore &&
      real.store.pool === this.pool &&
      real.offset % FRAME_SIZE === 0 &&
      offset % FRAME_SIZE === 0
    ) {
      shareInto(this.store, offset / FRAME_SIZE, real.store, real.offset / FRAME_SIZE, length / FRAME_SIZE);
      return;
    }
    const page = new Uint8Array(FRAME_SIZE);
    for (let done = 0; done < length; done += FRAME_SIZE) {
      const skip = real.store.nextData(real.offset + done) - real.offset;
      done = Math.max(done, skip - (skip % FRAME_SIZE));
      if (done >= length) return;
      real.store.read(real.offset + done, page);
      if (!isZero(page)) this.store.write(offset + done, page);
    }
  }
}

const zeroPage = Buffer.alloc(FRAME_SIZE);
const isZero = (page: Uint8Array): boolean => zeroPage.equals(page);

function shareInto(core: PageStore, at: number, source: PageStore, from: number, pages: number): void {
  const { slots } = source;
  for (let i = 0; i < pages; i++) {
    if (slots[from + i] === HOLE) continue;
    const slot = source.slotOf(from + i);
    if (slot !== HOLE) core.setShared(at + i, slot);
  }
}
