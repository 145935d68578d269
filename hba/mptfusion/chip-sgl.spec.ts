import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PhysicalMemory, type Segment } from "../../emulator/memory/memory.ts";
import { PagePool } from "../../emulator/memory/pool.ts";
import {
  SGL_BAD_ELEMENT,
  SGL_BEYOND_RAM,
  SGL_CHAIN_UNALIGNED,
  SGL_LEAVES_BUFFER,
  SGL_LOCAL_ADDRESS,
  SGL_TOO_MANY_CHAINS,
  SGL_TOO_SHORT,
  walkScatterGather,
} from "./chip-sgl.ts";

const MIB = 2 ** 20;
const RAM = 4 * MIB;
const FLAT = 2 * MIB;
const FRAME = 0x1000;
const FRAME_DWORDS = 32;
const SGL_DWORD = 12;

const makeMemory = () => new PhysicalMemory(new PagePool(FLAT, 8 * MIB), [{ start: 0, end: RAM, type: "ram" }]);

interface Piece {
  address: number;
  length: number;
  wide: boolean;
}

interface Layout {
  pieces: readonly Piece[];
  /** Room in each chain buffer, in dwords; the last one repeats. */
  chainRoom: readonly number[];
  wideChains: boolean;
  /** Chain buffers below or above the flat window. */
  chainBase: number;
}

/** Lays a list out as a driver does; returns the request's ChainOffset. */
const layOut = (memory: PhysicalMemory, { pieces, chainRoom, wideChains, chainBase }: Layout): number => {
  const chainDwords = wideChains ? 3 : 2;
  let left = [...pieces];
  let at = FRAME + SGL_DWORD * 4;
  let room = FRAME_DWORDS - SGL_DWORD;
  let chain = 0;
  let nextBuffer = chainBase;
  let offsetAddress: number | undefined;
  let requestChainOffset = 0;
  let start = FRAME;
  for (;;) {
    const size = (piece: Piece): number => (piece.wide ? 3 : 2);
    const total = left.reduce((sum, piece) => sum + size(piece), 0);
    const here: Piece[] = [];
    if (total <= room) {
      here.push(...left);
      left = [];
    } else {
      let used = 0;
      while (left.length > 0 && used + size(left[0]!) <= room - chainDwords) {
        used += size(left[0]!);
        here.push(left.shift()!);
      }
    }
    here.forEach((piece, i) => {
      const lastHere = i === here.length - 1;
      const flags = 0x10 | (lastHere ? 0x80 : 0) | (lastHere && left.length === 0 ? 0x41 : 0) | (piece.wide ? 0x02 : 0);
      memory.write32(at, ((flags << 24) | piece.length) >>> 0);
      memory.write32(at + 4, piece.address);
      if (piece.wide) memory.write32(at + 8, 0);
      at += size(piece) * 4;
    });
    const chainOffset = left.length > 0 ? (at - start) / 4 : 0;
    if (offsetAddress === undefined) requestChainOffset = chainOffset;
    else memory.write8(offsetAddress, chainOffset);
    if (left.length === 0) return requestChainOffset;
    room = chainRoom[Math.min(chain++, chainRoom.length - 1)]!;
    memory.write32(at, (((0x30 | (wideChains ? 2 : 0)) << 24) | (room * 4)) >>> 0);
    memory.write32(at + 4, nextBuffer);
    if (wideChains) memory.write32(at + 8, 0);
    offsetAddress = at + 2;
    start = at = nextBuffer;
    nextBuffer += 0x1000;
  }
};

const walk = (
  memory: PhysicalMemory,
  chainOffset: number,
  wanted: number,
  segments: Segment[] = [],
  maxChains = 64,
): number =>
  walkScatterGather(
    memory,
    memory.pool.i32,
    FRAME / 4,
    SGL_DWORD,
    FRAME_DWORDS,
    chainOffset,
    wanted,
    maxChains,
    segments,
  );

const piece = fc.record({
  address: fc.integer({ min: 0, max: RAM - 0x10000 }),
  length: fc.integer({ min: 0, max: 0x10000 }),
  wide: fc.boolean(),
});

const layout: fc.Arbitrary<Layout> = fc.record({
  pieces: fc.array(piece, { minLength: 1, maxLength: 120 }),
  chainRoom: fc.array(fc.integer({ min: 6, max: 40 }), { minLength: 1, maxLength: 4 }),
  wideChains: fc.boolean(),
  chainBase: fc.constantFrom(0x10000, FLAT + 0x1000),
});

describe("the scatter-gather walk", () => {
  it("finds the pieces of any list a driver lays out over frame and chain buffers, cut at the wanted length", () => {
    const memory = makeMemory();
    const segments: Segment[] = [];
    fc.assert(
      fc.property(layout, fc.double({ min: 0, max: 1, noNaN: true }), (given, share) => {
        const total = given.pieces.reduce((sum, { length }) => sum + length, 0);
        const wanted = Math.floor(total * share);
        const expected: Segment[] = [];
        let left = wanted;
        for (const { address, length } of given.pieces) {
          const taken = Math.min(left, length);
          if (taken > 0) expected.push({ address, length: taken });
          left -= taken;
        }
        const count = walk(memory, layOut(memory, given), wanted, segments);
        expect(segments.slice(0, count)).toEqual(expected);
        expect(walk(memory, layOut(memory, given), total + 1, segments)).toBe(SGL_TOO_SHORT);
      }),
    );
  });

  it("of arbitrary dwords ends with a refusal or exactly the wanted bytes, all in RAM", () => {
    const memory = makeMemory();
    const anything = fc.integer({ min: 0, max: 0xffffffff });
    const element = fc
      .tuple(fc.constantFrom(0x10, 0x12, 0x90, 0xd1, 0xd3, 0x30, 0x32, 0xb0), fc.integer({ min: 0, max: 0x400 }))
      .map(([flags, length]) => ((flags << 24) | length) >>> 0);
    const near = fc.integer({ min: 0, max: 0x800 }).map((n) => n * 4);
    const pair = fc.oneof(
      { weight: 8, arbitrary: fc.tuple(element, near) },
      { weight: 1, arbitrary: fc.tuple(anything, anything) },
    );
    let accepted = 0;
    fc.assert(
      fc.property(
        fc.array(pair, { minLength: 16, maxLength: 16 }),
        fc.nat(31),
        fc.nat(500),
        (pairs, chainOffset, wanted) => {
          pairs.flat().forEach((word, i) => memory.write32(FRAME + i * 4, word));
          pairs.flat().forEach((word, i) => memory.write32(FRAME + 48 + i * 4, word));
          const segments: Segment[] = [];
          const count = walk(memory, chainOffset, wanted, segments, 8);
          if (count < 0) return;
          accepted++;
          expect(segments.slice(0, count).reduce((sum, { length }) => sum + length, 0)).toBe(wanted);
          for (const { address, length } of segments.slice(0, count)) expect(address + length).toBeLessThanOrEqual(RAM);
        },
      ),
      { numRuns: 2000 },
    );
    expect(accepted).toBeGreaterThan(20);
  });

  it("reads 64-bit addresses whole and refuses those beyond RAM", () => {
    const memory = makeMemory();
    memory.write32(FRAME + 48, 0xd3000200);
    memory.write32(FRAME + 52, 0x2000);
    memory.write32(FRAME + 56, 0);
    expect(walk(memory, 0, 0x200)).toBe(1);
    memory.write32(FRAME + 56, 1);
    expect(walk(memory, 0, 0x200)).toBe(SGL_BEYOND_RAM);
  });

  it.each([
    ["a transaction element", [0x80000010, 0], 0, SGL_BAD_ELEMENT],
    ["a local address", [0xd9000010, 0], 0, SGL_LOCAL_ADDRESS],
    ["a chain where a simple element should be", [0x30000010, 0], 0, SGL_BAD_ELEMENT],
    ["a simple element where the chain should be", [0x90000010, 0, 0xd1000010, 0], 14, SGL_BAD_ELEMENT],
    ["a chain buffer off the dword", [0x90000010, 0, 0x30000010, 0x2002], 14, SGL_CHAIN_UNALIGNED],
    ["a chain buffer beyond RAM", [0x90000010, 0, 0x30000010, 0xfffffff0], 14, SGL_BEYOND_RAM],
    ["a chain offset beyond the frame", [0x90000010, 0], 31, SGL_LEAVES_BUFFER],
    ["a chain that runs into itself", [0x90000010, 0, 0x30020010, FRAME + 48], 14, SGL_TOO_MANY_CHAINS],
    [
      "a chain buffer whose elements run into its own chain element",
      [0x90000010, 0x2000, 0x30020020, FRAME + 48 + 16, 0x10000010, 0x2000, 0xd1001000, 0x3000],
      14,
      SGL_LEAVES_BUFFER,
    ],
    [
      "a list that never ends",
      Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 0x10000001 : 0x2000)),
      0,
      SGL_LEAVES_BUFFER,
    ],
  ])("refuses %s", (_what, words, chainOffset, refusal) => {
    const memory = makeMemory();
    words.forEach((word, i) => memory.write32(FRAME + 48 + i * 4, word));
    expect(walk(memory, chainOffset, 0x1000)).toBe(refusal);
  });
});
