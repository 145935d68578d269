// The kernel's window on RAM: typed arrays over the flat part, and the mapping between pointers in RAM and in JavaScript.
//
// A pointer in JavaScript is a physical address (a number; 0 is NULL). In RAM it is the virtual address that the
// architecture gives that byte: static kernel objects in the kernel map, modules in the module area, everything else in
// the direct map. Kernel structs all live in the flat window, so their physical address indexes these arrays.
import type { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { step } from "../../emulator/cpu/cpu.ts";
import type { DataModel } from "./types.ts";

/** Cost of one store to memory that is in the cache. */
export const STORE_NS = 2;

/** Where a platform's kernel keeps things, as virtual addresses split into 32-bit halves. */
export interface AddressMap {
  readonly model: DataModel;
  /** Direct map: virtual = pageOffset + physical. */
  readonly pageOffset: bigint;
  /** Kernel text and static data: virtual = kernelMap + physical. Equal to pageOffset where there is no separate map. */
  readonly kernelMap: bigint;
  /** Module area. */
  readonly moduleBase: bigint;
}

const TWO_32 = 4294967296;

/** The RAM of the kernel that runs now; swapped as a whole when another machine is entered. */
export const M = {
  u8: new Uint8Array(0),
  u16: new Uint16Array(0),
  u32: new Uint32Array(0),
  i32: new Int32Array(0),
  view: new DataView(new ArrayBuffer(0)),
  memory: undefined as unknown as PhysicalMemory,
  little: true,
  word8: true,
  /** 64-bit, little endian, and the direct map starts at a multiple of 4 GiB that no other map shares. */
  fastPointers: false,
  /** Static kernel objects lie in [imageStart, imageEnd). */
  imageStart: 0,
  imageEnd: 0,
  /** Module images lie in [moduleStart, moduleEnd) physically. */
  moduleStart: 0,
  moduleEnd: 0,
  pageOffsetLo: 0,
  pageOffsetHi: 0,
  kernelMapLo: 0,
  kernelMapHi: 0,
  moduleLo: 0,
  moduleHi: 0,
};

const half = (value: bigint): { lo: number; hi: number } => ({
  lo: Number(value & 0xffffffffn),
  hi: Number((value >> 32n) & 0xffffffffn),
});

export interface ImageRanges {
  readonly imageStart: number;
  readonly imageEnd: number;
  readonly moduleStart: number;
  readonly moduleEnd: number;
}

/** Points M at a machine's memory. */
export function installRam(memory: PhysicalMemory, map: AddressMap, ranges: ImageRanges): void {
  const { pool } = memory;
  const pageOffset = half(map.pageOffset);
  const kernelMap = half(map.kernelMap);
  const module = half(map.moduleBase);
  Object.assign(M, {
    u8: pool.u8,
    u16: pool.u16,
    u32: pool.u32,
    i32: pool.i32,
    view: pool.view,
    memory,
    little: map.model.littleEndian,
    word8: map.model.wordBytes === 8,
    fastPointers:
      map.model.littleEndian &&
      map.model.wordBytes === 8 &&
      pageOffset.lo === 0 &&
      pageOffset.hi !== kernelMap.hi &&
      pageOffset.hi !== module.hi,
    ...ranges,
    pageOffsetLo: pageOffset.lo,
    pageOffsetHi: pageOffset.hi,
    kernelMapLo: kernelMap.lo,
    kernelMapHi: kernelMap.hi,
    moduleLo: module.lo,
    moduleHi: module.hi,
  });
}

/** Stores a 32-bit value without paying time: for the simulator and for multi-word stores that were paid for. */
export function poke32(at: number, value: number): void {
  if (M.little) M.u32[at >>> 2] = value;
  else M.view.setUint32(at, value, false);
}
export function peek32(at: number): number {
  return M.little ? M.u32[at >>> 2]! : M.view.getUint32(at, false);
}

/** Writes `value` (exact integer, signed or not) as a 64-bit word in the platform's byte order. */
export function poke64(at: number, value: number): void {
  const lo = value >>> 0;
  const hi = Math.floor(value / TWO_32) >>> 0;
  if (M.little) {
    M.u32[at >>> 2] = lo;
    M.u32[(at >>> 2) + 1] = hi;
  } else {
    M.view.setUint32(at, hi, false);
    M.view.setUint32(at + 4, lo, false);
  }
}

function pokeHalves(at: number, lo: number, hi: number): void {
  if (!M.word8) poke32(at, lo);
  else if (M.little) {
    M.u32[at >>> 2] = lo;
    M.u32[(at >>> 2) + 1] = hi;
  } else {
    M.view.setUint32(at, hi, false);
    M.view.setUint32(at + 4, lo, false);
  }
}

/** Writes a pointer to `address` (physical; 0 is NULL) as the platform's virtual address. Pays nothing. */
export function pokePtr(at: number, address: number): void {
  // Nearly every pointer leads into the direct map of a 64-bit little-endian machine, below 4 GiB.
  if (address >= M.moduleEnd && address < TWO_32 && M.fastPointers) {
    const { u32 } = M;
    u32[at >>> 2] = M.pageOffsetLo + address;
    u32[(at >>> 2) + 1] = M.pageOffsetHi;
    return;
  }
  if (address === 0) pokeHalves(at, 0, 0);
  else if (address < M.imageEnd && address >= M.imageStart) pokeHalves(at, M.kernelMapLo + address, M.kernelMapHi);
  else if (address < M.moduleEnd && address >= M.moduleStart) {
    pokeHalves(at, M.moduleLo + (address - M.moduleStart), M.moduleHi);
  } else pokeHalves(at, M.pageOffsetLo + (address >>> 0), M.pageOffsetHi + Math.floor(address / TWO_32));
}

/** Reads a pointer as a physical address. */
export function peekPtr(at: number): number {
  if (M.fastPointers && M.u32[(at >>> 2) + 1] === M.pageOffsetHi) return M.u32[at >>> 2]! - M.pageOffsetLo;
  let lo: number;
  let hi = 0;
  if (M.little) {
    lo = M.u32[at >>> 2]!;
    if (M.word8) hi = M.u32[(at >>> 2) + 1]!;
  } else if (M.word8) {
    hi = M.view.getUint32(at, false);
    lo = M.view.getUint32(at + 4, false);
  } else lo = M.view.getUint32(at, false);
  return physicalOf(lo, hi);
}

/** Virtual address (two halves) -> physical address; NaN when nothing is mapped there. */
export function physicalOf(lo: number, hi: number): number {
  if (lo === 0 && hi === 0) return 0;
  if (hi === M.moduleHi && lo >= M.moduleLo && lo - M.moduleLo < M.moduleEnd - M.moduleStart) {
    return M.moduleStart + (lo - M.moduleLo);
  }
  if (!M.word8) return lo >= M.pageOffsetLo ? lo - M.pageOffsetLo : NaN;
  if (hi === M.kernelMapHi && M.kernelMapHi !== M.pageOffsetHi) return lo - M.kernelMapLo;
  const address = (hi - M.pageOffsetHi) * TWO_32 + lo - M.pageOffsetLo;
  return address >= 0 ? address : NaN;
}

/** The virtual address of a byte, for messages, symbol tables and dumps. */
export function virtualOf(address: number): bigint {
  if (address === 0) return 0n;
  const join = (hi: number, lo: number): bigint => (BigInt(hi) << 32n) + BigInt(lo);
  const word = (value: bigint): bigint => (M.word8 ? value & 0xffffffffffffffffn : value & 0xffffffffn);
  if (address >= M.imageStart && address < M.imageEnd)
    return word(join(M.kernelMapHi, M.kernelMapLo) + BigInt(address));
  if (address >= M.moduleStart && address < M.moduleEnd) {
    return word(join(M.moduleHi, M.moduleLo) + BigInt(address - M.moduleStart));
  }
  return word(join(M.pageOffsetHi, M.pageOffsetLo) + BigInt(address));
}

/** Kernel store of a 32-bit word: a micro-step, and the instant before its effect at which the CPU may be lost. */
export function store32(at: number, value: number): void {
  step(STORE_NS);
  if (M.little) M.u32[at >>> 2] = value;
  else M.view.setUint32(at, value, false);
}

/** Kernel store of a pointer. */
export function storePtr(at: number, address: number): void {
  step(STORE_NS);
  pokePtr(at, address);
}

/** Kernel store of a 64-bit value. */
export function store64(at: number, value: number): void {
  step(STORE_NS);
  poke64(at, value);
}
