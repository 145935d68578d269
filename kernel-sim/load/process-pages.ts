// What processes keep in their pages: made once per slab and shared by all machines that it serves, since filling 800 MiB anew
// was an eighth of a trial.
import { FRAME_SIZE, type PagePool } from "../../emulator/memory/pool.ts";
import { RandomStream } from "../../emulator/time/random.ts";

/** Pages that lie together: a process's heap, a file that was read in one go. */
export const CLUSTER_ORDER = 6;
export const CLUSTER_PAGES = 2 ** CLUSTER_ORDER;

/** A word of each kind of contents: text, pointers, numbers, noise. */
const KINDS: readonly ((i: number, noise: number) => number)[] = [
  (_, noise) => 0x20202020 + (noise & 0x0f0f0f0f) + 0x41404140,
  (i, noise) => (i % 2 === 0 ? noise & 0x3fffffe0 : 0x100),
  (i, noise) => (i % 4 === 0 ? noise & 0xffff : 0),
  (_, noise) => noise,
];

/** The clusters that a slab has for its machines, by kind; the nth of a kind is the same in every slab. */
class ClusterShelf {
  private readonly pool: PagePool;
  private readonly clusters: number[][] = KINDS.map(() => []);

  constructor(pool: PagePool) {
    this.pool = pool;
  }

  /** First frame of the `nth` cluster of a kind. */
  cluster(kind: number, nth: number): number {
    const shelf = this.clusters[kind]!;
    for (let n = shelf.length; n <= nth; n++) shelf.push(this.make(kind, n));
    return shelf[nth]!;
  }

  private make(kind: number, nth: number): number {
    const { pool, clusters } = this;
    const first = pool.allocateLasting(CLUSTER_PAGES);
    const typical = nth > 0 ? clusters[kind]![0]! : this.makeTypical(kind, first);
    for (let i = 0; i < CLUSTER_PAGES; i++) {
      const slot = first + i;
      if (slot !== typical) pool.copy(typical, slot);
      // No two pages are alike, and none is zero.
      pool.u32[(slot * FRAME_SIZE) / 4] = Math.imul(nth * CLUSTER_PAGES + i, 0x9e3779b1) | 1;
      pool.u32[(slot * FRAME_SIZE) / 4 + 1] = (nth * CLUSTER_PAGES + i) * KINDS.length + kind;
    }
    return first;
  }

  private makeTypical(kind: number, slot: number): number {
    const random = new RandomStream(kind, "contents of memory");
    const start = (slot * FRAME_SIZE) / 4;
    for (let i = 0; i < FRAME_SIZE / 4; i++) this.pool.u32[start + i] = KINDS[kind]!(i, random.u32());
    return slot;
  }
}

/** By `PagePool.lasting`. */
const shelves = new WeakMap<object, ClusterShelf>();

/** One machine's way through the clusters of its slab: each is handed out once, of a kind that `random` draws. */
export class ProcessPages {
  private readonly shelf: ClusterShelf;
  private readonly taken = KINDS.map(() => 0);
  private readonly random: RandomStream;

  constructor(pool: PagePool, random: RandomStream) {
    let shelf = shelves.get(pool.lasting);
    if (!shelf) shelves.set(pool.lasting, (shelf = new ClusterShelf(pool)));
    this.shelf = shelf;
    this.random = random;
  }

  /** First of CLUSTER_PAGES frames in a row, all different, none zero. The slab owns them: share or copy them. */
  next(): number {
    const kind = this.random.u32() % KINDS.length;
    return this.shelf.cluster(kind, this.taken[kind]!++);
  }
}
