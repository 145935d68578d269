// The message unit: interrupt status and line, IOC state, the reply FIFO, and DMA of reply frames into host memory.
import type { PciDevice } from "../../emulator/bus/pci.ts";
import { type TimerEvent, makeEvent } from "../../emulator/time/events.ts";
import { REPLY_QUEUE_DEPTH } from "./chip-profile.ts";
import { MPI_IOCSTATUS_INSUFFICIENT_RESOURCES, MPI_IOCSTATUS_INTERNAL_ERROR } from "./messages.ts";
import {
  MPI_ADDRESS_REPLY_A_BIT,
  MPI_CONTEXT_REPLY_TYPE_MASK,
  MPI_HIS_DOORBELL_INTERRUPT,
  MPI_HIS_REPLY_MESSAGE_INTERRUPT,
  MPI_IOC_STATE_FAULT,
  MPI_IOC_STATE_READY,
  MPI_REPLY_EMPTY,
  MPT_REGISTERS,
} from "./registers.ts";

const U32 = 4294967296;
const RING = 1024;
const RING_MASK = RING - 1;
/** Replies that may wait for a free frame before the IOC gives up. */
const STARVED_LIMIT = 256;
const BITS_THAT_INTERRUPT = MPI_HIS_REPLY_MESSAGE_INTERRUPT | MPI_HIS_DOORBELL_INTERRUPT;

export class MessageUnit {
  readonly device: PciDevice;
  /** The state bits of the doorbell register. */
  state: number = MPI_IOC_STATE_READY;
  faultCode = 0;
  whoInit = 0;
  intStatus = 0;
  intMask: number = MPT_REGISTERS.IntMask.reset;
  /** From IOCInit. */
  replyFrameBytes = 0;
  hostMfaHigh = 0;
  senseBufferHigh = 0;
  /** Counts resets and faults: what was under way in an earlier generation must not surface. */
  generation = 0;
  private readonly driveLine: (asserted: boolean) => void;
  private readonly onFault: () => void;
  /** Free reply frames as the host posted them. */
  private readonly free = new Int32Array(RING);
  private freeHead = 0;
  private freeTail = 0;
  /** Reply descriptors for the host. */
  private readonly posted = new Int32Array(RING);
  private postedHead = 0;
  private postedTail = 0;
  private starved: Int32Array[] = [];
  private readonly starvedEvent: TimerEvent;
  private readonly stepNs: number;

  constructor(device: PciDevice, stepNs: number, driveLine: (asserted: boolean) => void, onFault: () => void) {
    this.device = device;
    this.driveLine = driveLine;
    this.onFault = onFault;
    this.stepNs = stepNs;
    this.starvedEvent = makeEvent(`${device.name}.free-frame`, () => this.postStarved());
  }

  /** INTx follows (IntStatus & ~IntMask) & (reply | doorbell); call after any change of either. */
  updateLine(): void {
    this.driveLine((this.intStatus & ~this.intMask & BITS_THAT_INTERRUPT) !== 0);
  }

  raiseDoorbell(): void {
    this.intStatus |= MPI_HIS_DOORBELL_INTERRUPT;
    this.updateLine();
  }

  complain(kind: "driver erred" | "not modelled", what: string): void {
    this.device.host.complain(this.device.name, kind, what);
  }

  trace(what: string, a: number, b: number): void {
    if (this.device.host.tracing) this.device.host.trace(this.device.name, what, a, b);
  }

  /** Enters FAULT with a code the host finds in Doorbell[15:0]; everything under way is lost. Only a reset leaves it. */
  fault(code: number): void {
    if (this.state === MPI_IOC_STATE_FAULT) return;
    this.state = MPI_IOC_STATE_FAULT;
    this.faultCode = code;
    this.trace("fault", code, 0);
    this.onFault();
  }

  /** FIFOs, interrupt status and what IOCInit told are gone. The interrupt mask stays. */
  clear(): void {
    this.generation++;
    this.faultCode = 0;
    this.whoInit = 0;
    this.intStatus = 0;
    this.replyFrameBytes = 0;
    this.hostMfaHigh = 0;
    this.senseBufferHigh = 0;
    this.freeHead = this.freeTail = 0;
    this.postedHead = this.postedTail = 0;
    this.starved = [];
    this.device.host.events.cancel(this.starvedEvent);
    this.updateLine();
  }

  /** True when the device may move these bytes by DMA; else complains and goes to FAULT, as after a master abort. */
  allowDma(address: number, length: number, what: string): boolean {
    const { device } = this;
    if (!device.busMaster) this.complain("driver erred", `${what}: DMA while bus mastering is off`);
    else if (!(address + length <= device.host.memory.endOfRam)) {
      this.complain("driver erred", `${what}: DMA to 0x${address.toString(16)} lies beyond RAM`);
    } else return true;
    this.fault(MPI_IOCSTATUS_INTERNAL_ERROR);
    return false;
  }

  /** The host hands over a free reply frame. More than ReplyQueueDepth of them is a FAULT. */
  postFreeFrame(address: number): void {
    if (this.freeTail - this.freeHead === REPLY_QUEUE_DEPTH) {
      this.complain("driver erred", `reply FIFO holds ${REPLY_QUEUE_DEPTH} free frames, the host posts one more`);
      this.fault(MPI_IOCSTATUS_INSUFFICIENT_RESOURCES);
      return;
    }
    if ((address & 3) !== 0) this.complain("driver erred", `reply frame 0x${address.toString(16)} is not on a dword`);
    this.free[this.freeTail++ & RING_MASK] = address;
    if (this.starved.length > 0) {
      const { events } = this.device.host;
      if (!this.starvedEvent.armed) events.arm(this.starvedEvent, events.now + this.stepNs);
    }
  }

  /** What a read of ReplyFifo gives; has the side effects of one: takes the descriptor, or drops the interrupt when empty. */
  takeDescriptor(): number {
    if (this.postedHead !== this.postedTail) return this.posted[this.postedHead++ & RING_MASK]! >>> 0;
    if ((this.intStatus & MPI_HIS_REPLY_MESSAGE_INTERRUPT) !== 0) {
      this.intStatus &= ~MPI_HIS_REPLY_MESSAGE_INTERRUPT;
      this.updateLine();
    }
    return MPI_REPLY_EMPTY;
  }

  /** Turbo reply: the message context itself, which means success without residual. */
  postContext(context: number): void {
    if ((context & (MPI_ADDRESS_REPLY_A_BIT | MPI_CONTEXT_REPLY_TYPE_MASK)) !== 0) {
      this.complain("driver erred", `MsgContext 0x${(context >>> 0).toString(16)} cannot come back as a context reply`);
    }
    this.postDescriptor(context & ~(MPI_ADDRESS_REPLY_A_BIT | MPI_CONTEXT_REPLY_TYPE_MASK));
  }

  /** Address reply: the first `count` dwords go to the oldest free frame; without one they wait until the host posts one. */
  postReply(words: Int32Array, count: number): void {
    if (this.freeHead === this.freeTail || this.starved.length > 0) {
      if (this.starved.length === STARVED_LIMIT) this.fault(MPI_IOCSTATUS_INSUFFICIENT_RESOURCES);
      else this.starved.push(words.slice(0, count));
      return;
    }
    const frame = this.free[this.freeHead++ & RING_MASK]! >>> 0;
    const address = frame + this.hostMfaHigh * U32;
    const dwords = Math.min(count, this.replyFrameBytes >>> 2);
    if (!this.allowDma(address, dwords * 4, "reply frame")) return;
    const { memory } = this.device.host;
    for (let i = 0; i < dwords; i++) memory.write32(address + i * 4, words[i]!);
    this.postDescriptor((frame >>> 1) | MPI_ADDRESS_REPLY_A_BIT);
  }

  private postDescriptor(descriptor: number): void {
    if (this.postedTail - this.postedHead === RING) {
      this.fault(MPI_IOCSTATUS_INSUFFICIENT_RESOURCES);
      return;
    }
    this.posted[this.postedTail++ & RING_MASK] = descriptor;
    if (this.device.host.tracing) this.trace("reply", descriptor >>> 0, this.postedTail - this.postedHead);
    if ((this.intStatus & MPI_HIS_REPLY_MESSAGE_INTERRUPT) === 0) {
      this.intStatus |= MPI_HIS_REPLY_MESSAGE_INTERRUPT;
      this.updateLine();
    }
  }

  private postStarved(): void {
    const waiting = this.starved;
    this.starved = [];
    for (const words of waiting) this.postReply(words, words.length);
  }
}
