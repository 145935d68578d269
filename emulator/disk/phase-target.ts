// A SCSI target at phase level: the port between a parallel bus and a disk that works at command level.
//
// The disk decides what a command means, how long it takes and how it fails; here is only how that travels: selection,
// messages, the order of phases, disconnection and reselection, data pointers. [SPI-3 10 and 16; SCSI-2 6]
import type { PagePool } from "../memory/pool.ts";
import { PortTask } from "./port-task.ts";
import { PHASE_CHANGE_NS, SELECTION_NS, type ScsiBus } from "./scsi-bus.ts";
import type { PullingTarget, ScsiCommand } from "./scsi-command.ts";
import { descriptorLength, IDENTIFY_DISCONNECT, lunOfIdentify, MESSAGE, messageLength, PHASE } from "./scsi-phases.ts";
import { STATUS } from "./sense.ts";
import { TransferAgreement, ULTRA160_WIDE, type TransferLimits } from "./transfer-agreement.ts";

/** Data moved per connection before the target lets others on the bus: its maximum burst size. */
export const MAXIMUM_BURST_BYTES = 64 * 1024;
/** What an initiator that never drops ATN may send before the target gives up on it. */
const MESSAGE_LIMIT = 300;

const COMMAND_COMPLETE: readonly number[] = [MESSAGE.commandComplete];
const SAVE_DATA_POINTER: readonly number[] = [MESSAGE.saveDataPointer];
const DISCONNECT: readonly number[] = [MESSAGE.disconnect];

/** What comes when there is no message to send. */
type Next =
  /** The command descriptor block. */
  | "command"
  /** Whatever the task needs. */
  | "task"
  /** Bus free; the task stays and comes back when it is ready. */
  | "disconnect"
  /** Bus free; the task is over. */
  | "complete";

export class PhaseTarget {
  readonly id: number;
  readonly agreement: TransferAgreement;
  private readonly bus: ScsiBus;
  private readonly device: PullingTarget;
  private readonly pool: PagePool;
  private readonly tasks: PortTask[] = [];
  /** How many of them are not free. */
  private busy = 0;
  /** Tasks that wait to come back, oldest first. */
  private readonly returning: PortTask[] = [];

  // The connection.
  private task: PortTask | undefined;
  private next: Next = "command";
  private lun = 0;
  private tag = -1;
  private queueTag: ScsiCommand["queueTag"] = "untagged";
  private mayDisconnect = false;
  private readonly descriptor = new Uint8Array(16);
  private readonly one = new Uint8Array(1);
  private descriptorCount = 0;
  /** A message from the initiator, as far as it has come. */
  private readonly messageOut = new Uint8Array(MESSAGE_LIMIT);
  private messageOutCount = 0;
  /** Messages to the initiator; `sent` bytes of the first one are through. */
  private readonly messagesIn: (readonly number[])[] = [];
  private sent = 0;
  private lastMessage: readonly number[] = [];
  /** Bytes that this data phase may still move. */
  private burstLeft = 0;
  /** Connected, with nothing to ask for until the disk is done. */
  private stalled = false;

  /** Puts `device` on the bus. Throws when its id cannot carry one. */
  constructor(bus: ScsiBus, pool: PagePool, id: number, device: PullingTarget, limits: TransferLimits = ULTRA160_WIDE) {
    this.bus = bus;
    this.pool = pool;
    this.id = id;
    this.device = device;
    this.agreement = new TransferAgreement(limits);
    // The data's time is that of this bus, in the initiator's hands.
    device.setLinkRate(Infinity);
    bus.add(this);
  }

  /** False when nothing answers selection. */
  get present(): boolean {
    return this.device.present;
  }

  // Connection and phases.

  selected(attention: boolean): void {
    this.connect(undefined, "command");
    this.lun = 0;
    this.tag = -1;
    this.queueTag = "untagged";
    this.mayDisconnect = false;
    this.enter(attention ? PHASE.messageOut : PHASE.command, SELECTION_NS);
  }

  reselected(): void {
    const task = this.returning.shift()!;
    this.connect(task, "task");
    this.lun = task.lun;
    this.tag = task.tag;
    this.mayDisconnect = task.mayDisconnect;
    // A reconnection implies RESTORE POINTERS. [SCSI-2 6.6.21]
    task.pointer = task.saved;
    this.messagesIn.push([MESSAGE.identify | task.lun]);
    if (task.tag >= 0) this.messagesIn.push([MESSAGE.simpleQueueTag, task.tag]);
    this.enter(PHASE.messageIn, SELECTION_NS);
  }

  private connect(task: PortTask | undefined, next: Next): void {
    this.task = task;
    this.next = next;
    this.descriptorCount = 0;
    this.messageOutCount = 0;
    if (this.messagesIn.length > 0) this.messagesIn.length = 0;
    this.sent = 0;
    this.burstLeft = MAXIMUM_BURST_BYTES;
    this.stalled = false;
  }

  private enter(phase: number, afterNs = PHASE_CHANGE_NS): void {
    const { bus } = this;
    bus.phase = phase;
    bus.requestAt = bus.now + afterNs;
  }

  /** The next REQ of the same phase. */
  private again(): void {
    this.bus.requestAt = this.bus.now;
  }

  /** Chooses what comes next on the bus. */
  private proceed(): void {
    if (this.bus.attention) this.enter(PHASE.messageOut);
    else if (this.messagesIn.length > 0) this.enter(PHASE.messageIn);
    else if (this.next === "command") this.enter(PHASE.command);
    else if (this.next === "task") this.serve(this.task!);
    else this.letGo();
  }

  private serve(task: PortTask): void {
    const left = task.end - task.pointer;
    if (left > 0 && this.mayDisconnect && this.burstLeft === 0) this.disconnect();
    else if (task.state === "wants data") this.enter(this.agreement.dataOutPhase);
    else if (task.state === "ready") this.enter(left > 0 ? this.agreement.dataInPhase : PHASE.status);
    else if (this.mayDisconnect && !this.soonReady(task)) this.disconnect();
    else {
      this.stalled = true;
      this.bus.requestAt = Infinity;
    }
  }

  /** To let others on the bus and to come back costs more than to keep it a moment, as far as the mode page allows. [SPC-3 7.4.8] */
  private soonReady(task: PortTask): boolean {
    const due = this.device.dueAt(task.command);
    return due < Infinity && due - this.bus.now <= this.device.busInactivityLimitNs;
  }

  private disconnect(): void {
    if (this.task!.pointer !== this.task!.saved) this.messagesIn.push(SAVE_DATA_POINTER);
    this.messagesIn.push(DISCONNECT);
    this.next = "disconnect";
    this.enter(PHASE.messageIn);
  }

  private letGo(): void {
    const { task, bus } = this;
    if (task !== undefined) {
      if (this.next === "complete") this.release(task);
      else if (task.state === "ready" || task.state === "wants data") this.returning.push(task);
    }
    this.task = undefined;
    bus.release();
    if (this.returning.length > 0) bus.want(this);
  }

  // COMMAND, STATUS, MESSAGE OUT and MESSAGE IN: byte by byte.

  /** A byte from the initiator, in MESSAGE OUT or COMMAND phase. */
  take(byte: number): void {
    if (this.bus.phase === PHASE.messageOut) this.takeMessage(byte);
    else {
      this.one[0] = byte;
      this.takeDescriptor(this.one, 0, 1);
    }
  }

  /** The byte on the bus, in MESSAGE IN or STATUS phase. It stays there until `acknowledge`. */
  get byte(): number {
    return this.bus.phase === PHASE.status ? this.task!.command.status : this.messagesIn[0]![this.sent]!;
  }

  /** The initiator has taken the byte. */
  acknowledge(): void {
    if (this.bus.phase === PHASE.status) {
      this.messagesIn.push(COMMAND_COMPLETE);
      this.next = "complete";
      this.proceed();
      return;
    }
    const message = this.messagesIn[0]!;
    if (++this.sent < message.length) {
      this.again();
      return;
    }
    if (this.messagesIn.length === 1) this.messagesIn.pop();
    else this.messagesIn.shift();
    this.sent = 0;
    this.lastMessage = message;
    if (message[0] === MESSAGE.saveDataPointer) this.task!.saved = this.task!.pointer;
    if (this.messagesIn.length > 0 && !this.bus.attention) this.again();
    else this.proceed();
  }

  /** In COMMAND phase: takes of the `count` bytes from `bytes[at]` on what belongs to the descriptor block. Returns how many. */
  takeDescriptor(bytes: Uint8Array, at: number, count: number): number {
    const { descriptor, descriptorCount } = this;
    const length = descriptorLength(descriptorCount > 0 ? descriptor[0]! : bytes[at]!);
    if (descriptorCount === 0 && count >= length) {
      this.descriptorCount = length;
      this.start(bytes, at, length);
      return length;
    }
    const taken = Math.min(count, length - descriptorCount);
    for (let i = 0; i < taken; i++) descriptor[descriptorCount + i] = bytes[at + i]!;
    this.descriptorCount += taken;
    if (this.descriptorCount < length) this.again();
    else this.start(descriptor, 0, length);
    return taken;
  }

  /** The descriptor block is there: the disk gets the command. */
  private start(bytes: Uint8Array, at: number, length: number): void {
    const { lun, tag, device } = this;
    let task = this.busy === 0 ? this.tasks[0] : undefined;
    let repeated = false;
    if (this.busy > 0) {
      for (const other of this.tasks) {
        if (other.state === "free") task ??= other;
        else if (other.lun === lun && other.tag === tag) repeated = true;
      }
    }
    task ??= this.makeTask();
    this.busy++;
    task.lun = lun;
    task.tag = tag;
    task.mayDisconnect = this.mayDisconnect;
    task.begin(bytes, at, length);
    // A nexus that is in use already is as bad as an untagged command among tagged ones. [SAM-3 5.8.3]
    task.command.queueTag = repeated ? "untagged" : this.queueTag;
    task.state = "working";
    this.task = task;
    this.next = "task";
    device.submit(task.command);
    this.proceed();
  }

  private makeTask(): PortTask {
    const task = new PortTask(this.pool, this.tasks.length, (command) => this.done(command));
    task.command.wantData = (command) => this.wantData(this.tasks[command.tag]!);
    this.tasks.push(task);
    return task;
  }

  private wantData(task: PortTask): void {
    task.state = "wants data";
    task.end = task.command.dataLength;
  }

  /** The disk has carried a command out. */
  private done(command: ScsiCommand): void {
    const task = this.tasks[command.tag]!;
    if (task.state !== "working") return;
    task.state = "ready";
    task.pointer = task.saved = 0;
    task.end = command.direction === "in" ? command.transferred : 0;
    if (command.status === STATUS.checkCondition) this.forgetDropped();
    if (this.task !== task) {
      this.returning.push(task);
      this.bus.want(this);
    } else if (this.stalled) {
      this.stalled = false;
      this.serve(task);
      this.bus.changed();
    }
  }

  /** Overlapped commands are dropped by the disk without a word. */
  private forgetDropped(): void {
    for (const task of this.tasks) {
      if (task.state === "working" && task !== this.task && !this.device.holds(task.command)) this.forget(task);
    }
  }

  private forget(task: PortTask): void {
    const at = this.returning.indexOf(task);
    if (at >= 0) this.returning.splice(at, 1);
    if (this.returning.length === 0) this.bus.unwant(this);
    this.release(task);
  }

  private release(task: PortTask): void {
    if (task.state === "free") return;
    task.release();
    this.busy--;
  }

  private takeMessage(byte: number): void {
    const { messageOut, bus } = this;
    const count = this.messageOutCount + 1;
    messageOut[count - 1] = byte;
    this.messageOutCount = count;
    const length = messageLength(messageOut[0]!, count > 1 ? messageOut[1] : undefined);
    if (count === length) {
      this.obey(messageOut, count);
      this.messageOutCount = 0;
    } else if (count === MESSAGE_LIMIT) this.messageOutCount = 0;
    if (bus.connected !== this) return;
    if (bus.attention || this.messageOutCount > 0) this.again();
    else this.proceed();
  }

  private obey(message: Uint8Array, length: number): void {
    const first = message[0]!;
    if (first >= MESSAGE.identify) {
      this.lun = lunOfIdentify(first);
      this.mayDisconnect = (first & IDENTIFY_DISCONNECT) !== 0;
      return;
    }
    switch (first) {
      case MESSAGE.simpleQueueTag:
      case MESSAGE.headOfQueueTag:
      case MESSAGE.orderedQueueTag:
        this.tag = message[1]!;
        this.queueTag =
          first === MESSAGE.simpleQueueTag ? "simple" : first === MESSAGE.headOfQueueTag ? "head" : "ordered";
        break;
      case MESSAGE.extended:
        this.messagesIn.push(this.agreement.negotiate([...message.subarray(0, length)]) ?? [MESSAGE.reject]);
        break;
      case MESSAGE.abort:
      case MESSAGE.clearQueue:
        this.abortWhere((task) => task.lun === this.lun);
        break;
      case MESSAGE.abortTag:
        this.abortWhere((task) => task.lun === this.lun && task.tag === this.tag);
        break;
      case MESSAGE.busDeviceReset:
        this.device.reset("target");
        this.agreement.reset();
        this.abortWhere(() => true);
        break;
      case MESSAGE.reject:
        this.beRejected();
        break;
      case MESSAGE.initiatorDetectedError:
        // The initiator lost data: it shall come again, from the saved pointer on.
        if (this.task !== undefined) {
          this.task.pointer = this.task.saved;
          this.messagesIn.push([MESSAGE.restorePointers]);
        }
        break;
      case MESSAGE.parityError:
        if (this.lastMessage.length > 0) this.messagesIn.unshift([...this.lastMessage]);
        break;
      case MESSAGE.noOperation:
      case MESSAGE.ignoreWideResidue:
        break;
      default:
        this.messagesIn.push([MESSAGE.reject]);
    }
  }

  /** The initiator does not want what it was told. */
  private beRejected(): void {
    switch (this.lastMessage[0]) {
      case MESSAGE.extended:
        this.agreement.reset();
        break;
      case MESSAGE.disconnect:
        this.mayDisconnect = false;
        this.next = "task";
        break;
      default:
    }
  }

  /** Ends tasks without status and goes to bus free, as the abort messages demand. */
  private abortWhere(match: (task: PortTask) => boolean): void {
    for (const task of this.tasks) {
      if (task.state === "free" || !match(task)) continue;
      this.device.abort(task.command);
      this.forget(task);
    }
    this.task = undefined;
    this.next = "disconnect";
    this.messagesIn.length = 0;
    this.letGo();
  }

  // DATA OUT and DATA IN: runs of bytes.

  /** Bytes that the target moves in this data phase before it changes to another one. */
  get dataWanted(): number {
    const task = this.task!;
    const left = task.end - task.pointer;
    return this.mayDisconnect && left > this.burstLeft ? this.burstLeft : left;
  }

  /** Where the data of the connected task lies. */
  get dataBuffer(): PortTask["buffer"] {
    return this.task!.buffer;
  }
  get dataOffset(): number {
    return this.task!.start + this.task!.pointer;
  }

  /**
   * `bytes` have moved between the buffer and the initiator. True when the last transfer of a wide DATA IN phase carried
   * a byte too much: the initiator got it too.
   */
  dataMoved(bytes: number): boolean {
    const task = this.task!;
    task.pointer += bytes;
    if (this.mayDisconnect) this.burstLeft -= bytes;
    if (task.pointer < task.end && !(this.mayDisconnect && this.burstLeft === 0) && !this.bus.attention) {
      this.again();
      return false;
    }
    let padded = false;
    if (task.pointer === task.end && task.state === "wants data") {
      task.state = "working";
      this.device.dataReady(task.command);
    } else if (task.pointer === task.end && this.agreement.width === 1 && (task.end & 1) !== 0) {
      // The last transfer of an odd count carried a byte too much. [SPI-3 16.3.5]
      this.messagesIn.push([MESSAGE.ignoreWideResidue, 1]);
      padded = true;
    }
    this.proceed();
    return padded;
  }

  busReset(): void {
    for (const task of this.tasks) this.release(task);
    this.returning.length = 0;
    this.task = undefined;
    this.messagesIn.length = 0;
    this.agreement.reset();
    this.device.reset("bus");
  }
}
