// The two stations that serve a disk's commands, and the order in which they do.
//
// The controller moves data between the bus and the buffer, one command after the other; it alone serves cached
// writes, reads from the track buffer, and answers. The arm serves what must reach or come from the platters. Both
// plan ahead by arithmetic and arm the event of the command's slot, so that a command of up to 64 KiB costs one event;
// a longer one moves in bursts of 64 KiB, each at its own time. Data moves at the event, not before.
import type { EventQueue } from "../time/events.ts";
import type { DiskMedia } from "./media.ts";
import type { ModePages } from "./mode-pages.ts";
import { ReadAhead } from "./read-ahead.ts";
import type { Task, TaskSet } from "./task-set.ts";
import { SECTOR_SIZE, type DiskTiming, type Mechanics } from "./timing.ts";
import { WriteCache } from "./write-cache.ts";
import type { WriteGuard } from "./write-guard.ts";

const BURST_SECTORS = 128;
/** How many waiting commands the arm chooses from. */
const CHOICE_WINDOW = 32;
/** How often a command may be passed over by the arm. */
const PASS_LIMIT = 64;
/** Revolutions a drive spends on a sector before it gives up: as many as mode page 01 says. */
const RECOVERY_REVOLUTIONS = 11;

export interface StationParts {
  readonly events: EventQueue;
  readonly timing: DiskTiming;
  readonly mechanics: Mechanics;
  readonly media: DiskMedia;
  readonly modes: ModePages;
  readonly guard: WriteGuard;
  readonly tasks: TaskSet;
  /** START STOP UNIT takes effect; returns when it may be answered. */
  readonly motor: (task: Task, now: number) => number;
}

export class Stations {
  readonly cache: WriteCache;
  readonly readAhead: ReadAhead;
  private readonly events: EventQueue;
  private readonly timing: DiskTiming;
  private readonly mechanics: Mechanics;
  private readonly media: DiskMedia;
  private readonly modes: ModePages;
  private readonly guard: WriteGuard;
  private readonly tasks: TaskSet;
  private readonly motor: (task: Task, now: number) => number;
  private readonly waiting: Task[] = [];
  private armTask: Task | undefined;
  private controllerFreeAt = 0;

  constructor(parts: StationParts) {
    this.events = parts.events;
    this.timing = parts.timing;
    this.mechanics = parts.mechanics;
    this.media = parts.media;
    this.modes = parts.modes;
    this.guard = parts.guard;
    this.tasks = parts.tasks;
    this.motor = parts.motor;
    this.cache = new WriteCache(parts.mechanics, parts.timing.cacheBytes);
    this.readAhead = new ReadAhead(parts.mechanics);
  }

  /** Bytes between host and disk, both ways. */
  bytesMoved = 0;

  /** Queues a command that must not start yet. */
  wait(task: Task): void {
    task.state = "waiting";
    this.waiting.push(task);
  }

  /** Starts a command, or queues it for the arm. */
  begin(task: Task, now: number): void {
    if (this.beginWithoutArm(task, now)) return;
    if (this.armTask === undefined) this.beginOnArm(task, now);
    else this.wait(task);
  }

  /** The controller's next free moment, plus its overhead and the bus time of some sectors. */
  private controllerTime(now: number, sectors: number): number {
    const start = now > this.controllerFreeAt ? now : this.controllerFreeAt;
    return (this.controllerFreeAt = start + this.timing.commandOverheadNs + this.mechanics.busNs(sectors));
  }

  private schedule(task: Task, now: number, at: number): void {
    this.events.arm(task.event, task.slowness === 1 ? at : now + Math.ceil((at - now) * task.slowness));
  }

  private answer(task: Task, now: number): void {
    task.state = "answering";
    let at = this.controllerTime(now, 0);
    const { spec } = task;
    if (task.failure === 0 && task.statusByte === 0 && spec !== undefined) {
      const immediate = (task.command!.cdb[1]! & 0x02) !== 0;
      if (spec.kind === "synchronize" && !immediate) at = Math.max(at, this.cache.drainedAt(now));
      if (spec.kind === "start stop") at = Math.max(at, this.motor(task, now));
    }
    this.schedule(task, now, at);
  }

  /** Serves what needs no arm: answers, cached writes, reads from the track buffer. False when the arm is needed. */
  private beginWithoutArm(task: Task, now: number): boolean {
    const { spec } = task;
    if (task.failure !== 0 || task.statusByte !== 0 || task.sectors === 0 || spec === undefined) {
      this.answer(task, now);
      return true;
    }
    switch (spec.kind) {
      case "write":
        if (!this.modes.writeCacheEnabled || task.forceUnitAccess) return false;
        task.state = "buffered";
        this.nextBurst(task, now, true);
        return true;
      case "read": {
        if (task.forceUnitAccess || task.failureLba >= 0) return false;
        const readyAt = this.readAhead.readyAt(task.lba, task.sectors, now);
        if (readyAt < 0) return false;
        task.state = "buffered";
        task.burst = Math.min(BURST_SECTORS, task.goodSectors);
        this.schedule(task, now, Math.max(readyAt, this.controllerTime(now, task.burst)));
        return true;
      }
      case "verify":
        return false;
      default:
        this.answer(task, now);
        return true;
    }
  }

  /** Plans the next burst between bus and buffer. */
  private nextBurst(task: Task, now: number, first: boolean): void {
    const left = task.goodSectors - task.moved;
    const burst = (task.burst = left < BURST_SECTORS ? left : BURST_SECTORS);
    let at: number;
    if (first) at = this.controllerTime(now, burst);
    else {
      const start = now > this.controllerFreeAt ? now : this.controllerFreeAt;
      at = this.controllerFreeAt = start + this.mechanics.busNs(burst);
    }
    if (task.isWrite && burst > 0) {
      task.cacheSequence = this.cache.nextSequence;
      at = this.cache.admit(now, at, task.lba + task.moved, burst);
    }
    this.schedule(task, now, at);
  }

  private beginOnArm(task: Task, now: number): void {
    const { mechanics } = this;
    this.armTask = task;
    task.state = "on the arm";
    this.readAhead.stop(now);
    const begin = Math.max(now, task.arrivedAt + this.timing.commandOverheadNs);
    const inPlaceAt = begin + mechanics.positionNs(this.cache.armAt(now), task.lba, begin);
    const burst = (task.burst = Math.min(BURST_SECTORS, task.goodSectors));
    const recovery = task.failureLba >= 0 ? RECOVERY_REVOLUTIONS * mechanics.revolutionNs : 0;
    const end = inPlaceAt + mechanics.transferNs(task.lba, task.goodSectors) + recovery;
    this.cache.holdArm(
      now,
      task.slowness === 1 ? end : now + Math.ceil((end - now) * task.slowness),
      task.lba + task.goodSectors,
    );
    this.schedule(task, now, inPlaceAt + this.streamNs(task.lba, burst) + (burst === task.goodSectors ? recovery : 0));
  }

  /** Platters to host: the slower of media and bus sets the pace. */
  private streamNs(lba: number, sectors: number): number {
    return Math.max(this.mechanics.transferNs(lba, sectors), this.mechanics.busNs(sectors));
  }

  /** A command's event at one of the stations: its burst moves. True when that was the last one. */
  burstDone(task: Task, now: number): boolean {
    if (task.spec!.kind !== "verify") this.moveBurst(task, now);
    task.moved += task.burst;
    if (task.moved >= task.goodSectors) return true;
    if (task.state === "buffered") this.nextBurst(task, now, false);
    else {
      const burst = (task.burst = Math.min(BURST_SECTORS, task.goodSectors - task.moved));
      const recovery = task.failureLba >= 0 && task.moved + burst === task.goodSectors ? RECOVERY_REVOLUTIONS : 0;
      this.schedule(
        task,
        now,
        now + this.streamNs(task.lba + task.moved, burst) + recovery * this.mechanics.revolutionNs,
      );
    }
    return false;
  }

  /** When the controller will be through with a command; Infinity while it has not begun, needs the arm or another burst. */
  dueAt({ state, event, moved, burst, goodSectors }: Task): number {
    const known = state === "answering" || (state === "buffered" && moved + burst >= goodSectors);
    return known ? event.at : Infinity;
  }

  /** Lets an answer wait until the cache is empty. */
  answerWhenDrained(task: Task, now: number): void {
    this.events.arm(task.event, this.cache.drainedAt(now));
  }

  /** The data of one burst: whole pages by reference. */
  private moveBurst(task: Task, now: number): void {
    const command = task.command!;
    const { media } = this;
    const { memory, segments } = command;
    const from = task.lba + task.moved;
    let offset = from * SECTOR_SIZE;
    let left = task.burst * SECTOR_SIZE;
    const room = command.dataLength - command.transferred;
    if (left > room) left = room;
    command.transferred += left;
    if (task.isWrite && media.trackVolatile) media.settle(this.cache.oldestVolatile(now));
    while (left > 0 && task.segment < command.segmentCount) {
      const segment = segments[task.segment]!;
      const available = segment.length - task.segmentOffset;
      const size = available < left ? available : left;
      if (size > 0) {
        const address = segment.address + task.segmentOffset;
        if (task.isWrite) media.write(memory, address, offset, size, task.cacheSequence);
        else media.read(memory, address, offset, size);
      }
      offset += size;
      left -= size;
      if (size === available) {
        task.segment++;
        task.segmentOffset = 0;
      } else task.segmentOffset += size;
    }
    command.transferred -= left;
    this.bytesMoved += task.burst * SECTOR_SIZE;
    if (task.isWrite && task.burst > 0) this.guard.note(from, task.burst, now);
  }

  /** A command is through: its slot is free, others may start. */
  finish(task: Task, now: number): void {
    if (this.armTask === task && task.spec?.kind === "read") {
      const idle = this.waiting.length === 0 && this.cache.volatileBytes(now) === 0;
      this.readAhead.fetched(task.lba, task.moved, now, idle);
    }
    this.tasks.release(task);
    this.leaveArm(task, now);
  }

  leaveArm(task: Task, now: number): void {
    if (this.armTask === task) this.armTask = undefined;
    if (this.waiting.length > 0) this.dispatch(now);
  }

  /** Starts what may start now; of those that need the arm, the best one. */
  dispatch(now: number): void {
    const { waiting } = this;
    let best: Task | undefined;
    let bestCost = Infinity;
    let seen = 0;
    for (let i = 0; i < waiting.length;) {
      const task = waiting[i]!;
      if (this.tasks.mustWait(task)) i++;
      else if (this.beginWithoutArm(task, now)) waiting.splice(i, 1);
      else {
        if (this.armTask === undefined && seen++ < CHOICE_WINDOW) {
          const cost = this.accessCost(task, now, seen);
          if (cost < bestCost) {
            bestCost = cost;
            best = task;
          }
        }
        i++;
      }
    }
    if (best === undefined) return;
    waiting.splice(waiting.indexOf(best), 1);
    for (let i = 0; i < waiting.length && i < CHOICE_WINDOW; i++) waiting[i]!.passed++;
    this.beginOnArm(best, now);
  }

  /** What the queue discipline minimises. Head-of-queue and long-passed-over commands come first. */
  private accessCost(task: Task, now: number, order: number): number {
    if (task.command!.queueTag === "head") return -2;
    if (task.passed >= PASS_LIMIT) return -1;
    const at = this.cache.armAt(now);
    switch (this.timing.queueOrder) {
      case "satf":
        return this.mechanics.positionNs(at, task.lba, now);
      case "elevator":
        return task.lba >= at ? task.lba - at : task.lba + this.media.sectors;
      default:
        return order;
    }
  }

  /** Takes a command out of the set; others start only when `dispatch` is called. */
  drop(task: Task): void {
    const at = this.waiting.indexOf(task);
    if (at >= 0) this.waiting.splice(at, 1);
    if (this.armTask === task) this.armTask = undefined;
    this.tasks.release(task);
  }

  /** The controller forgets what it was doing. */
  reset(now: number): void {
    this.controllerFreeAt = now;
  }

  /** What the buffers held is gone. */
  powerCut(): void {
    this.cache.clear();
    this.readAhead.clear();
  }
}
