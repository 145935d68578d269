// The disk of the dump servers' host inside a trial: files that live in the machine's slab and are gone with the trial.
import type { CoreSink } from "../../diskdump/userspace/core-sink.ts";
import { FRAME_SIZE, type PagePool } from "../../emulator/memory/pool.ts";
import { PageStore, type ByteStore } from "../../emulator/memory/store.ts";
import type { HostFile, HostFiles } from "../../diskdump/userspace/host-files.ts";

/** A file of at most `capacity` bytes. */
export class CrashFile implements HostFile, ByteStore {
  readonly name: string;
  readonly pages: PageStore;
  sizeBytes = 0;

  constructor(pool: PagePool, name: string, capacity: number) {
    this.name = name;
    this.pages = new PageStore(pool, name, capacity);
  }

  truncate(sizeBytes: number): void {
    this.sizeBytes = sizeBytes;
  }

  write(offset: number, from: Uint8Array): void {
    this.pages.write(offset, from);
    this.sizeBytes = Math.max(this.sizeBytes, offset + from.length);
  }

  read(offset: number, into: Uint8Array): void {
    this.pages.read(offset, into);
  }

  nextData(offset: number): number {
    return Math.min(this.sizeBytes, this.pages.nextData(offset));
  }

  /** The whole file. */
  copyTo(sink: CoreSink): void {
    sink.begin(this.sizeBytes);
    sink.copy(0, this.pages, 0, Math.ceil(this.sizeBytes / FRAME_SIZE) * FRAME_SIZE);
    sink.end();
  }

  sync(): void {
    // There is nothing below it.
  }

  close(): void {
    // It can still be read.
  }
}

export class CrashFiles implements HostFiles {
  readonly files = new Map<string, CrashFile>();
  private readonly directories = new Set<string>();
  private readonly pool: PagePool;
  private readonly capacity: number;

  /** @param capacity bytes of the largest file */
  constructor(pool: PagePool, capacity: number) {
    this.pool = pool;
    this.capacity = capacity;
  }

  exists(path: string): boolean {
    return this.files.has(path) || this.directories.has(path);
  }

  makeDirectory(path: string): void {
    this.directories.add(path);
  }

  create(path: string): CrashFile {
    const file = new CrashFile(this.pool, path, this.capacity);
    this.files.set(path, file);
    return file;
  }

  rename(from: string, to: string): void {
    this.files.set(to, this.files.get(from)!);
    this.files.delete(from);
  }

  remove(path: string): void {
    this.files.delete(path);
  }

  removeEmptyDirectory(path: string): void {
    this.directories.delete(path);
  }

  /** No scripts are installed. */
  run(): number | undefined {
    return undefined;
  }
}
