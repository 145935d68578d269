// A disk image or vmcore on the host as a byte store.
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import type { ByteStore } from "../../emulator/memory/store.ts";
import { hex, systemReason, UsageError } from "./errors.ts";
import { readDataExtents, type DataExtents } from "./hole-map.ts";

/** A store that also knows where a piece of data ends. */
export interface HoleAwareStore extends ByteStore {
  /** The first offset > `offset` at which a hole begins, for an `offset` that may hold data; or `sizeBytes`. */
  nextHole(offset: number): number;
}

export class FileStore implements HoleAwareStore {
  readonly name: string;
  readonly sizeBytes: number;
  readonly writable: boolean;
  private readonly descriptor: number;
  private readonly mayHaveHoles: boolean;
  private extents: DataExtents | undefined;
  private extentsKnown = false;

  private constructor(path: string, descriptor: number, writable: boolean) {
    this.name = path;
    this.descriptor = descriptor;
    this.writable = writable;
    const status = fstatSync(descriptor);
    if (!status.isFile()) {
      closeSync(descriptor);
      throw new UsageError(`${path}: is not a regular file`);
    }
    this.sizeBytes = status.size;
    this.mayHaveHoles = status.blocks * 512 < status.size;
  }

  /** Opens an existing image. Throws a UsageError when it cannot be opened. */
  static open(path: string, options: { writable?: boolean } = {}): FileStore {
    const writable = options.writable ?? false;
    return new FileStore(path, openOrExplain(path, writable ? "r+" : "r"), writable);
  }

  /** Makes a new image of `sizeBytes`, all hole. Throws a UsageError when the file exists. */
  static create(path: string, sizeBytes: number): FileStore {
    const descriptor = openOrExplain(path, "wx+");
    try {
      ftruncateSync(descriptor, sizeBytes);
    } catch (error) {
      closeSync(descriptor);
      rmSync(path, { force: true });
      throw new UsageError(`${path}: cannot be made ${sizeBytes} bytes long: ${systemReason(error)}`, { cause: error });
    }
    return new FileStore(path, descriptor, true);
  }

  read(offset: number, into: Uint8Array): void {
    this.check(offset, into.length);
    for (let done = 0; done < into.length;) {
      const count = this.explain("read", offset + done, () =>
        readSync(this.descriptor, into, done, into.length - done, offset + done),
      );
      if (count === 0)
        throw new UsageError(`${this.name}: ends at offset ${offset + done}; it was cut while being read`);
      done += count;
    }
  }

  write(offset: number, from: Uint8Array): void {
    this.check(offset, from.length);
    if (!this.writable) throw new UsageError(`${this.name}: was opened for reading only`);
    // The map may be wrong now; a reader that treats all of the rest as data is right in any case.
    this.extents = undefined;
    this.extentsKnown = true;
    for (let done = 0; done < from.length;) {
      done += this.explain("written", offset + done, () =>
        writeSync(this.descriptor, from, done, from.length - done, offset + done),
      );
    }
  }

  /** A full or failing host disk is nothing that a caller can mend: it becomes a message with file and place. */
  private explain(what: "read" | "written", offset: number, transfer: () => number): number {
    try {
      return transfer();
    } catch (error) {
      throw new UsageError(`${this.name}: cannot be ${what} at offset ${hex(offset)}: ${systemReason(error)}`, {
        cause: error,
      });
    }
  }

  nextData(offset: number): number {
    const extents = this.dataExtents();
    if (!extents || offset >= this.sizeBytes) return Math.min(offset, this.sizeBytes);
    const at = firstEndingAfter(extents, offset);
    return at >= extents.length ? this.sizeBytes : Math.max(offset, extents[at]!);
  }

  nextHole(offset: number): number {
    const extents = this.dataExtents();
    if (!extents) return this.sizeBytes;
    const at = firstEndingAfter(extents, offset);
    return at >= extents.length ? this.sizeBytes : extents[at + 1]!;
  }

  private dataExtents(): DataExtents | undefined {
    if (!this.extentsKnown) {
      this.extentsKnown = true;
      if (this.mayHaveHoles) this.extents = readDataExtents(this.name, this.sizeBytes);
    }
    return this.extents;
  }

  private check(offset: number, length: number): void {
    if (offset < 0 || offset + length > this.sizeBytes) {
      throw new RangeError(`${this.name}: ${length} bytes at ${offset} lie beyond its end (${this.sizeBytes} bytes)`);
    }
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

function openOrExplain(path: string, flags: string): number {
  try {
    return openSync(path, flags);
  } catch (error) {
    throw new UsageError(`${path}: cannot be opened: ${systemReason(error)}`, { cause: error });
  }
}

/** Index of the start of the first extent that ends after `offset`. */
function firstEndingAfter(extents: DataExtents, offset: number): number {
  let low = 0;
  let high = extents.length / 2;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (extents[middle * 2 + 1]! > offset) high = middle;
    else low = middle + 1;
  }
  return low * 2;
}
