// What differs between kernel versions. Everything else is shared: the same code, the same structs.
//
// A flavour is a list of the functions that a version has in a place where another has others; each lies in a file that is
// named after what it does (bottom-half.ts, tq-disk.ts, ...). flavours/linux-*.ts are those lists. What a version alone has of
// symbols is in its image alone (versionFunctions of kfunc.ts).
import type { Running } from "../../emulator/cpu/cpu.ts";
import type { BlockFlavour } from "../block/flavour.ts";
import type { ScsiFlavour } from "../scsi/flavour.ts";
import type { Kernel } from "./kernel.ts";
import type { PerCpu } from "./percpu.ts";
import type { Spinlock } from "./spinlock.ts";
import type { Task } from "./task.ts";
import type { TimerBase } from "./timer-wheel.ts";

export const KERNEL_VERSIONS = ["2.6.9", "2.4.21"] as const;
export type KernelVersion = (typeof KERNEL_VERSIONS)[number];

export interface CoreFlavour {
  /** The lock of a CPU's runqueue, whose lock word in the struct is at `at`. */
  runqueueLock(k: Kernel, at: number, cpuId: number): Spinlock;
  /** schedule() is about to pick the task that follows `prev`. Locks: the runqueue's held, irqs off. Plain code. */
  beforePick(p: PerCpu, prev: Task): void;
  /** The tick's part for the running task. Hardirq. */
  schedulerTick(): Running;
  /** The timer wheel of each CPU: perhaps one for all. */
  timerBases(): TimerBase[];
  /** At each tick, on each CPU: sees to it that due timers run. Hardirq, irqs off. */
  askForTimers(): Running;
  /** Runs what is pending of softirqs. Called with irqs off, returns so. */
  doSoftirq(): Running;
  /** Sets up what runs below interrupts, beside softirqs and tasklets. */
  initBottomHalves(): void;
  /** Kernel threads that this version has and others have not. Context: process 1. */
  startThreads(): Running;
}

export interface Flavour {
  readonly version: KernelVersion;
  /** utsname's release. */
  readonly release: string;
  readonly core: CoreFlavour;
  readonly block: BlockFlavour;
  readonly scsi: ScsiFlavour;
}
