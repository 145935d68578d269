// The machine: memory, CPUs, calendar and interrupt controllers, and the loop that runs one CPU or one event at a time.
import { IoApic, LocalApic } from "../bus/apic.ts";
import { PciBus, type DeviceHost } from "../bus/pci.ts";
import type { PhysicalMemory } from "../memory/memory.ts";
import { EventQueue } from "../time/events.ts";
import { RandomSource } from "../time/random.ts";
import { TraceRecorder } from "../trace/trace.ts";
import {
  Cpu,
  DELAY,
  HALT,
  LOST,
  RUN,
  SPIN,
  STOPPED,
  setCurrentCpu,
  type CpuOwner,
  type Domain,
  type Landing,
} from "./cpu.ts";

/** Two CPUs never drift further apart than one plain section may take: the limit that strict machines enforce. */
export const MAX_SKEW_NS = 2000;

/** stopReason of a machine that used up its turns. */
export const TURN_LIMIT = "the machine used up its turns";

/** Why a CPU will never get what it spins on. */
export interface Deadlock {
  readonly cpu: Cpu;
  /** From the spinner to the end: who waits for what, held by whom, where. */
  readonly chain: readonly { cpu: number; waitsFor: string; heldBy: number; holder: string }[];
  readonly end: "frozen cpu" | "abandoned context" | "itself" | "cycle";
}

export interface MachineOptions {
  readonly cpus: number;
  readonly seed: number;
  readonly memory: PhysicalMemory;
  /** ia64's interrupt controllers: see LocalApic. Default: APICs. */
  readonly sapic?: boolean;
  /** Throw on a driver's or a model's mistake instead of recording it. */
  readonly strict?: boolean;
}

export class Machine implements CpuOwner, DeviceHost {
  readonly events = new EventQueue();
  readonly memory: PhysicalMemory;
  readonly cpus: readonly Cpu[];
  /** Stands for the CPU while no CPU runs: boot and tools use kernel code without time passing. */
  readonly outside: Cpu;
  readonly ioApic: IoApic;
  readonly sapic: boolean;
  readonly pci = new PciBus();
  readonly random: RandomSource;
  readonly recorder = new TraceRecorder();
  readonly strict: boolean;
  readonly complaints: string[] = [];
  /** The CPU whose program is being resumed; undefined between resumptions. */
  private running: Cpu | undefined;
  /** Set to leave the loop after the current step. */
  stopReason: string | undefined;
  /** Called when a CPU is found to spin for ever. */
  onDeadlock: (deadlock: Deadlock) => void = () => {};
  /** The largest amount by which a CPU overran the others' clocks, and the function that gave way only then. */
  maxSkewNs = 0;
  maxSkewIn = "";
  resumptions = 0;
  /** The system that is entered now. */
  domain: Domain | undefined;
  /** The loop stops with stopReason TURN_LIMIT when CPUs have been resumed this often: a livelock costs bounded time. */
  turnLimit = Infinity;
  /** Rolling hash of (time, CPU) of every resumption. */
  private hash = 0x2545f491;

  constructor(options: MachineOptions) {
    this.memory = options.memory;
    this.random = new RandomSource(options.seed);
    this.strict = options.strict ?? true;
    this.cpus = Array.from({ length: options.cpus }, (_, id) => new Cpu(id, this));
    this.outside = new Cpu(0, this);
    this.outside.limit = Infinity;
    this.outside.horizon = Infinity;
    this.ioApic = new IoApic(this.cpus, this.events);
    this.sapic = options.sapic ?? false;
    for (const c of this.cpus) c.apic = new LocalApic(c, () => this.ioApic, !this.sapic);
    this.ioApic.onRequest = (c, at) => this.wakeForInterrupt(c, at);
    this.ioApic.land = (c, kind, reason, at) => this.land(c, { kind, reason }, at);
    this.events.onEarlier = (at) => {
      const { running } = this;
      if (running && at < running.limit) running.limit = at;
    };
    this.events.onPassed = (at) => {
      const { running } = this;
      if (running && at > running.clock) running.clock = at;
    };
  }

  get tracing(): boolean {
    return this.recorder.enabled;
  }

  trace(device: string, what: string, a: number, b: number): void {
    this.recorder.record(this.now(), device, what, a, b);
  }

  complain(device: string, kind: "driver erred" | "not modelled", what: string): void {
    const text = `${device}: ${kind}: ${what}`;
    if (this.strict) throw new Error(`${text} (at ${this.now()} ns)`);
    this.complaints.push(text);
  }

  /** Hash of everything that happened so far: events and resumptions. Equal scenario and seed give equal hashes. */
  get traceHash(): string {
    const mixed = Math.imul(this.events.hash ^ Math.imul(this.hash, 0x9e3779b1), 0x85ebca6b) ^ this.hash;
    return (this.events.hash >>> 0).toString(16).padStart(8, "0") + (mixed >>> 0).toString(16).padStart(8, "0");
  }

  /** Virtual time: the running CPU's clock, or that of whatever happened last. */
  now(): number {
    if (this.running) return this.running.clock;
    let latest = this.events.now;
    for (const c of this.cpus) if (c.clock > latest) latest = c.clock;
    return latest;
  }

  // ---- the running CPU -------------------------------------------------------------------------------------------

  cross(c: Cpu): void {
    const { events } = this;
    events.quietUntil = c.idleUntil > c.clock ? c.idleUntil : c.clock;
    while (events.nextAt <= c.clock) events.fireNext();
    events.quietUntil = 0;
    // A CPU that is alone has no other's clock to give way to.
    if (this.stopReason !== undefined) this.shortenHorizon(c.clock);
    if (c.landAt <= c.clock && this.running === c && this.perform(c)) throw LOST;
    c.limit = Math.min(events.nextAt, c.landAt);
  }

  /** The NMI or INIT lands. True when what ran on the CPU is abandoned. */
  private perform(c: Cpu): boolean {
    const landing = c.landing!;
    c.idleUntil = 0;
    const later = c.laterLandings.shift();
    c.landing = later?.landing;
    c.landAt = later?.at ?? Infinity;
    const before = {
      epoch: c.epoch,
      clock: c.clock,
      functionName: this.nameFunction(c.functionId),
      interruptsEnabled: c.interruptsEnabled,
      inService: [...c.apic.inService],
    };
    const program = c.onLanding(c, landing);
    if (!program) return false;
    c.abandoned.push(before);
    c.epoch++;
    c.program = program;
    c.state = RUN;
    this.dropLocks(c);
    this.recheckSpinners();
    return true;
  }

  /** What `c` waited for, or was about to try, is left to others. */
  private dropLocks(c: Cpu): void {
    const { spinOn, triesNext } = c;
    c.spinOn = undefined;
    c.triesNext = undefined;
    spinOn?.forget(c);
    triesNext?.forget(c);
  }

  /** Names a kernel function for messages; set by the kernel. */
  nameFunction: (id: number) => string = (id) => `function ${id}`;

  // ---- landings, interrupts, locks -------------------------------------------------------------------------------

  /** An NMI or INIT reaches `c` at time `at`. One like it that is still pending merges with it; any other one waits. */
  land(c: Cpu, landing: Landing, at: number): void {
    this.events.quietUntil = 0;
    if (c.state === STOPPED && c.program === undefined) return;
    if (c.landing) {
      const same = (pending: Landing): boolean => pending.kind === landing.kind && pending.reason === landing.reason;
      if (!same(c.landing) && !c.laterLandings.some((later) => same(later.landing))) {
        c.laterLandings.push({ landing, at });
      }
      return;
    }
    c.landing = landing;
    c.landAt = at;
    if (c === this.running) c.limit = Math.min(c.limit, at);
    else this.shortenHorizon(Math.max(at, c.state === RUN ? c.clock : at));
  }

  private wakeForInterrupt(c: Cpu, at: number): void {
    if (c === this.running || !c.interruptsEnabled) return;
    this.shortenHorizon(c.state === RUN ? c.clock : Math.max(at, c.clock));
  }

  /** Another CPU can act at `at`: the running one must not run far past that. */
  private shortenHorizon(at: number): void {
    this.events.quietUntil = 0;
    const { running } = this;
    if (running && at < running.horizon) running.horizon = at;
  }

  /** A lock was freed at `at`: its first waiter, parked, may try again. */
  unpark(c: Cpu, at: number): void {
    if (c.state !== SPIN) return;
    c.state = RUN;
    c.triesNext = c.spinOn;
    c.spinOn = undefined;
    if (c.clock < at) c.clock = at;
    this.shortenHorizon(c.clock);
  }

  /** Called when a CPU parks on a lock: is anybody ever going to free it? */
  checkDeadlock(c: Cpu): void {
    const deadlock = this.deadlockOf(c);
    if (deadlock) this.onDeadlock(deadlock);
  }

  recheckSpinners(): void {
    for (const c of this.cpus) if (c.state === SPIN) this.checkDeadlock(c);
  }

  /** Follows spinner to owner. Undefined while there is hope. */
  deadlockOf(c: Cpu): Deadlock | undefined {
    const chain: { cpu: number; waitsFor: string; heldBy: number; holder: string }[] = [];
    const seen = new Set<Cpu>();
    let at: Cpu = c;
    for (;;) {
      const lock = at.spinOn;
      if (!lock?.owner) return undefined;
      const { owner } = lock;
      chain.push({ cpu: at.id, waitsFor: lock.name, heldBy: owner.id, holder: lock.holder });
      seen.add(at);
      if (lock.ownerEpoch !== owner.epoch) return { cpu: c, chain, end: "abandoned context" };
      if (owner === at) return { cpu: c, chain, end: "itself" };
      if (isDead(owner)) return { cpu: c, chain, end: "frozen cpu" };
      if (seen.has(owner)) return { cpu: c, chain, end: "cycle" };
      at = owner;
    }
  }

  // ---- the loop --------------------------------------------------------------------------------------------------

  /** The earliest time at which a CPU can do something; Infinity when only others can change that. */
  private actionTime(c: Cpu): number {
    switch (c.state) {
      case RUN:
        return c.clock;
      case DELAY:
        return Math.min(c.until, this.interruptTime(c), Math.max(c.landAt, c.clock));
      case HALT:
      case SPIN:
        return Math.min(this.interruptTime(c), Math.max(c.landAt, c.clock));
      default:
        return c.landAt;
    }
  }

  private interruptTime(c: Cpu): number {
    return c.attention && c.interruptsEnabled ? Math.max(c.apic.earliest(), c.clock) : Infinity;
  }

  /**
   * Runs until `until` (ns), until `stopReason` is set, or until nothing can happen any more.
   * Returns the time reached.
   */
  run(until: number): number {
    this.stopReason = undefined;
    for (;;) {
      try {
        return this.turns(until);
      } catch (thrown) {
        this.leave();
        // The sentinel has left an abandoned program; the CPU's new one starts at its next turn.
        if (thrown !== LOST) throw thrown;
      }
    }
  }

  private turns(until: number): number {
    const { events, cpus } = this;
    for (;;) {
      if (this.stopReason !== undefined) return this.now();
      if (this.resumptions > this.turnLimit) {
        this.stopReason = TURN_LIMIT;
        return this.now();
      }
      let next: Cpu | undefined;
      let at = Infinity;
      let second = Infinity;
      for (let i = 0; i < cpus.length; i++) {
        const c = cpus[i]!;
        const t = c.state === RUN ? c.clock : this.actionTime(c);
        if (t < at) {
          second = at;
          at = t;
          next = c;
        } else if (t < second) second = t;
      }
      if (events.nextAt <= at) {
        if (events.nextAt === Infinity) {
          this.stopReason = "nothing left to happen";
          return this.events.now;
        }
        if (events.nextAt > until) return until;
        events.fireNext();
      } else {
        if (at > until) return until;
        this.resume(next!, at, Math.min(second, until));
      }
    }
  }

  private resume(c: Cpu, at: number, horizon: number): void {
    if (c.clock < at) {
      if (c.state === HALT) c.haltedNs += at - c.clock;
      c.clock = at;
    }
    this.running = c;
    setCurrentCpu(c);
    if (c.domain !== this.domain) c.domain?.enter();
    this.resumptions++;
    c.horizon = horizon;
    c.limit = this.events.nextAt;
    this.hash = Math.imul(this.hash ^ c.id ^ at, 0x01000193) + ((at / 4294967296) | 0);
    // A landing that found the CPU parked or suspended: what it abandons is dropped here, never unwound; a CPU whose
    // landing came to nothing stays parked.
    if (c.landAt <= c.clock) {
      let abandoned = false;
      while (!abandoned && c.landAt <= c.clock) abandoned = this.perform(c);
      if (!abandoned && this.actionTime(c) > at) {
        this.leave();
        return;
      }
    }
    c.state = RUN;
    c.limit = Math.min(this.events.nextAt, c.landAt);
    const result = c.program!.next();
    if (result.done) {
      c.state = STOPPED;
      c.program = undefined;
    }
    this.leave();
    const skew = c.clock - c.horizon;
    if (skew > this.maxSkewNs) {
      this.maxSkewNs = skew;
      this.maxSkewIn = this.nameFunction(c.functionId);
    }
    // It will not come back to what it holds.
    if (haltsForEver(c)) this.recheckSpinners();
  }

  private leave(): void {
    this.running = undefined;
    setCurrentCpu(this.outside);
  }

  /** Starts a program on a stopped CPU. */
  start(c: Cpu, program: Iterator<void, unknown, void>, at: number): void {
    c.program = program;
    c.state = RUN;
    c.clock = Math.max(c.clock, at);
  }

  /** Takes a CPU out for ever, where it stands. Spinners on its locks are looked at again. */
  stop(c: Cpu): void {
    c.state = STOPPED;
    c.program = undefined;
    c.landing = undefined;
    c.landAt = Infinity;
    c.laterLandings.length = 0;
    this.dropLocks(c);
    this.recheckSpinners();
  }
}

const haltsForEver = (c: Cpu): boolean => c.state === HALT && !c.interruptsEnabled;
/** True for a CPU that will never go on with what it ran. */
const isDead = (c: Cpu): boolean => c.state === STOPPED || haltsForEver(c);
