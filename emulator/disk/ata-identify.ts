// IDENTIFY DEVICE: 256 words in which a drive says what it is and can do. [ATA/ATAPI-6 8.15]
import type { Geometry } from "./ata-task-file.ts";

export const IDENTIFY_BYTES = 512;
/** The longest DRQ block of the MULTIPLE commands. */
export const MAX_MULTIPLE = 16;
/** Highest modes that the drive can do. */
export const MAX_PIO_MODE = 4;
export const MAX_MWDMA_MODE = 2;
export const MAX_UDMA_MODE = 5;

export interface IdentifyFacts {
  readonly model: string;
  readonly serial: string;
  readonly revision: string;
  readonly sectors: number;
  readonly geometry: Geometry;
  readonly currentGeometry: Geometry;
  /** 0: multiple mode is off. */
  readonly multiple: number;
  /** 0 bytes: the drive has none. */
  readonly writeCache: { readonly bytes: number; readonly enabled: boolean };
  /** The selected DMA mode. */
  readonly dma: { readonly kind: "mwdma" | "udma"; readonly mode: number };
  readonly position: 0 | 1;
}

/** Fills `into` (512 bytes) with the words, little endian. */
export function identifyDevice(into: Uint8Array, facts: IdentifyFacts): void {
  const { geometry, currentGeometry, sectors, dma } = facts;
  into.fill(0);
  const put = (word: number, value: number): void => {
    into[word * 2] = value & 0xff;
    into[word * 2 + 1] = (value >>> 8) & 0xff;
  };
  const put32 = (word: number, value: number): void => {
    put(word, value & 0xffff);
    put(word + 1, Math.floor(value / 65536) & 0xffff);
  };
  /** ASCII with the first character of each pair in the upper byte. */
  const putText = (word: number, words: number, text: string): void => {
    const padded = text.slice(0, words * 2).padEnd(words * 2);
    for (let i = 0; i < words; i++)
      put(word + i, ((padded.charCodeAt(i * 2) & 0x7f) << 8) | (padded.charCodeAt(i * 2 + 1) & 0x7f));
  };
  put(0, 0x0040);
  put(1, geometry.cylinders);
  put(3, geometry.heads);
  put(6, geometry.sectors);
  putText(10, 10, facts.serial);
  // Buffer type and size in sectors: what old drivers call the cache.
  put(20, 3);
  put(21, Math.min(0xffff, facts.writeCache.bytes / 512));
  putText(23, 4, facts.revision);
  putText(27, 20, facts.model);
  put(47, 0x8000 | MAX_MULTIPLE);
  put(48, 0x0001);
  // DMA, LBA, IORDY may be disabled, IORDY.
  put(49, 0x0f00);
  put(50, 0x4000);
  put(51, 0x0200);
  // Words 54-58, 64-70 and 88 are valid.
  put(53, 0x0007);
  put(54, currentGeometry.cylinders);
  put(55, currentGeometry.heads);
  put(56, currentGeometry.sectors);
  put32(57, currentGeometry.cylinders * currentGeometry.heads * currentGeometry.sectors);
  put(59, facts.multiple > 0 ? 0x0100 | facts.multiple : 0);
  put32(60, Math.min(sectors, 0x0fffffff));
  put(63, (2 ** (MAX_MWDMA_MODE + 1) - 1) | (dma.kind === "mwdma" ? 0x100 << dma.mode : 0));
  put(64, 0x0003);
  for (let word = 65; word <= 68; word++) put(word, 120);
  // ATA-4 to ATA-6.
  put(80, 0x0070);
  const cache = facts.writeCache.bytes > 0 ? 0x0020 : 0;
  // NOP is not, the power management set is always there.
  put(82, 0x0008 | cache);
  // Flush cache, flush cache ext, 48-bit addresses.
  put(83, 0x7400);
  put(84, 0x4040);
  put(85, 0x0008 | (facts.writeCache.enabled ? cache : 0));
  put(86, 0x3400);
  put(87, 0x4040);
  put(88, (2 ** (MAX_UDMA_MODE + 1) - 1) | (dma.kind === "udma" ? 0x100 << dma.mode : 0));
  // Hardware reset result, in the byte of the drive's position: an 80-wire cable, position by jumper, diagnostics passed.
  put(93, facts.position === 0 ? 0x600b : 0x6b00);
  put32(100, sectors % 2 ** 32);
  put(102, Math.floor(sectors / 2 ** 32) & 0xffff);
  // Integrity: signature and a checksum that makes all bytes sum to zero.
  into[510] = 0xa5;
  let sum = 0;
  for (let i = 0; i < 511; i++) sum += into[i]!;
  into[511] = -sum & 0xff;
}
