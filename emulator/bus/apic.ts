// Interrupt delivery: local APICs (request and in-service registers, EOI, IPIs) and the I/O APIC (routing, remote IRR).
//
// The whole state is modelled because it is what kills an interrupt-driven dumper: a vector that stays in service on an
// abandoned context blocks its like, and a level-triggered line whose EOI is owed is never delivered again.
import type { Cpu } from "../cpu/cpu.ts";
import { makeEvent, type EventQueue, type TimerEvent } from "../time/events.ts";

/** Time from sending an IPI to its arrival. */
const IPI_LATENCY_NS = 400;
/** Time from a line's edge to the request in the local APIC. */
const LINE_LATENCY_NS = 250;

export class LocalApic {
  private readonly cpu: Cpu;
  private readonly ioApic: () => IoApic;
  /** Requested vectors (IRR), unordered, with the time at which each arrived. */
  private readonly requested: number[] = [];
  private readonly requestedAt: number[] = [];
  /** Vectors in service (ISR), innermost last. */
  readonly inService: number[] = [];
  private heldBackClass = 0;
  /**
   * An EOI here reaches the lines, too (APIC). On ia64 it does not (SAPIC): cr.eoi is the CPU's alone, and the line waits until
   * software writes the EOI register of its IOSAPIC.
   */
  private readonly tellsLines: boolean;
  /** Software enable (spurious-interrupt vector register, bit 8). Disabled it takes NMI, INIT and nothing else. */
  private enabled = true;

  constructor(cpu: Cpu, ioApic: () => IoApic, tellsLines = true) {
    this.cpu = cpu;
    this.ioApic = ioApic;
    this.tellsLines = tellsLines;
  }

  /** Task priority register: vectors at or below this priority class (vector >> 4) are held back. */
  get taskPriority(): number {
    return this.heldBackClass;
  }
  set taskPriority(priorityClass: number) {
    this.heldBackClass = priorityClass;
    if (this.requested.length > 0) this.cpu.attention = true;
  }

  /** A vector arrives at `at`. A vector that is requested already merges with it. */
  request(vector: number, at: number): void {
    if (!this.enabled) return;
    const index = this.requested.indexOf(vector);
    if (index < 0) {
      this.requested.push(vector);
      this.requestedAt.push(at);
    } else if (at < this.requestedAt[index]!) this.requestedAt[index] = at;
    this.cpu.attention = true;
  }

  /** True while the vector waits to be taken: another one would merge with it. */
  isRequested(vector: number): boolean {
    return this.requested.includes(vector);
  }

  private highestInService(): number {
    let highest = -1;
    for (const vector of this.inService) if (vector > highest) highest = vector;
    return highest;
  }

  /** Index of the deliverable request with the highest vector, or -1. */
  private deliverable(now: number): number {
    const floor = Math.max(this.highestInService() >> 4, this.heldBackClass);
    let best = -1;
    for (let i = 0; i < this.requested.length; i++) {
      const vector = this.requested[i]!;
      if (vector >> 4 <= floor || this.requestedAt[i]! > now) continue;
      if (best < 0 || vector > this.requested[best]!) best = i;
    }
    return best;
  }

  /** True when acknowledge() would hand out a vector at `now`. */
  pending(now: number): boolean {
    return this.deliverable(now) >= 0;
  }

  /** The time at which the earliest deliverable request arrives or arrived; Infinity when there is none. */
  earliest(): number {
    const floor = Math.max(this.highestInService() >> 4, this.heldBackClass);
    let earliest = Infinity;
    for (let i = 0; i < this.requested.length; i++) {
      if (this.requested[i]! >> 4 > floor && this.requestedAt[i]! < earliest) earliest = this.requestedAt[i]!;
    }
    return earliest;
  }

  /** The CPU takes an interrupt: the request becomes in service. -1 when there is none now. */
  acknowledge(now: number): number {
    const { requested, requestedAt } = this;
    const index = this.deliverable(now);
    if (index < 0) {
      // What is held back by priority calls for attention again at the EOI; what is still on its way keeps it.
      if (requested.length === 0 || this.earliest() === Infinity) this.cpu.attention = false;
      return -1;
    }
    const vector = requested[index]!;
    const last = requested.length - 1;
    requested[index] = requested[last]!;
    requestedAt[index] = requestedAt[last]!;
    requested.pop();
    requestedAt.pop();
    if (last === 0) this.cpu.attention = false;
    this.inService.push(vector);
    return vector;
  }

  /** End of interrupt: the highest vector in service is done; with an APIC a level-triggered line behind it may ask again. */
  endOfInterrupt(): void {
    const { inService } = this;
    const highest = this.highestInService();
    if (highest < 0) return;
    // By hand: splice would allocate.
    for (let i = inService.lastIndexOf(highest) + 1; i < inService.length; i++) inService[i - 1] = inService[i]!;
    inService.pop();
    if (this.requested.length > 0) this.cpu.attention = true;
    if (this.tellsLines) this.ioApic().endOfInterrupt(highest, this.cpu.clock);
  }

  get isEnabled(): boolean {
    return this.enabled;
  }

  /** Software disable: nothing more is accepted, the local timer and counters stand still. What is in service stays so. */
  disable(): void {
    this.enabled = false;
    this.requested.length = 0;
    this.requestedAt.length = 0;
    this.cpu.attention = false;
  }

  /** Software enable. What an earlier system left in service is there still. */
  enable(): void {
    this.enabled = true;
  }

  get requests(): readonly number[] {
    return this.requested;
  }
}

export interface RedirectionEntry {
  vector: number;
  destination: number;
  masked: boolean;
  level: boolean;
  /** Set while a level-triggered interrupt waits for its EOI: nothing is delivered meanwhile. */
  remoteIrr: boolean;
  asserted: boolean;
}

export class IoApic {
  private readonly cpus: readonly Cpu[];
  private readonly events: EventQueue;
  readonly entries: RedirectionEntry[];
  private readonly ipiEvents = new Map<number, TimerEvent>();
  private readonly landingEvents = new Map<string, TimerEvent>();
  /** How an NMI or INIT reaches a CPU; set by the machine. */
  land: (cpu: Cpu, kind: "nmi" | "init", reason: string, at: number) => void = () => {};

  constructor(cpus: readonly Cpu[], events: EventQueue, lines = 24) {
    this.cpus = cpus;
    this.events = events;
    this.entries = Array.from({ length: lines }, () => ({
      vector: 0,
      destination: 0,
      masked: true,
      level: true,
      remoteIrr: false,
      asserted: false,
    }));
  }

  entry(irq: number): RedirectionEntry {
    const entry = this.entries[irq];
    if (!entry) throw new Error(`io-apic: there is no line ${irq} (0..${this.entries.length - 1})`);
    return entry;
  }

  /** A device drives its line. */
  setLine(irq: number, asserted: boolean): void {
    const entry = this.entry(irq);
    if (entry.asserted === asserted) return;
    entry.asserted = asserted;
    if (asserted) this.tryDeliver(entry, this.events.now + LINE_LATENCY_NS);
  }

  /** Opens or closes a line at the time `now`. */
  setMasked(irq: number, masked: boolean, now: number): void {
    const entry = this.entry(irq);
    entry.masked = masked;
    // An edge that came while the line was masked is lost; a level is still there.
    if (!masked && entry.level && entry.asserted) this.tryDeliver(entry, now);
  }

  /** Steers a line to another CPU. What was delivered already stays where it is, and so does its remote IRR. */
  setDestination(irq: number, cpuId: number): void {
    this.entry(irq).destination = cpuId;
  }

  /** clear_IO_APIC_pin(): masked, and written as edge-triggered, which drops remote IRR. The line's own wiring stays. */
  clear(irq: number): void {
    const entry = this.entry(irq);
    entry.masked = true;
    entry.remoteIrr = false;
    entry.vector = 0;
  }

  private tryDeliver(entry: RedirectionEntry, at: number): void {
    if (entry.masked || (entry.level && entry.remoteIrr)) return;
    // Nobody accepts the message: the line waits.
    if (!this.cpus[entry.destination]!.apic.isEnabled) return;
    if (entry.level) entry.remoteIrr = true;
    this.cpus[entry.destination]!.apic.request(entry.vector, at);
    this.onRequest(this.cpus[entry.destination]!, at);
  }

  /** Told of every request, so that a halted CPU wakes; set by the machine. */
  onRequest: (cpu: Cpu, at: number) => void = () => {};

  /** An EOI for `vector`, a CPU's or (IOSAPIC) a write to the EOI register, reaches the lines that wait for it; what is still asserted asks again. */
  endOfInterrupt(vector: number, now: number): void {
    for (const entry of this.entries) {
      if (entry.vector !== vector || !entry.remoteIrr) continue;
      entry.remoteIrr = false;
      if (entry.asserted) this.tryDeliver(entry, now);
    }
  }

  /** Sends a fixed-vector IPI; it arrives a little later, merging with one on its way. */
  sendIpi(to: Cpu, vector: number, now: number): void {
    const key = to.id * 256 + vector;
    let event = this.ipiEvents.get(key);
    if (!event) {
      event = makeEvent(`ipi.cpu${to.id}.${vector.toString(16)}`, (fired) => {
        to.apic.request(vector, fired.at);
        this.onRequest(to, fired.at);
      });
      this.ipiEvents.set(key, event);
    }
    if (!event.armed) this.events.arm(event, now + IPI_LATENCY_NS);
  }

  /** Sends an NMI or INIT: cannot be masked. */
  sendLanding(to: Cpu, kind: "nmi" | "init", reason: string, now: number): void {
    const key = `${to.id}.${kind}.${reason}`;
    let event = this.landingEvents.get(key);
    if (!event) {
      event = makeEvent(`${kind}.cpu${to.id}.${reason}`, (fired) => this.land(to, kind, reason, fired.at));
      this.landingEvents.set(key, event);
    }
    if (!event.armed) this.events.arm(event, now + IPI_LATENCY_NS);
  }
}
