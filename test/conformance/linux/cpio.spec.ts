// Goal: the kernel finds in its first root what we put there. Method: a reader of our own, written from the format's description,
// takes archives apart; arbitrary entries must come back as they were.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cpioArchive, type ArchiveEntry } from "./cpio.ts";

interface ReadEntry {
  readonly path: string;
  readonly inode: number;
  readonly mode: number;
  readonly links: number;
  readonly major: number;
  readonly minor: number;
  readonly data: Uint8Array;
}

/** Every entry up to the trailer. Source: Documentation/driver-api/early-userspace/buffer-format.rst. */
function readArchive(archive: Uint8Array): { entries: ReadEntry[]; end: number } {
  const text = new TextDecoder("utf-8", { fatal: true });
  const entries: ReadEntry[] = [];
  let at = 0;
  for (;;) {
    const header = text.decode(archive.subarray(at, at + 110));
    expect(header).toMatch(/^070701[0-9a-f]{104}$/i);
    const field = (n: number): number => parseInt(header.slice(6 + 8 * n, 14 + 8 * n), 16);
    const nameBytes = field(11);
    const nameEnd = at + 110 + nameBytes;
    expect(archive[nameEnd - 1]).toBe(0);
    const path = text.decode(archive.subarray(at + 110, nameEnd - 1));
    const dataAt = Math.ceil(nameEnd / 4) * 4;
    const data = archive.slice(dataAt, dataAt + field(6));
    expect(data).toHaveLength(field(6));
    at = Math.ceil((dataAt + field(6)) / 4) * 4;
    if (path === "TRAILER!!!") {
      expect(data).toHaveLength(0);
      return { entries, end: at };
    }
    const [inode, mode, links, major, minor] = [field(0), field(1), field(4), field(9), field(10)];
    entries.push({ path, inode, mode, links, major, minor, data });
  }
}

const TYPES = { file: 0o100000, folder: 0o040000, link: 0o120000, "character device": 0o020000 } as const;

const path = fc
  .array(fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join("/"))
  .filter((joined) => !joined.includes("\0") && joined !== "TRAILER!!!");
const mode = fc.integer({ min: 0, max: 0o7777 });
const entry: fc.Arbitrary<ArchiveEntry> = fc.oneof(
  fc.record({ path, kind: fc.constant("file" as const), mode, data: fc.uint8Array({ maxLength: 40 }) }),
  fc.record({ path, kind: fc.constant("folder" as const) }),
  fc.record({ path, kind: fc.constant("link" as const), mode, data: fc.uint8Array({ minLength: 1, maxLength: 20 }) }),
  fc.record({
    ...{ path, mode, kind: fc.constant("character device" as const) },
    ...{ major: fc.nat(4095), minor: fc.nat(1048575) },
  }),
);

describe("the archive of the first root", () => {
  test("gives back every entry: kind, permissions, contents, device numbers", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 12 }), (entries) => {
        const archive = cpioArchive(entries);
        const read = readArchive(archive);
        expect(read.end).toBe(archive.length);
        expect(read.entries.map((one) => one.path)).toEqual(entries.map((one) => one.path));
        read.entries.forEach((found, i) => {
          const put = entries[i]!;
          expect(found.mode).toBe(TYPES[put.kind] | (put.mode ?? 0o755));
          expect(found.data).toEqual(put.data ?? new Uint8Array(0));
          expect([found.major, found.minor]).toEqual([put.major ?? 0, put.minor ?? 0]);
          expect(found.links).toBe(1);
        });
      }),
    );
  });

  test("gives each entry an inode of its own, so that the kernel takes none for a hard link", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 12 }), (entries) => {
        const inodes = readArchive(cpioArchive(entries)).entries.map(({ inode }) => inode);
        expect(new Set(inodes).size).toBe(entries.length);
      }),
    );
  });

  test("is the same bytes for the same entries: a snapshot's key depends on it", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 6 }), (entries) => {
        expect(cpioArchive(structuredClone(entries))).toEqual(cpioArchive(entries));
      }),
    );
  });

  test("is, for a small file, these very bytes", () => {
    const archive = cpioArchive([{ path: "a", kind: "file", mode: 0o644, data: new TextEncoder().encode("hi\n") }]);
    const fields = ["00000001", "000081a4", "00000000", "00000000", "00000001", "00000000", "00000003"];
    const rest = ["00000000", "00000000", "00000000", "00000000", "00000002", "00000000"];
    const trailer = `070701${"0".repeat(8)}00008000${"0".repeat(16)}00000001${"0".repeat(48)}0000000b${"0".repeat(8)}`;
    const wanted = `070701${fields.join("")}${rest.join("")}a\0hi\n\0${trailer}TRAILER!!!\0\0\0\0`;
    expect(new TextDecoder().decode(archive)).toBe(wanted);
  });
});
