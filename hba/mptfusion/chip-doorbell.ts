// The doorbell: resets, and the handshake that carries whole messages one dword in, one word out.
// Source: facts hba/mptfusion.md section 3 (steps 3 and 4). The IOC side moves on the host's write of IntStatus.
import { type TimerEvent, makeEvent } from "../../emulator/time/events.ts";
import type { MessageUnit } from "./chip-message-unit.ts";
import { REQUEST_FRAME_DWORDS } from "./chip-profile.ts";
import { MPI_IOCSTATUS_INVALID_FIELD } from "./messages.ts";
import {
  MPI_DOORBELL_ACTIVE,
  MPI_DOORBELL_ADD_DWORDS_MASK,
  MPI_DOORBELL_ADD_DWORDS_SHIFT,
  MPI_DOORBELL_FUNCTION_SHIFT,
  MPI_DOORBELL_WHO_INIT_SHIFT,
  MPI_FUNCTION_HANDSHAKE,
  MPI_FUNCTION_HOST_PAGEBUF_ACCESS_CONTROL,
  MPI_FUNCTION_IOC_MESSAGE_UNIT_RESET,
  MPI_FUNCTION_IO_UNIT_RESET,
  MPI_FUNCTION_REPLY_FRAME_REMOVAL,
  MPI_HIS_DOORBELL_INTERRUPT,
  MPI_HIS_IOP_DOORBELL_STATUS,
  MPI_IOC_STATE_FAULT,
  MPI_IOC_STATE_RESET,
} from "./registers.ts";

type Phase = "idle" | "request" | "processing" | "reply";

export interface DoorbellListener {
  /** A whole message came by handshake; answer with `present` or `end`. */
  message(words: Int32Array, count: number): void;
  reset(kind: "message unit" | "io unit"): void;
}

export class Doorbell {
  private readonly unit: MessageUnit;
  private readonly listener: DoorbellListener;
  private readonly stepNs: number;
  private readonly step: TimerEvent;
  private phase: Phase = "idle";
  private mailbox = 0;
  private mailboxFull = false;
  /** The host acknowledged a reply word: the next step presents another. */
  private acknowledged = false;
  private readonly words = new Int32Array(REQUEST_FRAME_DWORDS);
  private expected = 0;
  private received = 0;
  private readonly reply = new Uint16Array(2 * REQUEST_FRAME_DWORDS);
  private replyLength = 0;
  private replyAt = 0;
  private data = 0;
  private wordRead = false;

  constructor(unit: MessageUnit, stepNs: number, listener: DoorbellListener) {
    this.unit = unit;
    this.stepNs = stepNs;
    this.listener = listener;
    this.step = makeEvent(`${unit.device.name}.doorbell`, () => this.fire());
  }

  get active(): boolean {
    return this.phase !== "idle";
  }

  /** What the host reads. Reading moves nothing on (it does in QEMU's model: read once per word to please both). */
  read(): number {
    const { unit } = this;
    this.wordRead = true;
    const data = unit.state === MPI_IOC_STATE_FAULT ? unit.faultCode : this.data;
    const active = this.phase === "idle" ? 0 : MPI_DOORBELL_ACTIVE;
    return (unit.state | active | (unit.whoInit << MPI_DOORBELL_WHO_INIT_SHIFT) | (data & 0xffff)) >>> 0;
  }

  /** The host writes: IOP_DOORBELL_STATUS stands until the IOC has taken the value. */
  write(value: number): void {
    const { unit } = this;
    if (this.mailboxFull) {
      unit.complain(
        "driver erred",
        "Doorbell written before the IOC took the value before (IOP_DOORBELL_STATUS is set)",
      );
    }
    this.mailbox = value >>> 0;
    this.mailboxFull = true;
    unit.intStatus |= MPI_HIS_IOP_DOORBELL_STATUS;
    if (unit.state === MPI_IOC_STATE_RESET) unit.complain("driver erred", "Doorbell written while the IOC is in reset");
    else this.armStep();
  }

  /** Any write of IntStatus. */
  acknowledge(): void {
    const { unit } = this;
    if ((unit.intStatus & MPI_HIS_DOORBELL_INTERRUPT) === 0) return;
    unit.intStatus &= ~MPI_HIS_DOORBELL_INTERRUPT;
    unit.updateLine();
    if (this.phase !== "reply") return;
    if (!this.wordRead) unit.complain("driver erred", "handshake: a reply word was acknowledged but never read");
    this.acknowledged = true;
    this.armStep();
  }

  /** Back to no handshake; called by every reset, which also owns the interrupt bits. */
  clear(): void {
    this.phase = "idle";
    this.mailboxFull = false;
    this.acknowledged = false;
    this.data = 0;
    this.unit.device.host.events.cancel(this.step);
  }

  /** Starts to hand a reply to the host, low half of each dword first. */
  present(words: Int32Array, count: number): void {
    if (this.phase !== "processing") return;
    for (let i = 0; i < count; i++) {
      this.reply[2 * i] = words[i]!;
      this.reply[2 * i + 1] = words[i]! >>> 16;
    }
    this.replyLength = 2 * count;
    this.replyAt = 0;
    this.phase = "reply";
    this.presentNext();
  }

  /** Ends the handshake with one more doorbell interrupt. */
  end(): void {
    this.phase = "idle";
    this.data = 0;
    this.unit.raiseDoorbell();
  }

  private armStep(): void {
    const { events } = this.unit.device.host;
    if (!this.step.armed) events.arm(this.step, events.now + this.stepNs);
  }

  private fire(): void {
    const { unit } = this;
    if (this.mailboxFull) {
      const value = this.mailbox;
      const func = value >>> MPI_DOORBELL_FUNCTION_SHIFT;
      const resets = func === MPI_FUNCTION_IOC_MESSAGE_UNIT_RESET || func === MPI_FUNCTION_IO_UNIT_RESET;
      // A faulted IOC runs no message handler: it answers resets only, anything else stays untaken.
      if (unit.state === MPI_IOC_STATE_FAULT && !resets) return;
      this.mailboxFull = false;
      unit.intStatus &= ~MPI_HIS_IOP_DOORBELL_STATUS;
      unit.trace("doorbell taken", value, this.received);
      if (this.phase === "request" && unit.state !== MPI_IOC_STATE_FAULT) this.takeWord(value);
      else if (resets) {
        this.listener.reset(func === MPI_FUNCTION_IOC_MESSAGE_UNIT_RESET ? "message unit" : "io unit");
        return;
      } else this.takeFunction(func, value);
    }
    if (this.acknowledged) {
      this.acknowledged = false;
      this.presentNext();
    }
  }

  private takeFunction(func: number, value: number): void {
    const { unit } = this;
    if (this.phase !== "idle") {
      unit.complain(
        "driver erred",
        `Doorbell function 0x${func.toString(16)} in the middle of a handshake (${this.phase})`,
      );
    } else if (func === MPI_FUNCTION_HANDSHAKE) {
      const count = (value & MPI_DOORBELL_ADD_DWORDS_MASK) >>> MPI_DOORBELL_ADD_DWORDS_SHIFT;
      if (count === 0 || count > this.words.length) {
        unit.complain("driver erred", `handshake of ${count} dwords; a message has 1 to ${this.words.length}`);
        unit.fault(MPI_IOCSTATUS_INVALID_FIELD);
        return;
      }
      this.expected = count;
      this.received = 0;
      this.phase = "request";
      unit.raiseDoorbell();
    } else if (func === MPI_FUNCTION_REPLY_FRAME_REMOVAL) {
      unit.complain("not modelled", "Doorbell function 43 (reply frame removal)");
    } else if (func !== MPI_FUNCTION_HOST_PAGEBUF_ACCESS_CONTROL) {
      // The host page buffer is offered by no variant, so switching its access needs no more than the acknowledgement.
      unit.complain("driver erred", `unknown Doorbell function 0x${func.toString(16)}`);
    }
  }

  private takeWord(value: number): void {
    this.words[this.received++] = value;
    if (this.received < this.expected) return;
    this.phase = "processing";
    this.listener.message(this.words, this.expected);
  }

  private presentNext(): void {
    if (this.phase !== "reply") return;
    if (this.replyAt === this.replyLength) {
      this.end();
      return;
    }
    this.data = this.reply[this.replyAt++]!;
    this.wordRead = false;
    this.unit.raiseDoorbell();
  }
}
