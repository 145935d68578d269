// The task set: commands a disk has accepted and not finished, and who may go before whom. [SAM-3 8]
import { makeEvent, type EventQueue, type TimerEvent } from "../time/events.ts";
import type { CommandSpec, Extent } from "./scsi-commands.ts";
import type { ScsiCommand } from "./scsi-command.ts";
import type { SenseCode } from "./sense.ts";

export type TaskState =
  | "free"
  /** Waits for its data to come over the bus (`wantData`). */
  | "fetching"
  /** In the queue: for its turn, or for the arm. */
  | "waiting"
  /** Answered by the controller at its event: commands without sectors, and those that fail. */
  | "answering"
  /** Moving data between bus and buffer. */
  | "buffered"
  /** Has the arm. */
  | "on the arm"
  /** Never answered; leaves by abort or reset. */
  | "swallowed";

/** A slot of the task set; made once, used for one command after the other. */
export interface Task extends Extent {
  readonly event: TimerEvent;
  command: ScsiCommand | undefined;
  spec: CommandSpec | undefined;
  state: TaskState;
  /** Order of arrival. */
  arrival: number;
  arrivedAt: number;
  isWrite: boolean;
  /** Counts in the task set; a refusal (TASK SET FULL) does not. */
  counted: boolean;
  /** Sectors to move before the end or the media error. */
  goodSectors: number;
  /** Sectors done. */
  moved: number;
  /** Sectors that the pending event moves. */
  burst: number;
  /** Cache extent of the burst, -1 past the cache. */
  cacheSequence: number;
  segment: number;
  segmentOffset: number;
  /** What it will fail with, 0 for nothing. */
  failure: SenseCode;
  failureLba: number;
  failureDeferred: boolean;
  /** Status to answer when not 0 and no `failure`. */
  statusByte: number;
  /** A unit attention that this command reports; goes back when it is aborted first. */
  attention: SenseCode;
  completionLost: boolean;
  slowness: number;
  /** How often the arm preferred another one. */
  passed: number;
}

export class TaskSet {
  private readonly events: EventQueue;
  private readonly label: string;
  private readonly fire: (task: Task) => void;
  private readonly free: Task[] = [];
  /** All slots ever made; grows only when refusals pile up. */
  readonly slots: Task[] = [];
  /** Accepted and not finished. */
  count = 0;
  private arrivals = 0;
  /** Integral of `count` over time, up to `countedAt`. */
  private countNs = 0;
  private countedAt = 0;

  constructor(events: EventQueue, label: string, depth: number, fire: (task: Task) => void) {
    this.events = events;
    this.label = label;
    this.fire = fire;
    for (let i = 0; i <= depth; i++) this.free.push(this.makeSlot());
    // The first slots are taken first: `find` looks from there.
    this.free.reverse();
  }

  private makeSlot(): Task {
    const event = makeEvent(this.label, (fired) => this.fire(this.slots[fired.arg]!), this.slots.length);
    const task: Task = {
      event,
      command: undefined,
      spec: undefined,
      state: "free",
      arrival: 0,
      arrivedAt: 0,
      lba: 0,
      sectors: 0,
      forceUnitAccess: false,
      isWrite: false,
      counted: false,
      goodSectors: 0,
      moved: 0,
      burst: 0,
      cacheSequence: -1,
      segment: 0,
      segmentOffset: 0,
      failure: 0,
      failureLba: -1,
      failureDeferred: false,
      statusByte: 0,
      attention: 0,
      completionLost: false,
      slowness: 1,
      passed: 0,
    };
    this.slots.push(task);
    return task;
  }

  /** A slot for a command. `counted` false for one that is only refused. */
  take(command: ScsiCommand, now: number, counted: boolean): Task {
    const task = this.free.pop() ?? this.makeSlot();
    task.command = command;
    task.arrival = ++this.arrivals;
    task.arrivedAt = now;
    task.lba = 0;
    task.sectors = 0;
    task.isWrite = false;
    task.counted = counted;
    task.goodSectors = 0;
    task.moved = 0;
    task.cacheSequence = -1;
    task.segment = 0;
    task.segmentOffset = 0;
    task.failure = 0;
    task.failureLba = -1;
    task.failureDeferred = false;
    task.statusByte = 0;
    task.attention = 0;
    task.completionLost = false;
    task.slowness = 1;
    task.passed = 0;
    if (counted) {
      this.countNs = this.queueTimeNs(now);
      this.countedAt = now;
      this.count++;
    }
    return task;
  }

  release(task: Task): void {
    if (task.event.armed) this.events.cancel(task.event);
    if (task.counted) {
      const { now } = this.events;
      this.countNs = this.queueTimeNs(now);
      this.countedAt = now;
      this.count--;
    }
    task.counted = false;
    task.state = "free";
    task.command = undefined;
    this.free.push(task);
  }

  /** The time that all commands together have spent in the set: its growth by the time that has passed is the mean depth. */
  queueTimeNs(now: number): number {
    return this.countNs + this.count * (now - this.countedAt);
  }

  find(command: ScsiCommand): Task | undefined {
    for (const task of this.slots) if (task.command === command) return task;
    return undefined;
  }

  /** True when an untagged command is outstanding (`untagged`), or any at all. */
  has(untagged: boolean): boolean {
    for (const task of this.slots) {
      if (task.counted && task.state !== "swallowed" && (!untagged || task.command!.queueTag === "untagged"))
        return true;
    }
    return false;
  }

  /**
   * True while a task must wait for another one. An ordered task waits for all older ones and holds up all younger
   * ones; a head-of-queue task waits for nobody and holds up what has not started. Restricted reordering: of two
   * commands on the same sectors, one of them a write, the older goes first.
   */
  mustWait(task: Task): boolean {
    const tag = task.command!.queueTag;
    for (const other of this.slots) {
      if (other === task || !other.counted || other.state === "swallowed") continue;
      const otherTag = other.command!.queueTag;
      if (otherTag === "head" && tag !== "head") return true;
      const older = other.arrival < task.arrival;
      if (!older) continue;
      const started = other.state !== "waiting" && other.state !== "fetching";
      if (tag === "head" && !started) continue;
      if (tag !== "head" && (tag === "ordered" || otherTag === "ordered")) return true;
      if (
        (task.isWrite || other.isWrite) &&
        task.lba < other.lba + other.sectors &&
        other.lba < task.lba + task.sectors
      ) {
        return true;
      }
    }
    return false;
  }
}
