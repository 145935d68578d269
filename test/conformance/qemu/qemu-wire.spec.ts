// Goal: no frame is lost, cut or doubled between our Ethernet and QEMU. Method: the spec is QEMU: it has the FIFOs' other ends.
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { EthernetSegment } from "../../../emulator/net/ethernet-segment.ts";
import { EventQueue } from "../../../emulator/time/events.ts";
import { RandomSource } from "../../../emulator/time/random.ts";
import type { QemuFunction } from "./qemu-function.ts";
import { QemuWire } from "./qemu-wire.ts";

const CARD = Uint8Array.of(0, 0xe0, 0x4c, 0, 0, 1);
const PEER = Uint8Array.of(2, 0, 0, 0, 0, 1);
const events = new EventQueue();
const heard: Uint8Array[] = [];
const peer = { address: PEER, receive: (frame: Uint8Array) => void heard.push(frame.slice()) };
let folder: string;
let wire: QemuWire;
let segment: EthernetSegment;
let card: { afterTurn: () => void; expectAnswer: () => void };
let [toUs, fromUs] = [0, 0];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "qemu-wire-"));
  wire = new QemuWire(folder, CARD);
  toUs = openSync(join(folder, "sent"), constants.O_RDWR | constants.O_NONBLOCK);
  fromUs = openSync(join(folder, "received"), constants.O_RDWR | constants.O_NONBLOCK);
  segment = new EthernetSegment(events, new RandomSource(1), "net");
  segment.attach(peer);
  card = { afterTurn: () => {}, expectAnswer: () => {} };
  wire.connect(card as QemuFunction, segment);
  heard.length = 0;
});
afterEach(() => {
  wire.close();
  for (const descriptor of [toUs, fromUs]) closeSync(descriptor);
  rmSync(folder, { recursive: true });
});

const run = (): void => {
  while (events.nextAt < Infinity) events.fireNext();
};
const frameOf = (target: Uint8Array, mark: number, bytes: number): Uint8Array => {
  const frame = Uint8Array.from({ length: bytes }, (_, i) => (i * 3 + mark) & 0xff);
  frame.set(target);
  return frame;
};
const framed = (frame: Uint8Array): Buffer => Buffer.concat([Buffer.of(0, 0, frame.length >> 8, frame.length), frame]);

test("frames of the card go onto the Ethernet whole, also when they come in pieces", () => {
  const frames = [frameOf(PEER, 1, 60), frameOf(PEER, 2, 1514), frameOf(PEER, 3, 61)];
  const bytes = Buffer.concat(frames.map(framed));
  for (const end of [2, 70, 1000, bytes.length]) {
    const from = [0, 2, 70, 1000].filter((at) => at < end).at(-1)!;
    writeSync(toUs, bytes, from, end - from);
    card.afterTurn();
  }
  run();
  expect(heard).toEqual(frames);
  expect(wire.fromCard).toBe(3);
});

test("frames for the card wait when the FIFO is full, and keep their order", () => {
  // A FIFO holds 64 KiB: 43 of these.
  const frames = Array.from({ length: 100 }, (_, i) => frameOf(CARD, i, 1514));
  for (const frame of frames) segment.transmit(peer, frame);
  run();
  const all: Buffer[] = [];
  for (let rounds = 0; rounds < 10; rounds++) {
    const piece = Buffer.alloc(65536);
    try {
      all.push(piece.subarray(0, readSync(fromUs, piece)));
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe("EAGAIN");
    }
    card.afterTurn();
  }
  expect(Buffer.concat(all).equals(Buffer.concat(frames.map(framed)))).toBe(true);
  expect(wire.toCard).toBe(100);
});
