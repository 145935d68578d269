// Bytes in the order and word size of a platform: what object files are made of.

/** Appends numbers to a growing buffer, in one byte order. */
export class ByteWriter {
  readonly littleEndian: boolean;
  readonly wordBytes: 4 | 8;
  private buffer = new Uint8Array(4096);
  private view = new DataView(this.buffer.buffer);
  private end = 0;

  constructor(littleEndian: boolean, wordBytes: 4 | 8) {
    this.littleEndian = littleEndian;
    this.wordBytes = wordBytes;
  }

  get length(): number {
    return this.end;
  }

  /** May replace `buffer` and `view`: call it before using them. */
  private room(bytes: number): number {
    const at = this.end;
    this.end += bytes;
    if (this.end > this.buffer.length) {
      const larger = new Uint8Array(Math.max(this.end, this.buffer.length * 2));
      larger.set(this.buffer);
      this.buffer = larger;
      this.view = new DataView(larger.buffer);
    }
    return at;
  }

  u8(value: number): void {
    const at = this.room(1);
    this.buffer[at] = value;
  }
  u16(value: number): void {
    const at = this.room(2);
    this.view.setUint16(at, value, this.littleEndian);
  }
  u32(value: number): void {
    const at = this.room(4);
    this.view.setUint32(at, value, this.littleEndian);
  }
  u64(value: bigint): void {
    const at = this.room(8);
    this.view.setBigUint64(at, BigInt.asUintN(64, value), this.littleEndian);
  }
  /** An address, an offset or a size: as wide as the platform's pointers. */
  word(value: bigint): void {
    if (this.wordBytes === 8) this.u64(value);
    else this.u32(Number(BigInt.asUintN(32, value)));
  }
  bytes(values: Uint8Array | readonly number[]): void {
    const at = this.room(values.length);
    this.buffer.set(values, at);
  }
  /** A NUL-terminated Latin-1 string. */
  string(text: string): void {
    for (let i = 0; i < text.length; i++) this.u8(text.charCodeAt(i));
    this.u8(0);
  }
  /** DWARF's variable-length numbers. */
  uleb(value: number): void {
    let rest = value;
    do {
      const low = rest % 128;
      rest = Math.floor(rest / 128);
      this.u8(rest > 0 ? low | 0x80 : low);
    } while (rest > 0);
  }
  sleb(value: number): void {
    for (let rest = value; ;) {
      const low = ((rest % 128) + 128) % 128;
      rest = (rest - low) / 128;
      const done = (rest === 0 && low < 64) || (rest === -1 && low >= 64);
      this.u8(done ? low : low | 0x80);
      if (done) return;
    }
  }
  /** Fills up to a multiple of `alignment` (any, not only powers of two). */
  align(alignment: number, fill = 0): void {
    while (this.end % alignment !== 0) this.u8(fill);
  }
  /** Overwrites a 32-bit number that was written before its value was known. */
  patch32(at: number, value: number): void {
    this.view.setUint32(at, value, this.littleEndian);
  }

  finish(): Uint8Array {
    return this.buffer.slice(0, this.end);
  }
}
