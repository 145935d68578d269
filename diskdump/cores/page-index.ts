// Page frames counted one after the other: the n-th page of a list of ranges, and back.
import { pagesIn, type PageRange } from "../format/bitmap.ts";

export class PageIndex {
  readonly ranges: readonly PageRange[];
  readonly total: number;
  /** Pages before each range. */
  private readonly before: Float64Array;

  /** `ranges` ascend and do not overlap. */
  constructor(ranges: readonly PageRange[]) {
    this.ranges = ranges;
    this.total = pagesIn(ranges);
    this.before = new Float64Array(ranges.length);
    let sum = 0;
    ranges.forEach(({ count }, index) => {
      this.before[index] = sum;
      sum += count;
    });
  }

  /** Index of the first range that ends above `pfn`. */
  private rangeAbove(pfn: number): number {
    let low = 0;
    let high = this.ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { first, count } = this.ranges[middle]!;
      if (first + count > pfn) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** How many pages of the list stand before `pfn`; -1 when it is not one of them. */
  ordinalOf(pfn: number): number {
    const at = this.rangeAbove(pfn);
    const range = this.ranges[at];
    return range && pfn >= range.first ? this.before[at]! + pfn - range.first : -1;
  }

  /** Pages from `pfn` to the end of its range, itself included; 0 when it is not in the list. */
  pagesFrom(pfn: number): number {
    const range = this.ranges[this.rangeAbove(pfn)];
    return range && pfn >= range.first ? range.first + range.count - pfn : 0;
  }

  /** The page frame with `ordinal` pages before it. */
  pfnOf(ordinal: number): number {
    let low = 0;
    let high = this.ranges.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.before[middle]! <= ordinal) low = middle;
      else high = middle - 1;
    }
    return this.ranges[low]!.first + ordinal - this.before[low]!;
  }
}

/** The pages that are in both lists; each ascends. */
export function commonRanges(a: readonly PageRange[], b: readonly PageRange[]): PageRange[] {
  const common: PageRange[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const [aEnd, bEnd] = [a[i]!.first + a[i]!.count, b[j]!.first + b[j]!.count];
    const first = Math.max(a[i]!.first, b[j]!.first);
    const end = Math.min(aEnd, bEnd);
    if (first < end) pushRange(common, first, end - first);
    if (aEnd <= bEnd) i++;
    else j++;
  }
  return common;
}

/** Appends pages, to the last range where they follow it. */
export function pushRange(ranges: PageRange[], first: number, count: number): void {
  const last = ranges.at(-1);
  if (last && last.first + last.count === first)
    ranges[ranges.length - 1] = { first: last.first, count: last.count + count };
  else ranges.push({ first, count });
}

/** The places of `keys` in ascending order, of equal ones the first first: a merge of the stretches that ascend already, which are few. */
export function ascendingOrder(keys: Float64Array): Uint32Array {
  let order = new Uint32Array(keys.length);
  for (let i = 0; i < order.length; i++) order[i] = i;
  let merged = new Uint32Array(keys.length);
  let starts: number[] = [];
  for (let i = 0; i < keys.length; i++) if (i === 0 || keys[i]! < keys[i - 1]!) starts.push(i);
  while (starts.length > 1) {
    for (let run = 0; run < starts.length; run += 2) {
      let a = starts[run]!;
      const aEnd = starts[run + 1] ?? keys.length;
      let b = aEnd;
      const bEnd = starts[run + 2] ?? keys.length;
      for (let to = a; to < bEnd; to++) {
        const fromA = a < aEnd && (b >= bEnd || keys[order[a]!]! <= keys[order[b]!]!);
        merged[to] = order[fromA ? a++ : b++]!;
      }
    }
    starts = starts.filter((_, run) => run % 2 === 0);
    [order, merged] = [merged, order];
  }
  return order;
}
