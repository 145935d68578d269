// What a load process has written, and what of it must be on the disk: for oracles, beside the machine.
import { BLOCK_BYTES, SECTORS_PER_BLOCK, generationOf } from "./pattern.ts";

/**
 * acknowledged: what the disk has reported as written must read back (its cache counts).
 * synced: what an fsync has brought to the media; survives a power cut.
 */
export type Durability = "acknowledged" | "synced";

/** One file's blocks: per block the last generation begun, acknowledged by the disk, and synced. */
export class Ledger {
  readonly tag: number;
  readonly blocks: number;
  readonly begun: Uint32Array;
  private readonly acknowledged: Uint32Array;
  private readonly synced: Uint32Array;
  /** Blocks written since the last fsync, and which generation the fsync will cover. */
  private readonly unsynced = new Map<number, number>();
  private readonly touched = new Set<number>();

  constructor(tag: number, blocks: number) {
    this.tag = tag;
    this.blocks = blocks;
    this.begun = new Uint32Array(blocks);
    this.acknowledged = new Uint32Array(blocks);
    this.synced = new Uint32Array(blocks);
  }

  /** A write of the block begins. Returns its generation. */
  begin(block: number): number {
    const generation = this.begun[block]! + 1;
    this.begun[block] = generation;
    this.touched.add(block);
    return generation;
  }
  /** A buffered write has returned: the next fsync must bring it to the disk. */
  buffered(block: number): void {
    this.unsynced.set(block, this.begun[block]!);
  }
  /** A direct write has returned. */
  direct(block: number): void {
    this.acknowledged[block] = this.begun[block]!;
    this.unsynced.set(block, this.begun[block]!);
  }
  /** What an fsync that starts now will cover. */
  fsyncBegins(): ReadonlyMap<number, number> {
    return new Map(this.unsynced);
  }
  fsyncEnds(covered: ReadonlyMap<number, number>): void {
    for (const [block, generation] of covered) {
      this.synced[block] = generation;
      if (generation > this.acknowledged[block]!) this.acknowledged[block] = generation;
      if (this.unsynced.get(block) === generation) this.unsynced.delete(block);
    }
  }

  /** The oldest generation that may be found. */
  atLeast(block: number, durability: Durability): number {
    return durability === "synced" ? this.synced[block]! : this.acknowledged[block]!;
  }

  get touchedBlocks(): readonly number[] {
    return [...this.touched].sort((a, b) => a - b);
  }
}

export interface LoadMismatch {
  readonly disk: string;
  /** Absolute, on the disk. */
  readonly sector: number;
  readonly expected: string;
  readonly found: string;
}

/** Where a ledger's file lies. */
export interface LedgerPlace {
  readonly disk: string;
  readonly startSector: number;
  readonly ledger: Ledger;
}

/**
 * Compares the disks with the ledgers. Every sector of a touched block must hold a generation that was begun, and none older
 * than what had been promised. `read` fills `into` with the sectors from an absolute sector of a disk on.
 * Returns at most `limit` mismatches.
 */
export function verifyLedgers(
  places: readonly LedgerPlace[],
  durability: Durability,
  read: (disk: string, sector: number, into: Uint8Array) => void,
  limit = 20,
): LoadMismatch[] {
  const found: LoadMismatch[] = [];
  const bytes = new Uint8Array(BLOCK_BYTES);
  const words = new Uint32Array(bytes.buffer);
  for (const { disk, startSector, ledger } of places) {
    for (const block of ledger.touchedBlocks) {
      const at = startSector + block * SECTORS_PER_BLOCK;
      read(disk, at, bytes);
      const least = ledger.atLeast(block, durability);
      const most = ledger.begun[block]!;
      for (let sector = 0; sector < SECTORS_PER_BLOCK; sector++) {
        const generation = generationOf(words, sector * 128, ledger.tag, block, sector, true);
        // A block that was never promised may still hold whatever was there before.
        if (generation >= least && generation <= most) continue;
        if (least === 0 && generation < 0) continue;
        found.push({
          disk,
          sector: at + sector,
          expected: `generation ${least} to ${most} of block ${block}`,
          found: generation < 0 ? "something else" : `generation ${generation}`,
        });
        if (found.length >= limit) return found;
      }
    }
  }
  return found;
}
