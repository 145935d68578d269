// What a writer of compressed pages writes with: runs of small pieces gathered into large ones.
import type { CoreSink } from "../userspace/core-sink.ts";

const BUFFER_BYTES = 1 << 20;

/** Bytes appended one behind the other from an offset on. */
export class Appender {
  private readonly sink: CoreSink;
  private readonly buffer = new Uint8Array(BUFFER_BYTES);
  private used = 0;
  /** Where the next byte goes. */
  offset: number;

  constructor(sink: CoreSink, offset: number) {
    this.sink = sink;
    this.offset = offset;
  }

  /** Returns where the bytes stand. At most 1 MiB at once. */
  append(bytes: Uint8Array): number {
    if (this.used + bytes.length > BUFFER_BYTES) this.flush();
    this.buffer.set(bytes, this.used);
    this.used += bytes.length;
    const at = this.offset;
    this.offset += bytes.length;
    return at;
  }

  flush(): void {
    if (this.used > 0) this.sink.bytes(this.offset - this.used, this.buffer.subarray(0, this.used));
    this.used = 0;
  }
}
