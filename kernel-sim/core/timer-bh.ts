// Timers below a lock of the whole machine (kernel/timer.c of 2.4): one wheel, run by the bottom half TIMER_BH.
import type { Running } from "../../emulator/cpu/cpu.ts";
import { cpu, finished } from "../../emulator/cpu/cpu.ts";
import { poke32 } from "../abi/ram.ts";
import { TIMER_BH, init_bh, mark_bh } from "./bottom-half.ts";
import { K } from "./kernel.ts";
import { versionFunctions } from "./version-functions.ts";
import { staticLock } from "./spinlock.ts";
import { TimerBase, runTimers, tvec_bases } from "./timer.ts";

const kfunc = versionFunctions("2.4.21");

/**
 * Every CPU's wheel is the first one's, and its lock is timerlist_lock. (In RAM the wheel is that of 2.6.9's CPU 0; the other
 * CPUs' stand empty.)
 */
export function global_timer_bases(): TimerBase[] {
  const lock = staticLock("timerlist_lock");
  const bases = K.machine.cpus.map((c) => {
    const base = new TimerBase(K.perCpuAreas.addressOf(tvec_bases, c.id), c.id, lock);
    poke32(base.s.lock.addr, 1);
    return base;
  });
  return bases.map(() => bases[0]!);
}

export function init_timer_bh(): void {
  init_bh(TIMER_BH, timer_bh);
}

/** do_timer()'s last act, on the CPU that counts jiffies. Hardirq. */
export const mark_timer_bh = (): Running => (cpu.id === K.timekeeper ? mark_bh(TIMER_BH) : finished());

/** TIMER_BH. Locks: timerlist_lock inside, let go for each timer's function; global_bh_lock held throughout. */
const timer_bh = kfunc("timer_bh", function* () {
  yield* run_timer_list();
});

const run_timer_list = kfunc("run_timer_list", function* () {
  yield* runTimers(K.time.bases[0]!);
});
