// The keventd workqueue (kernel/workqueue.c of 2.6.9): one thread per CPU.
import { cpu, type Running } from "../../emulator/cpu/cpu.ts";
import { work_struct } from "../abi/structs/base.ts";
import type { ViewOf } from "../abi/view.ts";
import { K } from "./kernel.ts";
import { kfunc, textAddressOf } from "./kfunc.ts";
import { INIT_LIST_HEAD, list_add_tail, list_del_init, list_empty, list_next } from "./list.ts";
import { kernel_thread_on } from "./fork.ts";
import { Spinlock, spin_lock_irqsave, spin_unlock_irqrestore } from "./spinlock.ts";
import { WaitQueue, wait_event_interruptible, wake_up } from "./wait.ts";

export interface Work {
  readonly s: ViewOf<typeof work_struct>;
  readonly addr: number;
  readonly entry: number;
  readonly name: string;
  func: (data: number) => Running;
  data: number;
}

/** The work whose struct lies at `addr` (INIT_WORK). */
export function init_work(addr: number, name: string, func: (data: number) => Running, data = 0): Work {
  const s = K.view(work_struct, addr);
  const entry = addr + K.offsetOf(work_struct, "entry");
  s.pending = 0;
  INIT_LIST_HEAD(entry);
  s.func = textAddressOf((func as unknown as { id?: number }).id ?? 0);
  s.data = data;
  return { s, addr, entry, name, func, data };
}

export class CpuWorkqueue {
  readonly lock: Spinlock;
  readonly worklist: number;
  readonly moreWork: WaitQueue;
  readonly byEntry = new Map<number, Work>();
  constructor(cpuId: number) {
    const base = K.bootmem(128);
    this.lock = new Spinlock(base, `keventd.${cpuId}.lock`);
    this.worklist = base + 16;
    INIT_LIST_HEAD(this.worklist);
    this.moreWork = new WaitQueue(base + 48, `keventd.${cpuId}.more_work`);
  }
}

export const init_workqueues = kfunc("init_workqueues", function* () {
  K.workqueues = K.machine.cpus.map((c) => new CpuWorkqueue(c.id));
  for (const c of K.cpus) {
    const wq = K.workqueues[c.id]!;
    yield* kernel_thread_on(`events/${c.id}`, () => worker_thread(wq), c.id);
  }
});

/** Queues work for keventd unless it is queued. Returns 1 when it was not. Context: any. */
export function schedule_work(work: Work): Running<number> {
  if (K.dumpMode) return K.dumpMode.scheduleWork(work);
  return queue_work(work);
}

export const queue_work = kfunc("queue_work", function* (work: Work) {
  if (work.s.pending !== 0) return 0;
  work.s.pending = 1;
  const wq = K.workqueues[cpu.id]!;
  const flags = yield* spin_lock_irqsave(wq.lock);
  wq.byEntry.set(work.entry, work);
  list_add_tail(work.entry, wq.worklist);
  yield* wake_up(wq.moreWork);
  yield* spin_unlock_irqrestore(wq.lock, flags);
  return 1;
});

const worker_thread = kfunc("worker_thread", function* (wq: CpuWorkqueue) {
  for (;;) {
    yield* wait_event_interruptible(wq.moreWork, () => !list_empty(wq.worklist));
    yield* run_workqueue(wq);
  }
});

export const run_workqueue = kfunc("run_workqueue", function* (wq: CpuWorkqueue) {
  let flags = yield* spin_lock_irqsave(wq.lock);
  while (!list_empty(wq.worklist)) {
    const entry = list_next(wq.worklist);
    const work = wq.byEntry.get(entry)!;
    list_del_init(entry);
    wq.byEntry.delete(entry);
    yield* spin_unlock_irqrestore(wq.lock, flags);
    work.s.pending = 0;
    yield* work.func(work.data);
    flags = yield* spin_lock_irqsave(wq.lock);
  }
  yield* spin_unlock_irqrestore(wq.lock, flags);
});
