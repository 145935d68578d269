// What the CPUs do, looked at every few microseconds of virtual time, as kernprof did it with a profiling interrupt.
import { HALT, STOPPED, type Cpu } from "../../emulator/cpu/cpu.ts";
import type { Machine } from "../../emulator/cpu/machine.ts";
import { makeEvent, type TimerEvent } from "../../emulator/time/events.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { system_call } from "../../kernel-sim/core/entry.ts";

/** Looked at so often, and not in step with any tick. */
const PERIOD_NS = 9_973;

/** Shares of all CPU time, 0..1; they add up to 1. */
export interface CpuShares {
  readonly idle: number;
  readonly user: number;
  /** System calls and kernel threads, interrupts not counted. */
  readonly system: number;
  /** do_IRQ: handlers, and the softirqs on the way back. */
  readonly hardirq: number;
  readonly softirq: number;
}

export class CpuSampler {
  private readonly machine: Machine;
  private readonly event: TimerEvent;
  private readonly counts = { idle: 0, user: 0, system: 0, hardirq: 0, softirq: 0 };
  private looks = 0;
  /** Sums over the looks: commands under way at all disks. */
  private inFlight = 0;
  private stopped = false;

  constructor(machine: Machine) {
    this.machine = machine;
    this.event = makeEvent("lockmeter.sample", (fired) => {
      if (this.stopped) return;
      this.look();
      machine.events.arm(fired, fired.at + PERIOD_NS);
    });
  }

  start(): void {
    this.machine.events.arm(this.event, this.machine.now() + PERIOD_NS);
  }
  stop(): void {
    this.stopped = true;
  }

  private look(): void {
    this.looks++;
    for (const c of this.machine.cpus) this.counts[this.kindOf(c)]++;
    for (const disk of K.block.disks) this.inFlight += disk.s.in_flight;
  }

  private kindOf(c: Cpu): "idle" | "user" | "system" | "hardirq" | "softirq" {
    const p = K.percpu[c.id]!;
    if (p.hardirqDepth > 0) return "hardirq";
    if (p.softirqDepth > 0) return "softirq";
    if (c.state === HALT || c.state === STOPPED || p.current === p.idle) return "idle";
    return c.functionId === system_call.id ? "user" : "system";
  }

  shares(): CpuShares {
    const all = Math.max(1, this.looks * this.machine.cpus.length);
    const { idle, user, system, hardirq, softirq } = this.counts;
    return {
      ...{ idle: idle / all, user: user / all, system: system / all },
      ...{ hardirq: hardirq / all, softirq: softirq / all },
    };
  }

  /** Requests queued or under way, all disks together, on average. */
  meanInFlight(): number {
    return this.inFlight / Math.max(1, this.looks);
  }
}
