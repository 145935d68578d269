// The track buffer: which sectors a disk has read beyond what it was asked for, and when each arrives.
//
// Only time is modelled, contents always come from the media. The newest window may still be filling: the head
// reads on until the window is as long as the timing allows or another command takes the arm.
import { SECTOR_SIZE, type Mechanics } from "./timing.ts";

/** Separate sequential streams the buffer can hold. */
const WINDOWS = 4;

export class ReadAhead {
  private readonly mechanics: Mechanics;
  private readonly aheadSectors: number;
  private readonly from = new Float64Array(WINDOWS);
  /** End of what is in the buffer; for the filling window as of `filledAt`. */
  private readonly to = new Float64Array(WINDOWS);
  private newest = 0;
  private filling = false;
  private filledAt = 0;
  /** Where the filling window stops. */
  private limit = 0;

  constructor(mechanics: Mechanics) {
    this.mechanics = mechanics;
    this.aheadSectors = Math.floor(mechanics.timing.readAheadBytes / SECTOR_SIZE);
  }

  /** When the sectors are in the buffer (`now` or later), or -1 when the arm must fetch them. */
  readyAt(lba: number, sectors: number, now: number): number {
    const end = lba + sectors;
    if (this.filling) this.advance(now);
    const { newest } = this;
    for (let i = 0; i < WINDOWS; i++) {
      if (lba < this.from[i]! || end > this.to[i]!) continue;
      if (this.filling && i === newest) this.extend(end, now);
      return now;
    }
    // What the head is about to pass anyway is worth waiting for.
    if (!this.filling || lba < this.from[newest]! || end > this.limit) return -1;
    const ready = this.filledAt + (end - this.to[newest]!) * this.mechanics.sectorNsAt(lba);
    this.extend(end, now);
    return Math.max(now, ready);
  }

  /** A sequential reader keeps the head reading on; a head that had stopped must wait for its sector to come round. */
  private extend(end: number, now: number): void {
    const { newest } = this;
    const stopped = this.to[newest]! >= this.limit;
    const limit = Math.min(end + this.aheadSectors, this.mechanics.sectors);
    if (limit <= this.limit) return;
    if (stopped) this.filledAt = now + this.mechanics.rotationNs(this.to[newest]!, now);
    this.limit = limit;
  }

  private advance(now: number): void {
    const { newest } = this;
    const at = this.to[newest]!;
    if (at >= this.limit || now <= this.filledAt) return;
    const sectorNs = this.mechanics.sectorNsAt(at);
    const read = Math.min(Math.floor((now - this.filledAt) / sectorNs), this.limit - at);
    this.to[newest] = at + read;
    this.forget(newest);
    this.filledAt += read * sectorNs;
  }

  /** The buffer is finite: of a long stream only the newest part is still there. */
  private forget(window: number): void {
    const oldest = this.to[window]! - 2 * this.aheadSectors;
    if (this.from[window]! < oldest) this.from[window] = oldest;
  }

  /** Another command takes the arm: the buffer keeps what it has. */
  stop(now: number): void {
    if (!this.filling) return;
    this.advance(now);
    this.filling = false;
  }

  /** The arm read [lba, lba + sectors) until `doneAt`; `readOn` when it may go on reading. */
  fetched(lba: number, sectors: number, doneAt: number, readOn: boolean): void {
    this.newest = (this.newest + 1) % WINDOWS;
    this.from[this.newest] = lba;
    this.to[this.newest] = lba + sectors;
    this.forget(this.newest);
    this.filledAt = doneAt;
    this.filling = readOn && this.aheadSectors > 0;
    this.limit = Math.min(lba + sectors + this.aheadSectors, this.mechanics.sectors);
  }

  clear(): void {
    this.from.fill(0);
    this.to.fill(0);
    this.filling = false;
  }
}
