// The first page of a swap partition (union swap_header, version 1): what mkswap writes, and what LKCD leaves alone.
import type { ByteStore } from "../../emulator/memory/store.ts";

const MAGIC = "SWAPSPACE2";
/** Offsets behind the boot sector's room of 1 KiB. */
const VERSION_AT = 1024;
const LAST_PAGE_AT = 1028;

/** `mkswap`: a header of version 1 with no bad pages. The rest of the partition stays as it is. */
export function writeSwapHeader(store: ByteStore, pageSize: number, littleEndian: boolean): void {
  const page = new Uint8Array(pageSize);
  const view = new DataView(page.buffer);
  view.setUint32(VERSION_AT, 1, littleEndian);
  view.setUint32(LAST_PAGE_AT, Math.floor(store.sizeBytes / pageSize) - 1, littleEndian);
  page.set(Buffer.from(MAGIC, "latin1"), pageSize - MAGIC.length);
  store.write(0, page);
}

/** True when the store begins like a swap partition of this page size. */
export function hasSwapHeader(store: ByteStore, pageSize: number): boolean {
  if (store.sizeBytes < pageSize) return false;
  const magic = new Uint8Array(MAGIC.length);
  store.read(pageSize - MAGIC.length, magic);
  return Buffer.from(magic).toString("latin1") === MAGIC;
}
