// A partition: a window of another store.
import type { ByteStore } from "../../emulator/memory/store.ts";
import type { HoleAwareStore } from "./file-store.ts";

export class PartitionStore implements HoleAwareStore {
  readonly name: string;
  readonly sizeBytes: number;
  readonly base: ByteStore;
  /** Where the window begins in `base`, in bytes. */
  readonly startBytes: number;
  /** Bytes of the partition that lie beyond the end of `base`, as in a truncated image. */
  readonly missingBytes: number;

  /** Throws a RangeError when the window begins beyond the end of `base`; one that only ends there is cut, as a truncated image is. */
  constructor(base: ByteStore, name: string, startBytes: number, sizeBytes: number) {
    if (startBytes < 0 || startBytes > base.sizeBytes) {
      throw new RangeError(
        `${name}: begins at ${startBytes}, beyond the end of ${base.name} (${base.sizeBytes} bytes)`,
      );
    }
    this.base = base;
    this.name = name;
    this.startBytes = startBytes;
    this.sizeBytes = Math.min(sizeBytes, base.sizeBytes - startBytes);
    this.missingBytes = sizeBytes - this.sizeBytes;
  }

  read(offset: number, into: Uint8Array): void {
    this.check(offset, into.length);
    this.base.read(this.startBytes + offset, into);
  }

  write(offset: number, from: Uint8Array): void {
    this.check(offset, from.length);
    this.base.write(this.startBytes + offset, from);
  }

  view(offset: number, length: number): Uint8Array | undefined {
    this.check(offset, length);
    return this.base.view?.(this.startBytes + offset, length);
  }

  nextData(offset: number): number {
    return Math.min(this.sizeBytes, this.base.nextData(this.startBytes + offset) - this.startBytes);
  }

  nextHole(offset: number): number {
    return Math.min(this.sizeBytes, nextHole(this.base, this.startBytes + offset) - this.startBytes);
  }

  private check(offset: number, length: number): void {
    if (offset < 0 || offset + length > this.sizeBytes) {
      throw new RangeError(`${this.name}: ${length} bytes at ${offset} lie beyond its end (${this.sizeBytes} bytes)`);
    }
  }
}

/** The end of the data at `offset`: exact when the store knows, its own end otherwise. */
export const nextHole = (store: ByteStore, offset: number): number =>
  "nextHole" in store && typeof store.nextHole === "function"
    ? (store as HoleAwareStore).nextHole(offset)
    : store.sizeBytes;

/** Bytes of a partition that its truncated image lacks; 0 for every other store. */
export const missingBytesOf = (store: ByteStore): number => (store instanceof PartitionStore ? store.missingBytes : 0);

/** The store that really holds the bytes, and the offset there. */
export function resolveStore(store: ByteStore, offset: number): { store: ByteStore; offset: number } {
  while (store instanceof PartitionStore) {
    offset += store.startBytes;
    store = store.base;
  }
  return { store, offset };
}
