// A CPU: a local clock, an interrupt flag, a local APIC, and a program (a generator) that the machine resumes.
//
// Plain code runs on the *current* CPU through step(): it pays time, lets the device events that are due by then run, and
// is the place where an NMI or INIT can take the CPU away, before the effect that the caller is about to have.
// Generators give control back only at preemption points; interrupts are taken there and nowhere else.
import type { LocalApic } from "../bus/apic.ts";

/** Kernel code that may give up the CPU: consumed at once by `yield*`. It yields nothing; the CPU's state says why. */
export type Running<T = void> = Iterable<void, T, void>;
export type Program = Iterator<void, unknown, void>;

/** RUN: resumable now. DELAY: busy until a time. HALT: until an interrupt. SPIN: until a lock is freed. STOPPED: never. */
export const RUN = 0;
export const DELAY = 1;
export const HALT = 2;
export const SPIN = 3;
export const STOPPED = 4;
export type CpuState = typeof RUN | typeof DELAY | typeof HALT | typeof SPIN | typeof STOPPED;

/** What a CPU can spin on: enough to follow a spinner to its owner. */
export interface Spinnable {
  readonly name: string;
  /** The CPU that holds it, or undefined. */
  owner: Cpu | undefined;
  /** The owner's epoch when it took it: an older epoch means an abandoned context. */
  ownerEpoch: number;
  /** Name of the function that took it, for messages. */
  holder: string;
  /** `c` was stopped or lost its context while it waited for this, or had just been told that this is free. */
  forget(c: Cpu): void;
}

/** An interrupt that cannot be masked: it lands between the effects of two accesses. */
export interface Landing {
  readonly kind: "nmi" | "init";
  /** Who sent it: "watchdog", "switch", "freeze", "os_init". */
  readonly reason: string;
}

/** A context that an NMI or INIT took the CPU away from; nothing in it will ever run again. */
export interface AbandonedContext {
  readonly epoch: number;
  readonly clock: number;
  readonly functionName: string;
  readonly interruptsEnabled: boolean;
  /** Vectors whose EOI is still owed. */
  readonly inService: readonly number[];
}

/** Thrown, preallocated, through a context that is being abandoned; only the machine's loop catches it. */
export const LOST = Object.freeze({ lost: true });

/** What a CPU runs: with two systems on one machine, what must be swapped when another CPU's turn comes. */
export interface Domain {
  /** Makes this the system that code means which names no other. */
  enter(): void;
}

export interface CpuOwner {
  /** Called when the current CPU's clock reached its limit: run due events, land NMIs, set the next limit. */
  cross(cpu: Cpu): void;
}

export class Cpu {
  readonly id: number;
  /** Local time in ns. */
  clock = 0;
  /** How much of it went by in a halt, waiting for an interrupt. */
  haltedNs = 0;
  /** step() calls the machine when the clock reaches this: the next event, or a landing. */
  limit = 0;
  /** A preemption point gives way when the clock has passed this: another CPU is behind. */
  horizon = 0;
  /** An interrupt may be deliverable: looked at in preemption points, where it counts only with interrupts enabled. */
  attention = false;
  interruptsEnabled = true;
  state: CpuState = STOPPED;
  /** The end of a DELAY. */
  until = 0;
  /** While it runs and passes time by itself: when it will act again. Otherwise in the past. */
  idleUntil = 0;
  program: Program | undefined;
  /** What it is parked on. */
  spinOn: Spinnable | undefined;
  /** What it was told is free now, until it runs again and tries. */
  triesNext: Spinnable | undefined;
  /** When the next NMI/INIT lands; Infinity when none is pending. */
  landAt = Infinity;
  landing: Landing | undefined;
  /** Those that land after it: of another kind or from another sender, so they do not merge. */
  readonly laterLandings: { readonly landing: Landing; readonly at: number }[] = [];
  /** Counts the contexts that were abandoned here. */
  epoch = 0;
  readonly abandoned: AbandonedContext[] = [];
  readonly owner: CpuOwner;
  apic!: LocalApic;
  /** The system that this CPU runs. */
  domain: Domain | undefined;

  // The registers that leave a trace in RAM: stack and frame pointer (physical addresses) and the running function.
  sp = 0;
  fp = 0;
  functionId = 0;

  /** Kernel entry for an interrupt vector. Called with interrupts off; must leave them as iret would. */
  onInterrupt: (vector: number) => Running = () => {
    throw new Error(`cpu${this.id}: an interrupt came before there was a handler`);
  };
  /** Kernel entry for NMI and INIT, plain code. Returns a program to abandon what ran, or undefined to resume it. */
  onLanding: (cpu: Cpu, landing: Landing) => Program | undefined = () => undefined;

  constructor(id: number, owner: CpuOwner) {
    this.id = id;
    this.owner = owner;
  }

  /** Moves the clock forward to `time` (never back) and lets what is due happen. */
  advanceTo(time: number): void {
    if (time > this.clock) {
      this.clock = time;
      if (time >= this.limit) this.owner.cross(this);
    }
  }
}

/** The CPU that is running now. Valid inside kernel code; set by the machine's loop alone. */
export let cpu: Cpu = undefined as unknown as Cpu;

export const setCurrentCpu = (next: Cpu): void => {
  cpu = next;
};

/** Pays `ns` on the current CPU; may run device events; may not return (the CPU is lost to an NMI or INIT). */
export function step(ns: number): void {
  const c = cpu;
  if ((c.clock += ns) >= c.limit) c.owner.cross(c);
}

/** An iterator that is finished: what a kernel function returns when it did not have to give way. Consumed at once. */
class Finished {
  readonly result: { value: unknown; done: true } = { value: undefined, done: true };
  next(): IteratorResult<void, unknown> {
    return this.result;
  }
  [Symbol.iterator](): this {
    return this;
  }
}
const FINISHED = new Finished();
/** Nothing to wait for, no value. */
const FINISHED_VOID = new Finished();

/** "Did not have to give way": the value of a `yield*` that never yields. Shared, so it must be consumed at once. */
export function finished(): Running;
export function finished<T>(value: T): Running<T>;
export function finished(value?: unknown): Running<unknown> {
  if (value === undefined) return FINISHED_VOID as unknown as Running<unknown>;
  FINISHED.result.value = value;
  return FINISHED as unknown as Running<unknown>;
}

/** True when `running` is over already, so that plain code may go on; its value is then `valueOf(running)`. */
export const isFinished = (running: Running<unknown>): boolean =>
  (running as unknown) === FINISHED_VOID || (running as unknown) === FINISHED;

/** The value of a call that isFinished(). To be taken at once: the next call overwrites it. */
export const valueOf = <T>(running: Running<T>): T => (running as unknown as Finished).result.value as T;

/** A preemption point: takes pending interrupts if they are enabled, and gives way to CPUs that are behind. */
export function preempt(): Running {
  const c = cpu;
  if (c.clock <= c.horizon && !(c.attention && c.interruptsEnabled)) return FINISHED_VOID as unknown as Running;
  return giveWay(c);
}

/** True when a preemption point would do something. */
export const mustGiveWay = (): boolean => cpu.clock > cpu.horizon || (cpu.attention && cpu.interruptsEnabled);

/** What a preemption point does that has something to do. */
export const giveWay = (c: Cpu): Running => new GiveWay(c);

const YIELD: IteratorResult<void, void> = { value: undefined, done: false };
const DONE: IteratorResult<void, void> = { value: undefined, done: true };

/** One yield, mostly; a hand-made iterator because a generator of its own would cost a third of the whole. */
class GiveWay {
  private readonly cpu: Cpu;
  private interrupts: Generator<void, void, void> | undefined;

  constructor(c: Cpu) {
    this.cpu = c;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<void, void> {
    const c = this.cpu;
    if (this.interrupts === undefined) {
      if (!(c.attention && c.interruptsEnabled)) {
        if (c.clock <= c.horizon) return DONE;
        c.state = RUN;
        return YIELD;
      }
      this.interrupts = takeThenGiveWay(c);
    }
    return this.interrupts.next();
  }
}

function* takeThenGiveWay(c: Cpu): Generator<void, void, void> {
  for (;;) {
    yield* takeInterrupts(c);
    if (c.clock <= c.horizon) return;
    c.state = RUN;
    yield;
    // Somebody may have sent an interrupt while the others ran.
    if (!(c.attention && c.interruptsEnabled) && c.clock <= c.horizon) return;
  }
}

/** Takes the interrupts that are pending for this CPU now, highest vector first. */
export function takeInterrupts(c: Cpu): Running {
  while (c.interruptsEnabled) {
    const vector = c.apic.acknowledge(c.clock);
    if (vector < 0) break;
    c.interruptsEnabled = false;
    const handling = c.onInterrupt(vector);
    if (!isFinished(handling)) return takeFurtherInterrupts(c, handling);
  }
  return finished();
}

/** A loop like its caller's, not a call of it: a storm of a hundred thousand interrupts must not become as many nested iterators. */
function* takeFurtherInterrupts(c: Cpu, first: Running): Generator<void, void, void> {
  yield* first;
  while (c.interruptsEnabled) {
    const vector = c.apic.acknowledge(c.clock);
    if (vector < 0) return;
    c.interruptsEnabled = false;
    yield* c.onInterrupt(vector);
  }
}

/** Busy for `ns`: time passes, events happen, interrupts are taken if enabled. What udelay comes down to. */
export function* busyFor(ns: number): Generator<void, void, void> {
  const c = cpu;
  const end = c.clock + ns;
  for (;;) {
    if (c.attention && c.interruptsEnabled) yield* takeInterrupts(c);
    if (c.clock >= end) return;
    c.state = DELAY;
    c.until = end;
    yield;
  }
}

/** hlt: until the next interrupt (with interrupts off: for ever). */
export const halt = (): Program & Running => new Halt() as Program & Running;

/** Hand-made for the same reason as GiveWay: an idle CPU makes one per tick. */
class Halt {
  private began = false;
  private interrupts: Iterator<void, unknown, void> | undefined;

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<void, unknown> {
    if (this.interrupts !== undefined) return this.interrupts.next();
    const c = cpu;
    const due = c.attention && c.interruptsEnabled;
    if (!this.began) {
      this.began = true;
      if (!(due && c.apic.pending(c.clock))) {
        c.state = HALT;
        return YIELD;
      }
    } else if (!due) return DONE;
    const taking = takeInterrupts(c);
    if (isFinished(taking)) return DONE;
    this.interrupts = taking[Symbol.iterator]();
    return this.interrupts.next();
  }
}
