// MODE SENSE and MODE SELECT: the disk's adjustable behaviour. [SPC-3 6.7-6.10, SBC-2 6.3]
//
// Every page has four sets of values: current, changeable (a mask), default and saved. A reset loads the saved ones.
import { SENSE, type SenseCode } from "./sense.ts";
import { SECTOR_SIZE } from "./timing.ts";

const WCE = 0x04;
const ALL_PAGES = 0x3f;
const CACHING = 0x08;
const DISCONNECT_RECONNECT = 0x02;
/** Of the bus inactivity limit. [SPC-3 7.4.8] */
const LIMIT_UNIT_NS = 100_000;

/** What the pages must say about the disk. */
export interface ModeGeometry {
  readonly sectors: number;
  readonly rpm: number;
  readonly sectorsPerTrack: number;
  readonly heads: number;
}

interface ModePage {
  readonly code: number;
  readonly current: Uint8Array;
  readonly changeable: Uint8Array;
  readonly defaults: Uint8Array;
  readonly saved: Uint8Array;
}

function page(
  code: number,
  length: number,
  values: Readonly<Record<number, number>>,
  changeable: Readonly<Record<number, number>> = {},
): ModePage {
  const build = (bytes: Readonly<Record<number, number>>): Uint8Array => {
    const data = new Uint8Array(length + 2);
    // Bit 7 (PS): this page can be saved.
    data[0] = 0x80 | code;
    data[1] = length;
    for (const [at, value] of Object.entries(bytes)) data[Number(at)] = value;
    return data;
  };
  const defaults = build(values);
  return { code, defaults, current: defaults.slice(), saved: defaults.slice(), changeable: build(changeable) };
}

export class ModePages {
  private readonly geometry: ModeGeometry;
  private readonly pages: readonly ModePage[];
  private readonly caching: ModePage;
  private readonly disconnection: ModePage;
  /** Write cache enabled: read on every write. */
  writeCacheEnabled = false;
  /** How long the target may keep the bus without moving anything: read at the end of every data phase. */
  busInactivityLimitNs = 0;
  writeProtected = false;

  /** @param cacheSwitchable false for a disk without a write cache: WCE cannot be set */
  constructor(geometry: ModeGeometry, writeCacheEnabled: boolean, cacheSwitchable = true) {
    this.geometry = geometry;
    const { sectorsPerTrack, heads, rpm } = geometry;
    const cylinders = Math.min(0xffffff, Math.ceil(geometry.sectors / (sectorsPerTrack * heads)));
    this.caching = page(
      CACHING,
      0x12,
      { 2: writeCacheEnabled ? WCE : 0, 4: 0xff, 5: 0xff, 8: 0xff, 9: 0xff, 10: 0xff, 11: 0xff, 13: 4 },
      { 2: cacheSwitchable ? WCE : 0 },
    );
    // 1 ms, as Seagate's drives have it. [ST3655 product manual, C.2]
    this.disconnection = page(DISCONNECT_RECONNECT, 0x0e, { 2: 0x80, 3: 0x80, 5: 0x0a }, { 4: 0xff, 5: 0xff });
    this.pages = [
      // Read-write error recovery: automatic reallocation, 11 retries.
      page(0x01, 0x0a, { 2: 0xc0, 3: 11, 8: 5 }),
      this.disconnection,
      page(0x03, 0x16, {
        10: sectorsPerTrack >> 8,
        11: sectorsPerTrack & 0xff,
        12: SECTOR_SIZE >> 8,
        13: SECTOR_SIZE & 0xff,
        15: 1,
        20: 0x40,
      }),
      page(0x04, 0x16, {
        2: cylinders >> 16,
        3: (cylinders >> 8) & 0xff,
        4: cylinders & 0xff,
        5: heads,
        20: rpm >> 8,
        21: rpm & 0xff,
      }),
      this.caching,
      // Control: restricted reordering (queue algorithm modifier 0), fixed-format sense.
      page(0x0a, 0x0a, {}),
      page(0x1c, 0x0a, {}),
    ];
    this.refresh();
  }

  /** What a reset does: the saved values become current. */
  restoreSaved(): void {
    for (const one of this.pages) one.current.set(one.saved);
    this.refresh();
  }

  private refresh(): void {
    this.writeCacheEnabled = (this.caching.current[2]! & WCE) !== 0;
    const { current } = this.disconnection;
    const limit = (current[4]! << 8) | current[5]!;
    this.busInactivityLimitNs = limit === 0 ? Infinity : limit * LIMIT_UNIT_NS;
  }

  /** Fills the answer to MODE SENSE(6) or (10). Returns its length, or minus a sense code. */
  sense(cdb: Uint8Array, into: Uint8Array): number {
    const ten = cdb[0] === 0x5a;
    const code = cdb[2]! & 0x3f;
    const control = cdb[2]! >> 6;
    const subpage = cdb[3]!;
    if (subpage !== 0 && !(subpage === 0xff && code === ALL_PAGES)) return -SENSE.invalidFieldInCdb;
    const headerLength = ten ? 8 : 4;
    const descriptorLength = (cdb[1]! & 0x08) !== 0 ? 0 : 8;
    into.fill(0, 0, headerLength + descriptorLength);
    if (descriptorLength > 0) {
      const { sectors } = this.geometry;
      const blocks = sectors > 0xffffff ? 0xffffff : sectors;
      into[headerLength + 1] = blocks >> 16;
      into[headerLength + 2] = (blocks >> 8) & 0xff;
      into[headerLength + 3] = blocks & 0xff;
      into[headerLength + 6] = SECTOR_SIZE >> 8;
    }
    let length = headerLength + descriptorLength;
    let found = false;
    for (const one of this.pages) {
      if (code !== ALL_PAGES && code !== one.code) continue;
      found = true;
      const values =
        control === 0 ? one.current : control === 1 ? one.changeable : control === 2 ? one.defaults : one.saved;
      into.set(values, length);
      length += values.length;
    }
    if (!found) return -SENSE.invalidFieldInCdb;
    // Device-specific parameter: write protect, and DPO/FUA understood.
    const specific = (this.writeProtected ? 0x80 : 0) | 0x10;
    if (ten) {
      into[0] = (length - 2) >> 8;
      into[1] = (length - 2) & 0xff;
      into[3] = specific;
      into[7] = descriptorLength;
    } else {
      into[0] = length - 1;
      into[2] = specific;
      into[3] = descriptorLength;
    }
    return length;
  }

  /** Takes a MODE SELECT(6) or (10) parameter list of `length` bytes. Returns 0, or the sense code of the refusal. */
  select(cdb: Uint8Array, list: Uint8Array, length: number): SenseCode {
    const ten = cdb[0] === 0x55;
    const save = (cdb[1]! & 0x01) !== 0;
    if (length === 0) return 0;
    const headerLength = ten ? 8 : 4;
    if (length < headerLength) return SENSE.parameterListLength;
    const descriptorLength = ten ? (list[6]! << 8) | list[7]! : list[3]!;
    const at = headerLength + descriptorLength;
    if (at > length) return SENSE.parameterListLength;
    if (descriptorLength !== 0 && descriptorLength !== 8) return SENSE.invalidFieldInParameters;
    if (
      descriptorLength === 8 &&
      ((list[headerLength + 5]! << 16) | (list[headerLength + 6]! << 8) | list[headerLength + 7]!) !== SECTOR_SIZE
    ) {
      return SENSE.invalidFieldInParameters;
    }
    // All pages are checked before any takes effect.
    for (let apply = 0; apply < 2; apply++) {
      for (let i = at; i < length;) {
        if (i + 2 > length) return SENSE.parameterListLength;
        const one = this.pages.find((known) => known.code === (list[i]! & 0x3f));
        if (one === undefined || list[i + 1] !== one.defaults[1]) return SENSE.invalidFieldInParameters;
        const size = one.defaults.length;
        if (i + size > length) return SENSE.parameterListLength;
        for (let k = 2; k < size; k++) {
          const given = list[i + k]!;
          const mask = one.changeable[k]!;
          if (((given ^ one.current[k]!) & ~mask) !== 0) return SENSE.invalidFieldInParameters;
          if (apply === 1) one.current[k] = given;
        }
        if (apply === 1 && save) one.saved.set(one.current);
        i += size;
      }
    }
    this.refresh();
    return 0;
  }
}
