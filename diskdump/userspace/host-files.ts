// The host's file system as savecore uses it: a seam, so that a full disk can be had in a test.
import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeSync,
} from "node:fs";

export interface HostFile {
  /** Sets the size; new bytes are a hole. */
  truncate(sizeBytes: number): void;
  /** Writes all of `from` at `offset`, or throws. */
  write(offset: number, from: Uint8Array): void;
  /** Returns when the contents are on the disk. */
  sync(): void;
  close(): void;
}

export interface HostFiles {
  exists(path: string): boolean;
  /** Makes a directory with its parents. */
  makeDirectory(path: string): void;
  /** Makes a new file; throws EEXIST when there is one. */
  create(path: string): HostFile;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Removes a directory if nothing is in it. */
  removeEmptyDirectory(path: string): void;
  /** Runs a program to its end; returns its exit code, or undefined when it cannot be run. */
  run(program: string, args: readonly string[]): number | undefined;
}

class NodeFile implements HostFile {
  private readonly descriptor: number;

  constructor(descriptor: number) {
    this.descriptor = descriptor;
  }

  truncate(sizeBytes: number): void {
    ftruncateSync(this.descriptor, sizeBytes);
  }

  write(offset: number, from: Uint8Array): void {
    for (let done = 0; done < from.length;) {
      done += writeSync(this.descriptor, from, done, from.length - done, offset + done);
    }
  }

  sync(): void {
    fsyncSync(this.descriptor);
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

export const nodeFiles: HostFiles = {
  exists: existsSync,
  makeDirectory: (path) => void mkdirSync(path, { recursive: true }),
  create: (path) => new NodeFile(openSync(path, "wx", 0o600)),
  rename: renameSync,
  remove: (path) => rmSync(path, { force: true }),
  removeEmptyDirectory(path) {
    try {
      rmdirSync(path);
    } catch {
      // Something else is in it: it stays.
    }
  },
  run: (program, args) => spawnSync(program, [...args], { stdio: "inherit" }).status ?? undefined,
};
