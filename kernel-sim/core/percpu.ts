// What each CPU has of its own: its runqueue, pda, interrupt depth, softirq state.
import type { Cpu, Running } from "../../emulator/cpu/cpu.ts";
import type { ViewOf } from "../abi/view.ts";
import { runqueue, x8664_pda } from "../abi/structs/sched.ts";
import { array, char } from "../abi/types.ts";
import { DEFINE_PER_CPU, setup_per_cpu_areas } from "./percpu-data.ts";
import { pokeWord } from "./words.ts";
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
  /** Its exception stacks, one behind the other (physical). */
  readonly exceptionStacks: number;
  /** Top of the NMI (IST) stack. */
  nmiStackTop: number;
  /** Interrupts taken, for the NMI watchdog: stands still on a dead CPU. */
  timerTicks: number;
  /** Softirqs pending, a bit each; the word in the pda is the truth, this is its address. */
  readonly softirqPendingAt: number;
  /** This CPU runs on its NMI stack and will not go back. */
  inNmi: boolean;
  /** What the last abandoning NMI or INIT interrupted. */
  interrupted: { ns: number; functionName: string; sp: number; fp: number; functionId: number } | undefined;
  /** pt_regs of that. */
  nmiRegs: number;
  /** pt_regs of the interrupt that was taken last: its handler may look there first thing. */
  interruptRegs: number;
  watchdogTicks: number;
  watchdogStale: number;
  /** K.watchdogTouches when its watchdog looked last. */
  watchdogTouches: number;
}

export const NR_CPUS = 64;
export const IRQ_STACK_BYTES = 16384;
export const EXCEPTION_STACK_BYTES = 4096;
/** Exception stacks of a CPU, in the order of tss.ist[] (asm-x86_64/page.h: STACKFAULT, DOUBLEFAULT, NMI, DEBUG, MCE). */
export const N_EXCEPTION_STACKS = 5;
/** tss.ist[] index of the NMI's, from 0. */
export const NMI_STACK = 2;

const runqueues = DEFINE_PER_CPU("runqueues", runqueue);

/** Lays out cpu_pda, runqueues and stacks for every CPU. Called first by start_kernel. */
export function init_percpu(k: Kernel, makeLock: (k: Kernel, addr: number, cpuId: number) => Spinlock): void {
  const pdaSize = k.sizeOf(x8664_pda);
  const pdaBase = k.staticBytes("cpu_pda", pdaSize * NR_CPUS, 64, "data", array(x8664_pda, NR_CPUS));
  for (let id = 0; id < NR_CPUS; id++)
    if (!k.cpus.some((c) => c.id === id)) k.view(x8664_pda, pdaBase + id * pdaSize).cpunumber = -1;
  k.perCpuAreas = setup_per_cpu_areas(k, NR_CPUS);
  for (const c of k.cpus) {
    const pda = k.view(x8664_pda, pdaBase + c.id * pdaSize);
    const rq = k.view(runqueue, k.perCpuAreas.addressOf(runqueues, c.id));
    const irqStack = bootCpuBytes(k, c, "boot_cpu_stack", IRQ_STACK_BYTES);
    const exceptionStacks = bootCpuBytes(k, c, "boot_exception_stacks", N_EXCEPTION_STACKS * EXCEPTION_STACK_BYTES);
    pda.irqcount = -1;
    pokeWord(pda.addr + k.offsetOf(x8664_pda, "data_offset"), k.perCpuAreas.offsetOf(c.id));
    k.percpu[c.id] = {
      cpu: c,
      pda,
      rq,
      rqLock: makeLock(k, rq.lock.addr, c.id),
      current: undefined as unknown as Task,
      idle: undefined as unknown as Task,
      hardirqDepth: 0,
      softirqDepth: 0,
      needResched: false,
      irqStackTop: irqStack + IRQ_STACK_BYTES - 64,
      exceptionStacks,
      nmiStackTop: exceptionStacks + (NMI_STACK + 1) * EXCEPTION_STACK_BYTES,
      timerTicks: 0,
      inNmi: false,
      interrupted: undefined,
      nmiRegs: 0,
      interruptRegs: 0,
      watchdogTicks: -1,
      watchdogStale: 0,
      watchdogTouches: 0,
      softirqPendingAt: pda.addr + k.offsetOf(x8664_pda, "__softirq_pending"),
    };
  }
}

/** Memory of a CPU that the first one has in the kernel image, because it needs it before there is an allocator. */
function bootCpuBytes(k: Kernel, c: Cpu, name: string, bytes: number): number {
  return c === k.bootCpu ? k.staticBytes(name, bytes, 4096, "data", array(char, bytes)) : k.bootmem(bytes, 4096);
}

export type SoftirqAction = () => Running;
