// The witness that nothing was written outside the ranges where writing is allowed (a dump partition).

export class WriteGuard {
  // Allowed ranges [from, to), sorted; undefined while nobody watches.
  private ranges: readonly { from: number; to: number }[] | undefined;
  /** Writes (bursts of at most 64 KiB) that touched a sector outside the allowed ranges. */
  writesOutside = 0;
  firstOffendingLba = -1;
  firstOffendingAt = -1;
  /** Sectors written since the machine was built, wherever. */
  sectorsWritten = 0;

  /** From now on only sectors in [startLba, endLba) may be written; further calls allow further ranges. */
  watch(startLba: number, endLba: number): void {
    if (!(startLba >= 0 && endLba > startLba))
      throw new Error(`write guard: [${startLba}, ${endLba}) is no range of sectors`);
    this.ranges = [...(this.ranges ?? []), { from: startLba, to: endLba }].sort((a, b) => a.from - b.from);
  }

  /** Nothing at all may be written from now on. */
  forbid(): void {
    this.ranges ??= [];
  }

  /** Stops watching and forgets what was seen. */
  unwatch(): void {
    this.ranges = undefined;
    this.writesOutside = 0;
    this.firstOffendingLba = -1;
    this.firstOffendingAt = -1;
  }

  /** Called for every burst whose data reached the disk. */
  note(lba: number, sectors: number, now: number): void {
    this.sectorsWritten += sectors;
    const { ranges } = this;
    if (ranges === undefined) return;
    let at = lba;
    for (const range of ranges) {
      if (at < range.from) break;
      if (at < range.to) {
        if (lba + sectors <= range.to) return;
        at = range.to;
      }
    }
    this.writesOutside++;
    if (this.firstOffendingLba < 0) {
      this.firstOffendingLba = at;
      this.firstOffendingAt = now;
    }
  }
}
