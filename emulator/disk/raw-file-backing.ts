// A raw disk image on the host, read lazily under a simulated disk. The file is never written.
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { FRAME_SIZE } from "../memory/pool.ts";
import type { Backing } from "../memory/store.ts";

const ZEROES = Buffer.alloc(FRAME_SIZE);

/** Pages come from the file when they are first touched, so it must not change while the machine runs. */
export class RawFileBacking implements Backing {
  readonly path: string;
  readonly sizeBytes: number;
  private descriptor: number;

  /** Throws the host's error (ENOENT, EACCES …) when the file cannot be opened. */
  constructor(path: string) {
    this.path = path;
    this.descriptor = openSync(path, "r");
    const stat = fstatSync(this.descriptor);
    if (!stat.isFile()) {
      this.close();
      throw new Error(`${path}: not a regular file`);
    }
    this.sizeBytes = stat.size;
  }

  /** What lies beyond the end of the file reads as zeroes; a page of zeroes is a hole. */
  readPage(page: number, into: Uint8Array): boolean {
    const start = page * FRAME_SIZE;
    if (start >= this.sizeBytes) return false;
    let filled = 0;
    while (filled < FRAME_SIZE) {
      const read = readSync(this.descriptor, into, filled, FRAME_SIZE - filled, start + filled);
      if (read === 0) break;
      filled += read;
    }
    into.fill(0, filled, FRAME_SIZE);
    return !ZEROES.equals(into);
  }

  close(): void {
    if (this.descriptor >= 0) closeSync(this.descriptor);
    this.descriptor = -1;
  }
}
