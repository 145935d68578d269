// User mode: a process computes. Interrupts are taken, and on the way back from one another task may get the CPU.
import { DELAY, cpu, takeInterrupts } from "../../emulator/cpu/cpu.ts";
import { this_cpu } from "../core/kernel.ts";
import { schedule } from "../core/sched.ts";

/** Runs in user mode for `ns` of its own time: what interrupts and other tasks take comes on top. */
export function* userMode(ns: number): Generator<void, void, void> {
  let left = ns;
  for (;;) {
    const c = cpu;
    if (c.attention && c.interruptsEnabled) yield* takeInterrupts(c);
    if (this_cpu().needResched) {
      yield* schedule();
      continue;
    }
    if (left <= 0) return;
    const start = c.clock;
    c.state = DELAY;
    c.until = start + left;
    yield;
    left -= c.clock - start;
  }
}
