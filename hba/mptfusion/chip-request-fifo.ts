// The request FIFO: frame addresses with the time at which firmware will have fetched them. One event serves all of them.
import type { EventQueue } from "../../emulator/time/events.ts";
import { type TimerEvent, makeEvent } from "../../emulator/time/events.ts";
import { GLOBAL_CREDITS } from "./chip-profile.ts";

const MASK = GLOBAL_CREDITS - 1;

export class RequestFifo {
  private readonly events: EventQueue;
  private readonly frames = new Int32Array(GLOBAL_CREDITS);
  private readonly readyAt = new Float64Array(GLOBAL_CREDITS);
  private head = 0;
  private tail = 0;
  private lastReadyAt = -Infinity;
  private readonly fetchNs: number;
  private readonly gapNs: number;
  private readonly onFrame: (frame: number) => void;
  private readonly event: TimerEvent;

  constructor(label: string, events: EventQueue, fetchNs: number, gapNs: number, onFrame: (frame: number) => void) {
    this.events = events;
    this.fetchNs = fetchNs;
    this.gapNs = gapNs;
    this.onFrame = onFrame;
    this.event = makeEvent(label, () => this.fetch());
  }

  /** Records a frame address (low 32 bits); false when all GlobalCredits entries are taken. */
  push(frame: number): boolean {
    if (this.tail - this.head === GLOBAL_CREDITS) return false;
    const soonest = this.events.now + this.fetchNs;
    const behind = this.lastReadyAt + this.gapNs;
    const at = soonest > behind ? soonest : behind;
    const slot = this.tail++ & MASK;
    this.frames[slot] = frame;
    this.readyAt[slot] = at;
    this.lastReadyAt = at;
    if (!this.event.armed) this.events.arm(this.event, at);
    return true;
  }

  clear(): void {
    this.head = this.tail = 0;
    this.lastReadyAt = -Infinity;
    this.events.cancel(this.event);
  }

  private fetch(): void {
    const frame = this.frames[this.head++ & MASK]! >>> 0;
    // Armed before the frame is handled: handling may fault, which clears this FIFO.
    if (this.head !== this.tail) this.events.arm(this.event, this.readyAt[this.head & MASK]!);
    this.onFrame(frame);
  }
}
