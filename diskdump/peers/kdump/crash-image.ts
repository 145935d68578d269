// What `kexec -p` leaves in the reserved memory: capture kernel, elfcorehdr, command line and purgatory, byte for byte in RAM.
//
//   start                  640 KiB for the purgatory's copy of low memory (kdump; mkdump makes none)
//   start + 1 MiB          the capture kernel's image: its text; the rest of its part is its memory
//   end - 64 KiB           elfcorehdr (8 KiB), command line (4 KiB), purgatory with the digest (4 KiB)
import { createHash } from "node:crypto";
import type { PhysicalMemory } from "../../../emulator/memory/memory.ts";

export const BACKUP_BYTES = 640 * 1024;
const MIB = 2 ** 20;
const TOP_BYTES = 64 * 1024;
/** Text of the image, its data and modules: what the kernel of this simulator takes before it hands out a byte. */
const IMAGE_BYTES = 4 * MIB;
const TEXT_BYTES = 512 * 1024;
export const DIGEST_BYTES = 32;

/** Memory kept by `crashkernel=`; physical addresses in bytes. */
export interface CrashRegion {
  readonly start: number;
  readonly end: number;
}

export interface Segment {
  readonly name: "kernel" | "elfcorehdr" | "command line";
  readonly at: number;
  readonly bytes: number;
}

/** A loaded crash kernel. */
export interface CrashImage {
  readonly region: CrashRegion;
  readonly segments: readonly Segment[];
  /** Where the purgatory keeps the digest of the segments. */
  readonly digestAt: number;
  readonly elfcorehdr: number;
  /** End of the memory that the capture kernel is given. */
  readonly memoryEnd: number;
}

/** Writes the segments and their digest. Returns: undefined when the reserve is too small for an image. */
export function loadCrashImage(
  memory: PhysicalMemory,
  region: CrashRegion,
  text: Uint8Array,
  elfcorehdr: Uint8Array,
  commandLine: string,
): CrashImage | undefined {
  const memoryEnd = region.end - TOP_BYTES;
  if (memoryEnd < region.start + MIB + IMAGE_BYTES) return undefined;
  const segments: Segment[] = [
    { name: "kernel", at: region.start + MIB, bytes: TEXT_BYTES },
    { name: "elfcorehdr", at: memoryEnd, bytes: 8192 },
    { name: "command line", at: memoryEnd + 8192, bytes: 4096 },
  ];
  memory.writeBytes(segments[0]!.at, text.subarray(0, TEXT_BYTES));
  memory.writeBytes(memoryEnd, elfcorehdr);
  memory.writeBytes(memoryEnd + 8192, new TextEncoder().encode(`${commandLine}\0`));
  const digestAt = memoryEnd + 12288;
  memory.writeBytes(digestAt, digestOf(memory, segments));
  return { region, segments, digestAt, elfcorehdr: memoryEnd, memoryEnd };
}

/** SHA-256 over the segments as they are in RAM now. */
export function digestOf(memory: PhysicalMemory, segments: readonly Segment[]): Uint8Array {
  const hash = createHash("sha256");
  for (const { at, bytes } of segments) {
    const contents = new Uint8Array(bytes);
    memory.readBytes(at, contents);
    hash.update(contents);
  }
  return new Uint8Array(hash.digest());
}

/** The command line that the segment holds. */
export function commandLineIn(memory: PhysicalMemory, image: CrashImage): string {
  const bytes = new Uint8Array(4096);
  memory.readBytes(image.segments[2]!.at, bytes);
  return new TextDecoder("latin1").decode(bytes.subarray(0, bytes.indexOf(0)));
}
