// A host for the specs: a machine with one controller, driven by registers only, and a target that answers as told.
import type { DeviceHost } from "../../emulator/bus/pci.ts";
import type { ResetKind, ScsiCommand, ScsiTarget } from "../../emulator/disk/scsi-command.ts";
import { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { PagePool } from "../../emulator/memory/pool.ts";
import { EventQueue, type TimerEvent, makeEvent } from "../../emulator/time/events.ts";
import { FusionMptChip, type FusionOptions } from "./chip.ts";
import {
  EventNotification,
  IOCFacts,
  IOCInit,
  MPI_FUNCTION_EVENT_NOTIFICATION,
  MPI_FUNCTION_IOC_FACTS,
  MPI_FUNCTION_IOC_INIT,
  MPI_FUNCTION_PORT_ENABLE,
  MPI_FUNCTION_SCSI_IO_REQUEST,
  MPI_FUNCTION_SCSI_TASK_MGMT,
  MPI_SCSIIO_CONTROL_READ,
  MPI_SCSIIO_CONTROL_WRITE,
  MPI_WHOINIT_HOST_DRIVER,
  PortEnable,
  SCSIIORequest,
  SCSITaskMgmt,
} from "./messages.ts";
import {
  MPI,
  MPI_DOORBELL_ACTIVE,
  MPI_DOORBELL_ADD_DWORDS_SHIFT,
  MPI_FUNCTION_HANDSHAKE,
  MPI_HIS_DOORBELL_INTERRUPT,
  MPI_HIS_IOP_DOORBELL_STATUS,
  MPI_REPLY_EMPTY,
  MPI_WRSEQ_FLUSH,
  MPI_WRSEQ_KEYS,
  MPT_MEMORY_BAR,
} from "./registers.ts";

export const MS = 1_000_000;
export const REQUESTS = 0x10000;
export const REPLIES = 0x18000;
export const SENSE = 0x1c000;
export const DATA = 0x100000;
const REPLY_BYTES = 80;
const REGISTER_ACCESS_NS = 200;
const MIB = 2 ** 20;

/** Memory, a calendar, and complaints that throw unless the spec expects them. */
export class SpecMachine implements DeviceHost {
  readonly events = new EventQueue();
  readonly memory: PhysicalMemory;
  readonly complaints: string[] = [];
  readonly traces: string[] = [];
  strict = true;
  tracing = false;

  constructor(flatMib = 4, ramMib = 8) {
    this.memory = new PhysicalMemory(new PagePool(flatMib * MIB, 2 * ramMib * MIB), [
      { start: 0, end: ramMib * MIB, type: "ram" },
    ]);
  }

  complain(device: string, kind: "driver erred" | "not modelled", what: string): void {
    if (this.strict) throw new Error(`${device}: ${kind}: ${what}`);
    this.complaints.push(`${kind}: ${what}`);
  }

  trace(_device: string, what: string): void {
    this.traces.push(what);
  }
}

/** Answers each command after `delayNs` as `answer` says; keeps commands while `holding`. */
export class FakeTarget implements ScsiTarget {
  readonly name = "fake";
  present = true;
  holding = false;
  delayNs = 50_000;
  /** Whether a command taken away is nevertheless answered, as a badly behaved target would. */
  forgetsAborts = false;
  answer: (command: ScsiCommand) => void = (command) => {
    command.transferred = command.dataLength;
  };
  readonly seen: { cdb: number[]; lun: number; direction: string; queueTag: string; segments: [number, number][] }[] =
    [];
  /** When each command came. */
  readonly times: number[] = [];
  readonly resets: ResetKind[] = [];
  readonly held: ScsiCommand[] = [];
  private readonly events: EventQueue;
  private readonly queue: { at: number; command: ScsiCommand }[] = [];
  private readonly event: TimerEvent;

  constructor(events: EventQueue) {
    this.events = events;
    this.event = makeEvent("fake-target", () => this.next());
  }

  submit(command: ScsiCommand): void {
    this.times.push(this.events.now);
    this.seen.push({
      cdb: [...command.cdb.subarray(0, command.cdbLength)],
      lun: command.lun,
      direction: command.direction,
      queueTag: command.queueTag,
      segments: command.segments.slice(0, command.segmentCount).map((s) => [s.address, s.length]),
    });
    if (this.holding) this.held.push(command);
    else {
      this.queue.push({ at: this.events.now + this.delayNs, command });
      if (!this.event.armed) this.events.arm(this.event, this.queue[0]!.at);
    }
  }

  abort(command: ScsiCommand): boolean {
    if (this.forgetsAborts) return false;
    const held = this.held.indexOf(command);
    if (held >= 0) this.held.splice(held, 1);
    const queued = this.queue.findIndex((entry) => entry.command === command);
    if (queued >= 0) this.queue.splice(queued, 1);
    return held >= 0 || queued >= 0;
  }

  reset(kind: ResetKind): void {
    this.resets.push(kind);
    if (!this.forgetsAborts) this.queue.length = this.held.length = 0;
  }

  /** Answers what was held, oldest first. */
  release(): void {
    for (const command of this.held.splice(0)) this.finish(command);
  }

  private next(): void {
    const entry = this.queue.shift();
    if (this.queue.length > 0) this.events.arm(this.event, this.queue[0]!.at);
    if (entry) this.finish(entry.command);
  }

  private finish(command: ScsiCommand): void {
    this.answer(command);
    command.done(command);
  }
}

export interface IoRequest {
  target?: number;
  bus?: number;
  lun?: number;
  cdb?: readonly number[];
  direction?: "none" | "in" | "out";
  length?: number;
  context?: number;
  control?: number;
}

/** A driver's register-level vocabulary, without a kernel. */
export class SpecHost {
  readonly machine: SpecMachine;
  readonly chip: FusionMptChip;

  constructor(options: FusionOptions, machine = new SpecMachine()) {
    this.machine = machine;
    this.chip = new FusionMptChip(machine, "mpt0", options);
    this.chip.reset();
    this.chip.config.setUint16(0x04, 0x0006, true);
  }

  get now(): number {
    return this.machine.events.now;
  }

  advance(ns: number): void {
    const { events } = this.machine;
    const until = events.now + ns;
    while (events.nextAt <= until) events.fireNext();
    events.now = until;
  }

  readl(offset: number): number {
    this.advance(REGISTER_ACCESS_NS);
    return this.chip.read(MPT_MEMORY_BAR, offset, 4);
  }

  writel(offset: number, value: number): void {
    this.advance(REGISTER_ACCESS_NS);
    this.chip.write(MPT_MEMORY_BAR, offset, 4, value >>> 0);
  }

  get state(): number {
    return this.readl(MPI.Doorbell) >>> 28;
  }

  waitFor(what: string, timeoutMs: number, condition: () => boolean, stepNs = 10_000): void {
    for (const end = this.now + timeoutMs * MS; !condition(); this.advance(stepNs)) {
      if (this.now > end) throw new Error(`timeout: ${what}`);
    }
  }

  waitDoorbellInt(): void {
    this.waitFor("doorbell interrupt", 5000, () => (this.readl(MPI.IntStatus) & MPI_HIS_DOORBELL_INTERRUPT) !== 0);
  }

  waitDoorbellAck(): void {
    this.waitFor("doorbell acknowledged", 5000, () => (this.readl(MPI.IntStatus) & MPI_HIS_IOP_DOORBELL_STATUS) === 0);
  }

  /** Sends a message by handshake; the IOC has it all when this returns. */
  sendByDoorbell(request: Int32Array): void {
    this.writel(MPI.IntStatus, 0);
    this.writel(MPI.Doorbell, (MPI_FUNCTION_HANDSHAKE << 24) | (request.length << MPI_DOORBELL_ADD_DWORDS_SHIFT));
    this.waitDoorbellInt();
    if ((this.readl(MPI.Doorbell) & MPI_DOORBELL_ACTIVE) === 0) throw new Error("handshake refused");
    this.writel(MPI.IntStatus, 0);
    this.waitDoorbellAck();
    for (const word of request) {
      this.writel(MPI.Doorbell, word);
      this.waitDoorbellAck();
    }
  }

  /** Receives the reply to a handshake, as bytes. Each word is read once. */
  receiveByDoorbell(): DataView {
    const word = (): number => {
      this.waitDoorbellInt();
      const value = this.readl(MPI.Doorbell) & 0xffff;
      this.writel(MPI.IntStatus, 0);
      return value;
    };
    const words = [word(), word()];
    const length = words[1]! & 0xff;
    while (words.length < 2 * length) words.push(word());
    this.waitDoorbellInt();
    this.writel(MPI.IntStatus, 0);
    const view = new DataView(new ArrayBuffer(words.length * 2));
    words.forEach((value, i) => view.setUint16(2 * i, value, true));
    return view;
  }

  handshake(bytes: number, fill: (view: DataView) => void): DataView {
    const view = new DataView(new ArrayBuffer(bytes));
    fill(view);
    this.sendByDoorbell(new Int32Array(view.buffer));
    return this.receiveByDoorbell();
  }

  iocFacts(): DataView {
    return this.handshake(IOCFacts.bytes, (m) => m.setUint8(IOCFacts.Function, MPI_FUNCTION_IOC_FACTS));
  }

  iocInit(senseHigh = 0): DataView {
    return this.handshake(IOCInit.bytes, (m) => {
      m.setUint8(IOCInit.WhoInit, MPI_WHOINIT_HOST_DRIVER);
      m.setUint8(IOCInit.Function, MPI_FUNCTION_IOC_INIT);
      m.setUint8(IOCInit.MaxDevices, 16);
      m.setUint8(IOCInit.MaxBuses, 1);
      m.setUint16(IOCInit.ReplyFrameSize, REPLY_BYTES, true);
      m.setUint32(IOCInit.SenseBufferHighAddr, senseHigh, true);
      m.setUint16(IOCInit.MsgVersion, 0x0105, true);
    });
  }

  portEnable(): DataView {
    return this.handshake(PortEnable.bytes, (m) => m.setUint8(PortEnable.Function, MPI_FUNCTION_PORT_ENABLE));
  }

  postReplyFrames(count: number): void {
    for (let i = 0; i < count; i++) this.writel(MPI.ReplyFifo, REPLIES + i * REPLY_BYTES);
  }

  /** From READY to an enabled port with replies unmasked. Events stay off. */
  bringUp(replyFrames = 16): this {
    this.writel(MPI.IntMask, 0xffffffff);
    this.writel(MPI.IntStatus, 0);
    this.postReplyFrames(replyFrames);
    this.iocInit();
    this.portEnable();
    this.writel(MPI.IntMask, 1);
    return this;
  }

  /** Writes a message into request frame `index` and posts it. */
  post(index: number, fill: (view: DataView) => void, fifo: number = MPI.RequestFifo): void {
    const { pool } = this.machine.memory;
    const at = REQUESTS + index * 128;
    pool.u8.fill(0, at, at + 128);
    fill(new DataView(pool.u8.buffer, at, 128));
    this.writel(fifo, at | 1);
  }

  enableEvents(index = 0, context = 0x00ee0000): void {
    this.post(index, (m) => {
      m.setUint8(EventNotification.Switch, 1);
      m.setUint8(EventNotification.Function, MPI_FUNCTION_EVENT_NOTIFICATION);
      m.setUint32(EventNotification.MsgContext, context, true);
    });
  }

  /** Posts a SCSI IO in frame `index` with one 64-bit element at DATA; its context is the index unless given. */
  postIo(index: number, io: IoRequest = {}): void {
    this.post(index, (m) => this.fillIo(m, index, io));
  }

  fillIo(m: DataView, index: number, io: IoRequest): void {
    const { target = 0, bus = 0, lun = 0, cdb = [0, 0, 0, 0, 0, 0], direction = "none", length = 0 } = io;
    m.setUint8(SCSIIORequest.TargetID, target);
    m.setUint8(SCSIIORequest.Bus, bus);
    m.setUint8(SCSIIORequest.Function, MPI_FUNCTION_SCSI_IO_REQUEST);
    m.setUint8(SCSIIORequest.CDBLength, cdb.length);
    m.setUint8(SCSIIORequest.SenseBufferLength, 64);
    m.setUint32(SCSIIORequest.MsgContext, io.context ?? index, true);
    m.setUint8(SCSIIORequest.LUN + 1, lun);
    const way = direction === "in" ? MPI_SCSIIO_CONTROL_READ : direction === "out" ? MPI_SCSIIO_CONTROL_WRITE : 0;
    m.setUint32(SCSIIORequest.Control, way | (io.control ?? 0), true);
    cdb.forEach((byte, i) => m.setUint8(SCSIIORequest.CDB + i, byte));
    m.setUint32(SCSIIORequest.DataLength, length, true);
    m.setUint32(SCSIIORequest.SenseBufferLowAddr, SENSE + index * 64, true);
    m.setUint32(SCSIIORequest.SGL, (0xd3000000 | length) >>> 0, true);
    m.setUint32(SCSIIORequest.SGL + 4, length > 0 ? DATA : 0xffffffff, true);
    if (length === 0) m.setUint32(SCSIIORequest.SGL, 0xd1000000, true);
  }

  taskManagement(taskType: number, target: number, victim = 0): Int32Array {
    const view = new DataView(new ArrayBuffer(SCSITaskMgmt.bytes));
    view.setUint8(SCSITaskMgmt.TargetID, target);
    view.setUint8(SCSITaskMgmt.Function, MPI_FUNCTION_SCSI_TASK_MGMT);
    view.setUint8(SCSITaskMgmt.TaskType, taskType);
    view.setUint32(SCSITaskMgmt.MsgContext, 0x00aa0000, true);
    view.setUint32(SCSITaskMgmt.TaskMsgContext, victim, true);
    return new Int32Array(view.buffer);
  }

  /** Takes every descriptor that waits. */
  drain(): number[] {
    const descriptors: number[] = [];
    for (;;) {
      const descriptor = this.readl(MPI.ReplyFifo);
      if (descriptor === MPI_REPLY_EMPTY) return descriptors;
      descriptors.push(descriptor);
    }
  }

  /** Waits for the next descriptor. */
  next(timeoutMs = 1000): number {
    let descriptor = MPI_REPLY_EMPTY;
    this.waitFor("a reply", timeoutMs, () => (descriptor = this.readl(MPI.ReplyFifo)) !== MPI_REPLY_EMPTY);
    return descriptor;
  }

  /** The frame that an address reply names. */
  frame(descriptor: number): DataView {
    if (descriptor < 0x80000000) throw new Error(`0x${descriptor.toString(16)} is a context reply`);
    return new DataView(this.machine.memory.pool.u8.buffer, (descriptor * 2) % 4294967296, REPLY_BYTES);
  }

  nextFrame(timeoutMs = 1000): DataView {
    return this.frame(this.next(timeoutMs));
  }

  /** Opens the diagnostic register and resets the adapter; returns when the IOC is READY again. */
  diagnosticReset(): void {
    this.writel(MPI.WriteSequence, MPI_WRSEQ_FLUSH);
    for (const key of MPI_WRSEQ_KEYS) this.writel(MPI.WriteSequence, key);
    const diagnostic = this.readl(MPI.Diagnostic);
    this.writel(MPI.Diagnostic, diagnostic | 0x02);
    this.advance(MS);
    this.writel(MPI.Diagnostic, diagnostic | 0x04);
    this.advance(MS);
    this.waitFor("READY", 60_000, () => this.state === 1, MS);
  }
}
