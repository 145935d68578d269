// The guest's RAM as our devices see it: the same operations as on a machine of ours, over another machine's bytes.
import { PhysicalMemory } from "../../../emulator/memory/memory.ts";
import { FRAME_MASK, FRAME_SIZE, HOLE, PagePool } from "../../../emulator/memory/pool.ts";
import type { PageStore } from "../../../emulator/memory/store.ts";
import type { V86Cpu } from "./v86.ts";

/** What disks may touch, plus what the slab needs for itself. */
const POOL_BYTES = 512 * 2 ** 20;

export class GuestMemory extends PhysicalMemory {
  /** Nothing is mapped flat: every access goes through the methods below. */
  override readonly flatBytes: number = 0;
  private readonly cpu: V86Cpu;
  private readonly word = new DataView(new ArrayBuffer(4));
  private readonly wordBytes = new Uint8Array(this.word.buffer);

  constructor(cpu: V86Cpu, sizeBytes: number) {
    super(new PagePool(FRAME_SIZE, POOL_BYTES), [{ start: 0, end: sizeBytes, type: "ram" }]);
    this.cpu = cpu;
  }

  private bytesAt(address: number, length: number): Uint8Array {
    if (!(address >= 0 && address + length <= this.endOfRam)) {
      throw new RangeError(`guest: ${length} bytes at 0x${address.toString(16)} lie beyond RAM`);
    }
    return this.cpu.mem8.subarray(address, address + length);
  }

  private load(address: number, length: number): DataView {
    this.wordBytes.set(this.bytesAt(address, length));
    return this.word;
  }

  private store(address: number, length: number): void {
    this.bytesAt(address, length);
    this.cpu.write_blob(this.wordBytes.subarray(0, length), address);
  }

  override read8(address: number): number {
    return this.load(address, 1).getUint8(0);
  }
  override read16(address: number): number {
    return this.load(address, 2).getUint16(0, true);
  }
  override read32(address: number): number {
    return this.load(address, 4).getUint32(0, true);
  }
  override write8(address: number, value: number): void {
    this.word.setUint8(0, value);
    this.store(address, 1);
  }
  override write16(address: number, value: number): void {
    this.word.setUint16(0, value, true);
    this.store(address, 2);
  }
  override write32(address: number, value: number): void {
    this.word.setUint32(0, value, true);
    this.store(address, 4);
  }
  override readBytes(address: number, into: Uint8Array): void {
    into.set(this.bytesAt(address, into.length));
  }
  override writeBytes(address: number, from: Uint8Array): void {
    this.bytesAt(address, from.length);
    // Also tells the CPU that code there has to be translated anew.
    this.cpu.write_blob(from, address);
  }

  override copyToStore(address: number, store: PageStore, offset: number, length: number): void {
    store.write(offset, this.bytesAt(address, length));
  }

  override copyFromStore(store: PageStore, offset: number, address: number, length: number): void {
    for (let done = 0; done < length;) {
      const source = offset + done;
      const size = Math.min(FRAME_SIZE - (source & FRAME_MASK), length - done);
      const slot = store.slotOf(Math.floor(source / FRAME_SIZE));
      const at = slot * FRAME_SIZE + (source & FRAME_MASK);
      const bytes = slot === HOLE ? new Uint8Array(size) : this.pool.u8.subarray(at, at + size);
      this.writeBytes(address + done, bytes);
      done += size;
    }
  }

  override offsetForRead(): number {
    throw new Error("guest memory has no place in the slab");
  }
  override offsetForWrite(): number {
    throw new Error("guest memory has no place in the slab");
  }
  override copyPage(): void {
    throw new Error("guest memory has no place in the slab");
  }
}
