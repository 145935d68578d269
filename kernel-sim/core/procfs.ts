// The kernel's files: what user space sees under /proc and /sys, as functions behind paths.
import type { Running } from "../../emulator/cpu/cpu.ts";

export interface PseudoFile {
  /** What a read returns, made anew each time. */
  readonly read?: () => string;
  /** What a write does. Returns: 0 or a negative errno. Context: process. */
  readonly write?: (text: string) => Running<number>;
}

export class PseudoFiles {
  private readonly files = new Map<string, PseudoFile>();

  /** create_proc_entry() and its like. An entry that is there is replaced. */
  add(path: string, file: PseudoFile): void {
    this.files.set(path, file);
  }

  remove(path: string): void {
    this.files.delete(path);
  }

  exists(path: string): boolean {
    return this.files.has(path);
  }

  /** The text of a file, or undefined when it is not there or cannot be read. */
  read(path: string): string | undefined {
    return this.files.get(path)?.read?.();
  }

  /** The file, to be written to by a process. */
  file(path: string): PseudoFile | undefined {
    return this.files.get(path);
  }

  /** Paths that begin with `prefix`, in order. */
  list(prefix: string): string[] {
    return [...this.files.keys()].filter((path) => path.startsWith(prefix)).sort();
  }
}
