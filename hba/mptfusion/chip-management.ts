// The firmware's message loop: everything but SCSI IO goes through one queue, one message at a time, each with its latency.
// Source: facts hba/mptfusion.md sections 3 and 5.
import { type TimerEvent, makeEvent } from "../../emulator/time/events.ts";
import { CONFIG_REPLY_WORDS, type ConfigHandler } from "./chip-config.ts";
import type { EventReporter } from "./chip-events.ts";
import type { FusionLatencies } from "./chip-latencies.ts";
import type { MessageUnit } from "./chip-message-unit.ts";
import {
  type FusionProfile,
  GLOBAL_CREDITS,
  MAX_CHAIN_DEPTH,
  MPI_MESSAGE_VERSION,
  REPLY_QUEUE_DEPTH,
  REQUEST_FRAME_DWORDS,
} from "./chip-profile.ts";
import type { ScsiIo } from "./chip-scsi-io.ts";
import { TASK_REPLY_WORDS, type TaskManager } from "./chip-task.ts";
import {
  Config,
  EventAck,
  EventNotification,
  EventNotificationReply,
  IOCFacts,
  IOCFactsReply,
  MPIDefaultReply,
  MPI_EVENT_EVENT_CHANGE,
  MPI_FUNCTION_CONFIG,
  MPI_FUNCTION_EVENT_ACK,
  MPI_FUNCTION_EVENT_NOTIFICATION,
  MPI_FUNCTION_IOC_FACTS,
  MPI_FUNCTION_IOC_INIT,
  MPI_FUNCTION_PORT_ENABLE,
  MPI_FUNCTION_PORT_FACTS,
  MPI_FUNCTION_SCSI_TASK_MGMT,
  MPI_IOCFACTS_CAPABILITY_HIGH_PRI_Q,
  MPI_IOCSTATUS_INSUFFICIENT_RESOURCES,
  MPI_IOCSTATUS_INVALID_FIELD,
  MPI_IOCSTATUS_INVALID_FUNCTION,
  MPI_IOCSTATUS_INVALID_STATE,
  MPI_IOCSTATUS_SUCCESS,
  MPI_PORTFACTS_PROTOCOL_INITIATOR,
  MPI_SCSITASKMGMT_TASKTYPE_RESET_BUS,
  PortEnable,
  PortFacts,
  PortFactsReply,
  SCSITaskMgmt,
} from "./messages.ts";
import { MPI_IOC_STATE_OPERATIONAL, MPI_IOC_STATE_READY } from "./registers.ts";

/** Where a message came from decides where its answer goes. */
export type Origin = "fifo" | "doorbell";

interface Message {
  readonly words: Int32Array;
  readonly count: number;
  readonly origin: Origin;
  readonly urgent: boolean;
}

const REPLY_DWORDS = 20;
const QUEUE_LIMIT = 2 * GLOBAL_CREDITS;
/** IOCInit of MPI 1.0 and 1.1 ends here. */
const IOC_INIT_SHORT_BYTES = 0x18;
const LEAST_REPLY_FRAME = MPIDefaultReply.bytes;

/** Bytes without which a message cannot be understood. */
const LEAST_BYTES: Readonly<Record<number, number>> = {
  [MPI_FUNCTION_SCSI_TASK_MGMT]: SCSITaskMgmt.bytes,
  [MPI_FUNCTION_IOC_INIT]: IOC_INIT_SHORT_BYTES,
  [MPI_FUNCTION_IOC_FACTS]: IOCFacts.bytes,
  [MPI_FUNCTION_CONFIG]: Config.bytes,
  [MPI_FUNCTION_PORT_FACTS]: PortFacts.bytes,
  [MPI_FUNCTION_PORT_ENABLE]: PortEnable.bytes,
  [MPI_FUNCTION_EVENT_NOTIFICATION]: EventNotification.bytes,
  [MPI_FUNCTION_EVENT_ACK]: EventAck.bytes,
};

export interface ManagementParts {
  readonly unit: MessageUnit;
  readonly profile: FusionProfile;
  readonly latencies: FusionLatencies;
  readonly highPriorityQueue: boolean;
  readonly io: ScsiIo;
  readonly events: EventReporter;
  readonly tasks: TaskManager;
  readonly config: ConfigHandler;
  /** Hands a reply to a doorbell handshake. */
  readonly presentOnDoorbell: (words: Int32Array, count: number) => void;
}

export class Management {
  private readonly parts: ManagementParts;
  private queue: Message[] = [];
  private readonly event: TimerEvent;
  private readonly reply = new Int32Array(REPLY_DWORDS);
  private maxDevices = 0;
  private maxBuses = 0;

  constructor(parts: ManagementParts) {
    this.parts = parts;
    this.maxDevices = parts.profile.maxTargets;
    this.maxBuses = 1;
    this.event = makeEvent(`${parts.unit.device.name}.firmware`, () => this.next());
  }

  clear(): void {
    this.queue = [];
    this.parts.unit.device.host.events.cancel(this.event);
  }

  /** Takes a copy of a message. An urgent one overtakes all that wait, but not its like, and not the one being handled. */
  accept(words: Int32Array, base: number, count: number, origin: Origin, urgent = false): void {
    if (this.queue.length === QUEUE_LIMIT) {
      this.parts.unit.fault(MPI_IOCSTATUS_INSUFFICIENT_RESOURCES);
      return;
    }
    const copy = new Int32Array(REQUEST_FRAME_DWORDS);
    copy.set(words.subarray(base, base + count));
    let place = this.queue.length;
    if (urgent) while (place > 1 && !this.queue[place - 1]!.urgent) place--;
    this.queue.splice(place, 0, { words: copy, count, origin, urgent });
    if (this.queue.length === 1) this.armHead();
  }

  private armHead(): void {
    const { events } = this.parts.unit.device.host;
    events.arm(this.event, events.now + this.latencyOf(this.queue[0]!));
  }

  private latencyOf({ words }: Message): number {
    const { latencies } = this.parts;
    switch (words[0]! >>> 24) {
      case MPI_FUNCTION_IOC_FACTS:
        return latencies.iocFactsNs;
      case MPI_FUNCTION_IOC_INIT:
        return latencies.iocInitNs;
      case MPI_FUNCTION_PORT_ENABLE:
        return latencies.portEnableNs;
      case MPI_FUNCTION_SCSI_TASK_MGMT:
        return ((words[1]! >>> 8) & 0xff) === MPI_SCSITASKMGMT_TASKTYPE_RESET_BUS
          ? latencies.busResetNs
          : latencies.taskManagementNs;
      default:
        return latencies.messageNs;
    }
  }

  private next(): void {
    const message = this.queue.shift()!;
    if (this.queue.length > 0) this.armHead();
    const dwords = this.handle(message);
    // Handling may have ended in FAULT, which leaves nobody to answer.
    const { unit } = this.parts;
    if (unit.state !== MPI_IOC_STATE_OPERATIONAL && unit.state !== MPI_IOC_STATE_READY) return;
    unit.trace("message", message.words[0]! >>> 24, (this.reply[3]! >>> 16) & 0xffff);
    if (message.origin === "doorbell") this.parts.presentOnDoorbell(this.reply, dwords);
    else unit.postReply(this.reply, dwords);
  }

  /** Executes a message, leaves the answer in `reply` and returns its dwords. */
  private handle({ words, count, origin }: Message): number {
    const { parts } = this;
    const func = words[0]! >>> 24;
    const least = LEAST_BYTES[func];
    if (least === undefined) return this.defaultReply(words, MPI_IOCSTATUS_INVALID_FUNCTION);
    if (count * 4 < least) {
      parts.unit.complain(
        "driver erred",
        `message function 0x${func.toString(16)}: ${count * 4} bytes, it has ${least}`,
      );
      return this.defaultReply(words, MPI_IOCSTATUS_INVALID_FIELD);
    }
    switch (func) {
      case MPI_FUNCTION_IOC_FACTS:
        return this.iocFacts(words);
      case MPI_FUNCTION_PORT_FACTS:
        return this.portFacts(words);
      case MPI_FUNCTION_IOC_INIT:
        return this.defaultReply(words, this.iocInit(words, count));
      case MPI_FUNCTION_PORT_ENABLE:
        return this.defaultReply(words, this.portEnable(words));
      case MPI_FUNCTION_EVENT_NOTIFICATION:
        return this.eventNotification(words);
      case MPI_FUNCTION_EVENT_ACK:
        return this.defaultReply(words, this.eventAck(words));
      case MPI_FUNCTION_CONFIG:
        parts.config.execute(words, this.reply);
        return CONFIG_REPLY_WORDS;
      default:
        if (parts.unit.state !== MPI_IOC_STATE_OPERATIONAL || origin === "doorbell") {
          return this.defaultReply(words, MPI_IOCSTATUS_INVALID_STATE);
        }
        parts.tasks.execute(words, this.reply);
        return TASK_REPLY_WORDS;
    }
  }

  /** Zeroes the reply and fills what every reply has; returns `dwords`. */
  private begin(words: Int32Array, dwords: number, iocStatus: number): number {
    const { reply } = this;
    reply.fill(0);
    reply[0] = (dwords << 16) | (words[0]! & 0xff000000);
    reply[1] = words[1]! & 0xff000000;
    reply[2] = words[2]!;
    reply[3] = iocStatus << 16;
    return dwords;
  }

  private defaultReply(words: Int32Array, iocStatus: number): number {
    return this.begin(words, MPIDefaultReply.bytes / 4, iocStatus);
  }

  private iocFacts(words: Int32Array): number {
    const { parts, reply } = this;
    const { profile, unit } = parts;
    const dwords = this.begin(words, IOCFactsReply.bytes / 4, MPI_IOCSTATUS_SUCCESS);
    reply[0]! |= MPI_MESSAGE_VERSION;
    reply[1]! |= MPI_MESSAGE_VERSION; // HeaderVersion
    reply[5] = MAX_CHAIN_DEPTH | (unit.whoInit << 8) | (8 << 16); // BlockSize 8
    reply[6] = REPLY_QUEUE_DEPTH | (REQUEST_FRAME_DWORDS << 16);
    reply[7] = profile.productId << 16;
    reply[8] = unit.hostMfaHigh;
    reply[9] = GLOBAL_CREDITS | (1 << 16) | ((parts.events.enabled ? 1 : 0) << 24);
    reply[10] = unit.senseBufferHigh;
    reply[11] = unit.replyFrameBytes | (this.maxDevices << 16) | (this.maxBuses << 24);
    reply[13] = parts.highPriorityQueue ? MPI_IOCFACTS_CAPABILITY_HIGH_PRI_Q : 0;
    reply[14] = profile.firmwareVersion;
    reply[15] = parts.highPriorityQueue ? GLOBAL_CREDITS : 0;
    return dwords;
  }

  private portFacts(words: Int32Array): number {
    const { profile } = this.parts;
    const port = (words[1]! >>> 16) & 0xff;
    const dwords = this.begin(
      words,
      PortFactsReply.bytes / 4,
      port === 0 ? MPI_IOCSTATUS_SUCCESS : MPI_IOCSTATUS_INVALID_FIELD,
    );
    const { reply } = this;
    reply[1]! |= port << 16;
    if (port !== 0) return dwords;
    reply[5] = (profile.portType << 8) | (profile.maxTargets << 16);
    reply[6] = profile.portScsiId | (MPI_PORTFACTS_PROTOCOL_INITIATOR << 16);
    return dwords;
  }

  private iocInit(words: Int32Array, count: number): number {
    const { unit } = this.parts;
    const whoInit = words[0]! & 0xff;
    const replyFrameSize = words[3]! & 0xffff;
    if (unit.state !== MPI_IOC_STATE_READY) return MPI_IOCSTATUS_INVALID_STATE;
    if (whoInit === 0 || whoInit > 7 || replyFrameSize < LEAST_REPLY_FRAME) return MPI_IOCSTATUS_INVALID_FIELD;
    if (count * 4 > IOC_INIT_SHORT_BYTES && (words[7]! & 0x00ffffff) !== 0) {
      unit.complain("not modelled", "IOCInit: host page buffer (IOCFacts asked for none)");
    }
    unit.whoInit = whoInit;
    unit.replyFrameBytes = replyFrameSize;
    unit.hostMfaHigh = words[4]! >>> 0;
    unit.senseBufferHigh = words[5]! >>> 0;
    this.maxDevices = (words[1]! >>> 8) & 0xff || this.parts.profile.maxTargets;
    this.maxBuses = (words[1]! >>> 16) & 0xff || 1;
    unit.state = MPI_IOC_STATE_OPERATIONAL;
    return MPI_IOCSTATUS_SUCCESS;
  }

  private portEnable(words: Int32Array): number {
    const { io, unit } = this.parts;
    if (unit.state !== MPI_IOC_STATE_OPERATIONAL) return MPI_IOCSTATUS_INVALID_STATE;
    if (((words[1]! >>> 16) & 0xff) !== 0) return MPI_IOCSTATUS_INVALID_FIELD;
    io.portEnabled = true;
    return MPI_IOCSTATUS_SUCCESS;
  }

  private eventNotification(words: Int32Array): number {
    const { events } = this.parts;
    const on = (words[0]! & 0xff) !== 0;
    events.switchTo(on, words[2]!);
    const dwords = this.begin(words, EventNotificationReply.bytes / 4, MPI_IOCSTATUS_SUCCESS);
    const { reply } = this;
    reply[0]! |= 1; // one dword of data
    reply[5] = MPI_EVENT_EVENT_CHANGE;
    reply[7] = on ? 1 : 0;
    return dwords;
  }

  private eventAck(words: Int32Array): number {
    const known = this.parts.events.acknowledge(words[3]!, words[4]!);
    if (!known)
      this.parts.unit.complain("driver erred", `EventAck for event 0x${words[3]!.toString(16)}, which wants none`);
    return known ? MPI_IOCSTATUS_SUCCESS : MPI_IOCSTATUS_INVALID_FIELD;
  }
}
