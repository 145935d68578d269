// The SCSI IO path: from a request frame to a target's command, and from its end to a reply.
// Source: facts hba/mptfusion.md section 6. Commands, segments and reply words are made once and reused.
import { type ScsiCommand, type ScsiTarget, makeScsiCommand } from "../../emulator/disk/scsi-command.ts";
import { type TimerEvent, makeEvent } from "../../emulator/time/events.ts";
import type { MessageUnit } from "./chip-message-unit.ts";
import { type FusionProfile, GLOBAL_CREDITS, MAX_CHAIN_DEPTH } from "./chip-profile.ts";
import { SGL_BEYOND_RAM, SGL_LOCAL_ADDRESS, SGL_REFUSALS, walkScatterGather } from "./chip-sgl.ts";
import {
  MPI_FUNCTION_SCSI_IO_REQUEST,
  MPI_IOCSTATUS_INSUFFICIENT_RESOURCES,
  MPI_IOCSTATUS_INTERNAL_ERROR,
  MPI_IOCSTATUS_INVALID_FIELD,
  MPI_IOCSTATUS_INVALID_SGL,
  MPI_IOCSTATUS_INVALID_STATE,
  MPI_IOCSTATUS_SCSI_DATA_OVERRUN,
  MPI_IOCSTATUS_SCSI_DATA_UNDERRUN,
  MPI_IOCSTATUS_SCSI_DEVICE_NOT_THERE,
  MPI_IOCSTATUS_SCSI_INVALID_BUS,
  MPI_IOCSTATUS_SCSI_INVALID_TARGETID,
  MPI_IOCSTATUS_SUCCESS,
  MPI_SCSIIO_CONTROL_ADDCDBLEN_MASK,
  MPI_SCSIIO_CONTROL_DATADIRECTION_MASK,
  MPI_SCSIIO_CONTROL_HEADOFQ,
  MPI_SCSIIO_CONTROL_ORDEREDQ,
  MPI_SCSIIO_CONTROL_READ,
  MPI_SCSIIO_CONTROL_SIMPLEQ,
  MPI_SCSIIO_CONTROL_TASKATTRIBUTE_MASK,
  MPI_SCSIIO_CONTROL_WRITE,
  MPI_SCSIIO_MSGFLGS_SENSE_WIDTH_64,
  MPI_SCSI_STATE_AUTOSENSE_FAILED,
  MPI_SCSI_STATE_AUTOSENSE_VALID,
  MPI_SCSI_STATE_NO_SCSI_STATUS,
  MPI_SCSI_STATE_TERMINATED,
  SCSIIOReply,
  SCSIIORequest,
} from "./messages.ts";

const U32 = 4294967296;
const CHECK_CONDITION = 0x02;
const TASK_SET_FULL = 0x28;
const SGL_WORD = SCSIIORequest.SGL / 4;
const REPLY_WORDS = SCSIIOReply.bytes / 4;
const USUAL_SEGMENTS = 48;

/** One outstanding command: what the reply must repeat, and the command in the target's hands. */
export interface IoSlot {
  readonly index: number;
  active: boolean;
  context: number;
  /** TargetID, Bus, and CDBLength, SenseBufferLength as the request had them. */
  address: number;
  lengths: number;
  target: number;
  lun: number;
  senseAddress: number;
  senseRoom: number;
  command: ScsiCommand;
  /** Armed while a selection runs into its timeout. */
  selection: TimerEvent | undefined;
}

export class ScsiIo {
  /** Set by PortEnable. */
  portEnabled = false;
  private readonly unit: MessageUnit;
  private readonly profile: FusionProfile;
  private readonly selectionTimeoutNs: number;
  private readonly targets: readonly (ScsiTarget | undefined)[];
  private readonly onQueueFull: (target: number, depth: number) => void;
  private readonly slots: IoSlot[] = [];
  private readonly freeSlots: number[] = [];
  private readonly reply = new Int32Array(REPLY_WORDS);
  private readonly whenDone = (command: ScsiCommand): void => this.complete(command);

  constructor(
    unit: MessageUnit,
    profile: FusionProfile,
    selectionTimeoutNs: number,
    targets: readonly (ScsiTarget | undefined)[],
    onQueueFull: (target: number, depth: number) => void,
  ) {
    this.unit = unit;
    this.profile = profile;
    this.selectionTimeoutNs = selectionTimeoutNs;
    this.targets = targets;
    this.onQueueFull = onQueueFull;
    for (let index = 0; index < GLOBAL_CREDITS; index++) {
      this.slots.push({
        index,
        active: false,
        context: 0,
        address: 0,
        lengths: 0,
        target: 0,
        lun: 0,
        senseAddress: 0,
        senseRoom: 0,
        command: this.makeCommand(index),
        selection: undefined,
      });
      this.freeSlots.push(GLOBAL_CREDITS - 1 - index);
    }
  }

  get outstanding(): number {
    return GLOBAL_CREDITS - this.freeSlots.length;
  }

  /** Takes the SCSI IO request whose first dword is `words[base]`; the frame has `frameDwords`. */
  start(words: Int32Array, base: number, frameDwords: number): void {
    const index = this.freeSlots.pop();
    const header = words[base]!;
    const lengths = words[base + 1]!;
    const context = words[base + 2]!;
    if (index === undefined) {
      this.unit.complain("driver erred", `more than ${GLOBAL_CREDITS} requests outstanding (GlobalCredits)`);
      this.refuse(header, lengths, context, MPI_IOCSTATUS_INSUFFICIENT_RESOURCES);
      return;
    }
    const slot = this.slots[index]!;
    const { command } = slot;
    const control = words[base + 5]!;
    const directionBits = control & MPI_SCSIIO_CONTROL_DATADIRECTION_MASK;
    slot.active = true;
    slot.context = context;
    slot.address = header;
    slot.lengths = lengths;
    slot.target = header & 0xff;

    let status = this.checkAddress(header, words[base + 3]!, words[base + 4]!);
    const cdbLength = lengths & 0xff;
    if (cdbLength > 16 || (control & MPI_SCSIIO_CONTROL_ADDCDBLEN_MASK) !== 0) status = MPI_IOCSTATUS_INVALID_FIELD;

    // LUN field: byte 0 = addressing method and high bits, byte 1 = low bits.
    const lunWord = words[base + 3]!;
    slot.lun = ((lunWord & 0x3f) << 8) | ((lunWord >>> 8) & 0xff);
    slot.senseRoom = (lengths >>> 8) & 0xff;
    slot.senseAddress = words[base + 11]! >>> 0;
    if (((lengths >>> 24) & MPI_SCSIIO_MSGFLGS_SENSE_WIDTH_64) !== 0)
      slot.senseAddress += this.unit.senseBufferHigh * U32;

    command.lun = slot.lun;
    command.cdbLength = cdbLength;
    const { cdb } = command;
    for (let i = 0, at = 0; i < 4; i++) {
      const word = words[base + 6 + i]!;
      cdb[at++] = word;
      cdb[at++] = word >>> 8;
      cdb[at++] = word >>> 16;
      cdb[at++] = word >>> 24;
    }
    const attribute = control & MPI_SCSIIO_CONTROL_TASKATTRIBUTE_MASK;
    command.queueTag =
      attribute === MPI_SCSIIO_CONTROL_SIMPLEQ
        ? "simple"
        : attribute === MPI_SCSIIO_CONTROL_ORDEREDQ
          ? "ordered"
          : attribute === MPI_SCSIIO_CONTROL_HEADOFQ
            ? "head"
            : "untagged";
    command.status = 0;
    command.senseLength = 0;
    command.transferred = 0;
    command.segmentCount = 0;
    command.dataLength = 0;
    command.direction = "none";
    if (directionBits !== 0 && status === MPI_IOCSTATUS_SUCCESS) {
      command.direction = directionBits === MPI_SCSIIO_CONTROL_READ ? "in" : "out";
      command.dataLength = words[base + 10]! >>> 0;
      if (directionBits !== MPI_SCSIIO_CONTROL_READ && directionBits !== MPI_SCSIIO_CONTROL_WRITE) {
        status = MPI_IOCSTATUS_INVALID_FIELD;
      } else if (command.dataLength > 0)
        status = this.mapData(command, words, base, frameDwords, (header >>> 16) & 0xff);
    }
    if (status !== MPI_IOCSTATUS_SUCCESS) {
      this.finish(slot, MPI_SCSI_STATE_NO_SCSI_STATUS, 0, status, 0);
      return;
    }
    const target = this.targets[slot.target];
    if (target === undefined || !target.present) this.waitForSelection(slot);
    else target.submit(command);
  }

  /**
   * Ends outstanding commands that `match`: the target forgets each, the host gets `iocStatus` with SCSIState TERMINATED.
   * Returns how many.
   */
  terminate(match: (slot: IoSlot) => boolean, iocStatus: number): number {
    let count = 0;
    for (const slot of this.slots) {
      if (!slot.active || !match(slot)) continue;
      this.withdraw(slot);
      this.finish(slot, MPI_SCSI_STATE_TERMINATED | MPI_SCSI_STATE_NO_SCSI_STATUS, 0, iocStatus, 0);
      count++;
    }
    return count;
  }

  /** Forgets every outstanding command without a reply: after a reset or in FAULT. */
  dropAll(): void {
    for (const slot of this.slots) {
      if (!slot.active) continue;
      this.withdraw(slot);
      this.release(slot);
    }
  }

  /** Takes a command away from its target. Its object is retired, so that a late answer finds no slot. */
  private withdraw(slot: IoSlot): void {
    if (slot.selection?.armed) this.unit.device.host.events.cancel(slot.selection);
    else this.targets[slot.target]?.abort(slot.command);
    slot.command = this.makeCommand(slot.index);
  }

  private makeCommand(index: number): ScsiCommand {
    const command = makeScsiCommand(this.unit.device.host.memory, USUAL_SEGMENTS);
    command.tag = index;
    command.done = this.whenDone;
    return command;
  }

  private release(slot: IoSlot): void {
    slot.active = false;
    this.freeSlots.push(slot.index);
  }

  private checkAddress(header: number, lunLow: number, lunHigh: number): number {
    if (!this.portEnabled) return MPI_IOCSTATUS_INVALID_STATE;
    if ((header & 0xff00) !== 0) return MPI_IOCSTATUS_SCSI_INVALID_BUS;
    const target = header & 0xff;
    const { profile } = this;
    if (target >= profile.maxTargets || (profile.transport === "spi" && target === profile.portScsiId)) {
      return MPI_IOCSTATUS_SCSI_INVALID_TARGETID;
    }
    // Only single-level LUNs exist here: addressing method 0, nothing below the first level.
    return (lunLow & 0xffff00c0) !== 0 || lunHigh !== 0 ? MPI_IOCSTATUS_SCSI_DEVICE_NOT_THERE : MPI_IOCSTATUS_SUCCESS;
  }

  private mapData(
    command: ScsiCommand,
    words: Int32Array,
    base: number,
    frameDwords: number,
    chainOffset: number,
  ): number {
    const { segments, dataLength, memory } = command;
    const count = walkScatterGather(
      memory,
      words,
      base,
      SGL_WORD,
      frameDwords,
      chainOffset,
      dataLength,
      MAX_CHAIN_DEPTH,
      segments,
    );
    if (count >= 0) {
      command.segmentCount = count;
      return MPI_IOCSTATUS_SUCCESS;
    }
    const kind = count === SGL_LOCAL_ADDRESS ? "not modelled" : "driver erred";
    this.unit.complain(kind, `scatter-gather list of ${dataLength} bytes: ${SGL_REFUSALS[count]}`);
    return count === SGL_BEYOND_RAM ? MPI_IOCSTATUS_INTERNAL_ERROR : MPI_IOCSTATUS_INVALID_SGL;
  }

  private waitForSelection(slot: IoSlot): void {
    const { events } = this.unit.device.host;
    slot.selection ??= makeEvent(`${this.unit.device.name}.selection-timeout`, () =>
      this.finish(slot, MPI_SCSI_STATE_NO_SCSI_STATUS, 0, MPI_IOCSTATUS_SCSI_DEVICE_NOT_THERE, 0),
    );
    events.arm(slot.selection, events.now + this.selectionTimeoutNs);
  }

  /** A target's answer. */
  private complete(command: ScsiCommand): void {
    const slot = this.slots[command.tag]!;
    // An answer to a command that a reset or an abort took away: nobody waits for it any more.
    if (slot.command !== command || !slot.active) return;
    const { dataLength } = command;
    let moved = command.transferred;
    if (command.status === 0 && moved === dataLength) {
      this.release(slot);
      this.unit.postContext(slot.context);
      return;
    }
    let iocStatus = MPI_IOCSTATUS_SUCCESS;
    if (moved > dataLength) {
      // The target had more than the initiator was ready for.
      iocStatus = MPI_IOCSTATUS_SCSI_DATA_OVERRUN;
      moved = dataLength;
    } else if (moved < dataLength) iocStatus = MPI_IOCSTATUS_SCSI_DATA_UNDERRUN;
    let state = 0;
    let senseCount = 0;
    if (command.status === CHECK_CONDITION) {
      senseCount = Math.min(command.senseLength, slot.senseRoom);
      state = senseCount > 0 ? MPI_SCSI_STATE_AUTOSENSE_VALID : MPI_SCSI_STATE_AUTOSENSE_FAILED;
      if (senseCount > 0) {
        if (!this.unit.allowDma(slot.senseAddress, senseCount, "sense buffer")) return;
        command.memory.writeBytes(slot.senseAddress, command.sense.subarray(0, senseCount));
      }
    } else if (command.status === TASK_SET_FULL) this.onQueueFull(slot.target, this.outstandingAt(slot.target) - 1);
    this.finish(slot, state, command.status, iocStatus, moved, senseCount);
  }

  private outstandingAt(target: number): number {
    let count = 0;
    for (const slot of this.slots) if (slot.active && slot.target === target) count++;
    return count;
  }

  /** Answers with a SCSI IO reply frame and frees the slot. */
  private finish(slot: IoSlot, state: number, status: number, iocStatus: number, moved: number, senseCount = 0): void {
    this.release(slot);
    this.postIoReply(slot.address, slot.lengths, slot.context, state, status, iocStatus, moved, senseCount);
  }

  private refuse(header: number, lengths: number, context: number, iocStatus: number): void {
    this.postIoReply(header, lengths, context, MPI_SCSI_STATE_NO_SCSI_STATUS, 0, iocStatus, 0, 0);
  }

  private postIoReply(
    header: number,
    lengths: number,
    context: number,
    state: number,
    status: number,
    iocStatus: number,
    moved: number,
    senseCount: number,
  ): void {
    const { reply } = this;
    reply[0] = (header & 0xffff) | (REPLY_WORDS << 16) | (MPI_FUNCTION_SCSI_IO_REQUEST << 24);
    reply[1] = lengths & 0xff00ffff;
    reply[2] = context;
    reply[3] = status | (state << 8) | (iocStatus << 16);
    reply[4] = 0;
    reply[5] = moved;
    reply[6] = senseCount;
    reply[7] = 0;
    reply[8] = 0;
    this.unit.postReply(reply, REPLY_WORDS);
  }
}
