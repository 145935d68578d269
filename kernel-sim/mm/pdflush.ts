// pdflush: the threads that write dirty pages back (mm/pdflush.c of 2.6.9), and the timer that starts them.
import { timer_list } from "../abi/structs/base.ts";
import { pdflush_work } from "../abi/structs/mm.ts";
import { list_head } from "../abi/structs/base.ts";
import type { ViewOf } from "../abi/view.ts";
import type { Running } from "../../emulator/cpu/cpu.ts";
import { kernel_thread } from "../core/fork.ts";
import { K, current } from "../core/kernel.ts";
import { kfunc, textAddressOf } from "../core/kfunc.ts";
import { INIT_LIST_HEAD, list_add, list_del_init, list_empty, list_next } from "../core/list.ts";
import { schedule, set_current_state, try_to_wake_up } from "../core/sched.ts";
import {
  Spinlock,
  spin_lock_irq,
  spin_lock_irqsave,
  spin_unlock_irq,
  spin_unlock_irqrestore,
} from "../core/spinlock.ts";
import { TASK_INTERRUPTIBLE, type Task } from "../core/task.ts";
import { init_timer, mod_timer, type Timer } from "../core/timer.ts";
import { wb_kupdate, writebackControl } from "./writeback.ts";

const MIN_PDFLUSH_THREADS = 2;

interface Worker {
  readonly addr: number;
  readonly s: ViewOf<typeof pdflush_work>;
  readonly list: number;
  who: Task;
  fn: (() => Running) | undefined;
}

export class Pdflush {
  readonly lock: Spinlock;
  /** Idle threads, the one that slept last first. */
  readonly idle: number;
  readonly byEntry = new Map<number, Worker>();
  readonly timer: Timer;

  constructor() {
    this.lock = new Spinlock(K.staticBytes("pdflush_lock", 8, 8), "pdflush_lock");
    this.idle = K.static("pdflush_list", list_head);
    INIT_LIST_HEAD(this.idle);
    this.timer = init_timer(K.static("wb_timer", timer_list), "wb_timer", wb_timer_fn);
  }
}

/** Starts the threads and the timer. Context: process 1. Later calls do nothing. */
export const pdflush_init = kfunc("pdflush_init", function* () {
  if (K.pdflush) return;
  K.pdflush = new Pdflush();
  for (let i = 0; i < MIN_PDFLUSH_THREADS; i++) {
    yield* kernel_thread("pdflush", () => pdflush(), K.cpus[i % K.cpus.length]!.id);
  }
  yield* mod_timer(K.pdflush.timer, K.time.jiffies + writebackControl().limits.writebackTicks);
});

const pdflush = kfunc("__pdflush", function* (): Generator<void, void, void> {
  const flush = K.pdflush!;
  const addr = K.bootmem(K.sizeOf(pdflush_work));
  const s = K.view(pdflush_work, addr);
  const worker: Worker = { addr, s, list: addr + K.offsetOf(pdflush_work, "list"), who: current(), fn: undefined };
  s.who = worker.who.addr;
  INIT_LIST_HEAD(worker.list);
  flush.byEntry.set(worker.list, worker);
  yield* spin_lock_irq(flush.lock);
  for (;;) {
    set_current_state(TASK_INTERRUPTIBLE);
    list_add(worker.list, flush.idle);
    s.when_i_went_to_sleep = K.time.jiffies;
    yield* spin_unlock_irq(flush.lock);
    yield* schedule();
    if (worker.fn) yield* worker.fn();
    yield* spin_lock_irq(flush.lock);
    // Woken without work: still on the list.
    if (!worker.fn) list_del_init(worker.list);
    worker.fn = undefined;
    s.fn = 0;
  }
});

/** Gives an idle thread something to do. Returns 0, or -1 when none is idle. Context: any. */
export const pdflush_operation = kfunc("pdflush_operation", function* (fn: () => Running) {
  const flush = K.pdflush;
  if (!flush) return -1;
  const flags = yield* spin_lock_irqsave(flush.lock);
  let result = -1;
  if (!list_empty(flush.idle)) {
    const worker = flush.byEntry.get(list_next(flush.idle))!;
    list_del_init(worker.list);
    worker.fn = fn;
    worker.s.fn = textAddressOf((fn as unknown as { id?: number }).id ?? 0);
    yield* try_to_wake_up(worker.who);
    result = 0;
  }
  yield* spin_unlock_irqrestore(flush.lock, flags);
  return result;
});

/** The timer: softirq. All threads busy: try again in a second. */
const wb_timer_fn = kfunc("wb_timer_fn", function* () {
  const { writebackTicks } = writebackControl().limits;
  const failed = yield* pdflush_operation(wb_kupdate);
  yield* mod_timer(K.pdflush!.timer, K.time.jiffies + (failed ? K.hz : writebackTicks));
});
