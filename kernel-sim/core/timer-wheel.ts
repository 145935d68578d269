// The cascading timer wheel of a CPU (kernel/timer.c of 2.6.9), in RAM: five levels of lists, from the next 256 jiffies to 2^32.
import type { Running } from "../../emulator/cpu/cpu.ts";
import { M } from "../abi/ram.ts";
import type { timer_list } from "../abi/structs/base.ts";
import { tvec_t_base_s } from "../abi/structs/sched.ts";
import type { ViewOf } from "../abi/view.ts";
import { K } from "./kernel.ts";
import { INIT_LIST_HEAD, list_add_tail, list_del, list_empty, list_entries } from "./list.ts";
import { Spinlock } from "./spinlock.ts";

/** jiffies at power-on: five minutes before the 32-bit wrap, as on every Linux. */
export const INITIAL_JIFFIES = 0x1_0000_0000 - 300 * 1000;
/** What the five levels span: 2^32 jiffies. */
const WHEEL_JIFFIES = 0x1_0000_0000;

/** A timer: its struct is in RAM; JavaScript keeps the function. */
export interface Timer {
  readonly s: ViewOf<typeof timer_list>;
  readonly addr: number;
  readonly name: string;
  func: (data: number) => Running;
  data: number;
  /** The wheel that it is on, or undefined. */
  base: TimerBase | undefined;
  expires: number;
}

export class TimerBase {
  readonly s: ViewOf<typeof tvec_t_base_s>;
  readonly lock: Spinlock;
  readonly addr: number;
  timerJiffies: number;
  private readonly vectors: readonly number[];
  /** List head for the timers that are due: those that their functions arm go on the wheel, not there. */
  readonly dueList: number;
  /** The timers on this wheel by the address of their list entry. */
  readonly byEntry = new Map<number, Timer>();

  /** @param lock where wheels share one; else each has its own */
  constructor(addr: number, cpuId: number, lock?: Spinlock) {
    this.addr = addr;
    this.s = K.view(tvec_t_base_s, addr);
    this.lock = lock ?? new Spinlock(this.s.lock.addr, `tvec_bases.${cpuId}.lock`);
    this.timerJiffies = INITIAL_JIFFIES;
    const at = (field: string): number => addr + K.offsetOf(tvec_t_base_s, field);
    this.vectors = [at("tv1"), at("tv2"), at("tv3"), at("tv4"), at("tv5")];
    this.dueList = K.bootmem(16);
    this.s.timer_jiffies = INITIAL_JIFFIES;
    this.clear();
  }

  /** Empties the wheel (every slot points at itself). */
  clear(): void {
    const head = M.word8 ? 16 : 8;
    for (let i = 0; i < 256; i++) INIT_LIST_HEAD(this.vectors[0]! + i * head);
    for (let level = 1; level < 5; level++)
      for (let i = 0; i < 64; i++) INIT_LIST_HEAD(this.vectors[level]! + i * head);
    INIT_LIST_HEAD(this.dueList);
    this.byEntry.clear();
  }

  /** The list that a timer with this expiry belongs on. */
  slotFor(expires: number): number {
    const head = M.word8 ? 16 : 8;
    const delta = expires - this.timerJiffies;
    if (delta < 0) return this.vectors[0]! + (this.timerJiffies % 256) * head;
    if (delta < 256) return this.vectors[0]! + (expires % 256) * head;
    // What lies beyond the wheel waits in its last slot, and is looked at again when that comes round.
    const at = delta < WHEEL_JIFFIES ? expires : this.timerJiffies + WHEEL_JIFFIES - 1;
    let level = 1;
    let scale = 256;
    while (level < 4 && delta >= scale * 64) {
      level++;
      scale *= 64;
    }
    return this.vectors[level]! + (Math.floor(at / scale) % 64) * head;
  }

  /** Moves on, at most to the present jiffy. Returns: the first list on the way that has timers in it; undefined: none has. */
  nextDue(): number | undefined {
    while (K.time.jiffies >= this.timerJiffies) {
      const jiffy = this.timerJiffies;
      if (jiffy % 256 === 0) this.cascade(jiffy);
      this.timerJiffies = jiffy + 1;
      this.s.timer_jiffies = jiffy + 1;
      const slot = this.due(jiffy);
      if (!list_empty(slot)) return slot;
    }
    return undefined;
  }

  /** The list of level 0 that is due at `jiffy`. */
  due(jiffy: number): number {
    return this.vectors[0]! + (jiffy % 256) * (M.word8 ? 16 : 8);
  }

  /** Moves the timers of a higher level's slot down when the lower one has come round. */
  cascade(jiffy: number): void {
    const head = M.word8 ? 16 : 8;
    let scale = 256;
    for (let level = 1; level < 5 && jiffy % scale === 0; level++) {
      const slot = this.vectors[level]! + (Math.floor(jiffy / scale) % 64) * head;
      for (const entry of list_entries(slot)) {
        list_del(entry);
        list_add_tail(entry, this.slotFor(this.byEntry.get(entry)!.expires));
      }
      scale *= 64;
    }
  }
}

/** Links a timer into a wheel; the caller has the wheel's lock (or is alone). */
export function put_timer(base: TimerBase, timer: Timer, expires: number): void {
  timer.expires = expires;
  timer.s.expires = expires;
  timer.base = base;
  timer.s.base = base.addr;
  base.byEntry.set(timer.addr, timer);
  list_add_tail(timer.addr, base.slotFor(expires));
}

/** Unlinks a timer from its wheel; the caller has the wheel's lock (or is alone). */
export function detach_timer(timer: Timer): void {
  list_del(timer.addr);
  timer.base!.byEntry.delete(timer.addr);
  timer.base = undefined;
  timer.s.base = 0;
}
