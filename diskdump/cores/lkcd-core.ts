// An LKCD dump as a core of pages.
import type { ByteStore } from "../../emulator/memory/store.ts";
import type { PageRange } from "../format/bitmap.ts";
import { layoutOf } from "../../kernel-sim/abi/types.ts";
import { hex, plural, UsageError } from "../userspace/errors.ts";
import { registersOrNone, type CoreCpu, type CoreFacts, type CoreReader } from "./core.ts";
import { DP, DUMP_PAGE_BYTES, gregsetOf, readLkcdHead, type LkcdHead } from "./lkcd-header.ts";
import { ascendingOrder, PageIndex } from "./page-index.ts";
import { ReadWindow } from "./read-window.ts";
import { decodeRuns, encodeRuns } from "./run-lengths.ts";
import { deflatePage, inflatePage } from "./zlib-page.ts";

const HEADER_WINDOW_BYTES = 4096;

/** How a page lies in the dump. */
const AS_IT_IS = 0;
const PACKED = 1;
/** Packed, and all zeroes: as most are. */
const ZEROES = 2;

/** Where the pages are: page frames ascend, `offsets` are those of their dump_page. */
interface Placed {
  readonly saved: PageIndex;
  readonly offsets: Float64Array;
  /** Bytes of contents. */
  readonly sizes: Uint32Array;
  /** AS_IT_IS, PACKED or ZEROES. */
  readonly kinds: Uint8Array;
  /** Page headers that were read. */
  readonly count: number;
  readonly ended: boolean;
  /** Bytes from the beginning of the file to the end of what was read. */
  readonly endBytes: number;
}

/** An LKCD dump and what the file or partition says of its own size. */
export interface LkcdCore extends CoreReader {
  /** Up to the mark of the end, with it; of a dump that broke off, up to its last whole page. */
  readonly fileBytes: number;
}

/** What a page of zeroes looks like in the dump; undefined when it looks like any other. */
function packedZeroes({ compression, pageSize }: LkcdHead): DataView | undefined {
  const zeroes = new Uint8Array(pageSize);
  const packed = compression === "rle" ? encodeRuns(zeroes) : compression === "gzip" ? deflatePage(zeroes) : undefined;
  return packed && new DataView(packed.slice().buffer);
}

/** Whether `a` is what stands in `b` from `at` on. For a few hundred bytes: a native comparison costs more. */
function standsAt(a: DataView, b: DataView, at: number): boolean {
  const length = a.byteLength;
  let i = 0;
  for (; i + 4 <= length; i += 4) if (a.getUint32(i) !== b.getUint32(at + i)) return false;
  for (; i < length; i++) if (a.getUint8(i) !== b.getUint8(at + i)) return false;
  return true;
}

/** What is wrong with a page header; undefined when nothing is. */
function fault(address: number, size: number, flags: number, pageSize: number): string | undefined {
  if (flags !== DP.RAW && flags !== DP.COMPRESSED)
    return `flags ${hex(flags)}, expected 1 (raw), 2 (compressed) or 4 (end)`;
  if (size > pageSize || (flags === DP.RAW && size !== pageSize))
    return `${size} bytes of contents, expected ${flags === DP.RAW ? "" : "at most "}${pageSize}`;
  if (address % pageSize !== 0 || address / pageSize > 2 ** 36) return `address ${hex(address)} is not that of a page`;
  return undefined;
}

/** The page headers, as they are found one behind the other. */
class Headers {
  private readonly store: ByteStore;
  /** Little at a time: what lies between two headers is passed over. */
  private readonly window: ReadWindow;
  private readonly pageSize: number;
  private readonly zeroPage: DataView | undefined;
  pfns = new Float64Array(4096);
  offsets = new Float64Array(4096);
  sizes = new Uint32Array(4096);
  kinds = new Uint8Array(4096);
  count = 0;
  ascending = true;
  ended = false;
  at: number;

  constructor(store: ByteStore, head: LkcdHead) {
    this.store = store;
    this.window = new ReadWindow(store, HEADER_WINDOW_BYTES);
    this.pageSize = head.pageSize;
    this.zeroPage = packedZeroes(head);
    this.at = head.firstPageAt;
  }

  /** Reads the next one. Returns: whether another may follow. Hot: a method of its own, so that it is compiled as one. */
  next(): boolean {
    const { store, window, pageSize, zeroPage, at, count } = this;
    const place = window.place(at, DUMP_PAGE_BYTES);
    if (place < 0) return false;
    const { view } = window;
    const address = view.getUint32(place, true) + view.getUint32(place + 4, true) * 2 ** 32;
    const size = view.getUint32(place + 8, true);
    const flags = view.getUint32(place + 12, true);
    if ((flags & DP.END) !== 0) {
      this.ended = true;
      this.at = at + DUMP_PAGE_BYTES;
      return false;
    }
    const wrong = fault(address, size, flags, pageSize);
    if (wrong !== undefined) throw new UsageError(`${store.name}: damaged page header at offset ${hex(at)}: ${wrong}`);
    const end = at + DUMP_PAGE_BYTES + size;
    if (end > store.sizeBytes) return false;
    if (count === this.pfns.length) {
      this.pfns = grown(this.pfns);
      this.offsets = grown(this.offsets);
      this.sizes = grown(this.sizes);
      this.kinds = grown(this.kinds);
    }
    const pfn = address / pageSize;
    this.pfns[count] = pfn;
    this.offsets[count] = at;
    this.sizes[count] = size;
    let kind = flags === DP.RAW ? AS_IT_IS : PACKED;
    if (zeroPage && kind === PACKED && size === zeroPage.byteLength) {
      const contents = window.place(at + DUMP_PAGE_BYTES, size);
      if (standsAt(zeroPage, window.view, contents)) kind = ZEROES;
    }
    this.kinds[count] = kind;
    if (count > 0 && pfn <= this.pfns[count - 1]!) this.ascending = false;
    this.count = count + 1;
    this.at = end;
    return true;
  }
}

/** Reads the page headers from the first to the END mark, or to the end of the file. */
function placePages(store: ByteStore, head: LkcdHead): Placed {
  const headers = new Headers(store, head);
  while (headers.next());
  let { pfns, offsets, sizes, kinds, count } = headers;
  if (!headers.ascending) {
    // LKCD writes kernel pages first, then those in use, then the rest.
    const order = ascendingOrder(pfns.subarray(0, count));
    const once = firstOfEach(pfns, order);
    count = once.length;
    [pfns, offsets] = [picked(pfns, once), picked(offsets, once)];
    [sizes, kinds] = [picked(sizes, once), picked(kinds, once)];
  }
  const ranges: PageRange[] = [];
  for (let first = 0, i = 1; i <= count; i++) {
    if (i < count && pfns[i] === pfns[i - 1]! + 1) continue;
    ranges.push({ first: pfns[first]!, count: i - first });
    first = i;
  }
  const { count: found, ended, at: endBytes } = headers;
  return { saved: new PageIndex(ranges), offsets, sizes, kinds, count: found, ended, endBytes };
}

type Column = Float64Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

/** The same, with room for twice as many. */
function grown<C extends Column>(column: C): C {
  const larger = new (column.constructor as new (length: number) => C)(column.length * 2);
  larger.set(column);
  return larger;
}

/** Of places whose keys ascend, the first with each key. Overwrites `places`. */
function firstOfEach(keys: Float64Array, places: Uint32Array): Uint32Array {
  let kept = 0;
  let last = NaN;
  for (let i = 0; i < places.length; i++) {
    const at = places[i]!;
    const key = keys[at]!;
    if (key !== last) places[kept++] = at;
    last = key;
  }
  return places.subarray(0, kept);
}

/** The elements at `places`. */
function picked<C extends Column>(column: C, places: Uint32Array): C {
  const out = new (column.constructor as new (length: number) => C)(places.length);
  for (let i = 0; i < places.length; i++) out[i] = column[places[i]!]!;
  return out;
}

/** Opens the dump. Throws a UsageError that says what is wrong and where. */
export function lkcdCore(store: ByteStore): LkcdCore {
  const head = readLkcdHead(store);
  const { pageSize, compression } = head;
  const { saved, offsets, sizes, kinds, count, ended, endBytes } = placePages(store, head);
  if (saved.total === 0) throw new UsageError(`${store.name}: no page follows at offset ${hex(head.firstPageAt)}`);
  const shortcomings: string[] = [];
  const expected = head.header.get("dh_num_pages");
  if (count < expected) shortcomings.push(`${count} of ${plural(expected, "page")} are in the file`);
  else if (!ended) shortcomings.push(`the file ends at offset ${hex(store.sizeBytes)} without a mark of the end`);

  const room = new Uint8Array(pageSize);
  const zeroes = new Uint8Array(pageSize);
  const stored = (at: number, size: number): Uint8Array => {
    const there = store.view?.(at, size);
    if (there) return there;
    const copy = room.subarray(0, size);
    store.read(at, copy);
    return copy;
  };
  const unpack =
    compression === "none"
      ? () => "is compressed, though the header says that pages are not"
      : compression === "rle"
        ? (bytes: Uint8Array) => decodeRuns(bytes, pageSize)
        : (bytes: Uint8Array) => inflatePage(bytes, pageSize);
  const pageBytes = (pfn: number): Uint8Array => {
    const ordinal = saved.ordinalOf(pfn);
    if (ordinal < 0) throw new RangeError(`page ${pfn} is not saved`);
    const kind = kinds[ordinal];
    if (kind === ZEROES) return zeroes;
    const at = offsets[ordinal]!;
    const contents = stored(at + DUMP_PAGE_BYTES, sizes[ordinal]!);
    const page = kind === AS_IT_IS ? contents : unpack(contents);
    if (typeof page !== "string") return page;
    throw new UsageError(`${store.name}: page ${hex(pfn)}, page header at offset ${hex(at)}: ${page}`);
  };
  const last = saved.ranges.at(-1)!;
  const endPfn = last.first + last.count;
  return {
    ...{ name: store.name, kind: `an LKCD dump, version ${head.version}, ${compression}`, shortcomings },
    ...{ saved: saved.ranges, problems: head.problems, fileBytes: endBytes },
    facts: factsOf(head, saved.ranges, endPfn),
    readPages(pfn, pages, into) {
      for (let i = 0; i < pages; i++) into.set(pageBytes(pfn + i), i * pageSize);
    },
    pageBytes,
    nextData(pfn, end) {
      const limit = Math.min(end, pfn + saved.pagesFrom(pfn));
      for (let ordinal = saved.ordinalOf(pfn); pfn < limit && kinds[ordinal] === ZEROES; ordinal++) pfn++;
      return pfn;
    },
    rawRun: () => undefined,
  };
}

/** LKCD does not say where RAM is: it is where pages are. */
function factsOf(head: LkcdHead, ram: readonly PageRange[], endPfn: number): CoreFacts {
  const { header, model, arch, machine, cpus: count } = head;
  const text = (name: string): string => header.getText(`dh_utsname_${name}`);
  const dumping = machine ? machine.get("dha_dumping_cpu") : 0;
  const currentCpu = dumping >= 0 && dumping < Math.max(1, count) ? dumping : undefined;
  const cpus = Array.from({ length: count }, (_, cpu): CoreCpu => {
    const regsBytes = layoutOf(arch.pt_regs, model).size;
    const at = machine!.offsetOf("dha_smp_regs") + cpu * regsBytes;
    const own = machine!.inner("dha_regs").bytes;
    const smp = machine!.bytes.subarray(at, at + regsBytes);
    const bytes = cpu === currentCpu && smp.every((byte) => byte === 0) ? own : smp;
    return { task: machine!.getBig("dha_smp_current_task", cpu), ...registersOrNone(gregsetOf(arch, model, bytes)) };
  });
  const task = header.getBig("dh_current_task");
  const used = machine ? Math.max(1, Math.min(count, machine.get("dha_smp_num_cpus"))) : 1;
  return {
    ...{ model, pageSize: head.pageSize, panicText: header.getText("dh_panic_string"), vmcoreinfo: "" },
    systemName: {
      ...{ sysname: text("sysname"), nodename: text("nodename"), release: text("release") },
      ...{ version: text("version"), machine: text("machine"), domainname: text("domainname") },
    },
    timestampSeconds: header.get("dh_time_sec"),
    timestampNs: header.get("dh_time_usec") * 1000,
    ...{ currentCpu, cpusNumbered: count > 0, switchStack: 0n },
    cpus: count > 0 ? cpus.slice(0, used).map((cpu, i) => (i === currentCpu ? { ...cpu, task } : cpu)) : [{ task }],
    ...{ maxMapnr: endPfn, ram, dumpLevel: 0, endPfn },
  };
}
