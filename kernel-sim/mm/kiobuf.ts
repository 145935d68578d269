// Raw and direct I/O of 2.4 (fs/iobuf.c, brw_kiovec of fs/buffer.c): the user's pages in a kiobuf, a buffer head for each block.
import { step } from "../../emulator/cpu/cpu.ts";
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import { BIO_UPTODATE, bio_alloc, bio_target, setBvec, bvecAt, type Bio } from "../block/bio.ts";
import { submit_bio } from "../block/make-request.ts";
import { run_tq_disk } from "../block/tq-disk.ts";
import { WRITE } from "../block/request.ts";
import { versionFunctions } from "../core/version-functions.ts";
import { END_BUFFER_NS, KIOBUF_BLOCK_NS } from "../flavours/prices-2.4.ts";
import { schedule } from "../core/sched.ts";
import { TASK_UNINTERRUPTIBLE } from "../core/task.ts";
import { finish_wait, prepare_to_wait, wake_up } from "../core/wait.ts";
import { invalidate_inode_pages2_range, type DirectIo } from "./direct-io.ts";
import type { UserBuffer } from "./filemap.ts";
import { GFP_KERNEL } from "./page-alloc.ts";
import type { AddressSpace } from "./page-cache.ts";
import { virt_to_page } from "./page.ts";
import { filemap_write_and_wait } from "./writeback.ts";

const kfunc = versionFunctions("2.4.21");
const EIO = 5;
const EINVAL = 22;
const ENOMEM = 12;
/** Blocks that one kiobuf takes (KIO_MAX_SECTORS). */
const KIO_MAX_SECTORS = 1024;
/** map_user_kiobuf(), per page: find it, count it. */
const MAP_PAGE_NS = 250;

/** kiobuf.bh[]: made once with the file's kiobuf and used again. */
const bufferHeads = new WeakMap<DirectIo, Bio[]>();

/** A block has ended. Softirq. */
const end_buffer_io_kiobuf = kfunc("end_buffer_io_kiobuf", function* (bh: Bio, _bytes: number, _error: number) {
  const iobuf = bh.private_ as DirectIo;
  step(END_BUFFER_NS);
  if ((bh.s.bi_flags & BIO_UPTODATE) === 0) iobuf.s.io_error = -EIO;
  // atomic_dec_and_test(&kiobuf->io_count)
  const left = iobuf.s.bios_in_flight - 1;
  iobuf.s.bios_in_flight = left;
  if (left === 0) yield* wake_up(iobuf.done.wait);
});

/** Runs tq_disk and sleeps until no block of the kiobuf is under way. Context: process. */
const kiobuf_wait_for_io = kfunc("kiobuf_wait_for_io", function* (iobuf: DirectIo) {
  const queue = iobuf.done.wait;
  while (iobuf.s.bios_in_flight > 0) {
    const entry = yield* prepare_to_wait(queue, TASK_UNINTERRUPTIBLE, false);
    if (iobuf.s.bios_in_flight > 0) {
      yield* run_tq_disk();
      yield* schedule();
    }
    yield* finish_wait(queue, entry);
  }
});

/** Submits a run of blocks, one by one, and waits for them. Returns: 0 or a negative errno. */
const brw_kiovec = kfunc(
  "brw_kiovec",
  function* (
    rw: number,
    mapping: AddressSpace,
    iobuf: DirectIo,
    pos: number,
    bytes: number,
    buffer: UserBuffer,
    blockBytes: number,
  ) {
    let heads = bufferHeads.get(iobuf);
    if (!heads) bufferHeads.set(iobuf, (heads = []));
    iobuf.s.io_error = 0;
    let done = 0;
    for (let i = 0; done < bytes; i++) {
      if (i === KIO_MAX_SECTORS) {
        yield* kiobuf_wait_for_io(iobuf);
        i = 0;
      }
      const at = buffer.address(done);
      const length = Math.min(blockBytes, bytes - done, FRAME_SIZE - (at % FRAME_SIZE));
      const bh = heads[i] ?? (yield* bio_alloc(GFP_KERNEL, 1));
      if (!bh) {
        iobuf.s.io_error = -ENOMEM;
        break;
      }
      heads[i] = bh;
      step(KIOBUF_BLOCK_NS);
      prepareHead(bh, at, length);
      bio_target(bh, mapping.bdev, mapping.startSector + (pos + done) / 512, end_buffer_io_kiobuf, iobuf);
      iobuf.s.bios_in_flight = iobuf.s.bios_in_flight + 1;
      yield* submit_bio(rw, bh);
      done += length;
    }
    yield* kiobuf_wait_for_io(iobuf);
    return iobuf.s.io_error;
  },
);

/** A buffer head for one block of a page. */
function prepareHead(bh: Bio, at: number, length: number): void {
  const { s } = bh;
  s.bi_next = 0;
  s.bi_flags = BIO_UPTODATE;
  s.bi_rw = 0;
  s.bi_vcnt = 1;
  s.bi_idx = 0;
  s.bi_phys_segments = 1;
  s.bi_hw_segments = 1;
  s.bi_size = length;
  setBvec(bvecAt(bh, 0), virt_to_page(at), length, at % FRAME_SIZE);
}

/** As blkdev_direct_IO of 2.6.9. `blockBytes`: what one buffer head carries. */
export const generic_direct_IO = kfunc(
  "generic_direct_IO",
  function* (
    rw: number,
    mapping: AddressSpace,
    iobuf: DirectIo,
    pos: number,
    bytes: number,
    buffer: UserBuffer,
    blockBytes: number,
  ) {
    if (pos % 512 !== 0 || bytes % 512 !== 0) return -EINVAL;
    const total = Math.max(0, Math.min(bytes, mapping.sectors * 512 - pos));
    if (mapping.dirty.size > 0 || mapping.writeback.size > 0) {
      const error = yield* filemap_write_and_wait(mapping);
      if (error !== 0) return error;
    }
    if (rw === WRITE && mapping.pages.size > 0) yield* invalidate_inode_pages2_range(mapping, pos, total);
    step(Math.ceil(total / FRAME_SIZE) * MAP_PAGE_NS);
    iobuf.s.bios_in_flight = 0;
    const error = yield* brw_kiovec(rw, mapping, iobuf, pos, total, buffer, blockBytes);
    if (rw === WRITE && mapping.pages.size > 0) yield* invalidate_inode_pages2_range(mapping, pos, total);
    return error !== 0 ? error : total;
  },
);
