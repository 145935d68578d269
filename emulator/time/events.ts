// The machine's calendar: plain events ordered by (time, sequence), first in first out for equals.
//
// Events are records that their owner makes once and arms again and again, so nothing is allocated per event.
// The list is a sorted array: a machine has a few dozen events pending, and the usual new event is among the next.

/** Something that happens at an instant. Handlers run to completion, never call kernel code and never throw. */
export interface TimerEvent {
  /** For traces and hashes: "mpt0.complete". */
  readonly label: string;
  /** Called at its time. */
  readonly fire: (event: TimerEvent) => void;
  /** Nanoseconds since power-on; meaningful while armed. */
  at: number;
  /** Order among equals; set when armed. */
  sequence: number;
  armed: boolean;
  /** A number for the owner's use, e.g. an index. */
  arg: number;
  readonly labelHash: number;
}

const hashLabel = (label: string): number => {
  let h = 0x811c9dc5;
  for (let i = 0; i < label.length; i++) h = Math.imul(h ^ label.charCodeAt(i), 0x01000193);
  return h | 0;
};

export const makeEvent = (label: string, fire: (event: TimerEvent) => void, arg = 0): TimerEvent => ({
  label,
  fire,
  at: 0,
  sequence: 0,
  armed: false,
  arg,
  labelHash: hashLabel(label),
});

export class EventQueue {
  /** Latest first, so that the next event is popped from the end. */
  private readonly list: TimerEvent[] = [];
  private sequence = 0;
  /** The time of the next event; Infinity when none is armed. Read by the hot paths. */
  nextAt = Infinity;
  /** The time of the event that fired last: device code's "now". */
  now = 0;
  fired = 0;
  /** When the last event fired; unlike `now`, accesses do not move it. */
  lastFiredAt = -1;
  /** Rolling hash of (time, label) of every event fired; two runs of a seed must agree. */
  hash = 0x1234567;
  /**
   * No CPU acts before this: whoever fires events says so, and takes it back when that changes. 0 when it is not known.
   * Meaningful while an event fires.
   */
  quietUntil = 0;
  /** Called when `passTo` moved the time. */
  onPassed: (at: number) => void = () => {};
  /** Called when `nextAt` moved earlier, so that a running CPU can shorten its stride. */
  onEarlier: (at: number) => void = () => {};

  /** Arms `event` at `at` nanoseconds; an armed event moves. Past times fire as soon as possible, never before `now`. */
  arm(event: TimerEvent, at: number): void {
    if (event.armed) this.cancel(event);
    if (!(at >= this.now)) at = this.now;
    event.at = at;
    event.sequence = ++this.sequence;
    event.armed = true;
    const { list } = this;
    let i = list.length;
    list.push(event);
    while (i > 0 && list[i - 1]!.at <= at) {
      list[i] = list[i - 1]!;
      i--;
    }
    list[i] = event;
    if (at < this.nextAt) {
      this.nextAt = at;
      this.onEarlier(at);
    }
  }

  cancel(event: TimerEvent): void {
    if (!event.armed) return;
    event.armed = false;
    const { list } = this;
    // By hand: splice would allocate an array for what it removes.
    for (let i = list.lastIndexOf(event) + 1; i < list.length; i++) list[i - 1] = list[i]!;
    list.pop();
    this.nextAt = list.length > 0 ? list[list.length - 1]!.at : Infinity;
  }

  /** Fires the next event. Call only when `nextAt` is finite. */
  fireNext(): void {
    const { list } = this;
    const event = list.pop()!;
    event.armed = false;
    this.nextAt = list.length > 0 ? list[list.length - 1]!.at : Infinity;
    this.enter(event, event.at);
    event.fire(event);
  }

  private enter(event: TimerEvent, at: number): void {
    this.now = at;
    this.lastFiredAt = at;
    this.fired++;
    this.hash = (Math.imul(this.hash ^ event.labelHash ^ at, 0x01000193) + ((at / 4294967296) | 0)) | 0;
  }

  /**
   * For the handler of `event`, which would arm it at `at` and return: true when it would be the next thing to happen. Then
   * `at` is now, everything is as if it had fired, and the handler goes on. False when something may come in between.
   */
  passTo(event: TimerEvent, at: number): boolean {
    if (!(at <= this.quietUntil && at < this.nextAt && at >= this.now)) return false;
    this.sequence++;
    this.enter(event, at);
    this.onPassed(at);
    return true;
  }

  get pending(): readonly TimerEvent[] {
    return this.list;
  }
}
