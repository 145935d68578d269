// Hardware interrupts (arch/x86_64/kernel/irq.c of 2.6.9): descriptors in RAM, do_IRQ, per-line flow for level triggers.
import {
  cpu,
  finished,
  giveWay,
  isFinished,
  mustGiveWay,
  step,
  type Cpu,
  type Running,
} from "../../emulator/cpu/cpu.ts";
import { M, peek32, poke32, pokePtr, storePtr } from "../abi/ram.ts";
import { NR_IRQS, irq_desc, irqaction, kernel_stat, softirq_action } from "../abi/structs/sched.ts";
import { array } from "../abi/types.ts";
import type { ViewOf } from "../abi/view.ts";
import { init_irq_types } from "./irq-chips.ts";
import { K, this_cpu } from "./kernel.ts";
import type { PerCpu } from "./percpu.ts";
import { DEFINE_PER_CPU } from "./percpu-data.ts";
import { common_interrupt } from "./entry.ts";
import { beginStack, kfunc, textAddressOf } from "./kfunc.ts";
import { pushInterruptedRegisters } from "./registers.ts";
import { softirq_pending } from "./softirq.ts";
import { Spinlock, spin_lock, spin_lock_irqsave, spin_unlock, spin_unlock_irqrestore } from "./spinlock.ts";

export const IRQ_INPROGRESS = 1;
export const IRQ_DISABLED = 2;
export const IRQ_PENDING = 4;
export const IRQ_REPLAY = 8;
export const IRQ_LEVEL = 64;
/** request_irq flags. */
export const SA_INTERRUPT = 0x20000000;
export const SA_SHIRQ = 0x04000000;

/** irq n uses this vector (FIRST_DEVICE_VECTOR on; assign_irq_vector spreads them over the priority classes). */
export const vectorOfIrq = (irq: number): number => 0x31 + irq * 8;
const irqOfVector = (vector: number): number => (vector - 0x31) / 8;

/** Entry, register save, stack switch. */
const ENTRY_NS = 250;
const EXIT_NS = 150;

/** A handler returns true when the interrupt was its device's. It runs with the line masked against itself. */
export type IrqHandler = (irq: number, devId: number) => Running<boolean>;

const kstat = DEFINE_PER_CPU("kstat", kernel_stat);

interface Action {
  readonly handler: IrqHandler;
  readonly addr: number;
  readonly devId: number;
  readonly flags: number;
}

export class IrqController {
  readonly descAddr: number;
  readonly descs: ViewOf<typeof irq_desc>[] = [];
  readonly locks: Spinlock[] = [];
  readonly actions: Action[][] = [];
  /** Vectors that are not device lines (local timer, IPIs): the entry they come through, and what it calls. */
  private readonly vectors = new Map<number, { readonly entryId: number; readonly handler: () => Running }>();
  readonly kstat: ViewOf<typeof kernel_stat>[] = [];

  constructor(lines: number) {
    const k = K;
    const size = k.sizeOf(irq_desc);
    this.descAddr = k.static("irq_desc", array(irq_desc, NR_IRQS));
    for (let irq = 0; irq < lines; irq++) {
      const desc = k.view(irq_desc, this.descAddr + irq * size);
      desc.status = IRQ_DISABLED;
      desc.depth = 1;
      this.descs.push(desc);
      this.locks.push(new Spinlock(desc.lock.addr, `irq_desc[${irq}].lock`));
      this.actions.push([]);
    }
    for (const c of k.machine.cpus) {
      this.kstat[c.id] = k.view(kernel_stat, k.perCpuAreas.addressOf(kstat, c.id));
    }
    k.static("softirq_vec", array(softirq_action, 32));
    init_irq_types(k);
    for (const desc of this.descs) desc.handler = k.symbol("no_irq_type");
  }

  setVector(vector: number, entry: { readonly id: number }, handler: () => Running): void {
    this.vectors.set(vector, { entryId: entry.id, handler });
  }

  /** irqpoll's round over the handlers of the lines other than `irq`. Returns: true when one took an interrupt. */
  misrouted(irq: number): Running<boolean> {
    return misrouted_irq(irq);
  }

  /** What a vector that is no device line leads to. */
  special(vector: number): { readonly entryId: number; readonly handler: () => Running } | undefined {
    return this.vectors.get(vector);
  }
}

export function init_irq(): void {
  K.irq = new IrqController(K.machine.ioApic.entries.length);
  for (const c of K.cpus) c.onInterrupt = interrupt_entry;
}

/** Counts an interrupt in kstat_cpu(cpu).irqs[irq]. */
function count(irq: number): void {
  const at = K.irq.kstat[cpu.id]!.irqs + irq * 4;
  poke32(at, peek32(at) + 1);
}

/**
 * common_interrupt and its like: saves the registers on the interrupted stack, moves to the interrupt stack if it was not on one,
 * runs the vector's entry, then softirqs and, on the way back to user mode, the scheduler.
 */
function interrupt_entry(vector: number): Running {
  step(ENTRY_NS);
  const c = cpu;
  const p = this_cpu();
  const interrupted = new Interrupted(c, p);
  const regs = pushInterruptedRegisters();
  p.interruptRegs = regs;
  const { irqcount } = interrupted;
  if (irqcount < 0) {
    // irqstackptr-8: where the registers are; -16: return address in common_interrupt.
    pokePtr(p.irqStackTop - 8, regs);
    c.sp = p.irqStackTop - 8;
  } else {
    // Nested: on whatever stack it was, so that an unwinder finds the registers the same way.
    pokePtr(regs - 8, regs);
    c.sp = regs - 8;
  }
  beginStack(c, c.sp);
  const special = K.irq.special(vector);
  c.functionId = special ? special.entryId : common_interrupt.id;
  p.hardirqDepth++;
  p.pda.irqcount = irqcount + 1;
  // ia64_handle_irq: cr.tpr holds back what is not more urgent while the handler runs. Whoever is stopped in here leaves it raised.
  if (K.machine.sapic) c.apic.taskPriority = vector >> 4;
  const handling = special ? special.handler() : do_IRQ(irqOfVector(vector));
  return isFinished(handling) ? irq_exit(interrupted) : irq_exit_after(handling, interrupted);
}

function* irq_exit_after(handling: Running, interrupted: Interrupted): Generator<void, void, void> {
  yield* handling;
  yield* irq_exit(interrupted);
}

function irq_exit(interrupted: Interrupted): Running {
  const { p } = interrupted;
  if (K.machine.sapic) p.cpu.apic.taskPriority = interrupted.taskPriority;
  p.hardirqDepth--;
  if (p.hardirqDepth === 0 && p.softirqDepth === 0 && softirq_pending()) {
    const running = K.flavour.core.doSoftirq();
    if (!isFinished(running)) return iret_after(running, interrupted);
  }
  return iret(interrupted);
}

function* iret_after(running: Running, interrupted: Interrupted): Generator<void, void, void> {
  yield* running;
  yield* iret(interrupted);
}

function iret(interrupted: Interrupted): Running {
  const { p } = interrupted;
  cpu.interruptsEnabled = false;
  p.pda.irqcount = interrupted.irqcount;
  step(EXIT_NS);
  cpu.sp = interrupted.sp;
  cpu.fp = interrupted.fp;
  cpu.functionId = interrupted.functionId;
  // The interrupted code had interrupts on.
  cpu.interruptsEnabled = true;
  return finished();
}

/** What an interrupt entry needs to go back. */
class Interrupted {
  readonly p: PerCpu;
  readonly sp: number;
  readonly fp: number;
  readonly functionId: number;
  /** -1 off the interrupt stack. It stays up in a context that was abandoned there: its frames are kept. */
  readonly irqcount: number;
  readonly taskPriority: number;

  constructor(c: Cpu, p: PerCpu) {
    this.p = p;
    this.sp = c.sp;
    this.fp = c.fp;
    this.functionId = c.functionId;
    this.irqcount = p.pda.irqcount;
    this.taskPriority = c.apic.taskPriority;
  }
}

/**
 * A device line's interrupt: flow control, then its handlers. A level-triggered line gets its EOI behind them, an edge-triggered
 * one before: another edge may come while they run, and makes them run again.
 */
export const do_IRQ = kfunc("do_IRQ", function* (irq: number) {
  const { descs, locks, actions } = K.irq;
  const desc = descs[irq];
  if (!desc) {
    K.reports.push(`unexpected IRQ trap at vector ${cpu.apic.inService.at(-1)?.toString(16)} on cpu ${cpu.id}`);
    cpu.apic.endOfInterrupt();
    return;
  }
  count(irq);
  yield* spin_lock(locks[irq]!);
  const level = (desc.status & IRQ_LEVEL) !== 0;
  // ack_edge_ioapic_irq
  if (!level) cpu.apic.endOfInterrupt();
  let status = (desc.status & ~IRQ_REPLAY) | IRQ_PENDING;
  let run = false;
  if ((status & (IRQ_DISABLED | IRQ_INPROGRESS)) === 0) {
    run = true;
    status = (status & ~IRQ_PENDING) | IRQ_INPROGRESS;
  }
  desc.status = status;
  // Another CPU is in the handler (or was, when it was stopped): it will see PENDING. Nobody else may run it.
  while (run) {
    spin_unlock(locks[irq]!);
    let handled = yield* handle_IRQ_event(irq, actions[irq]!);
    if (!handled && K.commandLine.includes("irqpoll")) handled = yield* misrouted_irq(irq);
    yield* spin_lock(locks[irq]!);
    note_interrupt(irq, handled);
    if ((desc.status & IRQ_PENDING) === 0) {
      desc.status = desc.status & ~IRQ_INPROGRESS;
      break;
    }
    desc.status = desc.status & ~IRQ_PENDING;
  }
  // end_level_ioapic_irq, iosapic_end_level_irq: the EOI that lets the line ask again.
  if (level && K.machine.sapic) K.machine.ioApic.endOfInterrupt(vectorOfIrq(irq), cpu.clock);
  if (level) cpu.apic.endOfInterrupt();
  spin_unlock(locks[irq]!);
});

/**
 * irqpoll: the shared handlers of every line but `irq` are asked, whether their line is disabled or not (kernel/irq/spurious.c).
 * Returns: true when one took an interrupt. Context: hardirq. Locks held: none.
 */
function* misrouted_irq(irq: number): Generator<void, boolean, void> {
  const { actions, descs, locks } = K.irq;
  let handled = false;
  for (let other = 0; other < actions.length; other++) {
    const list = actions[other]!;
    const desc = descs[other]!;
    // Others would not know what to do with an interrupt that is not theirs.
    if (other === irq || !list.some(({ flags }) => (flags & SA_SHIRQ) !== 0)) continue;
    yield* spin_lock(locks[other]!);
    const running = (desc.status & IRQ_INPROGRESS) !== 0;
    desc.status = desc.status | (running ? IRQ_PENDING : IRQ_INPROGRESS);
    spin_unlock(locks[other]!);
    if (running) continue;
    for (let i = 0; i < list.length; i++) {
      const { flags, handler, devId } = list[i]!;
      if ((flags & SA_SHIRQ) !== 0 && (yield* handler(other, devId))) handled = true;
    }
    yield* spin_lock(locks[other]!);
    desc.status = desc.status & ~(IRQ_INPROGRESS | IRQ_PENDING);
    spin_unlock(locks[other]!);
  }
  return handled;
}

export const handle_IRQ_event = kfunc("handle_IRQ_event", function* (irq: number, actions: readonly Action[]) {
  let handled = false;
  if (actions.length > 0 && (actions[0]!.flags & SA_INTERRUPT) === 0) {
    cpu.interruptsEnabled = true;
    if (mustGiveWay()) yield* giveWay(cpu);
  }
  for (let i = 0; i < actions.length; i++) {
    const action = actions[i]!;
    if (yield* action.handler(irq, action.devId)) handled = true;
  }
  cpu.interruptsEnabled = false;
  return handled;
});

/** "irq N: nobody cared": a line that keeps asking without an owner is shut down after 100000 interrupts. */
function note_interrupt(irq: number, handled: boolean): void {
  const desc = K.irq.descs[irq]!;
  desc.irq_count = desc.irq_count + 1;
  if (!handled) desc.irqs_unhandled = desc.irqs_unhandled + 1;
  if (desc.irq_count < 100000) return;
  desc.irq_count = 0;
  if (desc.irqs_unhandled > 99900) {
    K.reports.push(`irq ${irq}: nobody cared!`);
    desc.status = desc.status | IRQ_DISABLED;
    desc.depth = 1;
    K.machine.ioApic.setMasked(irq, true, cpu.clock);
  }
  desc.irqs_unhandled = 0;
}

const EBUSY = 16;

/**
 * Registers a handler for a line and opens it.
 * Returns: 0, or -EBUSY when the line is taken and not everybody shares it. Context: process. Locks: the descriptor's, inside.
 */
export const request_irq = kfunc(
  "request_irq",
  function* (irq: number, handler: IrqHandler, flags: number, name: string, devId: number) {
    const { descs, locks, actions } = K.irq;
    const addr = K.bootmem(K.sizeOf(irqaction));
    const action = K.view(irqaction, addr);
    action.flags = flags;
    action.dev_id = devId;
    action.handler = textAddressOf((handler as unknown as { id?: number }).id ?? 0);
    action.name = kernelString(name);
    const saved = yield* spin_lock_irqsave(locks[irq]!);
    const list = actions[irq]!;
    if (list.some((other) => (other.flags & flags & SA_SHIRQ) === 0)) {
      yield* spin_unlock_irqrestore(locks[irq]!, saved);
      return -EBUSY;
    }
    if (list.length > 0) K.view(irqaction, list[list.length - 1]!.addr).next = addr;
    else storePtr(descs[irq]!.addr + K.offsetOf(irq_desc, "action"), addr);
    list.push({ handler, addr, devId, flags });
    if (list.length === 1) {
      const entry = K.machine.ioApic.entry(irq);
      entry.vector = vectorOfIrq(irq);
      // A kernel that booted on another CPU than the first has the lines to itself there.
      if (K.bootCpu.id !== 0) entry.destination = K.bootCpu.id;
      descs[irq]!.status = entry.level ? IRQ_LEVEL : 0;
      descs[irq]!.handler = K.symbol(entry.level ? "ioapic_level_type" : "ioapic_edge_type");
      descs[irq]!.depth = 0;
      K.machine.ioApic.setMasked(irq, false, cpu.clock);
    }
    yield* spin_unlock_irqrestore(locks[irq]!, saved);
    return 0;
  },
);

/** Masks a line; nests. */
export const disable_irq_nosync = kfunc("disable_irq_nosync", function* (irq: number) {
  const desc = K.irq.descs[irq]!;
  const flags = yield* spin_lock_irqsave(K.irq.locks[irq]!);
  desc.depth = desc.depth + 1;
  if (desc.depth === 1) {
    desc.status = desc.status | IRQ_DISABLED;
    K.machine.ioApic.setMasked(irq, true, cpu.clock);
  }
  yield* spin_unlock_irqrestore(K.irq.locks[irq]!, flags);
});

export const enable_irq = kfunc("enable_irq", function* (irq: number) {
  const desc = K.irq.descs[irq]!;
  const flags = yield* spin_lock_irqsave(K.irq.locks[irq]!);
  if (desc.depth === 0) K.reports.push(`enable_irq(${irq}) unbalanced`);
  else desc.depth = desc.depth - 1;
  if (desc.depth === 0) {
    desc.status = desc.status & ~IRQ_DISABLED;
    K.machine.ioApic.setMasked(irq, false, cpu.clock);
  }
  yield* spin_unlock_irqrestore(K.irq.locks[irq]!, flags);
});

/** A NUL-terminated string in boot memory. */
export function kernelString(text: string): number {
  const at = K.bootmem(text.length + 1, 8);
  for (let i = 0; i < text.length; i++) M.u8[at + i] = text.charCodeAt(i);
  return at;
}

export const in_interrupt = (): boolean => this_cpu().hardirqDepth > 0 || this_cpu().softirqDepth > 0;
export const in_irq = (): boolean => this_cpu().hardirqDepth > 0;
