// Another system's memory, from a file: raw, or the PT_LOADs of an ELF core. It lies in preserved memory, above the machine's own,
// so that the simulated kernel can dump it through the simulated adapters without being in its way.
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import type { PhysicalMemory } from "../../emulator/memory/memory.ts";
import type { Backing } from "../../emulator/memory/store.ts";
import { isElf, readElfCore } from "../../diskdump/userspace/elf-core.ts";
import { hex, UsageError } from "../../diskdump/userspace/errors.ts";
import { FileStore } from "../../diskdump/userspace/file-store.ts";

/** Physical addresses of the image, end exclusive, multiples of 4 KiB. */
export interface ImageRange {
  readonly start: number;
  readonly end: number;
}

interface Piece extends ImageRange {
  readonly fileOffset: number;
  readonly fileBytes: number;
}

export interface MemoryImage {
  readonly ranges: readonly ImageRange[];
  /** Lays the image into preserved memory from `baseBytes` on; pages are read from the file when they are first looked at. */
  load(memory: PhysicalMemory, baseBytes: number): void;
}

/** Opens an image. Throws a UsageError for one that cannot be: unreadable, empty, not in whole pages, overlapping. */
export function openMemoryImage(path: string): MemoryImage {
  const file = FileStore.open(path);
  const pieces = isElf(file) ? elfPieces(file, path) : rawPieces(file, path);
  return {
    ranges: merged(pieces),
    load(memory, baseBytes) {
      const backing = imageBacking(file, pieces, baseBytes);
      for (const { start, end } of pieces) {
        memory.pages.lay(backing, (baseBytes + start) / FRAME_SIZE, (end - start) / FRAME_SIZE);
      }
    },
  };
}

function rawPieces(file: FileStore, path: string): Piece[] {
  if (file.sizeBytes === 0 || file.sizeBytes % FRAME_SIZE !== 0) {
    throw new UsageError(`memory.image: ${path}: a raw image must be a multiple of 4096 bytes, not ${file.sizeBytes}`);
  }
  return [{ start: 0, end: file.sizeBytes, fileOffset: 0, fileBytes: file.sizeBytes }];
}

function elfPieces(file: FileStore, path: string): Piece[] {
  const core = readElfCore(file);
  const pieces: Piece[] = [];
  for (const segment of core.segments) {
    if (segment.type !== "PT_LOAD" || segment.memoryBytes === 0) continue;
    const start = segment.physical;
    const end = start + segment.memoryBytes;
    if (start % FRAME_SIZE !== 0 || end % FRAME_SIZE !== 0) {
      throw new UsageError(
        `memory.image: ${path}: PT_LOAD ${hex(start)}-${hex(end)} is not in whole pages of 4096 bytes`,
      );
    }
    // A second mapping of the same bytes (the kernel's text) says nothing new.
    if (pieces.some((p) => start >= p.start && end <= p.end)) continue;
    if (pieces.some((p) => start < p.end && end > p.start)) {
      throw new UsageError(`memory.image: ${path}: PT_LOAD ${hex(start)}-${hex(end)} overlaps another one`);
    }
    pieces.push({ start, end, fileOffset: segment.fileOffset, fileBytes: segment.fileBytes });
  }
  if (pieces.length === 0) throw new UsageError(`memory.image: ${path}: has no PT_LOAD with contents`);
  return pieces.sort((a, b) => a.start - b.start);
}

function merged(pieces: readonly Piece[]): ImageRange[] {
  const ranges: { start: number; end: number }[] = [];
  for (const { start, end } of pieces) {
    const last = ranges.at(-1);
    if (last && last.end === start) last.end = end;
    else ranges.push({ start, end });
  }
  return ranges;
}

function imageBacking(file: FileStore, pieces: readonly Piece[], baseBytes: number): Backing {
  return {
    readPage(page, into) {
      const address = page * FRAME_SIZE - baseBytes;
      const piece = pieces.find((p) => address >= p.start && address < p.end);
      if (!piece) return false;
      const inside = address - piece.start;
      const present = Math.max(0, Math.min(FRAME_SIZE, piece.fileBytes - inside));
      if (present === 0) return false;
      if (file.nextData(piece.fileOffset + inside) >= piece.fileOffset + inside + FRAME_SIZE) return false;
      into.fill(0);
      file.read(piece.fileOffset + inside, into.subarray(0, present));
      return true;
    },
  };
}
