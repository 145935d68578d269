// The block layer's part of a kernel flavour (core/flavour.ts).
import type { Running } from "../../emulator/cpu/cpu.ts";
import type { Spinlock } from "../core/spinlock.ts";
import type { UserBuffer } from "../mm/filemap.ts";
import type { AddressSpace } from "../mm/page-cache.ts";
import type { DirectIo } from "../mm/direct-io.ts";
import type { Bio } from "./bio.ts";
import type { ElevatorName } from "./elevators.ts";
import type { RequestQueue } from "./queue.ts";
import type { Request } from "./request.ts";

export interface BlockFlavour {
  readonly elevator: ElevatorName;
  /** queue.nr_requests: requests per queue and direction. */
  readonly requestsPerDirection: number;
  /** Pages that one I/O of the page cache may hold: 1 where each block is a buffer head of its own. */
  readonly pagesPerIo: number;
  /** Queued requests that start a plugged queue at once. */
  readonly unplugThreshold: number;
  /** Makes what the layer has once per kernel. */
  init(): void;
  /** The one lock of all queues; undefined: each has its own. */
  sharedLock(): Spinlock | undefined;
  /** A queue was plugged: who will take the plug out? Locks: queue_lock held, irqs off. */
  plugged(q: RequestQueue): Running<unknown>;
  /** The plug is out. Locks: queue_lock held, irqs off. */
  unplugged(q: RequestQueue): Running<unknown>;
  /** Lets go what is plugged, before the caller sleeps on I/O of `q` (undefined: on any I/O). Context: process. */
  letGo(q: RequestQueue | undefined): Running;
  /** Merges a bio into a queued request or queues a new one. Context: process. Locks: queue_lock, inside. */
  makeRequest(q: RequestQueue, bio: Bio): Running;
  /** A free request without waiting, undefined when the pool is empty. Locks: queue_lock, inside. Context: process. */
  getRequest(q: RequestQueue, rw: number, gfp: number): Running<Request | undefined>;
  /** A free request; sleeps until there is one. Context: process. */
  getRequestWait(q: RequestQueue, rw: number): Running<Request>;
  /** A pool's request back to its pool. Locks: queue_lock held, irqs off. */
  releaseRequest(q: RequestQueue, rq: Request): Running;
  /** Should writers hold back before the pool is empty? */
  congested(q: RequestQueue, rw: number): boolean;
  /** Past the page cache. Returns: bytes, or a negative errno. Context: process; sleeps. */
  directIo(
    rw: number,
    mapping: AddressSpace,
    dio: DirectIo,
    pos: number,
    bytes: number,
    buffer: UserBuffer,
  ): Running<number>;
}
