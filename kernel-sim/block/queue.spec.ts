// Goal: requests gather, merge, sort, run out and complete as in 2.6.9. Method: a disk that completes by a real interrupt line.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Running } from "../../emulator/cpu/cpu.ts";
import { M } from "../abi/ram.ts";
import { request as request_struct } from "../abi/structs/block.ts";
import { runKernel } from "../core/boot.ts";
import { kernel_thread } from "../core/fork.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { list_entries } from "../core/list.ts";
import { spin_lock_irq, spin_unlock_irq } from "../core/spinlock.ts";
import { msleep, udelay } from "../core/timer.ts";
import { bootTestMachine, type TestMachineOptions } from "../core/testing.ts";
import { GFP_KERNEL, __get_free_pages } from "../mm/page-alloc.ts";
import { virt_to_page } from "../mm/page.ts";
import { BIO_RW_BARRIER, BIO_UPTODATE, bio_add_page, bio_alloc, bio_put, bio_target, type Bio } from "./bio.ts";
import { lookup_bdev } from "./gendisk.ts";
import {
  blk_execute_rq,
  blk_get_request,
  blk_put_request,
  blk_queue_plugged,
  blk_run_queue,
  blk_start_queue,
  blk_stop_queue,
  submit_bio,
} from "./queue.ts";
import { READ, REQ_BLOCK_PC, WRITE, blk_rq_map_sg, end_that_request_first, type Request } from "./request.ts";
import { requestAt } from "./elevator.ts";
import { TestDisk, attachTestDisk, type TestDiskOptions } from "./testing.ts";

interface Ended {
  readonly sector: number;
  readonly good: boolean;
}

/** A booted machine with one disk; `program` gets it attached, and its log of ended bios. */
function withDisk(
  options: TestDiskOptions & { machine?: TestMachineOptions },
  program: (disk: TestDisk, ended: Ended[]) => Running,
): { disk: TestDisk; ended: Ended[]; reports: readonly string[]; finished: boolean } {
  const k = bootTestMachine({ cpus: 2, ...options.machine });
  const disk = new TestDisk(options);
  const ended: Ended[] = [];
  const finished = runKernel(k, function* () {
    yield* attachTestDisk(disk);
    disk.served.length = 0;
    yield* program(disk, ended);
  });
  return { disk, ended, reports: k.reports, finished };
}

const end_io = (ended: Ended[], sector: number) =>
  kfunc("test_end_io", function* (bio: Bio, _bytes: number, _error: number) {
    if (bio.s.bi_size !== 0) return;
    ended.push({ sector, good: (bio.s.bi_flags & BIO_UPTODATE) !== 0 });
    yield* bio_put(bio);
  });

/** Submits one page (or `pages`) at a sector, without waiting. */
const submit = kfunc("test_submit", function* (rw: number, sector: number, ended: Ended[], pages: number) {
  const bdev = lookup_bdev("sda")!;
  const at = yield* __get_free_pages(GFP_KERNEL, 0);
  M.u8.fill(sector & 0xff, at, at + 4096);
  const bio = (yield* bio_alloc(GFP_KERNEL, pages))!;
  bio_target(bio, bdev, sector, end_io(ended, sector));
  for (let i = 0; i < pages; i++) bio_add_page(bio, virt_to_page(at), 4096, 0);
  yield* submit_bio(rw, bio);
});

const untilEnded = function* (ended: Ended[], count: number): Generator<void, void, void> {
  for (let i = 0; i < 2000 && ended.length < count; i++) yield* msleep(1);
};

describe("plugging", () => {
  test("a lone request starts when the unplug timer has run for 3 ms", () => {
    const { disk } = withDisk({}, function* (disk, ended) {
      yield* submit(WRITE, 800, ended, 1);
      expect(blk_queue_plugged(disk.queue)).toBe(true);
      yield* msleep(1);
      expect(disk.served).toHaveLength(0);
      yield* msleep(5);
      expect(blk_queue_plugged(disk.queue)).toBe(false);
      yield* untilEnded(ended, 1);
      expect(ended).toEqual([{ sector: 800, good: true }]);
    });
    expect(disk.served).toEqual([{ write: true, sector: 800, sectors: 8, segments: 1 }]);
    expect(disk.media.slotOf(100)).not.toBe(0);
  });

  test("the fourth request starts the queue at once", () => {
    withDisk({}, function* (disk, ended) {
      for (let i = 0; i < 3; i++) yield* submit(WRITE, 1000 + i * 100, ended, 1);
      expect(disk.served).toHaveLength(0);
      yield* submit(WRITE, 1300, ended, 1);
      expect(disk.served.length).toBeGreaterThan(0);
      yield* untilEnded(ended, 4);
      expect(ended).toHaveLength(4);
    });
  });
});

describe("merging", () => {
  for (const elevator of ["noop", "deadline"] as const) {
    test(`${elevator}: neighbours become one request, at the back, at the front, and when a gap closes`, () => {
      const { disk, reports } = withDisk({ elevator }, function* (disk, ended) {
        for (const sector of [80, 88, 72, 104, 96]) yield* submit(WRITE, sector, ended, 1);
        yield* untilEnded(ended, 5);
        expect(ended).toHaveLength(5);
        expect(disk.queue.count(WRITE)).toBe(0);
      });
      const total = disk.served.reduce((n, s) => n + s.sectors, 0);
      expect(total).toBe(40);
      if (elevator === "deadline") expect(disk.served).toMatchObject([{ write: true, sector: 72, sectors: 40 }]);
      else expect(disk.served.length).toBeLessThan(5);
      expect(reports).toEqual([]);
    });
  }

  test("counts a request's segments as mapping it will, at whichever end its parts were added, also after a part has ended", () => {
    // Additions to one request: at the back or the front, and which of eight neighbouring pages; sometimes a sector ends in between.
    const addition = fc.record({ back: fc.boolean(), page: fc.nat(7), ends: fc.integer({ min: 0, max: 5 }) });
    const samples = fc.sample(fc.array(addition, { minLength: 4, maxLength: 10 }), { numRuns: 20, seed: 1 });
    let fewer = 0;
    for (const additions of samples) {
      withDisk({}, function* (disk, ended) {
        disk.stalled = true;
        disk.queue.maxSegmentSize = 12288;
        const pages = yield* __get_free_pages(GFP_KERNEL, 3);
        let [from, to] = [2000, 2000];
        let rq: Request | undefined;
        for (const { back, page, ends } of additions) {
          const sector = back ? to : from - 8;
          const bio = (yield* bio_alloc(GFP_KERNEL, 1))!;
          bio_target(bio, lookup_bdev("sda")!, sector, end_io(ended, sector));
          bio_add_page(bio, virt_to_page(pages + page * 4096), 4096, 0);
          yield* submit_bio(WRITE, bio);
          [from, to] = [Math.min(from, sector), Math.max(to, sector + 8)];
          rq ??= requestAt(disk.queue.s.last_merge)!;
          expect([rq.s.sector, rq.s.nr_sectors]).toEqual([from, to - from]);
          expect(rq.s.nr_phys_segments).toBe(blk_rq_map_sg(disk.queue, rq, []));
          if (rq.s.nr_phys_segments < Math.ceil((to - from) / 8)) fewer++;
          if (ends === 0 && to - from > 8 && (yield* end_that_request_first(rq, 1, 1)) === 1) from++;
        }
      });
    }
    expect(fewer).toBeGreaterThan(20);
  });

  test("stops at max_sectors", () => {
    const { disk } = withDisk({ maxSectors: 16 }, function* (_disk, ended) {
      for (let i = 0; i < 4; i++) yield* submit(WRITE, i * 8, ended, 1);
      yield* untilEnded(ended, 4);
    });
    expect(disk.served.map((s) => s.sectors)).toEqual([16, 16]);
  });

  test("reads and writes do not mix", () => {
    const { disk } = withDisk({}, function* (_disk, ended) {
      yield* submit(WRITE, 80, ended, 1);
      yield* submit(READ, 88, ended, 1);
      yield* untilEnded(ended, 2);
    });
    expect(disk.served).toHaveLength(2);
  });
});

describe("the deadline elevator", () => {
  test("serves reads first, and each batch in sector order", () => {
    const { disk } = withDisk({ depth: 1 }, function* (disk, ended) {
      disk.stalled = true;
      for (const sector of [9000, 1000, 5000, 3000]) yield* submit(WRITE, sector, ended, 1);
      for (const sector of [8000, 2000]) yield* submit(READ, sector, ended, 1);
      disk.stalled = false;
      yield* blk_run_queue(disk.queue);
      yield* untilEnded(ended, 6);
    });
    // A batch starts at the oldest request and goes on upwards from there.
    expect(disk.served.map((s) => `${s.write ? "W" : "R"}${s.sector}`)).toEqual([
      "R8000",
      "R2000",
      "W9000",
      "W1000",
      "W3000",
      "W5000",
    ]);
  });

  test("nothing passes a barrier", () => {
    const { disk } = withDisk({ depth: 1 }, function* (disk, ended) {
      disk.stalled = true;
      yield* submit(WRITE, 6000, ended, 1);
      yield* submit(WRITE | BIO_RW_BARRIER, 4000, ended, 1);
      yield* submit(WRITE, 2000, ended, 1);
      disk.stalled = false;
      yield* blk_run_queue(disk.queue);
      yield* untilEnded(ended, 3);
    });
    expect(disk.served.map((s) => s.sector)).toEqual([6000, 4000, 2000]);
  });
});

describe("the request pool", () => {
  test("runs empty at nr_requests: the next process sleeps in get_request_wait until a request ends", () => {
    const { disk, finished } = withDisk({ depth: 2 }, function* (disk, ended) {
      disk.stalled = true;
      let submitted = 0;
      const writer = kfunc("test_writer", function* () {
        for (let i = 0; i < 200; i++) {
          yield* submit(WRITE, 20000 - i * 64, ended, 1);
          submitted++;
        }
      });
      const task = yield* kernel_thread("writer", () => writer(), 1);
      yield* msleep(30);
      // 128 and a batch for the process that filled the pool.
      const held = submitted;
      expect(held).toBeGreaterThanOrEqual(127);
      expect(held).toBeLessThan(200);
      expect(disk.queue.count(WRITE)).toBe(held);
      expect(task.s.state).not.toBe(0);
      expect(list_entries(disk.queue.wait[WRITE].list)).toHaveLength(1);
      expect(list_entries(disk.queue.wait[READ].list)).toHaveLength(0);
      disk.stalled = false;
      yield* blk_run_queue(disk.queue);
      yield* untilEnded(ended, 200);
      expect(submitted).toBe(200);
    });
    expect(finished).toBe(true);
    expect(disk.queue.count(WRITE)).toBe(0);
  });
});

describe("a driver", () => {
  test("that stops its queue gets nothing until it starts it", () => {
    withDisk({}, function* (disk, ended) {
      yield* spin_lock_irq(disk.queue.queue_lock);
      yield* blk_stop_queue(disk.queue);
      yield* spin_unlock_irq(disk.queue.queue_lock);
      yield* submit(WRITE, 80, ended, 1);
      yield* msleep(10);
      expect(disk.served).toHaveLength(0);
      yield* spin_lock_irq(disk.queue.queue_lock);
      yield* blk_start_queue(disk.queue);
      yield* spin_unlock_irq(disk.queue.queue_lock);
      yield* untilEnded(ended, 1);
      expect(ended).toHaveLength(1);
    });
  });

  test("that fails a request fails its bios and no others", () => {
    withDisk({}, function* (disk, ended) {
      disk.failSector = 80;
      yield* submit(WRITE, 80, ended, 1);
      yield* submit(WRITE, 8000, ended, 1);
      yield* untilEnded(ended, 2);
      expect([...ended].sort((a, b) => a.sector - b.sector)).toEqual([
        { sector: 80, good: false },
        { sector: 8000, good: true },
      ]);
    });
  });

  test("may end a request piece by piece; what is left moves up", () => {
    withDisk({}, function* (disk, ended) {
      disk.stalled = true;
      yield* submit(WRITE, 80, ended, 3);
      yield* submit(WRITE, 104, ended, 1);
      const rq = requestAt(disk.queue.s.last_merge)!;
      expect([rq.s.sector, rq.s.nr_sectors]).toEqual([80, 32]);
      expect(yield* end_that_request_first(rq, 1, 9)).toBe(1);
      expect([rq.s.sector, rq.s.nr_sectors, rq.s.current_nr_sectors]).toEqual([89, 23, 7]);
      expect(ended).toHaveLength(0);
      const segments = [{ address: 0, length: 0 }];
      expect(blk_rq_map_sg(disk.queue, rq, segments)).toBeGreaterThan(1);
      expect(segments[0]!.length).toBe(7 * 512);
      expect(yield* end_that_request_first(rq, 1, 15)).toBe(1);
      expect(ended).toEqual([{ sector: 80, good: true }]);
      expect(yield* end_that_request_first(rq, 1, 8)).toBe(0);
      expect(ended).toHaveLength(2);
    });
  });

  test("sees its own requests (blk_execute_rq) as they are, and their sender sleeps until they end", () => {
    const { disk } = withDisk({}, function* (disk) {
      const rq = (yield* blk_get_request(disk.queue, WRITE, GFP_KERNEL))!;
      rq.s.flags = rq.s.flags | REQ_BLOCK_PC;
      M.u8[rq.cmd] = 0x35;
      const errors = yield* blk_execute_rq(disk.queue, disk.disk, rq);
      expect(errors).toBe(0);
      expect(M.u8[rq.addr + K.offsetOf(request_struct, "cmd")]).toBe(0x35);
      yield* blk_put_request(rq);
    });
    expect(disk.served).toHaveLength(1);
    expect(disk.queue.count(WRITE)).toBe(0);
  });

  test("gets physically adjacent pages as one segment, within the queue's limits", () => {
    withDisk({}, function* (disk, ended) {
      disk.stalled = true;
      const at = yield* __get_free_pages(GFP_KERNEL, 2);
      const bio = (yield* bio_alloc(GFP_KERNEL, 4))!;
      bio_target(bio, lookup_bdev("sda")!, 80, end_io(ended, 80));
      for (let i = 0; i < 4; i++) bio_add_page(bio, virt_to_page(at + i * 4096), 4096, 0);
      yield* submit_bio(WRITE, bio);
      const rq = requestAt(disk.queue.s.last_merge)!;
      const segments = [{ address: 0, length: 0 }];
      expect(blk_rq_map_sg(disk.queue, rq, segments)).toBe(1);
      expect(segments[0]).toEqual({ address: at, length: 16384 });
      disk.queue.maxSegmentSize = 8192;
      expect(blk_rq_map_sg(disk.queue, rq, segments)).toBe(2);
      disk.queue.maxSegmentSize = 65536;
      disk.queue.boundary = 4096;
      // Nothing is left over from an earlier, longer use.
      segments.length = 2;
      expect(blk_rq_map_sg(disk.queue, rq, segments)).toBe(4);
      expect(segments.map((s) => s.length)).toEqual([4096, 4096, 4096, 4096]);
      yield* udelay(1);
    });
  });
});

describe("submit_bio", () => {
  test("beyond the end of a device fails and is reported", () => {
    const { ended, reports } = withDisk({ sectors: 1024 }, function* (_disk, ended) {
      yield* submit(READ, 1020, ended, 1);
    });
    expect(ended).toEqual([{ sector: 1020, good: false }]);
    expect(reports[0]).toMatch(/beyond end of device sda: sector 1020\+8, limit 1024/);
  });
});
