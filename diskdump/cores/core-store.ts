// The memory of a core as one store of bytes by physical address, for what copies and reads stores.
import type { ByteStore } from "../../emulator/memory/store.ts";
import type { CoreReader } from "./core.ts";

export class CoreStore implements ByteStore {
  readonly name: string;
  readonly sizeBytes: number;
  private readonly core: CoreReader;
  /** The page that was read last in parts. */
  private readonly page: Uint8Array;
  private pagePfn = -1;

  constructor(core: CoreReader) {
    this.core = core;
    this.name = core.name;
    this.sizeBytes = core.facts.maxMapnr * core.facts.pageSize;
    this.page = new Uint8Array(core.facts.pageSize);
  }

  /** Every page touched must be saved. */
  read(offset: number, into: Uint8Array): void {
    const { pageSize } = this.core.facts;
    for (let done = 0; done < into.length;) {
      const pfn = Math.floor((offset + done) / pageSize);
      const at = offset + done - pfn * pageSize;
      const whole = at === 0 ? Math.floor((into.length - done) / pageSize) : 0;
      if (whole > 0) {
        this.core.readPages(pfn, whole, into.subarray(done, done + whole * pageSize));
        done += whole * pageSize;
        continue;
      }
      if (pfn !== this.pagePfn) {
        this.pagePfn = -1;
        this.core.readPages(pfn, 1, this.page);
        this.pagePfn = pfn;
      }
      const length = Math.min(pageSize - at, into.length - done);
      into.set(this.page.subarray(at, at + length), done);
      done += length;
    }
  }

  write(): void {
    throw new Error(`${this.name}: the memory of a core is not written to`);
  }

  nextData(offset: number): number {
    const { pageSize } = this.core.facts;
    const pfn = Math.floor(offset / pageSize);
    const next = this.core.nextData(pfn, this.core.facts.maxMapnr);
    return next === pfn ? offset : next * pageSize;
  }
}
