// The sector buffer of an ATA drive: what passes between the platters and the data port.
import { PhysicalMemory } from "../memory/memory.ts";
import { FRAME_MASK, type PagePool } from "../memory/pool.ts";
import { SECTOR_SIZE } from "./timing.ts";

/** A command with more sectors goes through the buffer in pieces. */
export const BUFFER_SECTORS = 256;

export class AtaBuffer {
  readonly memory: PhysicalMemory;
  /** Where the piece that is in the buffer begins: at the same place of a page as on the media, so that pages move by reference. */
  start = 0;
  /** The data port's place in the piece, in bytes. */
  position = 0;

  constructor(pool: PagePool) {
    // One page more, because a piece may begin in the middle of one.
    const bytes = BUFFER_SECTORS * SECTOR_SIZE + FRAME_MASK + 1;
    this.memory = new PhysicalMemory(pool, [{ start: 0, end: bytes, type: "ram" }], false);
  }

  /** Makes the buffer ready for a piece that begins at sector `lba`. */
  begin(lba: number): void {
    this.start = (lba * SECTOR_SIZE) & FRAME_MASK;
    this.position = 0;
  }

  /** The next unit that the host reads, 2 or 4 bytes. */
  read(bytes: number): number {
    const at = this.start + this.position;
    this.position += bytes;
    return bytes === 4 ? this.memory.read32(at) : this.memory.read16(at);
  }

  write(bytes: number, value: number): void {
    const at = this.start + this.position;
    this.position += bytes;
    if (bytes === 4) this.memory.write32(at, value);
    else this.memory.write16(at, value);
  }

  /** Many units at once: to the host's memory at `address`. */
  readString(memory: PhysicalMemory, address: number, bytes: number): void {
    memory.copyFromStore(this.memory.pages, this.start + this.position, address, bytes);
    this.position += bytes;
  }

  writeString(memory: PhysicalMemory, address: number, bytes: number): void {
    memory.copyToStore(address, this.memory.pages, this.start + this.position, bytes);
    this.position += bytes;
  }
}
