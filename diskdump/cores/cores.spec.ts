// Goal: whatever format a saved memory goes through, it is the same memory: pages, ranges of RAM, registers, facts. Method: fast-check
// makes dumps of every architecture, sends them through random chains of formats, and damages files; nothing may crash.
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { PagePool } from "../../emulator/memory/pool.ts";
import { PageStore } from "../../emulator/memory/store.ts";
import { DATA_MODELS, type DataModel } from "../../kernel-sim/abi/types.ts";
import { pagesIn, type PageRange } from "../format/bitmap.ts";
import { FileSink } from "../userspace/core-sink.ts";
import { partitionBytes, putDump, registerValue, type DumpFixture } from "../userspace/dump-fixture.ts";
import { openDump } from "../userspace/dump-image.ts";
import { UsageError } from "../userspace/errors.ts";
import { FileStore } from "../userspace/file-store.ts";
import { nodeFiles } from "../userspace/host-files.ts";
import { renderInspect } from "../userspace/inspect-text.ts";
import { inspect, isSound } from "../userspace/inspect.ts";
import { registerView, type CoreReader } from "./core.ts";
import { CORE_FORMATS, exportCore, planExport, type Compression, type CoreFormat } from "./export-core.ts";
import { openCore } from "./open-core.ts";
import { ascendingOrder, PageIndex } from "./page-index.ts";
import { partitionCore } from "./partition-core.ts";

const folder = mkdtempSync(join(tmpdir(), "cores-"));
afterAll(() => rmSync(folder, { recursive: true }));

const RAM: readonly PageRange[] = [
  { first: 0, count: 9 },
  { first: 16, count: 40 },
  { first: 5000, count: 7 },
];
/** Every third page is zero, the others compress well, badly, or are runs. */
function fill(frame: number, page: Uint8Array): void {
  if (frame % 3 === 2) return;
  if (frame % 7 === 1) for (let i = 0; i < page.length; i++) page[i] = Math.imul(i + frame * 8191, 2654435761) >>> 24;
  else if (frame % 5 === 1) page.fill(frame & 0xff, 0, page.length / 2);
  else Buffer.from(page.buffer, page.byteOffset, page.length).fill(`frame ${frame}\0`);
}

function dumpOf(model: DataModel, change: Partial<DumpFixture> = {}): CoreReader {
  const ram = change.ram ?? RAM;
  const store = new PageStore(new PagePool(0, 64 << 20), "partition", partitionBytes(model, ram, 4));
  putDump(store, { model, ram, fill, ...change });
  return partitionCore(openDump(store));
}

let files = 0;
/** Writes `core` as a file. */
function write(core: CoreReader, format: CoreFormat, compress?: Compression, level = 0): string {
  const path = join(folder, `${files++}.${format}`);
  const order = { format, level, ...(compress ? { compress } : {}) };
  const file = nodeFiles.create(path);
  exportCore(core, new FileSink(file), order, planExport(core, order));
  file.close();
  return path;
}
function open<T>(path: string, use: (core: CoreReader) => T): T {
  const store = FileStore.open(path);
  try {
    return use(openCore(store));
  } finally {
    store.close();
  }
}

/** All of a core's memory, page by page; what is not saved is undefined. */
function memoryOf(core: CoreReader): Map<number, string> {
  const { pageSize } = core.facts;
  const memory = new Map<number, string>();
  for (const { first, count } of core.saved) {
    for (let pfn = first; pfn < first + count; pfn++) {
      const page = new Uint8Array(pageSize).fill(0xaa);
      core.readPages(pfn, 1, page);
      memory.set(pfn, Buffer.from(page).toString("latin1"));
    }
  }
  return memory;
}

/** The registers of the CPU that dumped, by name. */
function registersOf(core: CoreReader, names: readonly string[]): bigint[] {
  const cpu = core.facts.cpus.find(({ registers }) => registers !== undefined)!;
  const view = registerView(core.facts.model, cpu.registers);
  return names.map((name) => view.getBig(name));
}
const NAMES: Readonly<Record<DataModel["name"], readonly string[]>> = {
  x86_64: ["r15", "rbp", "rax", "rip", "rsp", "ss"],
  i386: ["ebx", "eax", "eip", "esp", "xss"],
  ia64: ["r1", "r12", "ip", "psr"],
  ppc64: ["gpr1", "nip", "msr", "ctr"],
};
const MODELS = Object.values(DATA_MODELS);
const formatsOf = (model: DataModel): CoreFormat[] =>
  CORE_FORMATS.filter((format) => !format.startsWith("lkcd") || model.name !== "ppc64");
const compressionsOf = (format: CoreFormat): Compression[] =>
  format.startsWith("lkcd")
    ? ["none", "rle", "gzip"]
    : format === "elf" || format === "netdump"
      ? ["none"]
      : ["none", "zlib"];

describe("a dump", () => {
  test("keeps pages, ranges and registers through any chain of formats, on every architecture", () => {
    const chain = fc.constantFrom(...MODELS).chain((model) => {
      const step = fc
        .constantFrom(...formatsOf(model))
        .chain((format) => fc.tuple(fc.constant(format), fc.constantFrom(...compressionsOf(format))));
      return fc.tuple(fc.constant(model), fc.array(step, { minLength: 1, maxLength: 4 }));
    });
    fc.assert(
      fc.property(chain, ([model, steps]) => {
        const first = dumpOf(model);
        const memory = memoryOf(first);
        const registers = registersOf(first, NAMES[model.name]);
        expect(registers[0]).not.toBe(0n);
        let path = "";
        for (const [format, compress] of steps) {
          const before = path;
          path = before === "" ? write(first, format, compress) : open(before, (core) => write(core, format, compress));
          open(path, (core) => {
            expect(core.shortcomings).toEqual([]);
            expect(core.problems).toEqual([]);
            expect(core.facts.model).toBe(model);
            expect(core.facts.ram).toEqual(RAM);
            expect(core.saved).toEqual(RAM);
            expect(memoryOf(core)).toEqual(memory);
            expect(registersOf(core, NAMES[model.name])).toEqual(registers);
          });
        }
      }),
      { numRuns: 40 },
    );
  });

  test.each(formatsOf(DATA_MODELS.x86_64))("as %s tells what its format has a place for", (format) => {
    open(write(dumpOf(DATA_MODELS.x86_64), format), ({ facts }) => {
      // kdump's core says it in VMCOREINFO, which takes the kernel.
      expect(facts.systemName.release).toBe(format === "elf" ? "" : "2.6.9-5.ELsmp");
      expect(facts.systemName.machine).toMatch(/x86_64/);
      if (format !== "elf" && format !== "netdump") expect(facts.timestampSeconds).toBe(1143727509);
      if (format !== "elf" && format !== "netdump") expect(facts.systemName.nodename).toBe("lab");
      // The fixture's second CPU dumped. kdump's core has no place for tasks, netdump's for one.
      expect(facts.cpus).toHaveLength(format === "netdump" ? 1 : 2);
      const cpu = facts.cpus[format === "netdump" ? 0 : 1]!;
      expect(cpu.task).toBe(format === "elf" ? 0n : 0x10037fd9030n);
      expect(cpu.registers).toBeDefined();
      if (format !== "netdump") expect(facts.cpus[0]!.registers).toBeUndefined();
    });
  });

  test("that broke off stays broken off at the same page in every format that can say so", () => {
    const core = dumpOf(DATA_MODELS.x86_64, { stopAfterPages: 20 });
    const saved = [
      { first: 0, count: 9 },
      { first: 16, count: 11 },
    ];
    expect(core.saved).toEqual(saved);
    for (const format of ["elf", "netdump", "diskdump", "kdump", "lkcd8"] as const) {
      open(write(core, format), (copy) => {
        expect([format, copy.saved]).toEqual([format, saved]);
        expect(copy.shortcomings).not.toEqual([]);
        expect(memoryOf(copy)).toEqual(memoryOf(core));
      });
    }
  });

  test("that left pages out keeps saying so as DISKDUMP and KDUMP", () => {
    const core = dumpOf(DATA_MODELS.ppc64, { saved: [{ first: 3, count: 20 }] });
    for (const format of ["diskdump", "kdump"] as const) {
      open(write(core, format), (copy) => {
        expect(copy.facts.ram).toEqual(RAM);
        expect(copy.saved).toEqual(core.saved);
        expect(pagesIn(copy.saved)).toBe(20);
        expect(copy.shortcomings).toEqual([]);
      });
    }
  });

  test("without its zero pages is a third smaller in pages as DISKDUMP, and the rest is where it was", () => {
    const core = dumpOf(DATA_MODELS.x86_64);
    open(write(core, "diskdump", "zlib", 1), (copy) => {
      const memory = memoryOf(copy);
      const all = memoryOf(core);
      expect([...memory.keys()]).toEqual([...all.keys()].filter((pfn) => pfn % 3 !== 2));
      for (const [pfn, page] of memory) expect(page === all.get(pfn)).toBe(true);
    });
    // makedumpfile's KDUMP keeps descriptors for them, which share one page.
    open(write(core, "kdump", "zlib", 1), (copy) => {
      expect(memoryOf(copy)).toEqual(memoryOf(core));
      expect(copy.facts.dumpLevel).toBe(1);
    });
  });

  test("of zeroes stores one page of them", () => {
    const core = dumpOf(DATA_MODELS.x86_64, { fill: () => {}, ram: [{ first: 0, count: 2000 }] });
    for (const format of ["diskdump", "kdump"] as const) {
      const path = write(core, format, "none");
      // Header, sub header, bitmaps, 2000 descriptors of 24 bytes, one page.
      expect(readFileSync(path).length).toBe(4096 * (4 + Math.ceil((2000 * 24) / 4096) + 1));
    }
  });

  test("of ppc64 is refused as LKCD", () => {
    expect(() => write(dumpOf(DATA_MODELS.ppc64), "lkcd9")).toThrow(/LKCD files of ppc64 are not written/);
  });
});

test("i386 RAM beyond 4 GiB makes a kdump core ELF64, so that none of it is lost", () => {
  const ram = [
    { first: 0, count: 4 },
    { first: 0x100000, count: 6 },
  ];
  const core = dumpOf(DATA_MODELS.i386, { ram });
  const path = write(core, "elf");
  expect(readFileSync(path)[4]).toBe(2);
  open(path, (copy) => {
    expect(copy.facts.model).toBe(DATA_MODELS.i386);
    expect(copy.saved).toEqual(ram);
    expect(memoryOf(copy)).toEqual(memoryOf(core));
    expect(registersOf(copy, ["eip"])).toEqual([registerValue(12, DATA_MODELS.i386)]);
  });
});

describe("inspect", () => {
  const look = (path: string): { sound: boolean; text: string } => {
    const store = FileStore.open(path);
    const report = inspect(store);
    const seen = { sound: isSound(report), text: renderInspect(report).join("\n") };
    store.close();
    return seen;
  };

  test.each(["diskdump", "kdump", "lkcd8", "lkcd9"] as const)(
    "recognises %s and finds it sound, or says what is not",
    (format) => {
      const path = write(dumpOf(DATA_MODELS.x86_64), format);
      const { sound, text } = look(path);
      expect(sound).toBe(true);
      expect(text).toMatch(/DISKDUMP core|KDUMP core|LKCD dump, version [89]/);
      expect(text).toContain("56 pages in 3 ranges");
      expect(text).toContain("2006-03-30T14:05:09.000Z");
      const bytes = readFileSync(path);
      bytes.fill(0x55, bytes.length - 40, bytes.length - 16);
      writeFileSync(path, bytes);
      const damaged = look(path);
      expect(damaged.sound).toBe(false);
      expect(damaged.text).toMatch(/PROBLEM +.*page 0x138[de].*zlib/);
    },
  );
});

describe("a damaged file", () => {
  const READ = (path: string): void => open(path, (core) => void memoryOf(core));

  test("is read or refused with a message that names it, whatever byte is wrong", () => {
    const originals = CORE_FORMATS.map((format) => readFileSync(write(dumpOf(DATA_MODELS.x86_64), format)));
    const path = join(folder, "damaged");
    fc.assert(
      fc.property(
        fc.constantFrom(...originals),
        fc.array(fc.tuple(fc.nat(20000), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        (original, changes) => {
          const bytes = Buffer.from(original);
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          writeFileSync(path, bytes);
          expectReadOrRefused(() => READ(path));
        },
      ),
      { numRuns: 150 },
    );
  });

  test("that ends early is read or refused with a message that names it, wherever it ends", () => {
    const originals = CORE_FORMATS.map((format) => readFileSync(write(dumpOf(DATA_MODELS.x86_64), format)));
    const path = join(folder, "cut");
    fc.assert(
      fc.property(fc.constantFrom(...originals), fc.double({ min: 0, max: 1, noNaN: true }), (original, share) => {
        writeFileSync(path, original);
        truncateSync(path, Math.floor(original.length * share * share));
        expectReadOrRefused(() => READ(path));
      }),
      { numRuns: 80 },
    );
  });

  function expectReadOrRefused(read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      expect(error.message).toMatch(/damaged: |cut: /);
    }
  }

  test("says which page and descriptor are wrong", () => {
    const path = write(dumpOf(DATA_MODELS.x86_64), "kdump");
    const bytes = readFileSync(path);
    // The first descriptor, behind header, sub header and two bitmaps: its flags become lzo's.
    bytes.writeUInt32LE(2, 4 * 4096 + 12);
    writeFileSync(path, bytes);
    expect(() => READ(path)).toThrow(
      `${path}: page 0x0, descriptor at offset 0x4000: compressed with lzo; only zlib is read`,
    );
  });
});

test("pages are counted through the holes, and back", () => {
  const index = new PageIndex(RAM);
  const pfns = RAM.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i));
  expect(pfns.map((pfn) => index.ordinalOf(pfn))).toEqual(pfns.map((_, i) => i));
  expect(pfns.map((_, i) => index.pfnOf(i))).toEqual(pfns);
  expect([9, 15, 56, 5007].map((pfn) => index.ordinalOf(pfn))).toEqual([-1, -1, -1, -1]);
});

test("keys are put in order, equal ones as they stood", () => {
  const key = fc.integer({ min: 0, max: 30 });
  fc.assert(
    fc.property(fc.array(key, { maxLength: 80 }), (keys) => {
      const places = keys.map((_, i) => i).sort((a, b) => keys[a]! - keys[b]! || a - b);
      expect([...ascendingOrder(Float64Array.from(keys))]).toEqual(places);
    }),
  );
});
