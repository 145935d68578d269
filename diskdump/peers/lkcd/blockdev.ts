// The dump device: writes go the way of every other write of the kernel (dump_blockdev.c). One bio, made when the dump was
// configured, carries them; everything behind submit_bio() is the block layer's, the SCSI layer's, the driver's, and the
// interrupt's, with all the locks, lists and waits that there are.
import { K } from "../../../kernel-sim/core/kernel.ts";
import { BIO_UPTODATE, bio_add_page, bio_target, type Bio } from "../../../kernel-sim/block/bio.ts";
import { generic_unplug_device, submit_bio } from "../../../kernel-sim/block/queue.ts";
import { WRITE } from "../../../kernel-sim/block/request.ts";
import { moduleFunctions } from "../../../kernel-sim/core/kfunc.ts";
import { PAGE_SIZE, virt_to_page } from "../../../kernel-sim/mm/page.ts";
import { lkcdOf, type Lkcd } from "./lkcd.ts";
import { relax, waitBegins } from "./relax.ts";

const kfunc = moduleFunctions("dump");

const EIO = 5;
export const ENOSPC = 28;
const SECTOR = 512;

/** The write has ended, or a part of it. Context: as every end_io, softirq. */
export const dump_bio_end_io = kfunc("dump_bio_end_io", function* (bio: Bio, _bytes: number, error: number) {
  const { data, outcome } = lkcdOf(K)!;
  if (error !== 0) data.dump_bio_error = error;
  if (bio.s.bi_size > 0) return;
  data.dump_bio_complete = 1;
  outcome.writesEnded++;
});

/** Waits for the write that is under way, however long that takes. Returns: 0, or what the write ended with. */
export const dump_block_ready = kfunc("dump_block_ready", function* (lkcd: Lkcd) {
  const { data, bdev } = lkcd;
  const q = bdev.disk.queue;
  waitBegins(lkcd);
  while (data.dump_bio_complete === 0) {
    yield* generic_unplug_device(q);
    if (data.dump_bio_complete === 0) yield* relax(lkcd);
  }
  return data.dump_bio_error;
});

/**
 * Writes `bytes` from physical address `from` to the device at data.dump_offset, and moves that on. Returns: 0 or a negative errno
 * (of the write before, too). The write is under way when it returns.
 */
export const dump_block_write = kfunc("dump_block_write", function* (lkcd: Lkcd, from: number, bytes: number) {
  const { data, bdev, bio } = lkcd;
  const error = yield* dump_block_ready(lkcd);
  if (error !== 0) return error;
  if (data.dump_offset + bytes > bdev.sectors * SECTOR) return -ENOSPC;
  const { s } = bio;
  s.bi_next = 0;
  s.bi_flags = BIO_UPTODATE;
  s.bi_rw = 0;
  s.bi_vcnt = 0;
  s.bi_idx = 0;
  s.bi_size = 0;
  s.bi_phys_segments = 0;
  s.bi_hw_segments = 0;
  bio_target(bio, bdev, data.dump_offset / SECTOR, dump_bio_end_io);
  for (let done = 0; done < bytes; done += PAGE_SIZE) {
    const length = Math.min(PAGE_SIZE, bytes - done);
    if (bio_add_page(bio, virt_to_page(from + done), length, 0) !== length) return -EIO;
  }
  data.dump_bio_complete = 0;
  data.dump_bio_error = 0;
  yield* submit_bio(WRITE, bio);
  data.dump_offset = data.dump_offset + bytes;
  return 0;
});
