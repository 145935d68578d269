// The seam that a dumper fills: what the timer library does, and what the checker refuses, while the machine is dumping.
import type { Running } from "../../emulator/cpu/cpu.ts";
import { K } from "./kernel.ts";
import type { Tasklet } from "./softirq.ts";
import { mdelay, type Timer } from "./timer.ts";
import type { Work } from "./workqueue.ts";

/** Installed as K.dumpMode while a polled dumper owns the machine; undefined otherwise (crashdump_mode() is false). */
export interface DumpMode {
  modTimer(timer: Timer, expires: number): Running<number>;
  delTimer(timer: Timer): Running<number>;
  taskletSchedule(tasklet: Tasklet): Running;
  scheduleWork(work: Work): Running<number>;
  scheduleTimeout(ticks: number): Running<number>;
  msleep(ms: number): Running;
  /** diskdump_mdelay(): a busy wait that keeps the NMI watchdog quiet. */
  mdelay(ms: number): Running;
  /** diskdump_update(): moves jiffies on, runs what is due of timers, tasklets and work. */
  update(): Running;
  /** Records (or, when strict, refuses) a call that dump mode forbids: names function, rule and stack. */
  forbid(what: string): void;
}

/** True while a polled dumper owns the machine. */
export const crashdump_mode = (): boolean => K.dumpMode !== undefined;

/** Busy wait in milliseconds that is right in dump mode too (white paper 4.3, 4). */
export function diskdump_mdelay(ms: number): Running {
  return K.dumpMode ? K.dumpMode.mdelay(ms) : mdelay(ms);
}
