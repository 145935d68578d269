// The dump device: writes go the way of every other write of the kernel (dump_blockdev.c). Bios that were made when the dump was
// configured carry them (the kiobuf of 2.4); everything behind submit_bio() is the block layer's, the SCSI layer's, the driver's, and the
// interrupt's, with all the locks, lists and waits that there are.
import { finished, type Running } from "../../../emulator/cpu/cpu.ts";
import { K } from "../../../kernel-sim/core/kernel.ts";
import { BIO_UPTODATE, bio_add_page, bio_alloc, bio_target, type Bio } from "../../../kernel-sim/block/bio.ts";
import { blkdev_get, type BlockDevice } from "../../../kernel-sim/block/gendisk.ts";
import { generic_unplug_device, submit_bio } from "../../../kernel-sim/block/queue.ts";
import { WRITE } from "../../../kernel-sim/block/request.ts";
import { kquick, moduleFunctions } from "../../../kernel-sim/core/kfunc.ts";
import { GFP_KERNEL } from "../../../kernel-sim/mm/page-alloc.ts";
import { PAGE_SIZE, virt_to_page } from "../../../kernel-sim/mm/page.ts";
import type { DumpDevice } from "./dump-device.ts";
import { DUMP_BUFFER_BYTES, lkcdOf, type Lkcd } from "./lkcd.ts";
import { relax, waitBegins } from "./relax.ts";

const kfunc = moduleFunctions("dump");

const EIO = 5;
export const ENOSPC = 28;
const SECTOR = 512;

export class DumpBlockdev implements DumpDevice {
  readonly block: NonNullable<DumpDevice["block"]>;
  readonly name: string;
  readonly number: number;
  readonly greeting = "Dumping to block device";
  /** Behind the swap header. */
  readonly startOffset: number;
  readonly needsInterrupts = true;
  readonly grainBytes = SECTOR;
  readonly failure = "write error";
  private lkcd: Lkcd | undefined;

  constructor(bdev: BlockDevice, bios: readonly Bio[]) {
    this.block = { bdev, bios };
    this.name = `/dev/${bdev.name}`;
    this.number = bdev.s.bd_dev;
    this.startOffset = K.map.model.pageSize;
  }

  attach(lkcd: Lkcd): void {
    this.lkcd = lkcd;
    lkcd.data.dump_bio = this.block.bios[0]!.addr;
  }

  silence(): Running<number> {
    return finished(0);
  }
  write(from: number, bytes: number): Running<number> {
    return dump_block_write(this, this.lkcd!, from, bytes);
  }
  ready(): Running<number> {
    return dump_block_ready(this, this.lkcd!);
  }
  resume(): Running {
    return finished();
  }
}

/** Opens the device and makes what writes to it take. Context: process. */
export function* dump_block_open(bdev: BlockDevice): Running<DumpBlockdev | "no memory" | "no device"> {
  const pages = Math.min(K.flavour.block.pagesPerIo, DUMP_BUFFER_BYTES / PAGE_SIZE);
  const bios: Bio[] = [];
  while (bios.length * pages * PAGE_SIZE < DUMP_BUFFER_BYTES) {
    const bio = yield* bio_alloc(GFP_KERNEL, pages);
    if (!bio) return "no memory";
    bios.push(bio);
  }
  if ((yield* blkdev_get(bdev)) !== 0) return "no device";
  return new DumpBlockdev(bdev, bios);
}

/** A part of the write has ended. Context: as every end_io, softirq or bottom half. */
export const dump_bio_end_io = kquick(
  "dump_bio_end_io",
  (bio: Bio, _bytes: number, error: number): Running => {
    const { data, outcome } = lkcdOf(K)!;
    if (error !== 0) data.dump_io_error = error;
    if (bio.s.bi_size === 0) {
      data.dump_io_count = data.dump_io_count - 1;
      if (data.dump_io_count === 0) outcome.writesEnded++;
    }
    return finished();
  },
  "dump",
);

/** The queue of the dump's disk may start: q->unplug_fn in 2.6, all of tq_disk in 2.4 (kiobuf_wait_for_io). */
const unplug = ({ block: { bdev } }: DumpBlockdev): Running =>
  K.flavour.version === "2.6.9" ? generic_unplug_device(bdev.disk.queue) : K.flavour.block.letGo(undefined);

/** Waits for the write that is under way, however long that takes. Returns: 0, or what the write ended with. */
const dump_block_ready = kfunc("dump_block_ready", function* (dev: DumpBlockdev, lkcd: Lkcd) {
  const { data } = lkcd;
  waitBegins(lkcd);
  while (data.dump_io_count > 0) {
    yield* unplug(dev);
    if (data.dump_io_count > 0) yield* relax(lkcd);
  }
  return data.dump_io_error;
});

/** Makes a bio of the dump's that has been used before ready again. */
function clean({ s }: Bio): void {
  s.bi_next = 0;
  s.bi_flags = BIO_UPTODATE;
  s.bi_rw = 0;
  s.bi_vcnt = 0;
  s.bi_idx = 0;
  s.bi_size = 0;
  s.bi_phys_segments = 0;
  s.bi_hw_segments = 0;
}

/**
 * Writes `bytes` from physical address `from` to the device at data.dump_offset, and moves that on. Returns: 0 or a negative errno
 * (of the write before, too). The write is under way when it returns.
 */
const dump_block_write = kfunc(
  "dump_block_write",
  function* (dev: DumpBlockdev, lkcd: Lkcd, from: number, bytes: number) {
    const { data } = lkcd;
    const { bdev, bios } = dev.block;
    const error = yield* dump_block_ready(dev, lkcd);
    if (error !== 0) return error;
    const start = data.dump_offset;
    if (start + bytes > bdev.sectors * SECTOR) return -ENOSPC;
    const perBio = DUMP_BUFFER_BYTES / bios.length;
    data.dump_io_error = 0;
    data.dump_io_count = Math.ceil(bytes / perBio);
    for (let at = 0, i = 0; at < bytes; at += perBio, i++) {
      const bio = bios[i]!;
      const end = Math.min(bytes, at + perBio);
      clean(bio);
      bio_target(bio, bdev, (start + at) / SECTOR, dump_bio_end_io);
      for (let done = at; done < end; done += PAGE_SIZE) {
        const length = Math.min(PAGE_SIZE, end - done);
        if (bio_add_page(bio, virt_to_page(from + done), length, 0) !== length) return -EIO;
      }
      yield* submit_bio(WRITE, bio);
    }
    data.dump_offset = start + bytes;
    lkcd.outcome.bytesWritten += bytes;
    return 0;
  },
);
