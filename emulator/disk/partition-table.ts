// DOS partition tables: four primary entries in the MBR, and a chain of logical partitions inside an extended one.
//
// Written so that fdisk, sfdisk, parted and the kernel accept them: CHS fields in the usual 255/63 translation and
// pinned at 1023/254/63 beyond it, links of the chain relative to the extended partition, entries relative to their
// link.
import type { ByteStore } from "../memory/store.ts";
import { SECTOR_SIZE } from "./timing.ts";

/** What is wrong with a table, and where. */
export class PartitionTableError extends Error {}

export interface PartitionEntry {
  /** First sector of the partition on the disk. */
  readonly startSector: number;
  readonly sectors: number;
  /** Type byte: 83 Linux, 82 swap, … */
  readonly type: number;
  readonly bootable?: boolean;
  /** Inside the extended partition, which is made as large as needed. */
  readonly logical?: boolean;
}

export interface Partition extends PartitionEntry {
  /** As in /dev/sda<number>: 1-4 primary, 5 and up logical. */
  readonly number: number;
  readonly bootable: boolean;
  readonly logical: boolean;
}

const HEADS = 255;
const SECTORS_PER_TRACK = 63;
const TABLE_AT = 446;
const EXTENDED_CHS = 0x05;
const EXTENDED_LBA = 0x0f;
const EXTENDED_TYPES: readonly number[] = [EXTENDED_CHS, EXTENDED_LBA, 0x85];
const MIB_SECTORS = 2048;
/** The longest chain that is followed; the kernel stops at 60 or so. */
const LOGICAL_LIMIT = 60;
/** Entries hold 32-bit sector numbers. */
const SECTOR_LIMIT = 2 ** 32;

export const isExtended = (type: number): boolean => EXTENDED_TYPES.includes(type);

function putChs(sector: Uint8Array, at: number, lba: number): void {
  let cylinder = Math.floor(lba / (HEADS * SECTORS_PER_TRACK));
  let head = Math.floor(lba / SECTORS_PER_TRACK) % HEADS;
  let number = (lba % SECTORS_PER_TRACK) + 1;
  if (cylinder > 1023) {
    cylinder = 1023;
    head = HEADS - 1;
    number = SECTORS_PER_TRACK;
  }
  sector[at] = head;
  sector[at + 1] = number | ((cylinder >> 8) << 6);
  sector[at + 2] = cylinder & 0xff;
}

/** One 16-byte entry; `relativeTo` is what its start counts from. */
function putEntry(sector: Uint8Array, index: number, entry: PartitionEntry, relativeTo: number): void {
  const at = TABLE_AT + index * 16;
  sector[at] = entry.bootable ? 0x80 : 0;
  putChs(sector, at + 1, entry.startSector);
  sector[at + 4] = entry.type;
  putChs(sector, at + 5, entry.startSector + entry.sectors - 1);
  const view = new DataView(sector.buffer, sector.byteOffset);
  view.setUint32(at + 8, entry.startSector - relativeTo, true);
  view.setUint32(at + 12, entry.sectors, true);
}

const describe = (entry: PartitionEntry): string =>
  `partition at sector ${entry.startSector} (${entry.sectors} sectors, type ${entry.type.toString(16)})`;

function checkEntry(entry: PartitionEntry, diskSectors: number): void {
  const { startSector, sectors, type } = entry;
  if (!Number.isInteger(startSector) || !Number.isInteger(sectors) || startSector < 1 || sectors < 1) {
    throw new PartitionTableError(`${describe(entry)}: needs a start of 1 or more and at least one sector`);
  }
  if (!(type >= 1 && type <= 255)) throw new PartitionTableError(`${describe(entry)}: the type must be 1 to ff`);
  if (startSector + sectors > diskSectors) {
    throw new PartitionTableError(`${describe(entry)}: ends beyond the disk, which has ${diskSectors} sectors`);
  }
  if (startSector + sectors > SECTOR_LIMIT)
    throw new PartitionTableError(`${describe(entry)}: a DOS table stops at 2 TiB`);
}

function checkOverlaps(entries: readonly PartitionEntry[]): void {
  const sorted = [...entries].sort((a, b) => a.startSector - b.startSector);
  for (let i = 1; i < sorted.length; i++) {
    const before = sorted[i - 1]!;
    if (before.startSector + before.sectors > sorted[i]!.startSector) {
      throw new PartitionTableError(`${describe(sorted[i]!)} overlaps ${describe(before)}`);
    }
  }
}

/** Where the link sector of a logical partition goes: a MiB or a track before it when there is room, else right before. */
function linkSector(entry: PartitionEntry, roomFrom: number): number {
  const { startSector } = entry;
  for (const gap of startSector % MIB_SECTORS === 0 ? [MIB_SECTORS, SECTORS_PER_TRACK, 1] : [SECTORS_PER_TRACK, 1]) {
    if (startSector - gap >= roomFrom) return startSector - gap;
  }
  throw new PartitionTableError(`${describe(entry)}: no free sector before it for the link of a logical partition`);
}

/**
 * Writes MBR and chain; the boot code area of the MBR is kept. Primary entries get numbers 1-4 in the given order (the extended
 * partition takes the number of the first logical one), logical ones 5 and up by position. Returns what was written.
 * Throws a PartitionTableError for overlaps, entries outside the disk and too many of them; then nothing was written.
 */
export function writePartitionTable(
  store: ByteStore,
  entries: readonly PartitionEntry[],
  diskSignature = 0x64756d70,
): Partition[] {
  const diskSectors = Math.floor(store.sizeBytes / SECTOR_SIZE);
  for (const entry of entries) checkEntry(entry, diskSectors);
  checkOverlaps(entries);
  const logical = entries.filter((entry) => entry.logical).sort((a, b) => a.startSector - b.startSector);
  if (logical.length > LOGICAL_LIMIT)
    throw new PartitionTableError(`${logical.length} logical partitions; the limit is ${LOGICAL_LIMIT}`);
  const primaries = entries.filter((entry) => !entry.logical);

  // The extended partition reaches from the first link to the end of the last logical partition.
  const links: number[] = [];
  const firstLogical = logical[0];
  let slots: PartitionEntry[] = [...primaries];
  if (firstLogical) {
    let roomFrom = 1;
    for (const one of primaries) {
      if (one.startSector < firstLogical.startSector) roomFrom = Math.max(roomFrom, one.startSector + one.sectors);
    }
    for (const one of logical) {
      links.push(linkSector(one, roomFrom));
      roomFrom = one.startSector + one.sectors;
    }
    const startSector = links[0]!;
    const inCylinders = roomFrom <= 1024 * HEADS * SECTORS_PER_TRACK;
    const extended: PartitionEntry = {
      startSector,
      sectors: roomFrom - startSector,
      type: inCylinders ? EXTENDED_CHS : EXTENDED_LBA,
    };
    for (const one of primaries) {
      if (isExtended(one.type))
        throw new PartitionTableError(`${describe(one)}: the extended partition is made from the logical ones`);
    }
    checkOverlaps([...primaries, extended]);
    const at = entries
      .slice(0, entries.indexOf(entries.find((entry) => entry.logical)!))
      .filter((entry) => !entry.logical).length;
    slots = [...primaries.slice(0, at), extended, ...primaries.slice(at)];
  }
  if (slots.length > 4)
    throw new PartitionTableError(`${slots.length} primary partitions (the extended one counts); the limit is 4`);

  const mbr = new Uint8Array(SECTOR_SIZE);
  store.read(0, mbr);
  mbr.fill(0, 440, SECTOR_SIZE);
  new DataView(mbr.buffer).setUint32(440, diskSignature, true);
  slots.forEach((entry, i) => putEntry(mbr, i, entry, 0));
  mbr[510] = 0x55;
  mbr[511] = 0xaa;
  logical.forEach((entry, i) => {
    const link = new Uint8Array(SECTOR_SIZE);
    putEntry(link, 0, entry, links[i]!);
    const next = logical[i + 1];
    if (next) {
      const startSector = links[i + 1]!;
      putEntry(
        link,
        1,
        { startSector, sectors: next.startSector + next.sectors - startSector, type: EXTENDED_CHS },
        links[0]!,
      );
    }
    link[510] = 0x55;
    link[511] = 0xaa;
    store.write(links[i]! * SECTOR_SIZE, link);
  });
  store.write(0, mbr);
  return readPartitionTable(store);
}

function readEntry(sector: Uint8Array, index: number, relativeTo: number): PartitionEntry & { bootable: boolean } {
  const at = TABLE_AT + index * 16;
  const view = new DataView(sector.buffer, sector.byteOffset);
  return {
    bootable: sector[at] === 0x80,
    type: sector[at + 4]!,
    startSector: view.getUint32(at + 8, true) + relativeTo,
    sectors: view.getUint32(at + 12, true),
  };
}

/**
 * Reads MBR and chain; the extended partition itself is among the result. Throws a PartitionTableError that says where: no 55AA,
 * an entry outside the disk, overlaps, a chain that loops or leaves the extended partition.
 */
export function readPartitionTable(store: ByteStore): Partition[] {
  const diskSectors = Math.floor(store.sizeBytes / SECTOR_SIZE);
  const sector = new Uint8Array(SECTOR_SIZE);
  const fetch = (at: number, what: string): void => {
    if (at >= diskSectors)
      throw new PartitionTableError(
        `${store.name}: ${what} at sector ${at} lies beyond the disk (${diskSectors} sectors)`,
      );
    store.read(at * SECTOR_SIZE, sector);
    if (sector[510] !== 0x55 || sector[511] !== 0xaa) {
      throw new PartitionTableError(`${store.name}: ${what} at sector ${at} has no 55 AA signature`);
    }
  };
  fetch(0, "partition table");
  const found: Partition[] = [];
  for (let i = 0; i < 4; i++) {
    const entry = readEntry(sector, i, 0);
    if (entry.type === 0 || entry.sectors === 0) continue;
    checkEntry(entry, diskSectors);
    found.push({ ...entry, number: i + 1, logical: false });
  }
  checkOverlaps(found);
  const extended = found.find((entry) => isExtended(entry.type));
  if (extended === undefined) return found;
  const end = extended.startSector + extended.sectors;
  let number = 5;
  for (let link = extended.startSector; ;) {
    fetch(link, "link of logical partitions");
    const entry = readEntry(sector, 0, link);
    if (entry.type !== 0 && entry.sectors !== 0) {
      checkEntry(entry, diskSectors);
      if (entry.startSector + entry.sectors > end)
        throw new PartitionTableError(`${describe(entry)}: ends beyond its extended partition`);
      found.push({ ...entry, number: number++, logical: true });
    }
    const next = readEntry(sector, 1, extended.startSector);
    if (next.type === 0 || next.sectors === 0) break;
    // Links only lead forward, so a chain cannot loop.
    if (next.startSector <= link || next.startSector >= end) {
      throw new PartitionTableError(
        `${store.name}: the link at sector ${link} leads to sector ${next.startSector}, back or out of the extended partition`,
      );
    }
    if (number - 5 >= LOGICAL_LIMIT)
      throw new PartitionTableError(`${store.name}: more than ${LOGICAL_LIMIT} logical partitions`);
    link = next.startSector;
  }
  checkOverlaps(found.filter((entry) => entry.logical));
  return found;
}
