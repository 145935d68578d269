// start_kernel: brings the kernel up on the machine's first CPU, starts the others, and runs init.
import { RUN, cpu as currentCpu, finished, setCurrentCpu, type Running } from "../../emulator/cpu/cpu.ts";
import { M, peek32, poke32, pokePtr } from "../abi/ram.ts";
import { new_utsname } from "../abi/structs/base.ts";
import { cpumask_t, prio_array, task_struct } from "../abi/structs/sched.ts";
import { array, char, int } from "../abi/types.ts";
import { init_mount_tree, open_console } from "../fs/rootfs.ts";
import { PageAllocator } from "../mm/page-alloc.ts";
import { reschedule_interrupt } from "./entry.ts";
import { attach_task, do_exit } from "./fork.ts";
import { init_irq } from "./irq.ts";
import { LINUX_2_6_9 } from "../flavours/linux-2.6.9.ts";
import type { Flavour } from "./flavour.ts";
import { K, Kernel, type KernelOptions } from "./kernel.ts";
import { kfunc, kleaf } from "./kfunc.ts";
import { list_add_tail } from "./list.ts";
import { init_modules } from "./module.ts";
import { init_nmi } from "./nmi.ts";
import { NotifierChain } from "./panic.ts";
import { pokeWord } from "./words.ts";
import { pidhash_init } from "./pid.ts";
import { init_percpu } from "./percpu.ts";
import { init_console, printk } from "./printk.ts";
import { RESCHEDULE_VECTOR, cpu_idle, init_sched, schedule, setRunListOffset, set_current_state } from "./sched.ts";
import { init_smp } from "./smp.ts";
import { init_softirq } from "./softirq.ts";
import { Spinlock } from "./spinlock.ts";
import { TASK_INTERRUPTIBLE, THREAD_BYTES, init_task_state_array, makeTask, type Task } from "./task.ts";
import { init_subsystems } from "./subsystems.ts";
import { init_timers, start_ticks } from "./timer.ts";
import { trap_init } from "./traps.ts";
import { init_workqueues } from "./workqueue.ts";

/** Wall clock of every boot unless the scenario says otherwise: 2004-12-01 00:00:00 UTC, the white paper's winter. */
export const DEFAULT_BOOT_SECONDS = 1101859200;

export interface BootOptions extends Omit<KernelOptions, "flavour"> {
  /** Default: 2.6.9. */
  readonly flavour?: Flavour;
  readonly bootSeconds?: number;
  readonly nodename?: string;
  /** Before the first page of memory is handed out: what an earlier kernel left may be reserved. */
  readonly onMemory?: () => void;
  /** What init does once the kernel is up: load modules, mount disks, start the load. Runs as process 1. */
  readonly init?: () => Running;
}

/** Writes a NUL-terminated string into a char array. */
function setString(at: number, text: string, room: number): void {
  for (let i = 0; i < room; i++) M.u8[at + i] = i < text.length && i < room - 1 ? text.charCodeAt(i) : 0;
}

/**
 * Boots a kernel: image, per-CPU areas, scheduler, interrupts, timers; then starts the idle tasks and process 1.
 * Nothing has run when it returns; `kernel.machine.run(until)` goes on from here.
 */
export function bootKernel(options: BootOptions): Kernel {
  const k = new Kernel({ ...options, flavour: options.flavour ?? LINUX_2_6_9 });
  k.timekeeper = k.bootCpu.id;
  const { machine } = k;
  setCurrentCpu(machine.outside);
  describeSystem(k, options);
  init_percpu(k, k.flavour.core.runqueueLock);
  k.static("nr_threads", int);
  pidhash_init(k);
  init_task_state_array(k);
  init_cpu_maps(k);
  init_modules();
  k.panicNotifiers = new NotifierChain();
  k.crashdump = {};
  k.dieLock = new Spinlock(k.staticBytes("die_lock", 8, 8), "die_lock");
  init_sched();
  setRunListOffset(k.offsetOf(task_struct, "run_list"));
  init_irq();
  k.irq.setVector(RESCHEDULE_VECTOR, reschedule_interrupt, smp_reschedule_interrupt);
  init_smp();
  trap_init();
  init_console();
  init_softirq();
  k.flavour.core.initBottomHalves();
  init_timers(options.bootSeconds ?? DEFAULT_BOOT_SECONDS);
  init_nmi();
  startIdleTasks(k);
  k.pages = new PageAllocator();
  options.onMemory?.();
  init_subsystems(k);
  start_ticks();
  // Process 1: finishes the boot with interrupts on, then runs what the machine is for.
  const { init } = options;
  const task = makeTask(k, {
    comm: "init",
    pid: k.nextPid++,
    kernelThread: true,
    cpuId: k.bootCpu.id,
    start: () => init_task_program(init),
  });
  enqueueFirst(k, task);
  return k;
}

/** The very first task goes on CPU 0's runqueue by hand: no CPU runs yet that could take the lock. */
function enqueueFirst(k: Kernel, task: Task): void {
  const p = k.percpu[k.bootCpu.id]!;
  attach_task(task, p.idle);
  const base = p.rq.active;
  const prio = task.s.prio;
  list_add_tail(task.runList, base + k.offsetOf(prio_array, "queue") + prio * (M.word8 ? 16 : 8));
  const word = base + k.offsetOf(prio_array, "bitmap") + (prio >> 5) * 4;
  poke32(word, peek32(word) | (1 << (prio & 31)));
  poke32(base, peek32(base) + 1);
  task.s.array = base;
  p.rq.nr_running = p.rq.nr_running + 1;
  task.onRunqueue = true;
  p.needResched = true;
}

const init_task_program = kfunc("init", function* (then: (() => Running) | undefined) {
  yield* printk(`Linux version ${K.release} (dumplab) #1 SMP\n`, 5);
  yield* printk(`Brought up ${K.cpus.length} CPUs\n`, 6);
  yield* init_workqueues();
  yield* K.flavour.core.startThreads();
  yield* init_mount_tree();
  yield* open_console();
  if (then) yield* then();
  // Process 1 never ends.
  for (;;) {
    set_current_state(TASK_INTERRUPTIBLE);
    yield* schedule();
  }
});

/** An IPI whose only effect is that the way back from the interrupt looks at need_resched. */
const smp_reschedule_interrupt = kleaf("smp_reschedule_interrupt", () => {
  currentCpu.apic.endOfInterrupt();
  return finished();
});

function describeSystem(k: Kernel, options: BootOptions): void {
  const uts = k.view(new_utsname, k.static("system_utsname", new_utsname));
  const version = "#1 SMP Wed Dec 1 00:00:00 UTC 2004";
  setString(uts.sysname, "Linux", 65);
  setString(uts.nodename, options.nodename ?? "localhost.localdomain", 65);
  setString(uts.release, k.release, 65);
  setString(uts.version, version, 65);
  setString(uts.machine, k.map.model.name === "i386" ? "i686" : k.map.model.name, 65);
  setString(uts.domainname, "(none)", 65);
  const banner = `Linux version ${k.release} (build@dumplab) (gcc version 3.4.3) ${version}\n`;
  setString(k.static("linux_banner", array(char, 256), "rodata"), banner, 256);
}

/** The first idle task is part of the image: it is there before there is memory to hand out. */
const initThread = (k: Kernel): { task: number; stack: number } => ({
  task: k.static("init_task", task_struct),
  stack: k.staticBytes("init_thread_union", THREAD_BYTES, THREAD_BYTES, "data", array(char, THREAD_BYTES)),
});

/** cpu_online_map and its like: every CPU of the machine is there, and works. */
function init_cpu_maps(k: Kernel): void {
  const all = k.cpus.reduce((mask, c) => mask | (1n << BigInt(c.id)), 0n);
  for (const name of ["cpu_online_map", "cpu_possible_map", "cpu_present_map", "cpu_callout_map"]) {
    pokeWord(k.static(name, cpumask_t), all);
  }
}

/** Each CPU starts in its idle task. */
function startIdleTasks(k: Kernel): void {
  for (const c of k.cpus) {
    const p = k.percpu[c.id]!;
    const task = makeTask(k, {
      comm: "swapper",
      pid: 0,
      kernelThread: true,
      cpuId: c.id,
      ...(c === k.bootCpu ? { place: initThread(k) } : {}),
      start: () => cpu_idle(),
    });
    task.running = true;
    task.s.parent = k.symbol("init_task");
    task.s.real_parent = k.symbol("init_task");
    p.idle = task;
    p.current = task;
    p.rq.idle = task.addr;
    p.rq.curr = task.addr;
    p.pda.pcurrent = task.addr;
    p.pda.cpunumber = c.id;
    p.pda.irqstackptr = p.irqStackTop;
    pokePtr(p.pda.addr, task.addr);
    c.sp = task.sp;
    c.fp = task.fp;
    c.program = task.program;
    c.state = RUN;
  }
}

/**
 * For tests and tools: runs `program` as a process of a booted kernel until it has ended, at most `limitNs` of virtual
 * time. Returns true when it ended.
 */
export function runKernel(k: Kernel, program: () => Running, limitNs = 60e9): boolean {
  let ended = false;
  k.enter();
  setCurrentCpu(k.machine.outside);
  const task = makeTask(k, {
    comm: "test",
    pid: k.nextPid++,
    kernelThread: false,
    start: () =>
      (function* () {
        yield* program();
        ended = true;
        k.machine.stopReason = "program ended";
        yield* do_exit();
      })(),
  });
  enqueueFirst(k, task);
  k.machine.ioApic.sendIpi(k.bootCpu, RESCHEDULE_VECTOR, k.machine.now());
  k.machine.run(k.machine.now() + limitNs);
  return ended;
}
