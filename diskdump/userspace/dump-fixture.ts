// For tests: a partition as the kernel module would leave it, made without a kernel.
import { layoutOf, type DataModel } from "../../kernel-sim/abi/types.ts";
import type { ByteStore } from "../../emulator/memory/store.ts";
import { encodeBitmap, pagesIn, type PageRange } from "../format/bitmap.ts";
import { memoryBlock, newSubHeader, writeHeader, writeSubHeader, type DumpHeader } from "../format/header.ts";
import { bitmapBlocksFor, blocksRequired } from "../format/layout.ts";
import type { SignatureFormula } from "../format/signature.ts";
import { NR_CPUS, subHeaderBlocks } from "../format/structs.ts";
import { formatPartition, type SampleRule } from "./format.ts";

export interface DumpFixture {
  readonly model: DataModel;
  readonly ram: readonly PageRange[];
  /** Fills a page of RAM; a page that it leaves alone is zero. */
  readonly fill: (pageFrame: number, page: Uint8Array) => void;
  readonly formula?: SignatureFormula;
  readonly sparse?: SampleRule | boolean;
  /** The dump stops after this many pages, with status 1. */
  readonly stopAfterPages?: number;
  /** Of the RAM pages, counted from the lowest: those that a partial dump saves. */
  readonly saved?: readonly PageRange[];
  readonly change?: Partial<DumpHeader>;
}

/** 2006-03-30 14:05:09 UTC. */
export const CRASH_SECONDS = 1143727509;
export const CRASH_DIRECTORY = "127.0.0.1-2006-03-30-14:05";

/** Where the fixture's registers come from: word n of the register set is this. */
export const registerValue = (index: number, model: DataModel): bigint =>
  BigInt.asUintN(model.wordBytes * 8, 0xffffffff80100000n + BigInt(index) * 0x1111n);

/** Bytes of a partition that holds such a dump, with `spareBlocks` left over. */
export function partitionBytes(model: DataModel, ram: readonly PageRange[], spareBlocks = 0): number {
  const last = ram.at(-1)!;
  const need = blocksRequired({ ramPages: pagesIn(ram), maxMapnr: last.first + last.count, model });
  return (need.total + need.bitmap + spareBlocks) * model.pageSize;
}

export function putDump(store: ByteStore, fixture: DumpFixture): DumpHeader {
  const { model, ram } = fixture;
  const blockSize = model.pageSize;
  const { formula = "paper", sparse = false } = fixture;
  formatPartition(store, { formula, littleEndian: model.littleEndian, blockSize, sparse });
  const last = ram.at(-1)!;
  const maxMapnr = last.first + last.count;
  const oneBitmap = bitmapBlocksFor(maxMapnr, blockSize);
  const saved = fixture.saved ?? [{ first: 0, count: pagesIn(ram) }];
  const pages = Math.min(pagesIn(saved), fixture.stopAfterPages ?? Infinity);
  const stopped = fixture.stopAfterPages !== undefined;
  const header: DumpHeader = {
    ...{ model, headerVersion: 1, blockSize, maxMapnr, subHeaderBlocks: subHeaderBlocks(model) },
    systemName: {
      ...{ sysname: "Linux", nodename: "lab", release: "2.6.9-5.ELsmp", version: "#1 SMP", domainname: "(none)" },
      machine: model.name === "i386" ? "i686" : model.name,
    },
    ...{ timestampSeconds: CRASH_SECONDS, timestampNs: 5000, status: stopped ? 1 : 0 },
    ...{ bitmapBlocks: fixture.saved ? 2 * oneBitmap : oneBitmap, totalRamBlocks: pagesIn(ram) },
    deviceBlocks: Math.floor(store.sizeBytes / blockSize),
    writtenBlocks: 2 + subHeaderBlocks(model) + (fixture.saved ? 2 : 1) * oneBitmap + (stopped ? 0 : pages),
    ...{ currentCpu: 1, cpuCount: 2 },
    tasks: Array.from({ length: NR_CPUS }, (_, cpu) => (cpu < 2 ? 0x10037fd8030n + BigInt(cpu) * 0x1000n : 0n)).map(
      (task) => BigInt.asUintN(model.wordBytes * 8, task),
    ),
    ...fixture.change,
  };
  writeHeader(store, header);
  const subHeader = newSubHeader(model);
  const registers = subHeader.inner("elf_regs");
  [...layoutOf(registers.type, model).fields.values()]
    .filter(({ type }) => type.kind === "scalar")
    .forEach(({ name }, index) => registers.setBig(name, registerValue(index, model)));
  writeSubHeader(store, header, subHeader);
  const bitmapAt = 3 * blockSize;
  store.write(bitmapAt, encodeBitmap(ram, oneBitmap * blockSize));
  if (fixture.saved) store.write(bitmapAt + oneBitmap * blockSize, encodeBitmap(saved, oneBitmap * blockSize));

  const page = new Uint8Array(blockSize);
  let ordinal = 0;
  let block = memoryBlock(header);
  const endBlock = block + pages;
  for (const range of ram) {
    for (let frame = range.first; frame < range.first + range.count; frame++, ordinal++) {
      if (block >= endBlock) return header;
      if (!saved.some(({ first, count }) => ordinal >= first && ordinal < first + count)) continue;
      page.fill(0);
      fixture.fill(frame, page);
      store.write(block++ * blockSize, page);
    }
  }
  return header;
}
