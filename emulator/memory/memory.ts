// Physical memory: a low flat window (kernel data, stacks, message frames) and sparse page frames above it.
//
// Low addresses are slab offsets. Above the window a page is a slot in the pool, zero pages are holes, and whole pages
// move to and from disks by reference. Devices reach memory here (DMA); kernel code goes through its own accessors,
// which charge time to the CPU.
import { FRAME_MASK, FRAME_SIZE, HOLE, type PagePool } from "./pool.ts";
import { PageStore } from "./store.ts";

/** One range of the firmware's memory map (e820 / EFI). Addresses in bytes, end exclusive. */
export interface MemoryRange {
  readonly start: number;
  readonly end: number;
  /** "preserved" is memory that is there but kept from the kernel: another system's image, say. */
  readonly type: "ram" | "reserved" | "acpi" | "preserved";
}

/** A piece of a scatter-gather list: physical address and length in bytes. */
export interface Segment {
  address: number;
  length: number;
}

const U32 = 4294967296;

export class PhysicalMemory {
  readonly pool: PagePool;
  readonly map: readonly MemoryRange[];
  /** Pages of the whole address space; those of the flat window stand for themselves. */
  readonly pages: PageStore;
  /** Bytes in the flat window. */
  readonly flatBytes: number;
  /** One past the highest byte of memory, preserved ranges included. */
  readonly endOfRam: number;
  /** Whole pages of RAM; a page that is RAM only in part does not count. */
  readonly ramPages: number;
  /**
   * Told of every write by a device (DMA), once somebody wants to know: kernel code stores through the typed arrays and the page
   * store, devices through the methods below.
   */
  onDeviceWrite: ((address: number, length: number) => void) | undefined;

  /** `window` false: no address is flat. For memory that is not the machine's RAM, such as a buffer on a device. */
  constructor(pool: PagePool, map: readonly MemoryRange[], window = true) {
    this.pool = pool;
    this.map = [...map].sort((a, b) => a.start - b.start);
    let end = 0;
    let ramPages = 0;
    for (const range of this.map) {
      if (range.start < end)
        throw new Error(`memory map: range at 0x${range.start.toString(16)} overlaps the one before`);
      end = range.end;
      if (range.type === "ram") {
        ramPages += Math.max(0, Math.floor(range.end / FRAME_SIZE) - Math.ceil(range.start / FRAME_SIZE));
      }
    }
    const fitted = this.map.filter((range) => range.type === "ram" || range.type === "preserved");
    this.endOfRam = fitted.length > 0 ? fitted[fitted.length - 1]!.end : 0;
    this.ramPages = ramPages;
    this.flatBytes = window ? Math.min(pool.flatPages * FRAME_SIZE, this.endOfRam) : 0;
    this.pages = new PageStore(pool, "ram", this.endOfRam);
    this.pages.nameFlatPages(this.flatBytes / FRAME_SIZE);
  }

  isRam(address: number): boolean {
    for (const range of this.map) {
      if (address >= range.start && address < range.end) return range.type === "ram";
    }
    return false;
  }

  private check(address: number, length: number): void {
    if (!(address >= 0 && address + length <= this.endOfRam)) {
      throw new RangeError(
        `memory: ${length} bytes at 0x${address.toString(16)} lie beyond RAM (0x${this.endOfRam.toString(16)})`,
      );
    }
  }

  /** Slab offset for reading the byte at `address`, or -1 when it lies in a hole. The rest of its page follows it. */
  offsetForRead(address: number): number {
    if (address < this.flatBytes) return address;
    const page = Math.floor(address / FRAME_SIZE);
    const slot = this.pages.slotOf(page);
    return slot === HOLE ? -1 : slot * FRAME_SIZE + (address & FRAME_MASK);
  }

  /** Slab offset for writing; breaks sharing and fills a hole with zeroes first. */
  offsetForWrite(address: number): number {
    if (address < this.flatBytes) return address;
    return this.pages.ownedSlot(Math.floor(address / FRAME_SIZE)) * FRAME_SIZE + (address & FRAME_MASK);
  }

  read8(address: number): number {
    this.check(address, 1);
    const at = this.offsetForRead(address);
    return at < 0 ? 0 : this.pool.u8[at]!;
  }
  read16(address: number): number {
    this.check(address, 2);
    if ((address & FRAME_MASK) > FRAME_SIZE - 2) return this.readAcross(address, 2);
    const at = this.offsetForRead(address);
    return at < 0 ? 0 : this.pool.view.getUint16(at, true);
  }
  read32(address: number): number {
    this.check(address, 4);
    if ((address & FRAME_MASK) > FRAME_SIZE - 4) return this.readAcross(address, 4);
    const at = this.offsetForRead(address);
    return at < 0 ? 0 : this.pool.view.getUint32(at, true);
  }
  /** A little-endian 64-bit value; exact up to 2^53. */
  read64(address: number): number {
    return this.read32(address) + this.read32(address + 4) * U32;
  }
  write8(address: number, value: number): void {
    this.check(address, 1);
    if (this.onDeviceWrite !== undefined) this.onDeviceWrite(address, 1);
    this.pool.u8[this.offsetForWrite(address)] = value;
  }
  write16(address: number, value: number): void {
    this.check(address, 2);
    if (this.onDeviceWrite !== undefined) this.onDeviceWrite(address, 2);
    if ((address & FRAME_MASK) > FRAME_SIZE - 2) this.writeAcross(address, 2, value);
    else this.pool.view.setUint16(this.offsetForWrite(address), value, true);
  }
  write32(address: number, value: number): void {
    this.check(address, 4);
    if (this.onDeviceWrite !== undefined) this.onDeviceWrite(address, 4);
    if ((address & FRAME_MASK) > FRAME_SIZE - 4) this.writeAcross(address, 4, value);
    else this.pool.view.setUint32(this.offsetForWrite(address), value, true);
  }
  write64(address: number, value: number): void {
    // Modulo 2^32 also for the negative numbers that stand for the top half of the address space.
    this.write32(address, value >>> 0);
    this.write32(address + 4, Math.floor(value / U32));
  }

  /** A value that straddles two pages: they need not be neighbours in the slab. */
  private readAcross(address: number, size: number): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.read8(address + i);
    return value;
  }
  private writeAcross(address: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) this.write8(address + i, (value >>> (8 * i)) & 0xff);
  }

  readBytes(address: number, into: Uint8Array): void {
    this.check(address, into.length);
    for (let done = 0; done < into.length;) {
      const length = Math.min(FRAME_SIZE - ((address + done) & FRAME_MASK), into.length - done);
      const at = this.offsetForRead(address + done);
      if (at < 0) into.fill(0, done, done + length);
      else into.set(this.pool.u8.subarray(at, at + length), done);
      done += length;
    }
  }

  writeBytes(address: number, from: Uint8Array): void {
    this.check(address, from.length);
    if (this.onDeviceWrite !== undefined) this.onDeviceWrite(address, from.length);
    for (let done = 0; done < from.length;) {
      const length = Math.min(FRAME_SIZE - ((address + done) & FRAME_MASK), from.length - done);
      this.pool.u8.set(from.subarray(done, done + length), this.offsetForWrite(address + done));
      done += length;
    }
  }

  /** DMA out: RAM -> store. Whole aligned pages above the flat window go by reference. */
  copyToStore(address: number, store: PageStore, offset: number, length: number): void {
    this.check(address, length);
    const { u8 } = this.pool;
    for (let done = 0; done < length;) {
      const source = address + done;
      const target = offset + done;
      const room = FRAME_SIZE - (source & FRAME_MASK);
      const size = Math.min(room, FRAME_SIZE - (target & FRAME_MASK), length - done);
      if (size === FRAME_SIZE) {
        const page = target / FRAME_SIZE;
        if (source >= this.flatBytes) store.setShared(page, this.pages.slotOf(source / FRAME_SIZE));
        else if (this.pool.isZeroAt(source)) store.setShared(page, HOLE);
        else u8.copyWithin(store.ownedSlot(page, false) * FRAME_SIZE, source, source + FRAME_SIZE);
      } else {
        const from = this.offsetForRead(source);
        const to = store.ownedSlot(Math.floor(target / FRAME_SIZE)) * FRAME_SIZE + (target & FRAME_MASK);
        if (from < 0) u8.fill(0, to, to + size);
        else u8.copyWithin(to, from, from + size);
      }
      done += size;
    }
  }

  /** DMA in: store -> RAM. Whole aligned pages above the flat window come by reference. */
  copyFromStore(store: PageStore, offset: number, address: number, length: number): void {
    this.check(address, length);
    if (this.onDeviceWrite !== undefined) this.onDeviceWrite(address, length);
    const { u8 } = this.pool;
    for (let done = 0; done < length;) {
      const source = offset + done;
      const target = address + done;
      const size = Math.min(FRAME_SIZE - (source & FRAME_MASK), FRAME_SIZE - (target & FRAME_MASK), length - done);
      const page = Math.floor(source / FRAME_SIZE);
      if (size === FRAME_SIZE) {
        // Computed contents that nobody keeps (a partition full of signatures) are made in place in RAM.
        if (store.isUnread(page)) store.readInto(page, this.slotToOverwrite(target));
        else if (target >= this.flatBytes) this.pages.setShared(target / FRAME_SIZE, store.slotOf(page));
        else store.readInto(page, target / FRAME_SIZE);
      } else {
        const slot = store.slotOf(page);
        const to = this.offsetForWrite(target);
        if (slot === HOLE) u8.fill(0, to, to + size);
        else
          u8.copyWithin(
            to,
            slot * FRAME_SIZE + (source & FRAME_MASK),
            slot * FRAME_SIZE + (source & FRAME_MASK) + size,
          );
      }
      done += size;
    }
  }

  private slotToOverwrite(address: number): number {
    const page = address / FRAME_SIZE;
    return address < this.flatBytes ? page : this.pages.ownedSlot(page, false);
  }

  /** RAM -> RAM, whole pages: by reference above the flat window. What the kernel's copy of a page frame comes down to. */
  copyPage(from: number, to: number): void {
    const { flatBytes, pages } = this;
    if (to >= flatBytes && from >= flatBytes) {
      pages.setShared(to / FRAME_SIZE, pages.slotOf(from / FRAME_SIZE));
      return;
    }
    const { u8 } = this.pool;
    if (to < this.flatBytes) {
      const at = this.offsetForRead(from);
      if (at < 0) u8.fill(0, to, to + FRAME_SIZE);
      else u8.copyWithin(to, at, at + FRAME_SIZE);
    } else u8.copyWithin(this.slotToOverwrite(to) * FRAME_SIZE, from, from + FRAME_SIZE);
  }
}
