// The MBR of a disk image: primary partitions 1 to 4 and logical ones from 5 on.
import type { ByteStore } from "../../emulator/memory/store.ts";
import { hex, UsageError } from "./errors.ts";
import { PartitionStore } from "./partition-store.ts";

export const SECTOR_SIZE = 512;

export interface Partition {
  /** As in /dev/sda<number>. */
  readonly number: number;
  /** System id: 0x83 Linux, 0x82 swap, ... */
  readonly type: number;
  readonly startSector: number;
  readonly sectorCount: number;
}

const TABLE_AT = 446;
const EXTENDED_TYPES = new Set([0x05, 0x0f, 0x85]);
/** Linux stops there too; a chain that is longer goes in circles. */
const MOST_LOGICAL = 60;

interface Entry {
  type: number;
  start: number;
  count: number;
}

function entriesOf(store: ByteStore, sector: number): Entry[] | undefined {
  if ((sector + 1) * SECTOR_SIZE > store.sizeBytes) return undefined;
  const bytes = Buffer.alloc(SECTOR_SIZE);
  store.read(sector * SECTOR_SIZE, bytes);
  if (bytes.readUInt16LE(510) !== 0xaa55) return undefined;
  return [0, 1, 2, 3].map((index) => {
    const at = TABLE_AT + index * 16;
    return { type: bytes[at + 4]!, start: bytes.readUInt32LE(at + 8), count: bytes.readUInt32LE(at + 12) };
  });
}

/** The partitions of a disk, or undefined when its first sector is no MBR. */
export function readPartitions(store: ByteStore): Partition[] | undefined {
  const primary = entriesOf(store, 0);
  if (!primary) return undefined;
  const partitions: Partition[] = [];
  for (const [index, { type, start, count }] of primary.entries()) {
    if (type !== 0 && count !== 0) partitions.push({ number: index + 1, type, startSector: start, sectorCount: count });
  }
  const extended = primary.find(({ type, count }) => EXTENDED_TYPES.has(type) && count !== 0);
  if (extended) partitions.push(...logicalPartitions(store, extended.start));
  return partitions;
}

function logicalPartitions(store: ByteStore, extendedStart: number): Partition[] {
  const partitions: Partition[] = [];
  let link = 0;
  for (let number = 5; number < 5 + MOST_LOGICAL; number++) {
    const entries = entriesOf(store, extendedStart + link);
    const [own, next] = entries ?? [];
    if (!own || own.type === 0) break;
    partitions.push({ number, type: own.type, startSector: extendedStart + link + own.start, sectorCount: own.count });
    if (!next || next.type === 0) break;
    link = next.start;
  }
  return partitions;
}

/** Partition `number` of a disk image as a store of its own. Throws a UsageError that lists what there is. */
export function openPartition(image: ByteStore, number: number): PartitionStore {
  const partitions = readPartitions(image);
  if (!partitions) {
    throw new UsageError(
      `${image.name}: has no partition table (bytes 55 aa expected at offset ${hex(510)}); leave the partition number out to use all of it`,
    );
  }
  const found = partitions.find((partition) => partition.number === number);
  if (!found) {
    const numbers = partitions.map((partition) => partition.number).join(", ") || "none";
    throw new UsageError(`${image.name}: has no partition ${number}; its partitions: ${numbers}`);
  }
  const startBytes = found.startSector * SECTOR_SIZE;
  if (startBytes >= image.sizeBytes) {
    throw new UsageError(
      `${image.name}: partition ${number} begins at sector ${found.startSector}, beyond the image's end (${image.sizeBytes} bytes)`,
    );
  }
  return new PartitionStore(image, `${image.name} partition ${number}`, startBytes, found.sectorCount * SECTOR_SIZE);
}
