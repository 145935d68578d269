// What each CPU has of its own: its runqueue, pda, interrupt depth, softirq state.
import type { Cpu, Running } from "../../emulator/cpu/cpu.ts";
import type { ViewOf } from "../abi/view.ts";
import { runqueue, x8664_pda } from "../abi/structs/sched.ts";
import { array } from "../abi/types.ts";
import type { Kernel } from "./kernel.ts";
import type { Spinlock } from "./spinlock.ts";
import type { Task } from "./task.ts";

export interface PerCpu {
  readonly cpu: Cpu;
  readonly pda: ViewOf<typeof x8664_pda>;
  readonly rq: ViewOf<typeof runqueue>;
  readonly rqLock: Spinlock;
  current: Task;
  idle: Task;
  /** Nesting of hard interrupt handlers. */
  hardirqDepth: number;
  /** Nesting of softirq processing and bh-disabled sections. */
  softirqDepth: number;
  needResched: boolean;
  /** Top of the interrupt stack (physical). */
  irqStackTop: number;
  /** Top of the NMI (IST) stack. */
  nmiStackTop: number;
  /** Interrupts taken, for the NMI watchdog: stands still on a dead CPU. */
  timerTicks: number;
  /** Softirqs pending, a bit each; the word in the pda is the truth, this is its address. */
  readonly softirqPendingAt: number;
  /** This CPU runs on its NMI stack and will not go back. */
  inNmi: boolean;
  /** What the last abandoning NMI or INIT interrupted. */
  interrupted: { functionName: string; sp: number; fp: number; functionId: number } | undefined;
  /** pt_regs of that. */
  nmiRegs: number;
  watchdogTicks: number;
  watchdogStale: number;
  /** K.watchdogTouches when its watchdog looked last. */
  watchdogTouches: number;
}

export const NR_CPUS = 64;
export const IRQ_STACK_BYTES = 16384;
export const EXCEPTION_STACK_BYTES = 4096;

/** Lays out cpu_pda, runqueues and stacks for every CPU. Called first by start_kernel. */
export function init_percpu(k: Kernel, makeLock: (addr: number, name: string) => Spinlock): void {
  const pdaSize = k.sizeOf(x8664_pda);
  const pdaBase = k.staticBytes("cpu_pda", pdaSize * NR_CPUS, 64, "data", array(x8664_pda, NR_CPUS));
  const rqSize = Math.ceil(k.sizeOf(runqueue) / 64) * 64;
  for (const c of k.machine.cpus) {
    const pda = k.view(x8664_pda, pdaBase + c.id * pdaSize);
    const area = k.bootmem(rqSize, 4096);
    const rq = k.view(runqueue, area);
    const irqStack = k.bootmem(IRQ_STACK_BYTES, 4096);
    const nmiStack = k.bootmem(EXCEPTION_STACK_BYTES, 4096);
    pda.irqcount = -1;
    k.percpu.push({
      cpu: c,
      pda,
      rq,
      rqLock: makeLock(rq.lock.addr, `runqueue_lock.${c.id}`),
      current: undefined as unknown as Task,
      idle: undefined as unknown as Task,
      hardirqDepth: 0,
      softirqDepth: 0,
      needResched: false,
      irqStackTop: irqStack + IRQ_STACK_BYTES - 64,
      nmiStackTop: nmiStack + EXCEPTION_STACK_BYTES,
      timerTicks: 0,
      inNmi: false,
      interrupted: undefined,
      nmiRegs: 0,
      watchdogTicks: -1,
      watchdogStale: 0,
      watchdogTouches: 0,
      softirqPendingAt: pda.addr + k.offsetOf(x8664_pda, "__softirq_pending"),
    });
  }
}

export type SoftirqAction = () => Running;
