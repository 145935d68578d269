// Goal: another system's memory, loaded from an ELF core or a raw file, goes through the simulated adapter and comes back byte for byte.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readElfCore } from "../../diskdump/userspace/elf-core.ts";
import { FileStore } from "../../diskdump/userspace/file-store.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";

const PAGE = 4096;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "dumplab-image-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Bytes that differ from page to page, with a page of zeroes now and then. */
function contents(pages: number, seed: number): Buffer {
  const bytes = Buffer.alloc(pages * PAGE);
  let x = seed;
  for (let page = 0; page < pages; page++) {
    if (page % 7 === 3) continue;
    for (let at = 0; at < PAGE; at += 4) {
      x = (Math.imul(x, 1664525) + 1013904223) | 0;
      bytes.writeInt32LE(x, page * PAGE + at);
    }
  }
  return bytes;
}

/** An ELF64 core as another program would write it: a note-less header, PT_LOADs in descending file order. */
function elfCore(loads: readonly { physical: number; bytes: Buffer }[]): Buffer {
  const head = Buffer.alloc(PAGE);
  head.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  head.writeUInt16LE(4, 16);
  head.writeUInt16LE(62, 18);
  head.writeUInt32LE(1, 20);
  head.writeBigUInt64LE(64n, 32);
  head.writeUInt16LE(64, 52);
  head.writeUInt16LE(56, 54);
  head.writeUInt16LE(loads.length, 56);
  const pieces: Buffer[] = [head];
  let offset = PAGE;
  [...loads].reverse().forEach(({ physical, bytes }, i) => {
    const at = 64 + i * 56;
    head.writeUInt32LE(1, at);
    head.writeUInt32LE(7, at + 4);
    head.writeBigUInt64LE(BigInt(offset), at + 8);
    head.writeBigUInt64LE(BigInt(physical) + 0xffff810000000000n, at + 16);
    head.writeBigUInt64LE(BigInt(physical), at + 24);
    head.writeBigUInt64LE(BigInt(bytes.length), at + 32);
    head.writeBigUInt64LE(BigInt(bytes.length), at + 40);
    head.writeBigUInt64LE(BigInt(PAGE), at + 48);
    pieces.push(bytes);
    offset += bytes.length;
  });
  return Buffer.concat(pieces);
}

function dumpOf(image: string, name: string): { core: Buffer; at: (physical: number) => number } {
  const scenario = loadScenario("learn", [`memory.image=${image}`]);
  const result = runTrial(scenario, 1, {});
  expect(result.record).toMatchObject({ outcome: "complete", cause: null });
  const path = join(folder, name);
  result.writeVmcore(path);
  const { segments } = readElfCore(FileStore.open(path));
  const at = (physical: number): number => {
    const s = segments.find(
      (x) => x.type === "PT_LOAD" && physical >= x.physical && physical < x.physical + x.fileBytes,
    )!;
    return s.fileOffset + physical - s.physical;
  };
  return { core: readFileSync(path), at };
}

test("an ELF core's memory, with a hole between its ranges, comes back byte for byte", () => {
  const low = contents(159, 1);
  const high = contents(3000, 2);
  const image = join(folder, "image.elf");
  writeFileSync(
    image,
    elfCore([
      { physical: 0, bytes: low },
      { physical: 0x100000, bytes: high },
    ]),
  );
  const { core, at } = dumpOf(image, "vmcore-elf");
  expect(core.subarray(at(0), at(0) + low.length).equals(low)).toBe(true);
  expect(core.subarray(at(0x100000), at(0x100000) + high.length).equals(high)).toBe(true);
});

test("a raw image comes back byte for byte", () => {
  const bytes = contents(1024, 3);
  const image = join(folder, "image.raw");
  writeFileSync(image, bytes);
  const { core, at } = dumpOf(image, "vmcore-raw");
  expect(core.subarray(at(0), at(0) + bytes.length).equals(bytes)).toBe(true);
});

test("an image that is not in whole pages is refused with its name and size", () => {
  const image = join(folder, "odd.raw");
  writeFileSync(image, Buffer.alloc(PAGE + 1));
  expect(() => runTrial(loadScenario("learn", [`memory.image=${image}`]), 1, {})).toThrow(
    /odd\.raw: a raw image must be a multiple of 4096 bytes, not 4097/,
  );
});
