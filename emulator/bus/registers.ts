// A chip's registers as data: one table gives dispatch, reset values, trace names and the overlap check.

export interface RegisterSpec {
  /** Bytes from the start of the BAR. */
  readonly offset: number;
  readonly size: 1 | 2 | 4;
  readonly reset: number;
  /** Mask of the bits that a host write may change in the stored value (0: the chip decides). */
  readonly writable: number;
  /** Bits that a host read clears. */
  readonly clearOnRead?: number;
  /** Masks, named as in the manual. */
  readonly bits?: Readonly<Record<string, number>>;
  /** Where the fact comes from. */
  readonly source?: string;
}

export type RegisterTable = Readonly<Record<string, RegisterSpec>>;

/** Checks a table (no overlaps, masks that fit) and returns it. Throws naming chip and registers. */
export function defineRegisters<const T extends RegisterTable>(chip: string, table: T): T {
  const owner = new Map<number, string>();
  for (const [name, register] of Object.entries(table)) {
    const limit = 2 ** (8 * register.size);
    const masks = [register.reset, register.writable, register.clearOnRead ?? 0, ...Object.values(register.bits ?? {})];
    if (!masks.every((mask) => mask >= 0 && mask < limit)) {
      throw new Error(`${chip}: ${name} has ${register.size} bytes, its reset value or one of its masks does not fit`);
    }
    if (!(Number.isInteger(register.offset) && register.offset >= 0)) {
      throw new Error(`${chip}: ${name} has no valid offset (${register.offset})`);
    }
    for (let at = register.offset; at < register.offset + register.size; at++) {
      const taken = owner.get(at);
      if (taken) throw new Error(`${chip}: ${name} overlaps ${taken} at 0x${at.toString(16)}`);
      owner.set(at, name);
    }
  }
  return table;
}

/** Offset -> register name, for dispatch and traces. */
export function namesByOffset(table: RegisterTable): ReadonlyMap<number, string> {
  return new Map(Object.entries(table).map(([name, register]) => [register.offset, name]));
}
