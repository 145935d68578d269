// What the block layer keeps for the whole kernel: its slab caches, and the objects that stand beside structs in RAM.
import { bio as bio_struct, bio_vec, deadline_rq, request as request_struct } from "../abi/structs/block.ts";
import { K } from "../core/kernel.ts";
import { kmem_cache_create, type KmemCache } from "../mm/slab.ts";
import type { Bio } from "./bio.ts";
import type { DeadlineRequest } from "./elevator-deadline.ts";
import type { BlockDevice, Gendisk } from "./gendisk.ts";
import type { IoContext } from "./request-pool.ts";
import type { RequestQueue } from "./queue.ts";
import type { Request } from "./request.ts";
import type { Task } from "../core/task.ts";

/** Largest number of pages in one bio. */
export const BIO_MAX_PAGES = 256;
const BIOVEC_SIZES = [1, 4, 16, 64, 128, BIO_MAX_PAGES];

export class BlockLayer {
  readonly queues: RequestQueue[] = [];
  readonly disks: Gendisk[] = [];
  /** Whole disks and partitions by name: "sda", "sda1". */
  readonly devices = new Map<string, BlockDevice>();
  readonly requestCache: KmemCache;
  readonly deadlineCache: KmemCache;
  readonly bioCache: KmemCache;
  /** biovec-1 .. biovec-256, as the real kernel has them. */
  readonly biovecCaches: readonly { readonly vecs: number; readonly cache: KmemCache }[];
  // Objects live as long as their memory, which stays with its slab: they are made once and found again by address.
  readonly requests = new Map<number, Request>();
  readonly deadlineRequests = new Map<number, DeadlineRequest>();
  readonly bios = new Map<number, Bio>();
  readonly ioContexts = new Map<Task, IoContext>();

  constructor() {
    this.requestCache = kmem_cache_create("blkdev_requests", K.sizeOf(request_struct));
    this.deadlineCache = kmem_cache_create("deadline_drq", K.sizeOf(deadline_rq));
    this.bioCache = kmem_cache_create("bio", K.sizeOf(bio_struct), 64);
    const vec = K.sizeOf(bio_vec);
    this.biovecCaches = BIOVEC_SIZES.map((vecs) => ({ vecs, cache: kmem_cache_create(`biovec-${vecs}`, vecs * vec) }));
  }
}

/** Sets the block layer up; called by whoever needs it first. */
export function blk_dev_init(): BlockLayer {
  if (!K.block) {
    K.block = new BlockLayer();
    K.flavour.block.init();
  }
  return K.block;
}
