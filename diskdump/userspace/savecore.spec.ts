import fc from "fast-check";
import {
  existsSync,
  mkdtempSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  truncateSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { DATA_MODELS, type DataModel } from "../../kernel-sim/abi/types.ts";
import { PagePool } from "../../emulator/memory/pool.ts";
import { PageStore, type ByteStore } from "../../emulator/memory/store.ts";
import { pagesIn, type PageRange } from "../format/bitmap.ts";
import { PageStoreSink } from "./core-sink.ts";
import { writeCore } from "./core-writer.ts";
import { CRASH_DIRECTORY, partitionBytes, putDump, registerValue, type DumpFixture } from "./dump-fixture.ts";
import { openDump } from "./dump-image.ts";
import { readElfCore } from "./elf-core.ts";
import { UsageError } from "./errors.ts";
import { FileStore } from "./file-store.ts";
import { verifyPartition } from "./format.ts";
import { nodeFiles, type HostFiles } from "./host-files.ts";
import { savecore, type SavecoreOptions } from "./savecore.ts";

const pool = new PagePool(0, 256 << 20);
const x86_64 = DATA_MODELS.x86_64;
const scratch = mkdtempSync(join(tmpdir(), "savecore-spec-"));
afterAll(() => rmSync(scratch, { recursive: true }));
let directory = "";
beforeEach(() => {
  pool.reset();
  directory = mkdtempSync(join(scratch, "crash-"));
});

const smallRam: PageRange[] = [
  { first: 0, count: 5 },
  { first: 16, count: 40 },
];
/** Two pages in three have contents. */
const someFill = (frame: number, page: Uint8Array): void => {
  if (frame % 3 !== 0) page.fill(frame % 255, 8 * (frame % 7), 4096 - 16);
};

function partitionWith(fixture: Partial<DumpFixture> = {}, spareBlocks = 40): PageStore {
  const whole = { model: x86_64, ram: smallRam, fill: someFill, ...fixture };
  const store = new PageStore(pool, "partition", partitionBytes(whole.model, whole.ram, spareBlocks));
  putDump(store, whole);
  return store;
}

/** Physical memory as a core's PT_LOADs describe it. */
function physicalPage(core: ByteStore, frame: number, pageSize: number): Uint8Array | undefined {
  const at = frame * pageSize;
  const load = readElfCore(core).segments.find(
    (s) => s.type === "PT_LOAD" && at >= s.physical && at < s.physical + s.fileBytes,
  );
  if (!load) return undefined;
  const page = new Uint8Array(pageSize);
  core.read(load.fileOffset + at - load.physical, page);
  return page;
}

function expected(frame: number, pageSize: number, fill: DumpFixture["fill"]): Uint8Array {
  const page = new Uint8Array(pageSize);
  fill(frame, page);
  return page;
}

describe("a dump becomes a core", () => {
  const anyRam: fc.Arbitrary<PageRange[]> = fc
    .array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 30 })), { minLength: 1, maxLength: 6 })
    .map((pieces) => {
      let at = 0;
      return pieces.map(([gap, count], index) => {
        const first = index === 0 ? 0 : at + gap;
        at = first + count;
        return { first, count };
      });
    });
  const anyModel = fc.constantFrom<DataModel>(...Object.values(DATA_MODELS));

  test("whose every byte is the byte that was dumped, in a file and in memory, on every architecture", () => {
    fc.assert(
      fc.property(anyModel, anyRam, fc.nat(), fc.nat(3), (model, ram, salt, density) => {
        pool.reset();
        const fill = (frame: number, page: Uint8Array): void => {
          if ((frame + salt) % 4 < density)
            page.fill((frame * 31 + salt) % 255, frame % 100, page.length - (salt % 50));
        };
        const store = new PageStore(pool, "partition", partitionBytes(model, ram, 3));
        putDump(store, { model, ram, fill });
        const sink = new PageStoreSink(pool);
        writeCore(openDump(store), sink);
        const target = mkdtempSync(join(scratch, "roundtrip-"));
        const { path } = savecore(store, { directory: target });
        const file = FileStore.open(path!);
        for (const { first, count } of ram) {
          for (let frame = first; frame < first + count; frame++) {
            const want = Buffer.from(expected(frame, model.pageSize, fill));
            expect(want.equals(physicalPage(sink.store, frame, model.pageSize)!), `frame ${frame} in memory`).toBe(
              true,
            );
            expect(want.equals(physicalPage(file, frame, model.pageSize)!), `frame ${frame} in the file`).toBe(true);
          }
        }
        expect(file.sizeBytes).toBe(sink.store.sizeBytes);
        file.close();
        rmSync(target, { recursive: true });
      }),
      { numRuns: 40 },
    );
  });

  test("without copying a page when partition and core are in one pool", () => {
    const store = partitionWith();
    const before = pool.peakSlots;
    const sink = new PageStoreSink(pool);
    writeCore(openDump(store), sink);
    // Only the head of the core is new.
    expect(pool.peakSlots - before).toBe(1);
    const page = new Uint8Array(4096).fill(0xee);
    store.write(store.sizeBytes - 45 * 4096, page);
    expect(physicalPage(sink.store, 55, 4096)).toEqual(expected(55, 4096, someFill));
  });

  test("with program headers at 64, the note first, and the direct map before the kernel text", () => {
    const sink = new PageStoreSink(pool);
    writeCore(openDump(partitionWith()), sink);
    const core = readElfCore(sink.store);
    expect(core).toMatchObject({ bits: 64, machine: 62, programHeaderOffset: 64, sections: 2, problems: [] });
    expect(
      core.segments.map(({ type, virtual, physical, fileBytes }) => ({ type, virtual, physical, fileBytes })),
    ).toEqual([
      { type: "PT_NOTE", virtual: 0n, physical: 0, fileBytes: core.segments[0]!.fileBytes },
      { type: "PT_LOAD", virtual: 0x10000000000n, physical: 0, fileBytes: 5 * 4096 },
      { type: "PT_LOAD", virtual: 0x10000010000n, physical: 0x10000, fileBytes: 40 * 4096 },
      { type: "PT_LOAD", virtual: 0xffffffff80000000n, physical: 0, fileBytes: 5 * 4096 },
      { type: "PT_LOAD", virtual: 0xffffffff80010000n, physical: 0x10000, fileBytes: 40 * 4096 },
    ]);
    expect(core.segments.slice(1).every(({ fileOffset, align }) => fileOffset % 4096 === 0 && align === 4096)).toBe(
      true,
    );
    expect(core.segments[3]!.fileOffset).toBe(core.segments[1]!.fileOffset);
  });

  test("with the dumping CPU's registers and task in its notes", () => {
    for (const model of Object.values(DATA_MODELS)) {
      const sink = new PageStoreSink(pool);
      writeCore(openDump(partitionWith({ model, fill: () => undefined })), sink);
      const { notes } = readElfCore(sink.store);
      expect(notes.map(({ name, typeName }) => `${name} ${typeName}`)).toEqual([
        ...["CORE NT_PRSTATUS", "CORE NT_PRPSINFO", "CORE NT_TASKSTRUCT"],
      ]);
      const registers = [...notes[0]!.registers!.values()];
      expect(registers[3]).toBe(registerValue(3, model));
      expect(registers.at(-1)).toBe(registerValue(registers.length - 1, model));
      const task = Buffer.from(notes[2]!.description).subarray(0, model.wordBytes);
      const bytes = model.littleEndian ? task.reverse() : task;
      expect(BigInt(`0x${bytes.toString("hex")}`)).toBe(BigInt.asUintN(model.wordBytes * 8, 0x10037fd9030n));
    }
    // The sizes that 64-bit and 32-bit readers expect of struct elf_prstatus.
    const sizeOn = (model: DataModel): number => {
      const sink = new PageStoreSink(pool);
      writeCore(openDump(partitionWith({ model, fill: () => undefined })), sink);
      return readElfCore(sink.store).notes[0]!.description.length;
    };
    expect([sizeOn(DATA_MODELS.i386), sizeOn(x86_64), sizeOn(DATA_MODELS.ppc64)]).toEqual([144, 336, 504]);
  });

  test("on i386 stands at header size plus physical address, and high memory has no kernel address", () => {
    const ram = [
      { first: 0, count: 4 },
      { first: 229370, count: 12 },
    ];
    const sink = new PageStoreSink(pool);
    writeCore(openDump(partitionWith({ model: DATA_MODELS.i386, ram })), sink);
    const [, ...loads] = readElfCore(sink.store).segments;
    expect(loads.map(({ fileOffset, physical }) => fileOffset - physical)).toEqual([4096, 4096, 4096]);
    expect(loads.map(({ virtual }) => virtual)).toEqual([0xc0000000n, 0xf7ffa000n, 0xffffffffn]);
    expect(physicalPage(sink.store, 229376, 4096)).toEqual(expected(229376, 4096, someFill));
  });

  test("beyond 4 GiB on i386 is in the file, at header size plus physical address, without a program header", () => {
    const ram = [
      { first: 0, count: 4 },
      { first: 1048500, count: 200 },
      { first: 1100000, count: 3 },
    ];
    const sink = new PageStoreSink(pool);
    writeCore(openDump(partitionWith({ model: DATA_MODELS.i386, ram })), sink);
    const { segments, problems } = readElfCore(sink.store);
    expect(problems).toEqual([]);
    expect(segments.map(({ type, physical, memoryBytes }) => [type, physical, memoryBytes])).toEqual([
      ["PT_NOTE", 0, 0],
      ["PT_LOAD", 0, 4 * 4096],
      // Two pages short of 4 GiB: the offset of the segment's end has to fit as well.
      ["PT_LOAD", 1048500 * 4096, (1048576 - 2 - 1048500) * 4096],
    ]);
    const page = new Uint8Array(4096);
    for (const frame of [1048573, 1048576, 1048699, 1100002]) {
      sink.store.read(4096 + frame * 4096, page);
      expect(page, `frame ${frame}`).toEqual(expected(frame, 4096, someFill));
    }
  });

  test("of a partial dump has zeroes where pages were left out", () => {
    const saved = [
      { first: 1, count: 3 },
      { first: 20, count: 10 },
    ];
    const dump = openDump(partitionWith({ saved }));
    const sink = new PageStoreSink(pool);
    writeCore(dump, sink);
    const frames = smallRam.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i));
    frames.forEach((frame, ordinal) => {
      const kept = saved.some(({ first, count }) => ordinal >= first && ordinal < first + count);
      const want = kept ? expected(frame, 4096, someFill) : new Uint8Array(4096);
      expect(physicalPage(sink.store, frame, 4096), `frame ${frame}`).toEqual(want);
    });
    expect(readElfCore(sink.store).notes.at(-1)!.typeName).toBe("NT_DISKDUMP");
  });
});

describe("savecore", () => {
  test("names the core after the time of the crash, and leaves no other file", () => {
    const result = savecore(partitionWith(), { directory });
    expect(result).toMatchObject({ outcome: "saved", savedPages: 45, shortcomings: [], resigned: true });
    expect(result.path).toBe(join(directory, CRASH_DIRECTORY, "vmcore"));
    expect(readdirSync(join(directory, CRASH_DIRECTORY))).toEqual(["vmcore"]);
  });

  test("makes holes of zero pages", () => {
    const ram = [{ first: 0, count: 2000 }];
    const fill = (frame: number, page: Uint8Array): void => void (frame % 100 === 7 && page.fill(1));
    const { path, writtenBytes } = savecore(partitionWith({ ram, fill }), { directory });
    expect(writtenBytes).toBe(4096 + 20 * 4096);
    expect(statSync(path!).blocks * 512).toBeLessThan(40 * 4096);
    expect(statSync(path!).size).toBe(4096 + 2000 * 4096);
  });

  test("signs the partition again, so that the same dump is not found twice", () => {
    for (const formula of ["paper", "rhel4"] as const) {
      const store = partitionWith({ formula });
      savecore(store, { directory, force: true });
      expect(verifyPartition(store, { formula })).toEqual({ checkedBlocks: store.sizeBytes / 4096 });
      expect(savecore(store, { directory }).outcome).toBe("no dump");
    }
  });

  test("with sampled signing writes what the module samples, and the dump is gone as well", () => {
    const store = partitionWith({ sparse: true });
    savecore(store, { directory, resign: "sampled" });
    expect(verifyPartition(store, { sparse: true }).firstWrong).toBeUndefined();
    expect(savecore(store, { directory }).outcome).toBe("no dump");
  });

  test("keeps the dump when told not to sign, and deletes it with -D", () => {
    const store = partitionWith();
    expect(savecore(store, { directory, resign: "none" }).resigned).toBe(false);
    expect(savecore(store, { directory, resign: "none", force: true, deleteAfterSave: true }).outcome).toBe("saved");
    expect(savecore(store, { directory, resign: "none" }).outcome).toBe("no dump");
  });

  test("deletes without saving with -X", () => {
    const store = partitionWith();
    expect(savecore(store, { directory, deleteOnly: true }).outcome).toBe("deleted");
    expect(readdirSync(directory)).toEqual([]);
    expect(verifyPartition(store).firstWrong).toBeUndefined();
  });

  test("does not overwrite a core that is there, and does with -f", () => {
    const store = partitionWith();
    const { path } = savecore(store, { directory, resign: "none" });
    writeFileSync(path!, "mine");
    expect(() => savecore(store, { directory })).toThrow(/127\.0\.0\.1-2006-03-30-14:05\/vmcore: exists.*-f/);
    expect(readFileSync(path!, "utf8")).toBe("mine");
    expect(openDump(store).shortcomings).toEqual([]);
    savecore(store, { directory, force: true });
    expect(statSync(path!).size).toBeGreaterThan(45 * 4096);
  });

  test("saves the dump after a run that was killed half-way", () => {
    mkdirSync(join(directory, CRASH_DIRECTORY));
    writeFileSync(join(directory, CRASH_DIRECTORY, "vmcore.tmp-4711"), "half");
    expect(savecore(partitionWith(), { directory, runId: "4712" }).outcome).toBe("saved");
    expect(readdirSync(join(directory, CRASH_DIRECTORY))).toEqual(["vmcore", "vmcore.tmp-4711"]);
  });

  test("does not replace a core that another run made in the meantime", () => {
    const path = join(directory, CRASH_DIRECTORY, "vmcore");
    const store = partitionWith();
    const onProgress = (): void => writeFileSync(path, "theirs");
    expect(() => savecore(store, { directory, onProgress })).toThrow(/vmcore: was made by somebody else/);
    expect(readdirSync(join(directory, CRASH_DIRECTORY))).toEqual(["vmcore"]);
    expect(readFileSync(path, "utf8")).toBe("theirs");
    expect(openDump(store).presentPages).toBe(45);
  });

  test("refuses -P where it has no meaning, and says why; nothing is written", () => {
    const refused = (options: Partial<SavecoreOptions>): void =>
      void savecore(partitionWith(), { directory, ...options });
    expect(() => refused({ pageFlags: "slab" })).toThrow("-P slab: expected page->flags as a number");
    expect(() => refused({ pageFlags: "0x80", format: "kdump" })).toThrow(/-P: .*--vmlinux/);
    expect(() => refused({ level: 16, format: "kdump" })).toThrow(/--level 16: .*--vmlinux/);
    expect(() => refused({ compress: "rle", format: "kdump" })).toThrow(
      "--compress rle: pages of a kdump file are kept as zlib, none",
    );
    expect(existsSync(`${directory}/${CRASH_DIRECTORY}`)).toBe(false);
  });

  test("reports progress up to the last page", () => {
    const seen: number[] = [];
    savecore(partitionWith(), { directory, onProgress: ({ donePages, allPages }) => seen.push(donePages / allPages) });
    expect(seen.at(-1)).toBe(1);
  });
});

describe("a dump that is not whole", () => {
  test("that stopped half-way is saved up to where the signatures begin again", () => {
    const store = partitionWith({ stopAfterPages: 17 });
    const result = savecore(store, { directory });
    expect(result).toMatchObject({ outcome: "incomplete", savedPages: 17 });
    expect(result.path).toBe(join(directory, CRASH_DIRECTORY, "vmcore-incomplete"));
    const file = FileStore.open(result.path!);
    expect(physicalPage(file, 16 + 11, 4096)).toEqual(expected(27, 4096, someFill));
    expect(physicalPage(file, 16 + 12, 4096)).toBeUndefined();
    expect(readElfCore(file).segments[2]).toMatchObject({ fileBytes: 12 * 4096, memoryBytes: 40 * 4096 });
    file.close();
  });

  test("on a sparsely formatted partition says how many pages may be something older", () => {
    const ram = [{ first: 0, count: 5000 }];
    const store = partitionWith(
      { ram, stopAfterPages: 1500, sparse: true, fill: (_, page) => void page.fill(9) },
      2000,
    );
    const dump = openDump(store);
    expect(dump.presentPages).toBe(2048 - 4);
    expect(dump.shortcomings.join()).toContain("formatted sparsely: up to 1023");
  });

  test("on a partition without any signature says that its end cannot be told", () => {
    const store = partitionWith({ stopAfterPages: 10 });
    for (const block of [0, 1024]) if (block * 4096 < store.sizeBytes) store.write(block * 4096, new Uint8Array(4096));
    expect(openDump(store).shortcomings.join()).toContain("the end of the dump cannot be told");
    expect(openDump(store).presentPages).toBe(45);
  });

  test("is found exactly for any stopping point on a fully formatted partition", () => {
    const ram = [{ first: 0, count: 2500 }];
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2500 }), (stopAfterPages) => {
        pool.reset();
        const store = partitionWith({ ram, stopAfterPages, fill: (frame, page) => void (page[0] = frame) });
        expect(openDump(store).presentPages).toBe(stopAfterPages);
      }),
      { numRuns: 12 },
    );
  });

  test("in a truncated image is saved as far as it goes, and the image is left as it is", () => {
    const path = join(directory, "disk.img");
    const ram = [{ first: 0, count: 100 }];
    const image = FileStore.create(path, partitionBytes(x86_64, ram));
    putDump(image, { model: x86_64, ram, fill: someFill });
    image.close();
    truncateSync(path, 4096 * (4 + 30) + 100);
    const before = readFileSync(path);
    const messages: string[] = [];
    const store = FileStore.open(path, { writable: true });
    const result = savecore(store, { directory, onMessage: (line) => messages.push(line) });
    store.close();
    expect(result).toMatchObject({ outcome: "incomplete", savedPages: 30, resigned: false });
    expect(messages.join("\n")).toContain("holds 30 of 100 pages");
    expect(readFileSync(path).equals(before)).toBe(true);
  });
});

describe("bad input is refused with its place, and nothing is lost", () => {
  const refusal = (store: ByteStore): string => {
    try {
      savecore(store, { directory });
    } catch (error) {
      expect(error).toBeInstanceOf(UsageError);
      expect(readdirSync(directory)).toEqual([]);
      return (error as UsageError).message;
    }
    return "accepted";
  };

  test("a file of something else", () => {
    const store = new PageStore(pool, "holiday.jpg", 40 * 4096);
    store.write(
      0,
      new Uint8Array(40 * 4096).map((_, i) => (i * 7919) >> 3),
    );
    expect(refusal(store)).toMatch(/holiday\.jpg: holds no dump: "DISKDUMP" expected at offset 0x1000/);
  });

  test("an empty file, and one of a few bytes", () => {
    expect(refusal(new PageStore(pool, "empty", 0))).toContain("holds no dump");
    expect(refusal(new PageStore(pool, "short", 100))).toContain("holds no dump");
  });

  test("a damaged header", () => {
    const store = partitionWith();
    store.write(4096 + 436, Uint8Array.of(99));
    expect(refusal(store)).toMatch(/damaged dump header at offset 0x11b4: bitmap_blocks is 99, expected 1/);
  });

  test("an image that ends within the bitmap", () => {
    const store = partitionWith();
    const cut = new PageStore(pool, "cut.img", 3 * 4096 + 10);
    const bytes = new Uint8Array(cut.sizeBytes);
    store.read(0, bytes);
    cut.write(0, bytes);
    expect(refusal(cut)).toMatch(
      /cut\.img: ends at offset 0x300a, within the headers and bitmap; memory begins at 0x4000/,
    );
  });

  test("a compressed dump", () => {
    expect(refusal(partitionWith({ change: { status: 8 } }))).toContain("compressed");
  });

  test("a crash directory that cannot be made", () => {
    writeFileSync(join(directory, "file"), "");
    const store = partitionWith();
    expect(() => savecore(store, { directory: join(directory, "file") })).toThrow(/file.*not a directory/);
    expect(openDump(store).presentPages).toBe(45);
  });
});

describe("a full target directory", () => {
  /** The host's files with room for `bytes`; the script's exit codes are given, and it may make room. */
  function tightFiles(room: { bytes: number }, script: () => number | undefined): HostFiles & { runs: string[] } {
    const runs: string[] = [];
    return {
      ...nodeFiles,
      runs,
      create(path) {
        const file = nodeFiles.create(path);
        return {
          truncate: (size) => file.truncate(size),
          sync: () => file.sync(),
          close: () => file.close(),
          write(offset, from) {
            room.bytes -= from.length;
            if (room.bytes < 0) {
              throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
            }
            file.write(offset, from);
          },
        };
      },
      run(program, args) {
        runs.push([program, ...args].join(" "));
        return script();
      },
    };
  }
  const need = 4096 + 30 * 4096;

  test("calls the script, and tries once more when it answers with an error code", () => {
    const room = { bytes: 20 * 4096 };
    const files = tightFiles(room, () => {
      room.bytes = need;
      return 1;
    });
    const store = partitionWith();
    expect(savecore(store, { directory, files }).outcome).toBe("saved");
    expect(files.runs).toEqual([`${directory}/script/diskdump-nospace 127.0.0.1 ${directory}/${CRASH_DIRECTORY}`]);
  });

  test("gives up when the script answers zero, when it does not help, and when there is none; the dump stays", () => {
    for (const answer of [0, 1, undefined]) {
      const room = { bytes: 20 * 4096 };
      const files = tightFiles(room, () => {
        // A zero means "do not try again", even if there is room now.
        if (answer === 0) room.bytes = need;
        return answer;
      });
      const store = partitionWith();
      const messages: string[] = [];
      const result = savecore(store, { directory, files, onMessage: (line) => messages.push(line) });
      expect(result).toMatchObject({ outcome: "no space", resigned: false });
      expect(files.runs).toHaveLength(1);
      expect(existsSync(join(directory, CRASH_DIRECTORY))).toBe(false);
      expect(openDump(store).presentPages).toBe(45);
      expect(messages.join("\n")).toContain("no space left on device");
      expect(messages.at(-1)).toContain("nothing was saved");
    }
  });

  test("a real script is run", () => {
    mkdirSync(join(directory, "script"));
    const path = join(directory, "script", "diskdump-nospace");
    writeFileSync(path, `#!/bin/sh\necho "$@" > ${directory}/called\nexit 3\n`, { mode: 0o755 });
    expect(nodeFiles.run(path, ["127.0.0.1", "somewhere"])).toBe(3);
    expect(readFileSync(join(directory, "called"), "utf8")).toBe("127.0.0.1 somewhere\n");
    expect(nodeFiles.run(join(directory, "no-such-script"), [])).toBeUndefined();
  });
});

test("RAM in more pieces than program headers can name is refused", () => {
  const ram = Array.from({ length: 33000 }, (_, i) => ({ first: i * 2, count: 1 }));
  const store = partitionWith({ ram, fill: () => undefined });
  expect(pagesIn(ram)).toBe(33000);
  expect(() => writeCore(openDump(store), new PageStoreSink(pool))).toThrow(
    /RAM lies in 33000 pieces; an ELF core holds at most 65534 program headers/,
  );
});
