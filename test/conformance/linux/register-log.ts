// Every register access of a run, in order, with its virtual time: as one hash, and the last ones in words.
import { createHash } from "node:crypto";
import { openSync, writeSync } from "node:fs";

const RECORD_BYTES = 24;
const BATCH = 512;
const REMEMBERED = 64;

/** With this in the environment every access is also written, in words, to a file of that name and a number. */
const FILE_VARIABLE = "CONFORMANCE_REGISTER_LOG";
let files = 0;

export class RegisterLog {
  private readonly file = process.env[FILE_VARIABLE] ? openSync(`${process.env[FILE_VARIABLE]}.${++files}`, "w") : -1;
  private readonly hash = createHash("sha256");
  private readonly batch = new DataView(new ArrayBuffer(RECORD_BYTES * BATCH));
  private used = 0;
  private readonly recent: string[] = [];
  /** Accesses so far. */
  count = 0;

  add(
    ns: number,
    device: string,
    access: "read" | "write",
    bar: number,
    offset: number,
    size: number,
    value: number,
  ): void {
    const { batch, count } = this;
    const at = this.used++ * RECORD_BYTES;
    batch.setFloat64(at, ns);
    batch.setUint32(at + 8, ((access === "read" ? 1 : 2) << 16) | (size << 8) | (bar & 0xff));
    batch.setUint32(at + 12, offset);
    batch.setUint32(at + 16, value >>> 0);
    batch.setUint32(at + 20, device.length);
    const words = `${(ns / 1e6).toFixed(5)} ms ${device} ${access} BAR${bar}+0x${offset.toString(16)} ${size} 0x${(value >>> 0).toString(16)}`;
    this.recent[count % REMEMBERED] = words;
    if (this.file >= 0) writeSync(this.file, `${words}\n`);
    this.count++;
    if (this.used === BATCH) this.flush();
  }

  /** Of everything so far. */
  digest(): string {
    this.flush();
    return this.hash.copy().digest("hex");
  }

  /** The last accesses, oldest first. */
  tail(): string[] {
    const start = this.count % REMEMBERED;
    return [...this.recent.slice(start), ...this.recent.slice(0, start)];
  }

  private flush(): void {
    this.hash.update(new Uint8Array(this.batch.buffer, 0, this.used * RECORD_BYTES));
    this.used = 0;
  }
}
