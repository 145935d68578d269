// The dead kernel's memory by virtual address, as far as it is mapped straight: the direct map and the kernel image.
import { hex, UsageError } from "../userspace/errors.ts";
import { PLATFORMS } from "../userspace/platform.ts";
import type { CoreReader } from "./core.ts";
import { cString } from "./c-string.ts";
import type { KernelImage } from "./kernel-image.ts";
import { PageIndex } from "./page-index.ts";

/** Pages kept at hand. */
const CACHED_PAGES = 64;

export class KernelMemory {
  readonly core: CoreReader;
  readonly image: KernelImage;
  private readonly saved: PageIndex;
  private readonly pages = new Map<number, Uint8Array>();

  /** Throws a UsageError when core and kernel are of different machines. */
  constructor(core: CoreReader, image: KernelImage) {
    this.core = core;
    this.image = image;
    this.saved = new PageIndex(core.saved);
    if (image.model !== core.facts.model) {
      throw new UsageError(
        `${image.name} is a kernel of ${image.model.name}, ${core.name} a core of ${core.facts.model.name}`,
      );
    }
  }

  /** Physical address; undefined for one that is not mapped straight. */
  physicalOf(virtual: bigint): number | undefined {
    const { pageOffset, text } = PLATFORMS[this.image.model.name];
    if (text && virtual >= text.virtual && virtual < text.virtual + BigInt(text.bytes)) {
      return Number(virtual - text.virtual) + text.physical;
    }
    const end = pageOffset + BigInt(this.core.facts.maxMapnr) * BigInt(this.core.facts.pageSize);
    return virtual >= pageOffset && virtual < end ? Number(virtual - pageOffset) : undefined;
  }

  /** Bytes at a virtual address; undefined when they are not mapped straight, or not in the core. */
  tryBytes(virtual: bigint, length: number): Uint8Array | undefined {
    const start = this.physicalOf(virtual);
    if (start === undefined) return undefined;
    const { pageSize } = this.core.facts;
    const out = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const pfn = Math.floor((start + done) / pageSize);
      const page = this.page(pfn);
      if (!page) return undefined;
      const at = start + done - pfn * pageSize;
      const part = Math.min(pageSize - at, length - done);
      out.set(page.subarray(at, at + part), done);
      done += part;
    }
    return out;
  }

  bytes(virtual: bigint, length: number, what: string): Uint8Array {
    const bytes = this.tryBytes(virtual, length);
    if (bytes) return bytes;
    throw new UsageError(
      `${this.core.name}: ${what} at ${hex(virtual)} is not in it; does ${this.image.name} belong to it?`,
    );
  }

  private page(pfn: number): Uint8Array | undefined {
    const known = this.pages.get(pfn);
    if (known) return known;
    if (this.saved.ordinalOf(pfn) < 0) return undefined;
    if (this.pages.size >= CACHED_PAGES) this.pages.delete(this.pages.keys().next().value!);
    const page = new Uint8Array(this.core.facts.pageSize);
    this.core.readPages(pfn, 1, page);
    this.pages.set(pfn, page);
    return page;
  }

  /** A C long or pointer. */
  word(virtual: bigint, what: string): bigint {
    const { wordBytes, littleEndian } = this.image.model;
    const view = new DataView(this.bytes(virtual, wordBytes, what).buffer);
    return wordBytes === 8 ? view.getBigUint64(0, littleEndian) : BigInt(view.getUint32(0, littleEndian));
  }

  int(virtual: bigint, what: string): number {
    return new DataView(this.bytes(virtual, 4, what).buffer).getInt32(0, this.image.model.littleEndian);
  }

  /** A NUL-terminated text of at most `limit` bytes. */
  text(virtual: bigint, limit: number, what: string): string {
    return cString(this.bytes(virtual, limit, what), 0);
  }
}
