// The load averages (calc_load() of kernel/timer.c, 2.6.9): exponentially damped counts of tasks that run or wait for a disk.
import { runqueue } from "../abi/structs/sched.ts";
import { peek32, poke32 } from "../abi/ram.ts";
import { array, int, ulong } from "../abi/types.ts";
import { K, type Kernel } from "./kernel.ts";
import { TASK_UNINTERRUPTIBLE } from "./task.ts";
import { peekLong, pokeLong } from "./words.ts";

const FSHIFT = 11;
const FIXED_1 = 1 << FSHIFT;
/** Seconds between two looks. */
const LOAD_FREQ_SECONDS = 5;
/** FIXED_1 / exp(5 s / 1, 5 and 15 minutes). */
const EXP = [1884, 2014, 2037] as const;

/** Where calc_load(), which runs each tick, finds its two words; laid out anew by each boot. */
export class LoadAverage {
  readonly avenrun: number;
  /** calc_load's static count: ticks until the next look. */
  readonly count: number;

  constructor(k: Kernel) {
    this.avenrun = k.static("avenrun", array(ulong, EXP.length));
    this.count = k.static("calc_load_count", int);
    poke32(this.count, LOAD_FREQ_SECONDS * k.hz);
  }
}

export function init_load_average(k: Kernel): void {
  k.loadAverage = new LoadAverage(k);
}

/** Tasks that run, could run, or sleep uninterruptibly. */
function count_active_tasks(): number {
  let active = 0;
  const runningAt = K.offsetOf(runqueue, "nr_running");
  for (const { id } of K.cpus) active += peekLong(K.percpu[id]!.rq.addr + runningAt);
  for (const task of K.tasks.values()) if (task.s.state === TASK_UNINTERRUPTIBLE && !task.onRunqueue) active++;
  return active;
}

/** One tick of the timekeeper. Called with xtime_lock held. */
export function calc_load(): void {
  const { avenrun, count } = K.loadAverage;
  const ticks = peek32(count) - 1;
  poke32(count, ticks > 0 ? ticks : LOAD_FREQ_SECONDS * K.hz);
  if (ticks > 0) return;
  const active = count_active_tasks() * FIXED_1;
  EXP.forEach((exp, i) => {
    const at = avenrun + i * K.map.model.wordBytes;
    pokeLong(at, Math.floor((peekLong(at) * exp + active * (FIXED_1 - exp)) / FIXED_1));
  });
}
