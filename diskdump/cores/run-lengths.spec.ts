// Goal: what is packed sixteen bytes at a time is what the rule says byte by byte. Method: the rule, written as plainly as can be,
// beside it, on pages made of runs and on pages and run lengths of anything.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FRAME_SIZE, PagePool } from "../../emulator/memory/pool.ts";
import { ROOM_BYTES, RunLengths, runLengthsIn } from "./run-lengths.ts";

const own = new RunLengths(new WebAssembly.Memory({ initial: Math.ceil(ROOM_BYTES / 65536) }));
const encodeRuns = (page: Uint8Array): Uint8Array | undefined => own.encode(page);
const decodeRuns = (packed: Uint8Array, pageBytes: number): Uint8Array | string => own.decode(packed, pageBytes);
/** What stands behind a page: the codec's own room. */
const roomToPack = (bytes: number): Uint8Array => own.roomToPack(bytes);

function plainlyEncoded(page: Uint8Array): number[] | undefined {
  const out: number[] = [];
  for (let at = 0; at < page.length;) {
    const value = page[at]!;
    let run = 1;
    while (run < 256 && at + run < page.length && page[at + run] === value) run++;
    if (run >= (value === 0 ? 2 : 4)) out.push(0, run - 1, value);
    else if (value === 0) out.push(0, 0);
    else for (let i = 0; i < run; i++) out.push(value);
    at += run;
  }
  return out.length < page.length ? out : undefined;
}

function plainlyDecoded(packed: Uint8Array, room: number): number[] | string {
  const out: number[] = [];
  for (let at = 0; at < packed.length;) {
    const value = packed[at++]!;
    if (out.length >= room) return `run lengths of more than ${room} bytes`;
    const more = value === 0 ? packed[at++] : 0;
    const filler = value === 0 && more !== 0 ? packed[at++] : value;
    if (more === undefined || filler === undefined) return "run lengths that end within a run";
    if (out.length + more + 1 > room) return `run lengths of more than ${room} bytes`;
    for (let i = 0; i <= more; i++) out.push(filler);
  }
  return out.length === room ? out : `run lengths of ${out.length} bytes, expected ${room}`;
}

/** Few different bytes give runs of all short lengths, long ones come by themselves. */
const piece = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 80 }),
  fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 80 }).map((bytes) => Uint8Array.from(bytes)),
  fc
    .tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 1, max: 600 }))
    .map(([value, length]) => new Uint8Array(length).fill(value)),
);
const pieces = fc.array(piece, { maxLength: 40 }).map((parts) => new Uint8Array(Buffer.concat(parts)));

describe("run lengths", () => {
  test("are the rule's, and give back the page, whatever stood in the codec before", () => {
    fc.assert(
      fc.property(pieces, (page) => {
        const packed = encodeRuns(page)?.slice();
        expect(packed && [...packed]).toEqual(plainlyEncoded(page));
        if (!packed) return;
        expect(Buffer.from(decodeRuns(packed, page.length)).equals(page)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test("are the rule's also where a page begins badly, and the whole is counted before it is packed", () => {
    const beginning = fc.constantFrom([0, 1], [0, 0, 1], [1, 2], [0, 3, 3, 3]);
    fc.assert(
      fc.property(beginning, pieces, fc.integer({ min: 0, max: 255 }), (period, rest, behind) => {
        roomToPack(65536).fill(behind);
        const whole = Buffer.concat([Buffer.alloc(256, Uint8Array.from(period)), rest, Buffer.alloc(15, 7)]);
        const page = new Uint8Array(whole.subarray(0, whole.length & ~15));
        const packed = encodeRuns(page);
        expect(packed && [...packed]).toEqual(plainlyEncoded(page));
      }),
      { numRuns: 1000 },
    );
  });

  test("of a page whose runs save exactly what its lone zeroes cost, or one byte more, are what the rule says", () => {
    // Behind the page stands what would be one more lone zero.
    roomToPack(1024).fill(5);
    roomToPack(1024)[512] = 0;
    for (let saved = 120; saved < 136; saved++) {
      const page = new Uint8Array(512).map((_, i) => (i < 256 ? 1 - (i % 2) : i));
      page.fill(9, 300, 303 + saved);
      const packed = encodeRuns(page);
      expect(packed && [...packed]).toEqual(plainlyEncoded(page));
    }
  });

  test("of anything are decoded or refused, as the rule has it", () => {
    const anything = fc.oneof(fc.uint8Array({ maxLength: 200 }), pieces);
    fc.assert(
      fc.property(anything, fc.integer({ min: 0, max: 700 }), fc.boolean(), (packed, some, fitting) => {
        const whole = plainlyDecoded(packed, 1e9);
        const exact = typeof whole === "string" ? Number(/of (\d+)/.exec(whole)?.[1] ?? some) : some;
        const room = fitting ? exact : some;
        const page = decodeRuns(packed, room);
        expect(typeof page === "string" ? page : [...page]).toEqual(plainlyDecoded(packed, room));
      }),
      { numRuns: 500 },
    );
  });

  test("of ia64's largest page fit, of more do not", () => {
    const page = new Uint8Array(65536).map((_, i) => (i * 7) | 1);
    page.fill(0, 65000);
    expect(Buffer.from(decodeRuns(encodeRuns(page)!, 65536)).equals(page)).toBe(true);
    expect(() => encodeRuns(new Uint8Array(65537))).toThrow("a page has at most 65536");
  });
});

test("a page of more than 64 KiB is refused, also where it need not be copied", () => {
  const large = new Uint8Array(65537);
  expect(() => encodeRuns(large)).toThrow(/a page has at most 65536/);
  expect(() => encodeRuns(roomToPack(65537))).toThrow(/a page has at most 65536/);
  expect(() => decodeRuns(roomToPack(10), large.length)).toThrow(
    /run lengths of 65537 bytes in 10; a page has at most 65536/,
  );
});

describe("run lengths in a slab", () => {
  test("pack a page where it lies, leave it and its neighbours as they are, and are the same as those of a copy", () => {
    const pool = new PagePool(FRAME_SIZE, 2 ** 20);
    const runs = runLengthsIn(pool);
    const first = pool.allocate();
    for (let i = 1; i < 6; i++) expect(pool.allocate()).toBe(first + i);
    const around = pool.u8.subarray(first * FRAME_SIZE, (first + 6) * FRAME_SIZE);
    const page = around.subarray(FRAME_SIZE, 5 * FRAME_SIZE);
    fc.assert(
      fc.property(pieces, fc.nat(255), (contents, filler) => {
        around.fill(filler);
        page.set(contents.subarray(0, page.length));
        const before = Buffer.from(around);
        const packed = runs.encode(page);
        expect(packed && Buffer.from(packed)).toEqual(Buffer.from(encodeRuns(page.slice())!));
        expect(before.equals(around)).toBe(true);
        expect(Buffer.from(runs.decode(packed!, page.length)).equals(page)).toBe(true);
      }),
    );
  });

  test("read a page at the slab's very end, behind which no vector can be loaded", () => {
    const pool = new PagePool(FRAME_SIZE, 2 ** 20);
    const last = pool.bytes(pool.allocateLasting(1));
    expect(last.byteOffset + last.length).toBe(pool.u8.length);
    last.fill(3, 100);
    expect(runLengthsIn(pool).encode(last)).toEqual(encodeRuns(last.slice())!.slice());
  });
});
