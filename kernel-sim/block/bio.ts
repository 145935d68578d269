// struct bio: one I/O on pages (fs/bio.c of 2.6.9).
import { finished, step, type Running } from "../../emulator/cpu/cpu.ts";
import { M, peek32, peekPtr, poke32, pokePtr } from "../abi/ram.ts";
import { bio as bio_struct } from "../abi/structs/block.ts";
import type { ViewOf } from "../abi/view.ts";
import { K } from "../core/kernel.ts";
import { kfunc, kquick, textAddressOf } from "../core/kfunc.ts";
import { kmem_cache_alloc, kmem_cache_free, type KmemCache } from "../mm/slab.ts";
import type { BlockDevice } from "./gendisk.ts";

/** bi_rw bits. */
export const BIO_RW = 1 << 0;
export const BIO_RW_AHEAD = 1 << 1;
export const BIO_RW_BARRIER = 1 << 2;
export const BIO_RW_SYNC = 1 << 4;
/** bi_flags bits. */
export const BIO_UPTODATE = 1 << 0;
export const BIO_EOF = 1 << 2;

/** Told of every part of a bio that ended; when `bio.s.bi_size` is 0 it was the last. `error` is 0 or a negative errno. Context: any. */
export type BioEndIo = (bio: Bio, bytes: number, error: number) => Running;

/** A bio with what JavaScript keeps beside it. Reused with its memory. */
export class Bio {
  readonly addr: number;
  readonly s: ViewOf<typeof bio_struct>;
  bdev: BlockDevice | undefined;
  end_io: BioEndIo | undefined;
  /** The submitter's object behind `s.bi_private`. */
  private_: object | undefined;
  vecCache: KmemCache | undefined;
  /** Bytes at submission, for the page-wise completion of the page cache. */
  vecs = 0;

  constructor(addr: number) {
    this.addr = addr;
    this.s = K.view(bio_struct, addr);
  }
}

export function bioAt(addr: number): Bio | undefined {
  return addr === 0 ? undefined : K.block.bios.get(addr);
}

/** Bytes of struct bio_vec: a pointer and two 32-bit words. */
const vecBytes = (): number => (M.word8 ? 16 : 12);

/** Address of a bio's i-th bio_vec. */
export const bvecAt = (bio: Bio, i: number): number => bio.s.bi_io_vec + i * vecBytes();
export const bvecPage = (at: number): number => peekPtr(at);
export const bvecLength = (at: number): number => peek32(at + (M.word8 ? 8 : 4));
export const bvecOffset = (at: number): number => peek32(at + (M.word8 ? 12 : 8));
export function setBvec(at: number, page: number, length: number, offset: number): void {
  step(4);
  const word = M.word8 ? 8 : 4;
  pokePtr(at, page);
  poke32(at + word, length);
  poke32(at + word + 4, offset);
}

/** Takes a bio with room for `vecs` pages. Returns: the bio, or undefined when memory is out. Context: process. */
export const bio_alloc = kfunc("bio_alloc", function* (gfp_mask: number, vecs: number) {
  const layer = K.block;
  const addr = yield* kmem_cache_alloc(layer.bioCache, gfp_mask);
  if (addr === 0) return undefined;
  const pool = layer.biovecCaches.find((p) => p.vecs >= vecs);
  if (!pool) {
    yield* kmem_cache_free(layer.bioCache, addr);
    return undefined;
  }
  const vec = yield* kmem_cache_alloc(pool.cache, gfp_mask);
  if (vec === 0) {
    yield* kmem_cache_free(layer.bioCache, addr);
    return undefined;
  }
  let bio = layer.bios.get(addr);
  if (!bio) layer.bios.set(addr, (bio = new Bio(addr)));
  const { s } = bio;
  s.bi_next = 0;
  s.bi_flags = BIO_UPTODATE;
  s.bi_rw = 0;
  s.bi_vcnt = 0;
  s.bi_idx = 0;
  s.bi_phys_segments = 0;
  s.bi_hw_segments = 0;
  s.bi_size = 0;
  s.bi_max_vecs = pool.vecs;
  s.bi_io_vec = vec;
  s.bi_private = 0;
  poke32(s.addr + K.offsetOf(bio_struct, "bi_cnt"), 1);
  bio.vecCache = pool.cache;
  bio.private_ = undefined;
  bio.end_io = undefined;
  return bio;
});

/** Frees a bio. Context: any. */
export const bio_put = kfunc("bio_put", function* (bio: Bio) {
  const layer = K.block;
  poke32(bio.s.addr + K.offsetOf(bio_struct, "bi_cnt"), 0);
  yield* kmem_cache_free(bio.vecCache!, bio.s.bi_io_vec);
  yield* kmem_cache_free(layer.bioCache, bio.addr);
});

/** Says where a bio goes and who is told when it ends. */
export function bio_target(
  bio: Bio,
  bdev: BlockDevice,
  sector: number,
  end_io: BioEndIo,
  owner?: { readonly addr: number },
): void {
  const { s } = bio;
  bio.bdev = bdev;
  s.bi_bdev = bdev.addr;
  s.bi_sector = sector;
  bio.end_io = end_io;
  s.bi_end_io = textAddressOf((end_io as unknown as { id?: number }).id ?? 0);
  bio.private_ = owner;
  s.bi_private = owner ? owner.addr : 0;
}

/** Adds (part of) a page at the end. Returns the bytes added: 0 when the bio is full or the queue's limits are reached. */
export function bio_add_page(bio: Bio, page: number, length: number, offset: number): number {
  const { s } = bio;
  if (s.bi_vcnt >= s.bi_max_vecs) return 0;
  const q = bio.bdev?.disk.queue;
  if (q) {
    if ((s.bi_size + length) >>> 9 > q.s.max_sectors) return 0;
    if (s.bi_vcnt >= q.s.max_phys_segments || s.bi_vcnt >= q.s.max_hw_segments) return 0;
  }
  setBvec(bvecAt(bio, s.bi_vcnt), page, length, offset);
  s.bi_vcnt = s.bi_vcnt + 1;
  s.bi_phys_segments = s.bi_vcnt;
  s.bi_hw_segments = s.bi_vcnt;
  s.bi_size = s.bi_size + length;
  return length;
}

/** `bytes` of a bio have ended. Context: any, often softirq. */
export const bio_endio = kquick("bio_endio", (bio: Bio, bytes: number, error: number): Running => {
  const { s } = bio;
  if (error) s.bi_flags = s.bi_flags & ~BIO_UPTODATE;
  s.bi_size = s.bi_size - bytes;
  s.bi_sector = s.bi_sector + (bytes >>> 9);
  return bio.end_io ? bio.end_io(bio, bytes, error) : finished();
});
