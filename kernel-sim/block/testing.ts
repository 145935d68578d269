// A disk for specs: requests complete in the handler of a real interrupt line, a while after they were taken.
import { makeEvent, type TimerEvent } from "../../emulator/time/events.ts";
import type { Segment } from "../../emulator/memory/memory.ts";
import { PageStore } from "../../emulator/memory/store.ts";
import { request_irq } from "../core/irq.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "../core/spinlock.ts";
import { add_disk, alloc_disk, type Gendisk } from "./gendisk.ts";
import {
  blk_init_queue,
  blk_queue_issue_flush_fn,
  blk_queue_max_sectors,
  blkdev_dequeue_request,
  elv_next_request,
  type RequestQueue,
} from "./queue.ts";
import type { ElevatorName } from "./elevators.ts";
import { blk_rq_map_sg, end_that_request_first, end_that_request_last, rq_data_dir, type Request } from "./request.ts";

export interface TestDiskOptions {
  readonly name?: string;
  readonly sectors?: number;
  readonly irq?: number;
  /** Requests that the device works on at a time. */
  readonly depth?: number;
  readonly latencyNs?: number;
  readonly maxSectors?: number;
  readonly elevator?: ElevatorName;
}

/** What the disk was asked to do, in order. */
export interface Served {
  readonly write: boolean;
  readonly sector: number;
  readonly sectors: number;
  readonly segments: number;
}

export class TestDisk {
  readonly media: PageStore;
  readonly disk: Gendisk;
  readonly queue: RequestQueue;
  readonly served: Served[] = [];
  readonly irq: number;
  flushes = 0;
  /** The next request that touches this sector fails. */
  failSector = -1;
  /** Requests are not taken at all while this is set. */
  stalled = false;
  private readonly depth: number;
  private readonly latencyNs: number;
  private readonly slots: {
    event: TimerEvent;
    rq: Request | undefined;
    done: boolean;
    error: boolean;
    segments: Segment[];
  }[] = [];

  constructor(options: TestDiskOptions = {}) {
    const sectors = options.sectors ?? 65536;
    const name = options.name ?? "sda";
    this.irq = options.irq ?? 10;
    this.depth = options.depth ?? 4;
    this.latencyNs = options.latencyNs ?? 200_000;
    this.media = new PageStore(K.machine.memory.pool, name, sectors * 512);
    this.queue = blk_init_queue(
      (q) => test_request_fn(q, this),
      undefined,
      name,
      options.elevator ?? K.flavour.block.elevator,
    );
    blk_queue_max_sectors(this.queue, options.maxSectors ?? 256);
    blk_queue_issue_flush_fn(this.queue, () => test_flush(this));
    this.disk = alloc_disk(name, this.queue, this);
    this.disk.capacity = sectors;
    for (let i = 0; i < this.depth; i++) {
      const slot = {
        event: makeEvent(`${name}.complete.${i}`, () => {
          slot.done = true;
          K.machine.ioApic.setLine(this.irq, true);
        }),
        rq: undefined as Request | undefined,
        done: false,
        error: false,
        segments: [] as Segment[],
      };
      this.slots.push(slot);
    }
  }

  freeSlot(): (typeof this.slots)[number] | undefined {
    return this.stalled ? undefined : this.slots.find((slot) => slot.rq === undefined);
  }
  doneSlot(): (typeof this.slots)[number] | undefined {
    return this.slots.find((slot) => slot.done);
  }

  /** Starts a request: data moves now, completion comes later. */
  begin(slot: (typeof this.slots)[number], rq: Request): void {
    const { memory, events } = K.machine;
    const count = blk_rq_map_sg(this.queue, rq, slot.segments);
    const write = rq_data_dir(rq) === 1;
    let at = rq.s.sector * 512;
    this.served.push({ write, sector: rq.s.sector, sectors: rq.s.nr_sectors, segments: count });
    slot.error = this.failSector >= rq.s.sector && this.failSector < rq.s.sector + rq.s.nr_sectors;
    if (slot.error) this.failSector = -1;
    for (let i = 0; i < count && !slot.error; i++) {
      const { address, length } = slot.segments[i]!;
      if (write) memory.copyToStore(address, this.media, at, length);
      else memory.copyFromStore(this.media, at, address, length);
      at += length;
    }
    slot.rq = rq;
    events.arm(slot.event, K.machine.now() + this.latencyNs);
  }
}

const test_flush = kfunc("test_issue_flush", function* (disk: TestDisk) {
  disk.flushes++;
  return 0;
});

const test_request_fn = kfunc("test_request_fn", function* (q: RequestQueue, disk: TestDisk) {
  for (;;) {
    const slot = disk.freeSlot();
    if (!slot) return;
    const rq = yield* elv_next_request(q);
    if (!rq) return;
    blkdev_dequeue_request(rq);
    disk.begin(slot, rq);
  }
});

const test_interrupt = kfunc("test_interrupt", function* (disk: TestDisk): Generator<void, boolean, void> {
  K.machine.ioApic.setLine(disk.irq, false);
  const flags = yield* spin_lock_irqsave(disk.queue.queue_lock);
  for (let slot = disk.doneSlot(); slot; slot = disk.doneSlot()) {
    const rq = slot.rq!;
    slot.done = false;
    slot.rq = undefined;
    const left = yield* end_that_request_first(rq, slot.error ? 0 : 1, rq.s.nr_sectors);
    if (left) K.reports.push("test disk: a request was not ended");
    yield* end_that_request_last(rq);
  }
  yield* test_request_fn(disk.queue, disk);
  yield* spin_unlock_irqrestore(disk.queue.queue_lock, flags);
  return true;
});

/** Plugs a disk in: interrupt, gendisk, partition table. Context: process. */
export const attachTestDisk = kfunc("test_attach", function* (disk: TestDisk) {
  yield* request_irq(disk.irq, () => test_interrupt(disk), 0, disk.disk.name, 0);
  yield* add_disk(disk.disk);
});
