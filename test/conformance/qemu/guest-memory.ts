// QEMU's guest memory beside the simulated RAM: two copies that a driver and a foreign chip must see as one.
//
// QEMU maps a file; we read and write that file. The simulated RAM lies in a WebAssembly memory, which cannot be mapped, so what
// either side wrote is carried over at the moments at which real hardware orders it:
// - shared memory (message frames): before a register write what the CPU wrote, after a register read what the chip wrote,
//   word by word against the last agreed contents, so that both may write in one page, and at each write barrier of the driver,
//   for a chip that looks by itself;
// - a lent buffer (data): towards the chip when it is lent, back when it is given back. In between it is the chip's.
// What a driver never mapped, the chip does not see: as behind an IOMMU.
import { closeSync, ftruncateSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import type { DmaPort } from "../../../emulator/bus/pci.ts";
import type { PhysicalMemory } from "../../../emulator/memory/memory.ts";
import { FRAME_SIZE } from "../../../emulator/memory/pool.ts";

interface SharedRange {
  readonly address: number;
  readonly bytes: number;
  /** What both sides have seen. */
  readonly agreed: Uint8Array;
}

const WORD_BYTES = 4;
/** So often a chip may have written something new while we were looking. */
const PULL_ROUNDS = 1000;

/** True when the word at `at` is the same in both; shared ranges begin on a word. */
const sameWord = (one: Uint8Array, other: Uint8Array, at: number): boolean =>
  one[at] === other[at] &&
  one[at + 1] === other[at + 1] &&
  one[at + 2] === other[at + 2] &&
  one[at + 3] === other[at + 3];

export class GuestMemory implements DmaPort {
  readonly path: string;
  /** Buffers that are the chip's now. */
  lentBuffers = 0;
  /** Bytes carried to the chip and back, for reports. */
  bytesOut = 0;
  bytesIn = 0;
  /** Writes one aligned word so that the chip sees all of it or nothing. */
  writeWord: ((address: number, value: number) => void) | undefined;
  private readonly memory: PhysicalMemory;
  private readonly descriptor: number;
  private readonly shared: SharedRange[] = [];
  private closed = false;
  private scratch = Buffer.alloc(1 << 20);
  /** Pages that the chip was given, for good or for a while. */
  private readonly given = new Set<number>();

  /** Makes the file at `path`, as large as the machine's memory. */
  constructor(path: string, memory: PhysicalMemory) {
    this.path = path;
    this.memory = memory;
    this.descriptor = openSync(path, "wx+");
    ftruncateSync(this.descriptor, memory.endOfRam);
  }

  share(address: number, bytes: number): void {
    if (address + bytes > this.memory.flatBytes) {
      throw new Error(`shared DMA memory at 0x${address.toString(16)} lies beyond the flat window`);
    }
    if (address % WORD_BYTES !== 0) throw new Error(`shared DMA memory at 0x${address.toString(16)} begins in a word`);
    this.note(address, bytes);
    this.shared.push({ address, bytes, agreed: new Uint8Array(bytes) });
  }

  order(): void {
    this.push();
  }

  lend(address: number, bytes: number): void {
    this.lentBuffers++;
    this.bytesOut += bytes;
    this.note(address, bytes);
    this.outsideShared(address, bytes, (at, length) => {
      const piece = this.room(length);
      this.memory.readBytes(at, piece);
      this.writeFile(piece, at);
    });
  }

  giveBack(address: number, bytes: number, filled: boolean): void {
    this.lentBuffers--;
    if (!filled) return;
    this.bytesIn += bytes;
    this.outsideShared(address, bytes, (at, length) => {
      const piece = this.room(length);
      this.readFile(piece, at);
      this.memory.writeBytes(at, piece);
    });
  }

  /**
   * Before the chip may look: what the CPUs wrote into shared memory, in whole words, because a chip that looks by itself must not see
   * half a pointer. A single word goes by `writeWord` when there is one: then it appears at once.
   */
  push(): void {
    for (const { address, bytes, agreed } of this.shared) {
      const ram = this.memory.pool.u8.subarray(address, address + bytes);
      if (Buffer.compare(ram, agreed) === 0) continue;
      for (let at = 0; at < bytes;) {
        if (sameWord(ram, agreed, at)) {
          at += WORD_BYTES;
          continue;
        }
        const from = at;
        while (at < bytes && !sameWord(ram, agreed, at)) at += WORD_BYTES;
        const piece = ram.subarray(from, Math.min(at, bytes));
        agreed.set(piece, from);
        if (piece.length === WORD_BYTES && this.writeWord) {
          this.writeWord(address + from, new DataView(piece.buffer, piece.byteOffset).getUint32(0, true));
        } else this.writeFile(piece, address + from);
      }
    }
  }

  /**
   * Before a CPU may look: what the chip wrote into shared memory, until nothing new comes: whoever sees a word sees what the chip wrote before
   * it, too. Throws when both wrote the same byte.
   */
  pull(): void {
    for (let rounds = 0; this.pullOnce(); rounds++) {
      if (rounds === PULL_ROUNDS) throw new Error(`the chip writes into shared DMA memory without end`);
    }
  }

  private pullOnce(): boolean {
    let news = false;
    for (const { address, bytes, agreed } of this.shared) {
      const chip = this.room(bytes);
      this.readFile(chip, address);
      if (Buffer.compare(chip, agreed) === 0) continue;
      news = true;
      const ram = this.memory.pool.u8;
      for (let i = 0; i < bytes; i++) {
        if (chip[i] === agreed[i]) continue;
        if (ram[address + i] !== agreed[i] && ram[address + i] !== chip[i]) {
          throw new Error(
            `driver and chip both wrote the byte at 0x${(address + i).toString(16)} of shared DMA memory`,
          );
        }
        ram[address + i] = agreed[i] = chip[i]!;
      }
    }
    return news;
  }

  /** Bytes as the chip sees them, and a change behind everybody's back: for deliberate mistakes. */
  peek(address: number, bytes: number): Buffer {
    const piece = Buffer.alloc(bytes);
    this.readFile(piece, address);
    return piece;
  }
  poke(address: number, bytes: Uint8Array): void {
    this.writeFile(bytes, address);
  }

  /** Addresses of pages that hold something although the chip was never given them. */
  strayPages(): number[] {
    const stray: number[] = [];
    const zero = Buffer.alloc(FRAME_SIZE);
    const chunk = Buffer.alloc(1 << 20);
    for (let at = 0; at < this.memory.endOfRam; at += chunk.length) {
      const piece = chunk.subarray(0, Math.min(chunk.length, this.memory.endOfRam - at));
      this.readFile(piece, at);
      for (let offset = 0; offset < piece.length; offset += FRAME_SIZE) {
        const page = piece.subarray(offset, offset + FRAME_SIZE);
        if (!this.given.has((at + offset) / FRAME_SIZE) && zero.compare(page, 0, page.length, 0, page.length) !== 0) {
          stray.push(at + offset);
        }
      }
    }
    return stray;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    closeSync(this.descriptor);
    rmSync(this.path, { force: true });
  }

  private note(address: number, bytes: number): void {
    const last = Math.floor((address + bytes - 1) / FRAME_SIZE);
    for (let page = Math.floor(address / FRAME_SIZE); page <= last; page++) this.given.add(page);
  }

  /** The parts of [address, address + bytes) that are not shared memory: that has its own way. */
  private outsideShared(address: number, bytes: number, each: (at: number, length: number) => void): void {
    let at = address;
    const end = address + bytes;
    while (at < end) {
      const inside = this.shared.find((range) => at >= range.address && at < range.address + range.bytes);
      if (inside) {
        at = inside.address + inside.bytes;
        continue;
      }
      let next = end;
      for (const range of this.shared) if (range.address > at && range.address < next) next = range.address;
      each(at, next - at);
      at = next;
    }
  }

  private room(bytes: number): Buffer {
    if (this.scratch.length < bytes) this.scratch = Buffer.alloc(bytes);
    return this.scratch.subarray(0, bytes);
  }

  private readFile(into: Uint8Array, at: number): void {
    for (let done = 0; done < into.length;) {
      const count = readSync(this.descriptor, into, done, into.length - done, at + done);
      if (count === 0) throw new Error(`guest memory ends before 0x${(at + into.length).toString(16)}`);
      done += count;
    }
  }

  private writeFile(from: Uint8Array, at: number): void {
    for (let done = 0; done < from.length;) {
      done += writeSync(this.descriptor, from, done, from.length - done, at + done);
    }
  }
}
