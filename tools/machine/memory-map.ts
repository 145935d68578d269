// The firmware's memory map of a machine with so much RAM, as its platform lays it out.
import type { MemoryRange } from "../../emulator/memory/memory.ts";
import type { MemoryScenario, Platform } from "../scenario/scenario.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
/** Below 4 GiB the chipset keeps this much for PCI memory space. */
const PCI_HOLE_START = 3.5 * GIB;

/** PC: conventional memory, the ROM and video hole, and RAM above the PCI hole remapped over 4 GiB. */
function pcMap(size: number): MemoryRange[] {
  const map: MemoryRange[] = [
    { start: 0, end: 640 * KIB, type: "ram" },
    { start: 640 * KIB, end: MIB, type: "reserved" },
  ];
  map.push({ start: MIB, end: Math.min(size, PCI_HOLE_START), type: "ram" });
  if (size > PCI_HOLE_START) map.push({ start: 4 * GIB, end: 4 * GIB + size - PCI_HOLE_START, type: "ram" });
  return map;
}

/** EFI and Open Firmware machines: one range from zero, RAM over 2 GiB remapped over 4 GiB on ia64 boxes. */
function flatMap(size: number, holeAt: number): MemoryRange[] {
  if (size <= holeAt) return [{ start: 0, end: size, type: "ram" }];
  return [
    { start: 0, end: holeAt, type: "ram" },
    { start: 4 * GIB, end: 4 * GIB + size - holeAt, type: "ram" },
  ];
}

export function memoryMapOf(platform: Platform, memory: MemoryScenario): MemoryRange[] {
  if (memory.map) {
    return memory.map.map((range) => ({
      start: range.startBytes,
      end: range.startBytes + range.sizeBytes,
      type: range.type,
    }));
  }
  if (platform === "ia64") return flatMap(memory.sizeBytes, 2 * GIB);
  if (platform === "ppc64") return flatMap(memory.sizeBytes, Infinity);
  return pcMap(memory.sizeBytes);
}

/** Where a preserved image's address 0 lies: above the machine's own memory, at a multiple of 1 GiB. */
export const imageBaseOf = (map: readonly MemoryRange[]): number =>
  Math.max(GIB, Math.ceil(Math.max(...map.map((range) => range.end)) / GIB) * GIB);

/** The flat window: what the kernel keeps for itself. A quarter of RAM, within bounds. */
export const flatBytesOf = (ramBytes: number): number =>
  Math.min(32 * MIB, Math.max(12 * MIB, Math.floor(ramBytes / 4 / MIB) * MIB));
