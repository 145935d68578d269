// Spinlocks (include/linux/spinlock.h of 2.6.9, x86 flavour: 1 free, 0 held).
//
// The lock word is in RAM; owner and waiters sit beside it, for the simulator's own use: a spinning CPU is parked and costs
// no host time, and a deadlock is recognised by following it to the owner. Kernel code may not read them.
import {
  RUN,
  SPIN,
  cpu,
  finished,
  preempt,
  step,
  takeInterrupts,
  type Cpu,
  type Running,
  type Spinnable,
} from "../../emulator/cpu/cpu.ts";
import { peek32, poke32 } from "../abi/ram.ts";
import { spinlock_t } from "../abi/structs/base.ts";
import { K, per_cpu } from "./kernel.ts";
import type { LockUse } from "./lockmeter.ts";

const LOCK_NS = 18;
const UNLOCK_NS = 8;
const UNLOCKED = 1;
const LOCKED = 0;

export class Spinlock implements Spinnable {
  /** Physical address of the lock word. */
  readonly addr: number;
  readonly name: string;
  owner: Cpu | undefined;
  ownerEpoch = 0;
  private holderId = 0;
  /** When it was last freed: a CPU whose clock is behind that cannot take it earlier. */
  freedAt = 0;
  /** Parked CPUs, first come first tried. */
  readonly waiters: Cpu[] = [];
  /** For "the first instant at which a named lock is held"; called right after it was taken. */
  onTaken: ((lock: Spinlock, c: Cpu) => void) | undefined;
  /** Counts takings and time, while somebody measures; see lockmeter.ts. */
  meter: LockUse | undefined;
  /** Irq-safety: taken inside an interrupt handler / taken with interrupts on. Both together can deadlock. */
  private takenInIrq = false;
  private takenWithIrqsOn = false;
  private reported = false;

  constructor(addr: number, name: string) {
    this.addr = addr;
    this.name = name;
    poke32(addr, UNLOCKED);
    K.locks.set(name, this);
    if (K.lockMeter) this.meter = K.lockMeter.use(name);
  }

  get holder(): string {
    return K.functionName(this.holderId);
  }

  get isHeld(): boolean {
    return peek32(this.addr) !== UNLOCKED;
  }

  take(c: Cpu): void {
    poke32(this.addr, LOCKED);
    this.owner = c;
    this.ownerEpoch = c.epoch;
    this.holderId = c.functionId;
    if (c.interruptsEnabled) this.takenWithIrqsOn = true;
    // After a crash the depth is that of the context that died.
    else if (per_cpu(c).hardirqDepth > 0 && !K.crash) this.takenInIrq = true;
    if (this.takenInIrq && this.takenWithIrqsOn && !this.reported) this.report();
    if (this.meter) this.meter.taken(c.clock, this.holderId);
    if (this.onTaken) this.onTaken(this, c);
  }

  forget(c: Cpu): void {
    const at = this.waiters.indexOf(c);
    if (at >= 0) this.waiters.splice(at, 1);
    else if (!this.isHeld) this.wakeFirst(c.clock);
  }

  /** The lock is free: its first waiter may try. */
  wakeFirst(at: number): void {
    const head = this.waiters.shift();
    if (head) K.machine.unpark(head, at);
  }

  private report(): void {
    this.reported = true;
    K.reports.push(`${this.name} is taken in an interrupt handler and elsewhere with interrupts on (${this.holder})`);
  }
}

/** A lock of the kernel image's own, with a symbol (spinlock_t name = SPIN_LOCK_UNLOCKED). */
export const staticLock = (name: string): Spinlock => new Spinlock(K.static(name, spinlock_t), name);

/** Makes the lock whose word is at `addr` (spin_lock_init). */
export const spin_lock_init = (addr: number, name: string): Spinlock => new Spinlock(addr, name);

/** Returns: true when it was free and is ours now. Never waits. */
export function spin_trylock(lock: Spinlock): boolean {
  step(LOCK_NS);
  const c = cpu;
  if (lock.isHeld || c.clock < lock.freedAt) {
    if (lock.meter) lock.meter.rejected(c.functionId);
    return false;
  }
  lock.take(c);
  return true;
}

/** True when somebody holds it, whoever. What a sanity check asks. */
export function spin_is_locked(lock: Spinlock): boolean {
  step(LOCK_NS);
  return lock.isHeld;
}

/** Takes the lock; the CPU spins while another holds it. Interrupts stay as they are. Preemption point when contended. */
export function spin_lock(lock: Spinlock): Running {
  step(LOCK_NS);
  const c = cpu;
  if (lock.isHeld || c.clock < lock.freedAt) return spinUntilFree(lock);
  lock.take(c);
  return finished();
}

function* spinUntilFree(lock: Spinlock): Generator<void, void, void> {
  const c = cpu;
  const began = c.clock;
  const { machine } = K;
  for (;;) {
    if (!lock.isHeld) {
      c.advanceTo(lock.freedAt);
      if (!lock.isHeld && c.clock <= c.horizon) break;
    }
    if (!lock.isHeld) {
      // That was ahead of the others: they come first, perhaps to this very lock.
      c.triesNext = lock;
      c.state = RUN;
      yield;
      c.triesNext = undefined;
      continue;
    }
    if (!lock.waiters.includes(c)) lock.waiters.push(c);
    c.spinOn = lock;
    c.state = SPIN;
    machine.checkDeadlock(c);
    yield;
    const wasTold = c.triesNext === lock;
    c.spinOn = undefined;
    c.triesNext = undefined;
    if (!wasTold) {
      const at = lock.waiters.indexOf(c);
      if (at >= 0) lock.waiters.splice(at, 1);
    }
    if (c.attention && c.interruptsEnabled && c.apic.pending(c.clock)) {
      // Others need not wait for its handlers (which may never come back).
      if (wasTold && !lock.isHeld) lock.wakeFirst(c.clock);
      yield* takeInterrupts(c);
    }
  }
  if (lock.meter) lock.meter.waited(c.clock - began, c.functionId);
  lock.take(c);
}

/** Frees the lock and lets its first waiter try. Not a preemption point. */
export function spin_unlock(lock: Spinlock): void {
  step(UNLOCK_NS);
  const c = cpu;
  if (lock.owner !== c || !lock.isHeld) {
    K.reports.push(
      `spin_unlock(${lock.name}) on cpu ${c.id} in ${K.functionName(c.functionId)}: ${lock.owner ? `cpu ${lock.owner.id} holds it` : "nobody holds it"}`,
    );
  }
  release(lock, c.clock);
}

function release(lock: Spinlock, at: number): void {
  poke32(lock.addr, UNLOCKED);
  lock.owner = undefined;
  if (lock.meter) lock.meter.freed(at);
  lock.freedAt = at;
  lock.wakeFirst(at);
}

/** Opens a lock whoever holds it (spin_lock_init on a live lock): what a desperate dumper does. */
export function force_unlock(lock: Spinlock): void {
  step(UNLOCK_NS);
  release(lock, cpu.clock);
  K.machine.recheckSpinners();
}

export function spin_lock_irqsave(lock: Spinlock): Running<number> {
  const c = cpu;
  const flags = c.interruptsEnabled ? 1 : 0;
  c.interruptsEnabled = false;
  step(LOCK_NS);
  if (lock.isHeld || c.clock < lock.freedAt) return spinThenFlags(lock, flags);
  lock.take(c);
  return finished(flags);
}

function* spinThenFlags(lock: Spinlock, flags: number): Generator<void, number, void> {
  yield* spinUntilFree(lock);
  return flags;
}

/** Preemption point when interrupts come back on. */
export function spin_unlock_irqrestore(lock: Spinlock, flags: number): Running {
  spin_unlock(lock);
  return local_irq_restore(flags);
}

export function spin_lock_irq(lock: Spinlock): Running {
  cpu.interruptsEnabled = false;
  return spin_lock(lock);
}

export function spin_unlock_irq(lock: Spinlock): Running {
  spin_unlock(lock);
  return local_irq_restore(1);
}

export function local_irq_save(): number {
  const flags = cpu.interruptsEnabled ? 1 : 0;
  cpu.interruptsEnabled = false;
  return flags;
}

export function local_irq_disable(): void {
  cpu.interruptsEnabled = false;
}

/** Preemption point when interrupts come on. */
export function local_irq_restore(flags: number): Running {
  if (flags === 0) return finished();
  if (!cpu.interruptsEnabled) K.onIrqEnable?.();
  cpu.interruptsEnabled = true;
  return preempt();
}

export const local_irq_enable = (): Running => local_irq_restore(1);
export const irqs_disabled = (): boolean => !cpu.interruptsEnabled;
