// A SCSI disk at command level: what an initiator sees of it.
//
// Here is who may speak and what is refused: the task set's door, faults, unit attentions, readiness, resets, power.
// When a command is served, and how its data moves, is the stations' business. Every answer comes from an event of
// the command's own slot, made once and armed again and again: nothing is allocated per command.
import type { PagePool } from "../memory/pool.ts";
import type { EventQueue } from "../time/events.ts";
import type { Backing } from "../memory/store.ts";
import { ControllerCommands, type ControllerState } from "./controller-commands.ts";
import { Faults, type Operation } from "./faults.ts";
import { DEFAULT_IDENTITY, type DiskIdentity } from "./inquiry.ts";
import { DiskMedia } from "./media.ts";
import { ModePages } from "./mode-pages.ts";
import type { PullingTarget, ResetKind, ScsiCommand } from "./scsi-command.ts";
import { commandByOpcode, hasUnsupportedBits, readExtent, takesData } from "./scsi-commands.ts";
import { fillCheckCondition, SENSE, SENSE_LENGTH, STATUS, type SenseCode } from "./sense.ts";
import { Stations } from "./stations.ts";
import { TaskSet, type Task } from "./task-set.ts";
import { HEADS, Mechanics, resolveDiskTiming, SECTOR_SIZE, type DiskTiming } from "./timing.ts";
import { WriteGuard } from "./write-guard.ts";

const REQUEST_SENSE = 0x03;

export interface ScsiDiskOptions {
  readonly name: string;
  readonly sizeBytes: number;
  /** A raw image under the disk; never written. */
  readonly backing?: Backing;
  readonly timing?: Partial<DiskTiming>;
  readonly identity?: Partial<DiskIdentity>;
  /** Write cache on at power-on; default true when there is a cache. */
  readonly writeCacheEnabled?: boolean;
  readonly writeProtected?: boolean;
  /** Make power cuts lose what was only in the cache (see media.ts). */
  readonly trackVolatile?: boolean;
}

export class ScsiDisk implements PullingTarget, ControllerState {
  readonly name: string;
  readonly identity: DiskIdentity;
  readonly timing: DiskTiming;
  readonly media: DiskMedia;
  readonly modes: ModePages;
  readonly faults = new Faults();
  readonly guard = new WriteGuard();
  private readonly events: EventQueue;
  private readonly mechanics: Mechanics;
  private readonly stations: Stations;
  private readonly controller: ControllerCommands;
  private readonly tasks: TaskSet;
  private readonly attentions: SenseCode[] = [];
  private hung = false;
  private off = false;
  private stopped = false;
  private readyAt = 0;
  /** A cached write that failed afterwards, to be reported with the next command; -1 for none. */
  private deferredErrorLba = -1;
  /** True when anything but plain service is called for: faults, attentions, not ready. Read by the hot path. */
  private special = false;
  /** Sense data of the last command that wanted no autosense; `heldSenseLength` 0 for none. */
  private readonly heldSense = new Uint8Array(SENSE_LENGTH);
  private heldSenseLength = 0;
  /** Cached bytes that the last power cut found not yet on the platters. */
  volatileBytesAtPowerCut = 0;

  constructor(events: EventQueue, pool: PagePool, options: ScsiDiskOptions) {
    this.events = events;
    this.name = options.name;
    this.identity = { ...DEFAULT_IDENTITY, ...options.identity };
    this.timing = resolveDiskTiming(options.timing);
    this.media = new DiskMedia(pool, options);
    const mechanics = (this.mechanics = new Mechanics(this.timing, this.media.sectors));
    const hasCache = this.timing.cacheBytes > 0;
    const geometry = {
      sectors: this.media.sectors,
      rpm: this.timing.rpm,
      sectorsPerTrack: mechanics.sectorsPerTrack,
      heads: HEADS,
    };
    this.modes = new ModePages(geometry, hasCache && (options.writeCacheEnabled ?? true), hasCache);
    this.modes.writeProtected = options.writeProtected ?? false;
    this.controller = new ControllerCommands(this);
    this.tasks = new TaskSet(events, `${options.name}.command`, this.timing.queueDepth, (task) => this.serve(task));
    this.stations = new Stations({
      events,
      timing: this.timing,
      mechanics,
      media: this.media,
      modes: this.modes,
      guard: this.guard,
      tasks: this.tasks,
      motor: (task, now) => this.startStop(task, now),
    });
    this.faults.onChange = () => this.refreshSpecial();
    this.attend(SENSE.powerOn);
    this.spinUp();
  }

  get sectors(): number {
    return this.media.sectors;
  }
  get rpm(): number {
    return this.timing.rpm;
  }
  /** Commands accepted and not finished. */
  get outstanding(): number {
    return this.tasks.count;
  }
  /** Bytes between host and disk since power-on, both ways. */
  get bytesMoved(): number {
    return this.stations.bytesMoved;
  }
  /** Time that commands have spent in the disk's queue since power-on, summed over commands (iostat's aveq). */
  get queueTimeNs(): number {
    return this.tasks.queueTimeNs(this.events.now);
  }
  /** Acknowledged bytes that are not on the platters now. */
  get volatileBytes(): number {
    return this.stations.cache.volatileBytes(this.events.now);
  }
  get present(): boolean {
    return !this.off && !(this.special && this.faults.inForce("device gone", this.events.now));
  }

  setLinkRate(bytesPerSecond: number): void {
    this.mechanics.setLinkRate(bytesPerSecond);
  }

  /** Raises a unit attention; a reset's replaces the others. */
  attend(code: SenseCode): void {
    if ((code & 0xff00) === 0x2900) this.attentions.length = 0;
    this.attentions.push(code);
    this.special = true;
  }

  takeAttention(): SenseCode {
    const code = this.attentions.shift() ?? 0;
    this.refreshSpecial();
    return code;
  }

  /** Copies the sense data that is held for REQUEST SENSE into `into` and forgets it; its length, 0 when there is none. */
  takeHeldSense(into: Uint8Array): number {
    const length = this.heldSenseLength;
    into.set(this.heldSense.subarray(0, length));
    this.heldSenseLength = 0;
    return length;
  }

  private refreshSpecial(): void {
    this.special =
      this.attentions.length > 0 ||
      this.faults.any ||
      this.hung ||
      this.off ||
      this.stopped ||
      this.readyAt > this.events.now ||
      this.deferredErrorLba >= 0;
  }

  private spinUp(): void {
    this.stopped = false;
    this.readyAt = this.events.now + this.timing.spinUpNs;
    this.refreshSpecial();
  }

  submit(command: ScsiCommand): void {
    const { tasks } = this;
    const { now } = this.events;
    if (this.special && !this.present) return;
    if (tasks.count > 0 && tasks.find(command))
      throw new Error(`${this.name}: command ${command.tag} was submitted twice at ${now} ns`);
    command.status = STATUS.good;
    command.senseLength = 0;
    command.transferred = 0;
    // The contingent allegiance ends with the next command; only REQUEST SENSE gets what it was about.
    if (this.heldSenseLength > 0 && command.cdb[0] !== REQUEST_SENSE) this.heldSenseLength = 0;
    const full = tasks.count >= this.timing.queueDepth;
    const task = tasks.take(command, now, !full);
    if (full) {
      task.statusByte = STATUS.taskSetFull;
      this.stations.begin(task, now);
      return;
    }
    const spec = commandByOpcode(command.cdb[0]!);
    task.spec = spec;
    if (spec !== undefined && spec.hasExtent) {
      readExtent(spec, command.cdb, task);
      task.isWrite = spec.kind === "write";
      task.goodSectors = task.sectors;
    }
    if (this.special && this.meetTrouble(task, now)) return;
    if (task.failure === 0 && task.statusByte === 0) task.failure = this.refusal(task);
    if (tasks.count > 1) this.checkOverlap(task);
    if (command.wantData !== undefined && this.needsData(task)) {
      task.state = "fetching";
      command.wantData(command);
      return;
    }
    this.admit(task, now);
  }

  holds(command: ScsiCommand): boolean {
    return this.tasks.find(command) !== undefined;
  }

  dueAt(command: ScsiCommand): number {
    const task = this.tasks.find(command);
    return task === undefined || task.completionLost ? Infinity : this.stations.dueAt(task);
  }

  get busInactivityLimitNs(): number {
    return this.modes.busInactivityLimitNs;
  }

  dataReady(command: ScsiCommand): void {
    const task = this.tasks.find(command);
    if (task?.state === "fetching") this.admit(task, this.events.now);
  }

  private admit(task: Task, now: number): void {
    const refused = task.failure !== 0 && task.failure === SENSE.overlappedCommands;
    if (this.tasks.count > 1 && !refused && this.tasks.mustWait(task)) this.stations.wait(task);
    else this.stations.begin(task, now);
  }

  /** True when the command will take data from the initiator. */
  private needsData({ command, spec, failure, statusByte }: Task): boolean {
    return failure === 0 && statusByte === 0 && spec !== undefined && takesData(spec) && command!.dataLength > 0;
  }

  /** Faults, attentions and readiness. True when the command will not be answered. */
  private meetTrouble(task: Task, now: number): boolean {
    const { faults } = this;
    const { lba, sectors, spec } = task;
    const operation: Operation = task.isWrite
      ? "write"
      : spec?.kind === "read" || spec?.kind === "verify"
        ? "read"
        : "other";
    const meet = (kind: Parameters<Faults["meet"]>[0]) => faults.meet(kind, operation, lba, sectors, now);
    this.refreshSpecial();
    if (faults.any) {
      if (meet("bus hang")) this.hung = true;
      if (this.hung || meet("timeout")) {
        task.state = "swallowed";
        return true;
      }
      const attention = meet("unit attention");
      if (attention) this.attend(attention.sense ?? 0x06_29_00);
      task.slowness = meet("slow")?.factor ?? 1;
      task.completionLost = meet("lost completion") !== undefined;
      const status = meet("status");
      if (status) task.statusByte = status.status ?? STATUS.busy;
    } else if (this.hung) {
      task.state = "swallowed";
      return true;
    }
    if (task.statusByte !== 0 || task.command!.lun !== 0 || spec === undefined) return false;
    if (spec.reportsAttention && this.attentions.length > 0) {
      task.failure = task.attention = this.takeAttention();
    } else if (spec.reportsAttention && this.deferredErrorLba >= 0) {
      task.failure = SENSE.writeError;
      task.failureLba = this.deferredErrorLba;
      task.failureDeferred = true;
      this.deferredErrorLba = -1;
      this.refreshSpecial();
    } else if (spec.needsReady && this.stopped) task.failure = SENSE.startRequired;
    else if (spec.needsReady && this.readyAt > now) task.failure = SENSE.becomingReady;
    else this.meetMediaError(task, operation, now);
    return false;
  }

  /** The data before a bad sector is good; a deferred error is found out about later. */
  private meetMediaError(task: Task, operation: Operation, now: number): void {
    if (operation === "other") return;
    const fault = this.faults.meet("media error", operation, task.lba, task.sectors, now);
    if (fault === undefined) return;
    const bad = Math.max(task.lba, fault.firstLba!);
    task.goodSectors = bad - task.lba;
    if (fault.deferred && task.isWrite && this.modes.writeCacheEnabled && !task.forceUnitAccess) {
      this.deferredErrorLba = bad;
      return;
    }
    task.failureLba = bad;
  }

  /** The sense code with which the controller refuses a command, 0 when it will do it. */
  private refusal(task: Task): SenseCode {
    const command = task.command!;
    const { spec } = task;
    if (spec === undefined) return SENSE.invalidOpcode;
    if (command.lun !== 0 && spec.reportsAttention) return SENSE.lunNotSupported;
    if (command.cdbLength < spec.length || hasUnsupportedBits(spec, command.cdb)) return SENSE.invalidFieldInCdb;
    if (!spec.hasExtent) return 0;
    const { sectors } = this.media;
    if (task.lba + task.sectors > sectors || task.lba >= sectors) return SENSE.lbaOutOfRange;
    if (task.isWrite && this.modes.writeProtected) return SENSE.writeProtected;
    if (spec.kind === "verify" || spec.kind === "synchronize" || task.sectors === 0) return 0;
    if (command.direction !== (task.isWrite ? "out" : "in")) return SENSE.dataPhaseError;
    if (task.isWrite && command.dataLength < task.sectors * SECTOR_SIZE) return SENSE.dataPhaseError;
    return 0;
  }

  /** An untagged command beside any other: all are aborted, this one says why. [SAM-3 5.8.3] */
  private checkOverlap(task: Task): void {
    const { tasks } = this;
    const command = task.command!;
    // During a contingent allegiance an untagged REQUEST SENSE may come beside tagged commands. [SCSI-2 7.5.2]
    if (this.heldSenseLength > 0 && command.cdb[0] === REQUEST_SENSE) return;
    task.counted = false;
    const overlapped = tasks.has(command.queueTag !== "untagged");
    task.counted = true;
    if (!overlapped) return;
    for (const other of tasks.slots) if (other !== task && other.counted) this.drop(other);
    task.failure = SENSE.overlappedCommands;
    task.attention = 0;
  }

  /** START STOP UNIT takes effect at once; without IMMED the answer waits for the motor or the cache. */
  private startStop(task: Task, now: number): number {
    const { cdb } = task.command!;
    const start = (cdb[4]! & 0x01) !== 0;
    if (start && this.stopped) this.spinUp();
    if (!start) this.stopped = this.special = true;
    if ((cdb[1]! & 0x01) !== 0) return now;
    return start ? this.readyAt : this.stations.cache.drainedAt(now);
  }

  /** A command's event: a burst moves, an answer is given. */
  private serve(task: Task): void {
    const { now } = this.events;
    if (this.special && (this.hung || !this.present)) {
      task.state = "swallowed";
      this.stations.leaveArm(task, now);
      return;
    }
    if (task.state === "answering") {
      this.finishAnswer(task, now);
      return;
    }
    if (!this.stations.burstDone(task, now)) return;
    if (task.failureLba >= 0) {
      fillCheckCondition(task.command!, task.isWrite ? SENSE.writeError : SENSE.mediumError, task.failureLba);
    }
    this.finish(task, now);
  }

  private finishAnswer(task: Task, now: number): void {
    const command = task.command!;
    if (task.failure !== 0) {
      // A refusal has no LBA to tell, even when the sectors it named were bad too.
      fillCheckCondition(command, task.failure, task.failureDeferred ? task.failureLba : -1, task.failureDeferred);
    } else if (task.statusByte !== 0) command.status = task.statusByte;
    else if (task.spec !== undefined) {
      const cached = this.modes.writeCacheEnabled;
      const failure = this.controller.carryOut(task.spec, command);
      if (failure !== 0) fillCheckCondition(command, failure);
      else if (cached && !this.modes.writeCacheEnabled && this.volatileBytes > 0) {
        // The cache was switched off: the answer waits until it is empty.
        task.spec = undefined;
        this.stations.answerWhenDrained(task, now);
        return;
      }
    }
    this.finish(task, now);
  }

  private finish(task: Task, now: number): void {
    const command = task.command!;
    const { completionLost } = task;
    if (command.status === STATUS.checkCondition && !command.autosense) this.holdSense(command);
    this.stations.finish(task, now);
    if (!completionLost) command.done(command);
  }

  private holdSense(command: ScsiCommand): void {
    this.heldSenseLength = command.senseLength;
    this.heldSense.set(command.sense.subarray(0, command.senseLength));
    command.senseLength = 0;
  }

  /** Takes a command out of the set without status. */
  private drop(task: Task): void {
    if (task.attention !== 0) {
      this.attentions.unshift(task.attention);
      this.refreshSpecial();
    }
    this.stations.drop(task);
  }

  abort(command: ScsiCommand): boolean {
    const task = this.off ? undefined : this.tasks.find(command);
    if (task === undefined) return false;
    this.drop(task);
    this.stations.dispatch(this.events.now);
    return true;
  }

  reset(kind: ResetKind): void {
    if (kind === "power") {
      this.powerCut();
      this.powerOn();
      return;
    }
    if (this.off) return;
    if (kind === "bus") this.hung = false;
    if (this.hung) return;
    this.dropAll();
    this.modes.restoreSaved();
    this.attend(kind === "bus" ? SENSE.busReset : SENSE.targetReset);
    this.refreshSpecial();
  }

  private dropAll(): void {
    this.heldSenseLength = 0;
    for (const task of this.tasks.slots) {
      task.attention = 0;
      if (task.state !== "free") this.drop(task);
    }
    this.stations.reset(this.events.now);
  }

  /** The power goes: nothing answers any more, what was only in the cache is lost (with `trackVolatile`). */
  powerCut(): void {
    if (this.off) return;
    const { now } = this.events;
    const { cache } = this.stations;
    this.dropAll();
    this.volatileBytesAtPowerCut = cache.volatileBytes(now);
    this.media.powerCut(cache.oldestVolatile(now), cache.oldestVolatileLba, cache.sectorsUnderway(now));
    this.stations.powerCut();
    this.off = true;
    this.hung = false;
    this.deferredErrorLba = -1;
    this.refreshSpecial();
  }

  /** The power comes back: saved mode pages, a unit attention, and the time the motor needs. */
  powerOn(): void {
    if (!this.off) return;
    this.off = false;
    this.modes.restoreSaved();
    this.attend(SENSE.powerOn);
    this.spinUp();
  }
}
