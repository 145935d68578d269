// An Ethernet behind a switch: each station has its own full-duplex link, frames are bytes, and what goes wrong is drawn from
// named streams, so that a new kind of trouble moves no other.
import { makeEvent, type EventQueue } from "../time/events.ts";
import type { RandomSource, RandomStream } from "../time/random.ts";

/** Least frame without its check sequence. [IEEE 802.3 clause 3.2.8] */
export const MIN_FRAME_BYTES = 60;
/** Largest frame without its check sequence: header and 1500 bytes. */
export const MAX_FRAME_BYTES = 1514;
/** What a frame costs on the wire beside its bytes: preamble 8, check sequence 4, gap 12. [IEEE 802.3] */
const OVERHEAD_BYTES = 24;

export interface SegmentOptions {
  /** From the last bit sent to the frame received: cable and switch. */
  readonly latencyNs: number;
  readonly bitsPerSecond: number;
  /** Shares of frames, 0 to 1: lost, held back by `reorderNs`, delivered twice. */
  readonly lossRate: number;
  readonly reorderRate: number;
  readonly reorderNs: number;
  readonly duplicateRate: number;
}

/** Fast Ethernet through one switch, nothing wrong with it. */
export const DEFAULT_SEGMENT: SegmentOptions = {
  latencyNs: 20_000,
  bitsPerSecond: 100e6,
  lossRate: 0,
  reorderRate: 0,
  reorderNs: 1_000_000,
  duplicateRate: 0,
};

/** Who is plugged in. */
export interface Station {
  /** Six bytes. */
  readonly address: Uint8Array;
  /** A frame has come in whole. Called from an event; must not keep `frame`. */
  receive(frame: Uint8Array, ns: number): void;
}

/** What became of the frames so far. */
export interface SegmentCounts {
  sent: number;
  lost: number;
  delayed: number;
  duplicated: number;
}

export class EthernetSegment {
  readonly options: SegmentOptions;
  readonly counts: SegmentCounts = { sent: 0, lost: 0, delayed: 0, duplicated: 0 };
  /** Hears every frame as it leaves its sender, lost ones too: a capture on the sender's side. */
  tap: ((frame: Uint8Array, ns: number) => void) | undefined;
  private readonly events: EventQueue;
  private readonly name: string;
  private readonly stations: Station[] = [];
  /** When the sender's link is free again. */
  private readonly busyUntil = new Map<Station, number>();
  private readonly loss: RandomStream;
  private readonly reorder: RandomStream;
  private readonly duplicate: RandomStream;

  /** Throws a RangeError for a rate that is no share and for a link without speed. */
  constructor(events: EventQueue, random: RandomSource, name: string, options: Partial<SegmentOptions> = {}) {
    this.options = { ...DEFAULT_SEGMENT, ...options };
    const { lossRate, reorderRate, duplicateRate, bitsPerSecond, latencyNs, reorderNs } = this.options;
    for (const rate of [lossRate, reorderRate, duplicateRate]) {
      if (!(rate >= 0 && rate <= 1)) throw new RangeError(`${name}: a rate of ${rate}; expected 0 to 1`);
    }
    if (!(bitsPerSecond > 0)) throw new RangeError(`${name}: ${bitsPerSecond} bits per second; expected more than 0`);
    for (const ns of [latencyNs, reorderNs]) {
      if (!(ns >= 0)) throw new RangeError(`${name}: a delay of ${ns} ns; expected 0 or more`);
    }
    this.events = events;
    this.name = name;
    this.loss = random.stream(`${name}.loss`);
    this.reorder = random.stream(`${name}.reorder`);
    this.duplicate = random.stream(`${name}.duplicate`);
  }

  attach(station: Station): void {
    this.stations.push(station);
    this.busyUntil.set(station, 0);
  }

  /** Nanoseconds for which a frame of so many bytes keeps a link busy. */
  wireNs(bytes: number): number {
    return Math.ceil(((Math.max(bytes, MIN_FRAME_BYTES) + OVERHEAD_BYTES) * 8e9) / this.options.bitsPerSecond);
  }

  /**
   * Sends a frame (without check sequence; short ones are padded) behind those that the station has still to send. The bytes are
   * copied. Returns: when the last bit has left. Throws a RangeError for a frame that no Ethernet carries.
   */
  transmit(from: Station, bytes: Uint8Array): number {
    if (bytes.length < 14 || bytes.length > MAX_FRAME_BYTES) {
      throw new RangeError(`${this.name}: a frame of ${bytes.length} bytes; expected 14 to ${MAX_FRAME_BYTES}`);
    }
    const frame = new Uint8Array(Math.max(bytes.length, MIN_FRAME_BYTES));
    frame.set(bytes);
    const { options, counts, events } = this;
    const start = Math.max(events.now, this.busyUntil.get(from) ?? 0);
    const left = start + this.wireNs(frame.length);
    this.busyUntil.set(from, left);
    counts.sent++;
    this.tap?.(frame, left);
    // One draw of each stream per frame, whatever the others say: rates do not move each other's victims.
    const lost = this.loss.unit() < options.lossRate;
    const late = this.reorder.unit() < options.reorderRate;
    const twice = this.duplicate.unit() < options.duplicateRate;
    if (lost) {
      counts.lost++;
      return left;
    }
    if (late) counts.delayed++;
    const at = left + options.latencyNs + (late ? options.reorderNs : 0);
    this.deliver(from, frame, at);
    if (twice) {
      counts.duplicated++;
      this.deliver(from, frame, at + this.wireNs(frame.length));
    }
    return left;
  }

  private deliver(from: Station, frame: Uint8Array, at: number): void {
    const event = makeEvent(`${this.name}.frame`, ({ at: ns }) => {
      for (const station of this.stations) {
        if (station !== from && isFor(frame, station.address)) station.receive(frame, ns);
      }
    });
    this.events.arm(event, at);
  }
}

/** A frame reaches its addressee; the low bit of the first byte says that it is for many. */
function isFor(frame: Uint8Array, address: Uint8Array): boolean {
  if ((frame[0]! & 1) !== 0) return true;
  for (let i = 0; i < 6; i++) if (frame[i] !== address[i]) return false;
  return true;
}
