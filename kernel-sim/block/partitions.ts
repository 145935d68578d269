// Reading a DOS partition table through the page cache (fs/partitions/msdos.c of 2.6.9).
import type { Running } from "../../emulator/cpu/cpu.ts";
import { M } from "../abi/ram.ts";
import { kfunc } from "../core/kfunc.ts";
import { put_page } from "../mm/page-alloc.ts";
import { read_cache_page } from "../mm/filemap.ts";
import { page_to_phys } from "../mm/page.ts";
import type { BlockDevice } from "./gendisk.ts";

export interface FoundPartition {
  readonly number: number;
  readonly startSector: number;
  readonly sectors: number;
  readonly extended: boolean;
}

const TABLE_AT = 446;
const EXTENDED_TYPES = [0x05, 0x0f, 0x85];
/** As many links of logical partitions as are followed. */
const LINK_LIMIT = 60;

/** What a sector's table says: four entries, or undefined without the 55 AA signature or when it cannot be read. */
const read_dev_sector = kfunc("read_dev_sector", function* (bdev: BlockDevice, sector: number) {
  const page = yield* read_cache_page(bdev.mapping, Math.floor(sector / 8));
  if (page === 0) return undefined;
  const at = page_to_phys(page) + (sector % 8) * 512;
  const entries: { type: number; start: number; sectors: number }[] = [];
  const { memory } = M;
  const signed = memory.read16(at + 510) === 0xaa55;
  for (let i = 0; i < 4; i++) {
    const entry = at + TABLE_AT + i * 16;
    entries.push({
      type: memory.read8(entry + 4),
      start: memory.read32(entry + 8),
      sectors: memory.read32(entry + 12),
    });
  }
  yield* put_page(page);
  return signed ? entries : undefined;
});

/** The partitions of a disk: primaries, then the chain of logical ones. Context: process; sleeps. */
export const read_partitions = kfunc("check_partition", function* (bdev: BlockDevice) {
  const found: FoundPartition[] = [];
  const primaries = yield* read_dev_sector(bdev, 0);
  if (!primaries) return found;
  for (let i = 0; i < 4; i++) {
    const { type, start, sectors } = primaries[i]!;
    if (type === 0 || sectors === 0) continue;
    const extended = EXTENDED_TYPES.includes(type);
    // The kernel gives the extended partition itself two sectors: enough for a boot loader, too few to be mounted.
    found.push({ number: i + 1, startSector: start, sectors: extended ? Math.min(2, sectors) : sectors, extended });
    if (extended) yield* parse_extended(bdev, start, sectors, found);
  }
  found.sort((a, b) => a.number - b.number);
  return found;
});

const parse_extended = kfunc(
  "parse_extended",
  function* (bdev: BlockDevice, first: number, size: number, found: FoundPartition[]): Generator<void, void, void> {
    let number = 5;
    let link = first;
    for (let links = 0; links < LINK_LIMIT; links++) {
      const entries = yield* read_dev_sector(bdev, link);
      if (!entries) return;
      let next = 0;
      for (const { type, start, sectors } of entries) {
        if (sectors === 0) continue;
        if (EXTENDED_TYPES.includes(type)) {
          if (next === 0) next = first + start;
        } else if (type !== 0 && link + start + sectors <= first + size) {
          found.push({ number: number++, startSector: link + start, sectors, extended: false });
        }
      }
      if (next <= link) return;
      link = next;
    }
  },
);

export type PartitionReader = (bdev: BlockDevice) => Running<FoundPartition[]>;
