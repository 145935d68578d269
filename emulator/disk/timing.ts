// How long a disk takes: an arm that seeks, a platter that turns, a bus and a controller in front of them.
//
// The defaults stand for a 10,000 rpm 36 GB Ultra320 disk of 2003. Everything is integer nanoseconds and uses only
// operations that IEEE 754 rounds exactly (+ - * / sqrt), so the same run gives the same times on any machine.
// The rotational position is a function of time alone: the sector under the head at time t does not depend on
// what was asked for before, exactly as on a real platter.

export const SECTOR_SIZE = 512;

export interface DiskTiming {
  /** Revolutions per minute. */
  readonly rpm: number;
  /** Mean seek over uniformly random pairs of places. */
  readonly averageSeekNs: number;
  readonly trackToTrackNs: number;
  /** Sustained rate at the outer edge, track and cylinder switches included. */
  readonly mediaBytesPerSecond: number;
  /** Rate at the inner edge as a share of the outer one. */
  readonly innerRateRatio: number;
  readonly busBytesPerSecond: number;
  /** What the controller spends on every command. */
  readonly commandOverheadNs: number;
  /** Bytes of write cache; 0 for a disk without one. */
  readonly cacheBytes: number;
  /** How far the disk reads on after a read when it has nothing else to do. */
  readonly readAheadBytes: number;
  /** Commands the disk takes before it answers TASK SET FULL. */
  readonly queueDepth: number;
  /** Which waiting command the arm serves next: oldest, shortest access time, or next upwards. */
  readonly queueOrder: "fifo" | "satf" | "elevator";
  /** From power-on or START UNIT until the disk is ready. */
  readonly spinUpNs: number;
}

export const DEFAULT_DISK_TIMING: DiskTiming = {
  rpm: 10_000,
  averageSeekNs: 4_700_000,
  trackToTrackNs: 400_000,
  mediaBytesPerSecond: 68_000_000,
  innerRateRatio: 0.57,
  busBytesPerSecond: 320_000_000,
  commandOverheadNs: 25_000,
  cacheBytes: 8 * 2 ** 20,
  readAheadBytes: 512 * 1024,
  queueDepth: 64,
  queueOrder: "satf",
  spinUpNs: 0,
};

/** The largest `queueDepth`: what 8-bit queue tags can tell apart. */
export const QUEUE_DEPTH_LIMIT = 256;

/** Completes a scenario's timing with the defaults. Throws naming the option that makes no sense. */
export function resolveDiskTiming(options: Partial<DiskTiming> = {}): DiskTiming {
  const timing: DiskTiming = { ...DEFAULT_DISK_TIMING, ...options };
  const demand = (ok: boolean, option: keyof DiskTiming, what: string): void => {
    if (!ok) throw new Error(`disk timing: ${option} is ${String(timing[option])}, it must be ${what}`);
  };
  demand(timing.rpm >= 60 && timing.rpm <= 1_000_000, "rpm", "60 to 1,000,000");
  demand(timing.trackToTrackNs >= 0, "trackToTrackNs", "0 or more");
  demand(timing.averageSeekNs >= timing.trackToTrackNs, "averageSeekNs", "at least trackToTrackNs");
  demand(timing.mediaBytesPerSecond >= 512, "mediaBytesPerSecond", "512 or more");
  demand(timing.innerRateRatio > 0 && timing.innerRateRatio <= 1, "innerRateRatio", "above 0 and at most 1");
  demand(timing.busBytesPerSecond >= 512, "busBytesPerSecond", "512 or more");
  demand(timing.commandOverheadNs >= 0, "commandOverheadNs", "0 or more");
  demand(timing.cacheBytes === 0 || timing.cacheBytes >= 65_536, "cacheBytes", "0, or 65536 or more");
  demand(timing.readAheadBytes >= 0, "readAheadBytes", "0 or more");
  const depth = timing.queueDepth;
  demand(
    Number.isInteger(depth) && depth >= 1 && depth <= QUEUE_DEPTH_LIMIT,
    "queueDepth",
    `1 to ${QUEUE_DEPTH_LIMIT}`,
  );
  demand(["fifo", "satf", "elevator"].includes(timing.queueOrder), "queueOrder", "fifo, satf or elevator");
  demand(timing.spinUpNs >= 0, "spinUpNs", "0 or more");
  return timing;
}

/** Zones of constant recording density, outer to inner. */
const ZONES = 16;
/** Tracks of a cylinder: a move inside it is not a seek. */
export const HEADS = 8;
/** The mean of sqrt(|x-y|) for x, y uniform in [0,1]: what ties the curve's scale to the average seek. */
const MEAN_ROOT_DISTANCE = 8 / 15;

/** Arm and platter of one disk. Addresses are LBAs, times integer nanoseconds. */
export class Mechanics {
  readonly timing: DiskTiming;
  readonly sectors: number;
  readonly revolutionNs: number;
  private readonly nsPerSector: Int32Array;
  private readonly sectorsPerZone: number;
  private readonly fullStrokeExtraNs: number;
  private readonly sectorsPerCylinder: number;
  private busNsPerSector: number;

  constructor(timing: DiskTiming, sectors: number) {
    this.timing = timing;
    this.sectors = sectors;
    this.revolutionNs = Math.round(60_000_000_000 / timing.rpm);
    this.sectorsPerZone = Math.ceil(sectors / ZONES);
    this.nsPerSector = new Int32Array(ZONES);
    for (let zone = 0; zone < ZONES; zone++) {
      const ratio = 1 - ((1 - timing.innerRateRatio) * zone) / (ZONES - 1);
      // Whole nanoseconds, so that a sequential stream stays exactly in step with the platter.
      this.nsPerSector[zone] = Math.max(1, Math.round((SECTOR_SIZE * 1e9) / (timing.mediaBytesPerSecond * ratio)));
    }
    this.fullStrokeExtraNs = (timing.averageSeekNs - timing.trackToTrackNs) / MEAN_ROOT_DISTANCE;
    this.sectorsPerCylinder = (HEADS * this.revolutionNs) / this.nsPerSector[0]!;
    this.busNsPerSector = (SECTOR_SIZE * 1e9) / timing.busBytesPerSecond;
  }

  private zoneOf(lba: number): number {
    const zone = Math.floor(lba / this.sectorsPerZone);
    return zone < ZONES ? zone : ZONES - 1;
  }

  /** At the outer edge; what mode pages 03 and 04 tell. */
  get sectorsPerTrack(): number {
    return Math.max(1, Math.floor(this.revolutionNs / this.nsPerSector[0]!));
  }

  sectorNsAt(lba: number): number {
    return this.nsPerSector[this.zoneOf(lba)]!;
  }

  /** Media time of a run of sectors, at the density of its first one. */
  transferNs(lba: number, sectors: number): number {
    return this.nsPerSector[this.zoneOf(lba)]! * sectors;
  }

  /**
   * The link to the host now runs at this rate: what host and disk have agreed on, at most the disk's own bus rate. Infinity:
   * the time of the link is the port's to count, byte by byte on its bus.
   */
  setLinkRate(bytesPerSecond: number): void {
    this.busNsPerSector =
      bytesPerSecond === Infinity ? 0 : (SECTOR_SIZE * 1e9) / Math.min(bytesPerSecond, this.timing.busBytesPerSecond);
  }

  busNs(sectors: number): number {
    return Math.ceil(this.busNsPerSector * sectors);
  }

  /** Arm time between two places: none inside a cylinder, then track-to-track plus a square-root curve to the full stroke. */
  seekNs(from: number, to: number): number {
    const distance = Math.abs(from - to);
    if (distance < this.sectorsPerCylinder) return 0;
    return Math.round(this.timing.trackToTrackNs + this.fullStrokeExtraNs * Math.sqrt(distance / this.sectors));
  }

  /** The wait until the platter brings `lba` under the head, for a head that is on its track at time `at`. */
  rotationNs(lba: number, at: number): number {
    const zone = this.zoneOf(lba);
    const rev = this.revolutionNs;
    const angle = ((lba - zone * this.sectorsPerZone) * this.nsPerSector[zone]!) % rev;
    const wait = angle - (at % rev);
    return wait < 0 ? wait + rev : wait;
  }

  /** Seek and rotational wait together for an arm that starts at `from` at time `at`. */
  positionNs(from: number, lba: number, at: number): number {
    const seek = this.seekNs(from, lba);
    return seek + this.rotationNs(lba, at + seek);
  }
}
