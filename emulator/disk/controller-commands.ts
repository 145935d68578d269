// The commands that the disk's controller answers by itself: identification, capacity, mode pages, buffers.
//
// Each function works at the moment of the answer. It returns 0, or the sense code with which the command fails.
import { receiveParameters, sendReply } from "./data-phase.ts";
import { standardInquiry, vitalProductData, type DiskIdentity } from "./inquiry.ts";
import type { ModePages } from "./mode-pages.ts";
import type { ScsiCommand } from "./scsi-command.ts";
import { lengthField, type CommandSpec } from "./scsi-commands.ts";
import { fillSense, SENSE, SENSE_LENGTH, type SenseCode } from "./sense.ts";
import { SECTOR_SIZE } from "./timing.ts";

/** What domain validation writes and reads back. */
const ECHO_BUFFER_BYTES = 4096;

/** What the controller knows about its disk. */
export interface ControllerState {
  readonly identity: DiskIdentity;
  readonly modes: ModePages;
  readonly sectors: number;
  readonly rpm: number;
  /** Takes the pending unit attention (clears it); 0 when there is none. */
  takeAttention(): SenseCode;
  /** Takes the sense data held from an earlier command without autosense; its length, 0 when there is none. */
  takeHeldSense(into: Uint8Array): number;
}

export class ControllerCommands {
  private readonly state: ControllerState;
  private readonly reply = new Uint8Array(512);
  private readonly parameters = new Uint8Array(ECHO_BUFFER_BYTES);
  private readonly echo = new Uint8Array(ECHO_BUFFER_BYTES);
  private echoLength = 0;

  constructor(state: ControllerState) {
    this.state = state;
  }

  /** Does what the command asks for; commands without anything to do succeed. */
  carryOut(spec: CommandSpec, command: ScsiCommand): SenseCode {
    const allocation = lengthField(spec, command.cdb);
    switch (spec.kind) {
      case "inquiry":
        return this.inquiry(command, allocation);
      case "request sense":
        return this.requestSense(command, allocation);
      case "read capacity":
        return this.readCapacity(command, allocation);
      case "service action in":
        return this.serviceActionIn(command, allocation);
      case "mode sense":
        return this.modeSense(command, allocation);
      case "mode select":
        return this.modeSelect(command, allocation);
      case "report luns":
        return this.reportLuns(command, allocation);
      case "write buffer":
        return this.writeBuffer(command, allocation);
      case "read buffer":
        return this.readBuffer(command, allocation);
      default:
        return 0;
    }
  }

  private answer(command: ScsiCommand, length: number, allocation: number): SenseCode {
    sendReply(command, this.reply, length, allocation);
    return 0;
  }

  private inquiry(command: ScsiCommand, allocation: number): SenseCode {
    const { cdb } = command;
    const { identity, rpm } = this.state;
    const vital = (cdb[1]! & 0x01) !== 0;
    // Bit 1 (CmdDt) is obsolete; a page code without EVPD is an error.
    if ((cdb[1]! & 0x02) !== 0 || (!vital && cdb[2] !== 0)) return SENSE.invalidFieldInCdb;
    if (!vital) return this.answer(command, standardInquiry(this.reply, identity, command.lun === 0), allocation);
    const length = vitalProductData(this.reply, cdb[2]!, identity, rpm);
    return length === 0 ? SENSE.invalidFieldInCdb : this.answer(command, length, allocation);
  }

  private requestSense(command: ScsiCommand, allocation: number): SenseCode {
    const held = this.state.takeHeldSense(this.reply);
    if (held > 0) return this.answer(command, held, allocation);
    const code = command.lun === 0 ? this.state.takeAttention() : SENSE.lunNotSupported;
    fillSense(this.reply, code);
    return this.answer(command, SENSE_LENGTH, allocation);
  }

  private readCapacity(command: ScsiCommand, allocation: number): SenseCode {
    const { cdb } = command;
    const partial = (cdb[8]! & 0x01) !== 0;
    if (!partial && (cdb[2]! | cdb[3]! | cdb[4]! | cdb[5]!) !== 0) return SENSE.invalidFieldInCdb;
    const last = Math.min(this.state.sectors - 1, 0xffffffff);
    this.put32(0, last);
    this.put32(4, SECTOR_SIZE);
    return this.answer(command, 8, allocation);
  }

  /** SERVICE ACTION IN(16): READ CAPACITY(16) is the only one. */
  private serviceActionIn(command: ScsiCommand, allocation: number): SenseCode {
    const { cdb } = command;
    if ((cdb[1]! & 0x1f) !== 0x10) return SENSE.invalidFieldInCdb;
    const last = this.state.sectors - 1;
    this.reply.fill(0, 0, 32);
    this.put32(0, Math.floor(last / 4294967296));
    this.put32(4, last % 4294967296);
    this.put32(8, SECTOR_SIZE);
    return this.answer(command, 32, allocation);
  }

  private modeSense(command: ScsiCommand, allocation: number): SenseCode {
    const { cdb } = command;
    const length = this.state.modes.sense(cdb, this.reply);
    if (length < 0) return -length;
    return this.answer(command, length, allocation);
  }

  private modeSelect(command: ScsiCommand, length: number): SenseCode {
    const { cdb } = command;
    // PF = 0 would mean vendor-specific pages.
    if (length > 0 && (cdb[1]! & 0x10) === 0) return SENSE.invalidFieldInCdb;
    const received = receiveParameters(command, this.parameters, length);
    return received < length ? SENSE.dataPhaseError : this.state.modes.select(cdb, this.parameters, length);
  }

  private reportLuns(command: ScsiCommand, allocation: number): SenseCode {
    if (allocation < 16) return SENSE.invalidFieldInCdb;
    this.reply.fill(0, 0, 16);
    this.reply[3] = 8;
    return this.answer(command, 16, allocation);
  }

  /** Only the echo buffer (mode 0A) exists. */
  private writeBuffer(command: ScsiCommand, length: number): SenseCode {
    const { cdb } = command;
    if ((cdb[1]! & 0x1f) !== 0x0a || length > ECHO_BUFFER_BYTES) return SENSE.invalidFieldInCdb;
    this.echoLength = receiveParameters(command, this.echo, length);
    return 0;
  }

  /** Echo buffer (0A) and its descriptor (0B). */
  private readBuffer(command: ScsiCommand, allocation: number): SenseCode {
    const { cdb } = command;
    const mode = cdb[1]! & 0x1f;
    if (mode === 0x0b) {
      this.put32(0, ECHO_BUFFER_BYTES);
      return this.answer(command, 4, allocation);
    }
    if (mode !== 0x0a) return SENSE.invalidFieldInCdb;
    sendReply(command, this.echo, this.echoLength, allocation);
    return 0;
  }

  private put32(at: number, value: number): void {
    const { reply } = this;
    reply[at] = value >>> 24;
    reply[at + 1] = (value >>> 16) & 0xff;
    reply[at + 2] = (value >>> 8) & 0xff;
    reply[at + 3] = value & 0xff;
  }
}
