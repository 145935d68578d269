// Small pieces of a store read one behind the other, by one large read now and then.
import type { ByteStore } from "../../emulator/memory/store.ts";

/** What is read is looked at at once: it should still be in the cache then. */
const WINDOW_BYTES = 1 << 17;

export class ReadWindow {
  private readonly store: ByteStore;
  private buffer = new Uint8Array(0);
  /** What was read last: of the buffer, or of the store itself where the bytes lie there in one piece. */
  private window: Uint8Array = this.buffer;
  view: DataView = new DataView(this.buffer.buffer);
  private start = 0;
  private end = 0;
  private readonly windowBytes: number;

  constructor(store: ByteStore, windowBytes = WINDOW_BYTES) {
    this.store = store;
    this.windowBytes = windowBytes;
  }

  /** Where `length` bytes at `offset` lie in `view` until the next call; -1 when they reach beyond the store's end. */
  place(offset: number, length: number): number {
    if (offset < this.start || offset + length > this.end) {
      if (!(offset >= 0 && offset + length <= this.store.sizeBytes)) return -1;
      this.fill(offset, length);
    }
    return offset - this.start;
  }

  /** Bytes of the store, valid until the next call; undefined when they reach beyond its end. */
  bytes(offset: number, length: number): Uint8Array | undefined {
    const at = this.place(offset, length);
    return at < 0 ? undefined : this.window.subarray(at, at + length);
  }

  private fill(offset: number, length: number): void {
    const size = Math.min(Math.max(length, this.windowBytes), this.store.sizeBytes - offset);
    this.start = this.end = 0;
    this.window = this.store.view?.(offset, size) ?? this.read(offset, size);
    this.view = new DataView(this.window.buffer, this.window.byteOffset, size);
    this.start = offset;
    this.end = offset + size;
  }

  private read(offset: number, size: number): Uint8Array {
    if (this.buffer.length < size) this.buffer = new Uint8Array(Math.max(size, this.windowBytes));
    const window = this.buffer.subarray(0, size);
    this.store.read(offset, window);
    return window;
  }
}
