// Goal: a 2.4 kernel does its I/O right, and stands still where one of 2.4 does. Method: the kernel on a disk with real interrupts;
// then one thing is held, stopped or used up.
import { describe, expect, test } from "vitest";
import { LOST, cpu } from "../../emulator/cpu/cpu.ts";
import type { Deadlock } from "../../emulator/cpu/machine.ts";
import { io_request_lock } from "../block/io-request-lock.ts";
import { bio_alloc, bio_put, bio_target, bio_add_page, type Bio } from "../block/bio.ts";
import { submit_bio } from "../block/make-request.ts";
import { WRITE, READ } from "../block/request.ts";
import { TestDisk, attachTestDisk } from "../block/testing.ts";
import { run_tq_disk } from "../block/tq-disk.ts";
import { IMMEDIATE_BH, SCSI_BH, init_bh, mark_bh } from "../core/bottom-half.ts";
import { runKernel } from "../core/boot.ts";
import type { Flavour } from "../core/flavour.ts";
import { do_fork } from "../core/fork.ts";
import { K, type Kernel } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { spin_lock_irq, spin_unlock_irq } from "../core/spinlock.ts";
import { bootTestMachine } from "../core/testing.ts";
import { init_timer, mod_timer, msleep, udelay } from "../core/timer.ts";
import { timer_list } from "../abi/structs/base.ts";
import { DEFAULT_LOAD, start_load, type Load } from "../load/load.ts";
import { DirectIo } from "../mm/direct-io.ts";
import { UserBuffer } from "../mm/filemap.ts";
import { GFP_KERNEL, alloc_page } from "../mm/page-alloc.ts";
import { AddressSpace } from "../mm/page-cache.ts";
import { page_to_phys } from "../mm/page.ts";
import { DEFAULT_LINUX_2_4, linux_2_4_21 } from "./linux-2.4.21.ts";
import { LINUX_2_6_9 } from "./linux-2.6.9.ts";

const boot = (flavour: Flavour = linux_2_4_21(), cpus = 2): Kernel =>
  bootTestMachine({ cpus, ramMiB: 96, boot: { flavour, release: flavour.release } });

/** Has ended. */
const noteEnd = kfunc("test_bh_end", function* (bio: Bio, _bytes: number, _error: number) {
  ended.push(bio.s.bi_sector);
  yield* bio_put(bio);
});
const ended: number[] = [];

/** Submits one block of 4 KiB at a sector; ends in `ended`. */
const submitBlock = kfunc("test_submit_block", function* (disk: TestDisk, rw: number, sector: number) {
  const bio = (yield* bio_alloc(GFP_KERNEL, 1))!;
  const page = yield* alloc_page(GFP_KERNEL);
  bio_target(bio, K.block.devices.get(disk.disk.name)!, sector, noteEnd);
  bio_add_page(bio, page, 4096, 0);
  yield* submit_bio(rw, bio);
});

describe("the image", () => {
  test("names what 2.4 alone has, and only in a 2.4 kernel", () => {
    const only24 = ["bh_action", "timer_bh", "run_task_queue", "tq_disk", "global_bh_lock"];
    const k24 = boot();
    runKernel(k24, () => attachTestDisk(new TestDisk()));
    const has = (k: Kernel): string[] => only24.filter((name) => k.symbols.has(name));
    expect(has(k24)).toEqual(only24);
    expect(k24.release).toBe("2.4.21-4.EL");
    const k26 = boot(LINUX_2_6_9);
    expect(has(k26)).toEqual([]);
  });

  test("has one function of a name that both have, and stacks and probes mean the right one", () => {
    const k = boot();
    const { addr } = k.symbols.get("__make_request")!;
    expect(k.functionAt(addr)).toBe("__make_request");
    const again = boot(LINUX_2_6_9);
    expect(again.functionAt(again.symbols.get("__make_request")!.addr)).toBe("__make_request");
  });
});

describe("the load on kernel 2.4", () => {
  for (const blockBytes of [4096, 512]) {
    test(`reads back what it wrote, in buffer heads of ${blockBytes} bytes`, () => {
      const k = bootTestMachine({
        cpus: 4,
        ramMiB: 96,
        boot: { flavour: linux_2_4_21({ ...DEFAULT_LINUX_2_4, blockBytes }) },
      });
      const disks = ["sda", "sdb"].map((name, i) => new TestDisk({ name, irq: 8 + i, latencyNs: 300_000 }));
      let load: Load | undefined;
      runKernel(k, function* () {
        for (const disk of disks) yield* attachTestDisk(disk);
        load = yield* start_load({ ...DEFAULT_LOAD, processes: 8, devices: ["sda", "sdb"], fileBytes: 1 << 20 });
        yield* msleep(60);
      });
      expect(load!.calls).toBeGreaterThan(200);
      expect(load!.complaints).toEqual([]);
      expect(k.reports).toEqual([]);
      const read = (name: string, sector: number, into: Uint8Array): void =>
        disks.find((d) => d.disk.name === name)!.media.read(sector * 512, into);
      expect(load!.verify("acknowledged", read)).toEqual([]);
      expect(load!.verify("synced", read)).toEqual([]);
    });
  }
});

describe("direct I/O", () => {
  for (const [blockBytes, blocks] of [
    [4096, 16],
    [512, 128],
  ] as const) {
    test(`64 KiB go down in ${blocks} blocks of ${blockBytes}, each under io_request_lock, and leave as one request`, () => {
      const k = boot(linux_2_4_21({ ...DEFAULT_LINUX_2_4, blockBytes }));
      const disk = new TestDisk();
      let made = 0;
      runKernel(k, function* () {
        yield* attachTestDisk(disk);
        const mapping = new AddressSpace(K.block.devices.get("sda")!);
        const pages: number[] = [];
        for (let i = 0; i < 16; i++) pages.push(page_to_phys(yield* alloc_page(GFP_KERNEL)));
        disk.served.length = 0;
        io_request_lock().onTaken = (lock) => {
          if (lock.holder === "__make_request") made++;
        };
        const written = yield* K.flavour.block.directIo(
          ...([WRITE, mapping, new DirectIo("test"), 65536, 65536, new UserBuffer(pages)] as const),
        );
        expect(written).toBe(65536);
      });
      expect(made).toBe(blocks);
      expect(disk.served.map(({ sector, sectors }) => [sector, sectors])).toEqual([[128, 128]]);
    });
  }
});

describe("a plugged queue", () => {
  test("waits for tq_disk for ever; in 2.6 a timer starts it", () => {
    for (const [flavour, expected] of [
      [linux_2_4_21(), 0],
      [LINUX_2_6_9, 1],
    ] as const) {
      ended.length = 0;
      const k = boot(flavour);
      const disk = new TestDisk();
      runKernel(k, function* () {
        yield* attachTestDisk(disk);
        yield* submitBlock(disk, WRITE, 1000);
        yield* msleep(200);
        expect(ended).toHaveLength(expected);
        yield* K.flavour.block.letGo(disk.queue);
        yield* msleep(20);
        expect(ended).toHaveLength(1);
      });
      expect(k.reports).toEqual([]);
    }
  });

  test("that was taken off tq_disk by a CPU that is stopped there is never let go", () => {
    ended.length = 0;
    const k = boot();
    const disk = new TestDisk();
    runKernel(k, function* () {
      yield* attachTestDisk(disk);
      yield* submitBlock(disk, WRITE, 1000);
      // The runner has taken the list, and is lost before it calls anything.
      yield* do_fork("runner", () => run_tq_disk(), 1);
      const lock = K.locks.get("tqueue_lock")!;
      lock.onTaken = (_, c) => {
        if (lock.holder !== "run_task_queue" || c.id !== 1) return;
        lock.onTaken = undefined;
        K.machine.stop(c);
        throw LOST;
      };
      yield* msleep(20);
    });
    expect(k.machine.cpus[1]!.program).toBeUndefined();
    expect(k.locks.get("tqueue_lock")!.isHeld).toBe(true);
    expect(ended).toEqual([]);
  });
});

describe("io_request_lock", () => {
  test("is the lock of every queue: a holder that is stopped over one disk stops who works on another", () => {
    const k = boot();
    const disks = ["sda", "sdb"].map((name, i) => new TestDisk({ name, irq: 8 + i }));
    const found: Deadlock[] = [];
    k.machine.onDeadlock = (deadlock) => {
      found.push(deadlock);
      k.machine.stopReason = "deadlock";
    };
    runKernel(k, function* () {
      for (const disk of disks) yield* attachTestDisk(disk);
      expect(disks[0]!.queue.queue_lock).toBe(disks[1]!.queue.queue_lock);
      yield* do_fork("holder", () => submitBlock(disks[0]!, WRITE, 1000), 1);
      io_request_lock().onTaken = (lock, c) => {
        if (lock.holder !== "__make_request") return;
        lock.onTaken = undefined;
        K.machine.stop(c);
        throw LOST;
      };
      yield* msleep(5);
      yield* submitBlock(disks[1]!, WRITE, 1000);
    });
    expect(found[0]?.end).toBe("frozen cpu");
    expect(found[0]?.chain[0]).toMatchObject({ waitsFor: "io_request_lock", holder: "__make_request" });
  });
});

describe("a queue's requests", () => {
  test("run out at 64 a direction; a writer sleeps until a quarter of all is free, a reader need not", () => {
    ended.length = 0;
    const k = boot();
    const disk = new TestDisk();
    let accepted = 0;
    runKernel(k, function* () {
      yield* attachTestDisk(disk);
      disk.stalled = true;
      // Far apart and descending: nothing merges.
      yield* do_fork(
        "writer",
        function* () {
          for (let i = 0; i < 100; i++, accepted++) yield* submitBlock(disk, WRITE, 60_000 - i * 100);
        },
        1,
      );
      yield* msleep(50);
      expect(accepted).toBe(64);
      expect(disk.queue.count(WRITE)).toBe(64);
      yield* submitBlock(disk, READ, 50);
      expect(disk.queue.count(READ)).toBe(1);
      disk.stalled = false;
      yield* K.flavour.block.letGo(disk.queue);
      yield* run_queue(disk);
      yield* msleep(100);
      yield* K.flavour.block.letGo(disk.queue);
      yield* msleep(100);
      expect(accepted).toBe(100);
    });
    expect(k.reports).toEqual([]);
    expect(disk.queue.count(WRITE)).toBe(0);
  });
});

/** A stalled disk has no end of a command that would start it again. */
const run_queue = kfunc("test_run_queue", function* (disk: TestDisk) {
  yield* spin_lock_irq(disk.queue.queue_lock);
  yield* disk.queue.request_fn(disk.queue);
  yield* spin_unlock_irq(disk.queue.queue_lock);
});

describe("bottom halves", () => {
  const spans: { readonly start: number; readonly end: number }[] = [];
  /** A routine that takes a while. */
  const slow = kfunc("test_slow_bh", function* () {
    const start = cpu.clock;
    yield* udelay(800);
    spans.push({ start, end: cpu.clock });
  });

  test("run one at a time on the whole machine: who finds global_bh_lock taken comes back until it is free", () => {
    spans.length = 0;
    const k = boot();
    runKernel(k, function* () {
      init_bh(SCSI_BH, slow);
      init_bh(IMMEDIATE_BH, slow);
      const { rejected } = K.bottomHalves;
      yield* do_fork("asker", () => mark_bh(IMMEDIATE_BH), 1);
      yield* udelay(20);
      yield* mark_bh(SCSI_BH);
      yield* msleep(10);
      expect(K.bottomHalves.rejected).toBeGreaterThan(rejected);
    });
    expect(spans).toHaveLength(2);
    const [first, second] = spans.sort((a, b) => a.start - b.start);
    expect(second!.start).toBeGreaterThanOrEqual(first!.end);
    expect(k.reports).toEqual([]);
  });

  test("none runs any more once a CPU was stopped in one: no timer goes off on the whole machine", () => {
    spans.length = 0;
    const k = boot();
    let fired = 0;
    const fire = kfunc("test_timer", function* () {
      fired++;
    });
    runKernel(k, function* () {
      const timer = init_timer(K.bootmem(K.sizeOf(timer_list)), "test", fire);
      yield* mod_timer(timer, K.time.jiffies + 5);
      yield* udelay(10_000);
      expect(fired).toBe(1);
      init_bh(SCSI_BH, slow);
      const lock = K.bottomHalves.global_bh_lock;
      lock.onTaken = (_, c) => {
        // The other CPU's only: this one goes on and looks.
        if (c.id !== 1) return;
        lock.onTaken = undefined;
        K.machine.stop(c);
        throw LOST;
      };
      yield* do_fork("asker", () => mark_bh(SCSI_BH), 1);
      yield* udelay(5_000);
      const before = K.bottomHalves.rejected;
      const jiffies = K.time.jiffies;
      yield* mod_timer(timer, K.time.jiffies + 5);
      yield* udelay(50_000);
      // Ticks go on, the timer's bottom half comes back again and again, and never gets its lock.
      expect(K.time.jiffies).toBeGreaterThan(jiffies + 40);
      expect(K.bottomHalves.rejected).toBeGreaterThan(before + 10);
      expect(fired).toBe(1);
    });
    expect(k.locks.get("global_bh_lock")!.isHeld).toBe(true);
    expect(spans).toEqual([]);
  });
});
