// The disk's volatile write cache, as bookkeeping: which extents are not on the platters yet, and when each will be.
//
// Contents do not live here. Written data goes into the media's page store at once (see media.ts); the cache knows
// how many bytes are still volatile and computes, without any event of its own, when the arm will have destaged each
// extent. Extents leave in the order they came; a backlog shortens each move, because the drive sorts it.
//
// Foreground work (reads, writes with the cache off) takes the arm away. All destage times are therefore kept in
// "destage time", a clock that stands still while the arm is held: real time = destage time + `held`.
import type { Mechanics } from "./timing.ts";
import { SECTOR_SIZE } from "./timing.ts";

/** Extents a cache can describe: the drive's segment table. Further writes wait as if the cache were full. */
export const CACHE_EXTENT_LIMIT = 2048;
/** Ring size: the limit plus one waiting burst of every command the queue can hold. */
const RING = 4096;
/** How far sorting a backlog can pay off. */
const SORT_LIMIT = 64;

export class WriteCache {
  private readonly mechanics: Mechanics;
  readonly capacityBytes: number;
  private readonly endsAt = new Float64Array(RING);
  private readonly firstLba = new Float64Array(RING);
  private readonly extentSectors = new Int32Array(RING);
  private head = 0;
  private count = 0;
  /** Sequence number of the extent at `head`; extents are numbered from 0 as they are admitted. */
  private headSequence = 0;
  private volatile = 0;
  private lastEndsAt = 0;
  private lastLba = 0;
  private held = 0;
  private armHeldUntil = 0;

  constructor(mechanics: Mechanics, capacityBytes: number) {
    this.mechanics = mechanics;
    this.capacityBytes = capacityBytes;
  }

  /** Bytes accepted and not yet on the platters at `now`. */
  volatileBytes(now: number): number {
    this.retire(now);
    return this.volatile;
  }

  /** The number of the oldest extent that is still volatile at `now`. */
  oldestVolatile(now: number): number {
    this.retire(now);
    return this.headSequence;
  }

  /** First sector of that extent. */
  get oldestVolatileLba(): number {
    return this.firstLba[this.head]!;
  }

  /** The number the next admitted extent will get. */
  get nextSequence(): number {
    return this.headSequence + this.count;
  }

  /** Sectors of the oldest volatile extent that the head has already written at `now`. */
  sectorsUnderway(now: number): number {
    this.retire(now);
    if (this.count === 0) return 0;
    const { head } = this;
    const sectors = this.extentSectors[head]!;
    const start = this.endsAt[head]! - this.mechanics.transferNs(this.firstLba[head]!, sectors);
    const done = Math.floor((now - this.held - start) / this.mechanics.sectorNsAt(this.firstLba[head]!));
    return Math.max(0, Math.min(sectors, done));
  }

  /** Where the arm is: at the extent it destages, or where its last work ended. */
  armAt(now: number): number {
    this.retire(now);
    return this.count > 0 ? this.firstLba[this.head]! : this.lastLba;
  }

  /** Drops the extents that are on the platters by `now`. */
  private retire(now: number): void {
    const at = now - this.held;
    while (this.count > 0 && this.endsAt[this.head]! <= at) {
      this.volatile -= this.extentSectors[this.head]! * SECTOR_SIZE;
      this.head = (this.head + 1) & (RING - 1);
      this.headSequence++;
      this.count--;
    }
  }

  /**
   * Takes an extent whose data has crossed the bus by `dataAt`, and plans its way to the platters.
   * Returns when the write can be acknowledged: `dataAt`, or later when older extents must make room first.
   */
  admit(now: number, dataAt: number, lba: number, sectors: number): number {
    this.retire(now);
    const bytes = sectors * SECTOR_SIZE;
    let ackAt = dataAt;
    let over = this.volatile + bytes - this.capacityBytes;
    let surplus = this.count + 1 - CACHE_EXTENT_LIMIT;
    if (over > 0 || surplus > 0) {
      let i = this.head;
      let roomAt = 0;
      for (let left = this.count; left > 0 && (over > 0 || surplus > 0); left--, surplus--) {
        over -= this.extentSectors[i]! * SECTOR_SIZE;
        roomAt = this.endsAt[i]!;
        i = (i + 1) & (RING - 1);
      }
      ackAt = Math.max(ackAt, roomAt + this.held);
    }
    const { mechanics } = this;
    const earliest = Math.max(ackAt, this.armHeldUntil) - this.held;
    let start: number;
    if (this.lastEndsAt >= earliest) {
      start = this.lastEndsAt;
      // An extent that goes on where the last one ends streams; any other costs a move, shortened by sorting.
      if (lba !== this.lastLba) {
        const move = mechanics.positionNs(this.lastLba, lba, start + this.held);
        start += Math.ceil(move / Math.sqrt(Math.min(this.count, SORT_LIMIT) + 1));
      }
    } else {
      start = earliest + mechanics.positionNs(this.lastLba, lba, earliest + this.held);
    }
    const end = start + mechanics.transferNs(lba, sectors);
    if (this.count === RING)
      throw new Error(`write cache: more than ${RING} extents (aborted writes pile up at one instant)`);
    const tail = (this.head + this.count++) & (RING - 1);
    this.endsAt[tail] = end;
    this.firstLba[tail] = lba;
    this.extentSectors[tail] = sectors;
    this.volatile += bytes;
    this.lastEndsAt = end;
    this.lastLba = lba + sectors;
    return ackAt;
  }

  /** The time by which everything accepted so far is on the platters; `now` when nothing is volatile. */
  drainedAt(now: number): number {
    this.retire(now);
    return this.count > 0 ? this.lastEndsAt + this.held : now;
  }

  /** Foreground work has the arm from `now` until `until` and leaves it at `leftAt`: what is volatile waits for that long. */
  holdArm(now: number, until: number, leftAt: number): void {
    this.retire(now);
    this.armHeldUntil = until;
    if (this.count > 0) {
      this.held += until - now + this.mechanics.seekNs(leftAt, this.firstLba[this.head]!);
    } else {
      this.lastLba = leftAt;
    }
  }

  /** Power loss: nothing is pending any more. */
  clear(): void {
    this.headSequence += this.count;
    this.count = 0;
    this.volatile = 0;
    this.lastEndsAt = 0;
    this.armHeldUntil = 0;
  }
}
