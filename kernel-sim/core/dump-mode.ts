// The seam that a dumper fills: what the timer library does, and what the checker refuses, while the machine is dumping.
import type { Running } from "../../emulator/cpu/cpu.ts";
import type { Tasklet } from "./softirq.ts";
import type { Timer } from "./timer.ts";
import type { Work } from "./workqueue.ts";

/** Installed as K.dumpMode while a polled dumper owns the machine; undefined otherwise (crashdump_mode() is false). */
export interface DumpMode {
  modTimer(timer: Timer, expires: number): Running<number>;
  delTimer(timer: Timer): Running<number>;
  taskletSchedule(tasklet: Tasklet): Running;
  scheduleWork(work: Work): Running<number>;
  scheduleTimeout(ticks: number): Running<number>;
  msleep(ms: number): Running;
  /** Records (or, when strict, refuses) a call that dump mode forbids: names function, rule and stack. */
  forbid(what: string): void;
}
