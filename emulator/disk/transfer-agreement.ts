// What initiator and target have agreed on for the data phases: width, synchronous period and offset. [SPI-3 10.4, 16.3.12-17]
import { EXTENDED, MESSAGE, PHASE, PPR_DT } from "./scsi-phases.ts";

/** What one side is able to do. */
export interface TransferLimits {
  /** 0 for 8 bits, 1 for 16. */
  readonly width: 0 | 1;
  /** The shortest transfer period factor, 0A = 25 ns (Ultra2); 0 for asynchronous only. */
  readonly period: number;
  readonly offset: number;
  /** Knows PARALLEL PROTOCOL REQUEST; else rejects it. */
  readonly protocolRequest: boolean;
  /** With DT clocking, which takes a wide bus and a PARALLEL PROTOCOL REQUEST; absent when it cannot. */
  readonly doubleTransition?: { readonly period: number; readonly offset: number };
}

/** An Ultra2 wide disk. */
export const ULTRA2_WIDE: TransferLimits = { width: 1, period: 0x0a, offset: 31, protocolRequest: true };
/** An Ultra160 disk: Ultra2 with single transitions, 160 MB/s with double ones. */
export const ULTRA160_WIDE: TransferLimits = { ...ULTRA2_WIDE, doubleTransition: { period: 0x09, offset: 62 } };

/** REQ/ACK handshake of one asynchronous transfer over some metres of cable. */
export const ASYNCHRONOUS_NS = 120;

/** Nanoseconds of a transfer period factor. [SPI-3 table 42] */
export function periodNs(factor: number): number {
  switch (factor) {
    // With DT clocking only: Fast-80.
    case 0x09:
      return 12.5;
    case 0x0a:
      return 25;
    case 0x0b:
      return 30.3;
    case 0x0c:
      return 50;
    default:
      return factor * 4;
  }
}

export class TransferAgreement {
  private readonly limits: TransferLimits;
  width: 0 | 1 = 0;
  /** Transfer period factor; meaningful while `offset` is not 0. */
  period = 0;
  /** 0: asynchronous. */
  offset = 0;
  /** Data phases are DT ones. */
  doubleTransition = false;
  nsPerByte = ASYNCHRONOUS_NS;

  constructor(limits: TransferLimits) {
    this.limits = limits;
  }

  /** As after power-on, a bus reset or a bus device reset. */
  reset(): void {
    this.agree(0, 0, 0);
  }

  get dataOutPhase(): number {
    return this.doubleTransition ? PHASE.dtDataOut : PHASE.dataOut;
  }
  get dataInPhase(): number {
    return this.doubleTransition ? PHASE.dtDataIn : PHASE.dataIn;
  }

  private agree(width: 0 | 1, period: number, offset: number, doubleTransition = false): void {
    this.width = width;
    this.period = period;
    this.offset = offset;
    this.doubleTransition = doubleTransition;
    this.nsPerByte = (offset === 0 ? ASYNCHRONOUS_NS : periodNs(period)) / (1 << width);
  }

  private sync(
    period: number,
    offset: number,
    limits: { readonly period: number; readonly offset: number } = this.limits,
  ): [period: number, offset: number] {
    if (offset === 0 || limits.period === 0) return [period, 0];
    return [Math.max(period, limits.period), Math.min(offset, limits.offset)];
  }

  /** Answers an extended message: what the target sends back, or undefined for one that it rejects. */
  negotiate(message: readonly number[]): number[] | undefined {
    const { limits } = this;
    switch (message[2]) {
      case EXTENDED.synchronous: {
        if (message[1] !== 3) return undefined;
        const [period, offset] = this.sync(message[3]!, message[4]!);
        this.agree(this.width, period, offset);
        return [MESSAGE.extended, 3, EXTENDED.synchronous, period, offset];
      }
      case EXTENDED.wide: {
        if (message[1] !== 2) return undefined;
        const width = message[3]! > 0 ? limits.width : 0;
        // A new width puts an end to synchronous transfers. [SPI-3 16.3.16]
        this.agree(width, 0, 0);
        return [MESSAGE.extended, 2, EXTENDED.wide, width];
      }
      case EXTENDED.parallelProtocol: {
        if (message[1] !== 6 || !limits.protocolRequest) return undefined;
        const width = message[6]! > 0 ? limits.width : 0;
        // Of the options DT clocking is all that we know; a narrow or asynchronous transfer has none. [SPI-3 16.3.12]
        const asked = (message[7]! & PPR_DT) !== 0 && width === 1 && message[5]! > 0;
        const double = asked ? limits.doubleTransition : undefined;
        const [period, offset] = this.sync(message[3]!, message[5]!, double);
        this.agree(width, period, offset, double !== undefined);
        const options = double ? PPR_DT : 0;
        return [MESSAGE.extended, 6, EXTENDED.parallelProtocol, period, 0, offset, width, options];
      }
      default:
        return undefined;
    }
  }
}
