// The network cable of a card that QEMU emulates: a station of our Ethernet in the card's place.
//
// QEMU's filter-redirector takes each frame that the card sends to a FIFO, and gives the card what comes out of another; a frame is its
// length (32 bits, big endian) and its bytes. [QEMU 7.2, docs/colo-proxy.txt and qemu-options.hx, filter-redirector] Between card and FIFOs
// nothing else sits: the card's network is a hub with nobody on it. filter-dump writes what QEMU itself saw pass, as a pcap file.
import { spawnSync } from "node:child_process";
import { closeSync, constants, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { EthernetSegment, Station } from "../../../emulator/net/ethernet-segment.ts";
import type { QemuFunction } from "./qemu-function.ts";

const LENGTH_BYTES = 4;
/** A file's and a record's header. [libpcap, pcap-savefile(5)] */
const PCAP_HEADER_BYTES = 24;
const PCAP_RECORD_BYTES = 16;

export class QemuWire implements Station {
  readonly address: Uint8Array;
  /** Frames that went to the card, and that came from it. */
  toCard = 0;
  fromCard = 0;
  private readonly folder: string;
  private readonly fromQemu: number;
  private readonly toQemu: number;
  /** Frames that did not fit into the FIFO yet. */
  private readonly waiting: Buffer[] = [];
  private readonly buffer = Buffer.alloc(65536);
  private filled = 0;
  private segment: EthernetSegment | undefined;
  private card: QemuFunction | undefined;
  private closed = false;

  /** @param folder an existing one, for the FIFOs and the capture. */
  constructor(folder: string, address: Uint8Array) {
    this.folder = folder;
    this.address = address;
    const fifos = [this.path("sent"), this.path("received")];
    const made = spawnSync("mkfifo", fifos, { encoding: "utf8" });
    if (made.status !== 0) throw new Error(`mkfifo ${fifos.join(" ")}: ${made.stderr}`);
    const [sent, received] = fifos;
    // Nobody has opened the other ends yet: the first is not waited for, the second is held open by ourselves.
    this.fromQemu = openSync(sent!, constants.O_RDONLY | constants.O_NONBLOCK);
    this.toQemu = openSync(received!, constants.O_RDWR | constants.O_NONBLOCK);
  }

  private path(name: string): string {
    return join(this.folder, name);
  }

  /** QEMU's arguments for the cable and for a card of `model` in `slot`. */
  args(model: string, slot: number): string[] {
    const mac = [...this.address].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
    return [
      ...["-netdev", "hubport,id=net0,hubid=0"],
      ...["-chardev", `pipe,id=sent,path=${this.path("sent")}`],
      ...["-chardev", `pipe,id=received,path=${this.path("received")}`],
      ...["-object", "filter-redirector,id=from,netdev=net0,queue=rx,outdev=sent"],
      ...["-object", "filter-redirector,id=to,netdev=net0,queue=tx,indev=received"],
      // The last one: it is the first that the card's frames pass, and the last on the way to the card.
      ...["-object", `filter-dump,id=dump,netdev=net0,file=${this.path("pcap")}`],
      ...["-device", `${model},netdev=net0,mac=${mac},addr=${slot},romfile=`],
    ];
  }

  /** Plugs the card into our Ethernet. */
  connect(card: QemuFunction, segment: EthernetSegment): void {
    this.card = card;
    this.segment = segment;
    card.afterTurn = () => this.exchange();
    segment.attach(this);
  }

  /** A frame for the card has come to the end of its cable. */
  receive(frame: Uint8Array): void {
    const framed = Buffer.alloc(LENGTH_BYTES + frame.length);
    framed.writeUInt32BE(frame.length);
    framed.set(frame, LENGTH_BYTES);
    this.waiting.push(framed);
    this.toCard++;
    this.give();
    this.card!.expectAnswer();
  }

  private exchange(): void {
    this.give();
    this.collect();
  }

  /** So short a write goes as a whole or not at all. [POSIX write(), PIPE_BUF] */
  private give(): void {
    for (let [frame] = this.waiting; frame; [frame] = this.waiting) {
      if (!tries(() => writeSync(this.toQemu, frame!))) return;
      this.waiting.shift();
    }
  }

  /** What the card has sent goes onto our Ethernet, from this instant on. */
  private collect(): void {
    for (;;) {
      const { buffer, filled } = this;
      const count = tries(() => readSync(this.fromQemu, buffer, filled, buffer.length - filled, null));
      if (!count) return;
      this.filled += count;
      let at = 0;
      while (this.filled - at >= LENGTH_BYTES) {
        const end = at + LENGTH_BYTES + buffer.readUInt32BE(at);
        if (end > this.filled) break;
        this.fromCard++;
        this.segment!.transmit(this, buffer.subarray(at + LENGTH_BYTES, end));
        at = end;
      }
      buffer.copyWithin(0, at, this.filled);
      this.filled -= at;
    }
  }

  /** The frames of both directions as QEMU saw them; whole when QEMU has ended. */
  captured(): Buffer[] {
    const bytes = readFileSync(this.path("pcap"));
    const frames: Buffer[] = [];
    for (let at = PCAP_HEADER_BYTES; at < bytes.length;) {
      const end = at + PCAP_RECORD_BYTES + bytes.readUInt32LE(at + 8);
      frames.push(bytes.subarray(at + PCAP_RECORD_BYTES, end));
      at = end;
    }
    return frames;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    closeSync(this.fromQemu);
    closeSync(this.toQemu);
  }
}

/** What `work` returns, or undefined when the FIFO is not ready for it. */
function tries(work: () => number): number | undefined {
  try {
    return work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return undefined;
    throw error;
  }
}
