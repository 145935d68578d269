// Packets: struct sk_buff and its data, both from the slab (net/core/skbuff.c of 2.6.9).
import { finished, step, type Running } from "../../emulator/cpu/cpu.ts";
import { M, poke32 } from "../abi/ram.ts";
import { sk_buff, sk_buff_head } from "../abi/structs/net.ts";
import type { ViewOf } from "../abi/view.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { Spinlock, spin_lock_irqsave, spin_unlock_irqrestore } from "../core/spinlock.ts";
import { kfree, kmalloc, kmem_cache_alloc, kmem_cache_free } from "../mm/slab.ts";
import type { NetDevice } from "./netdevice.ts";

/** struct skb_shared_info, behind the data. */
const SHARED_INFO_BYTES = 320;
const ALIGN = 64;
/** Copying goes at about 4 bytes per nanosecond. */
const COPY_BYTES_PER_NS = 4;

export const copyNs = (bytes: number): number => 5 + Math.ceil(bytes / COPY_BYTES_PER_NS);

/** A packet. Its contents are `len` bytes at `data` (physical addresses). */
export class SkBuff {
  readonly s: ViewOf<typeof sk_buff>;
  readonly addr: number;
  readonly head: number;
  readonly end: number;
  dev: NetDevice | undefined;
  data: number;
  len = 0;

  constructor(addr: number, head: number, bytes: number) {
    this.addr = addr;
    this.head = head;
    this.end = head + bytes;
    this.data = head;
    this.s = K.view(sk_buff, addr);
  }

  /** Room in front of what is to be put in (skb_reserve). */
  reserve(bytes: number): void {
    this.place(this.data + bytes, 0);
  }

  /** `bytes` more at the front (skb_push). Returns: where they begin. */
  push(bytes: number): number {
    if (this.data - bytes < this.head) throw new Error(`skb_push: ${bytes} bytes do not fit in front`);
    this.place(this.data - bytes, this.len + bytes);
    return this.data;
  }

  /** `bytes` more at the end (skb_put). Returns: where they begin. */
  put(bytes: number): number {
    const at = this.data + this.len;
    if (at + bytes > this.end) throw new Error(`skb_put: ${bytes} bytes do not fit behind`);
    this.place(this.data, this.len + bytes);
    return at;
  }

  /** `bytes` fewer at the front (skb_pull): a header has been seen to. */
  pull(bytes: number): void {
    this.place(this.data + bytes, this.len - bytes);
  }

  private place(data: number, len: number): void {
    this.data = data;
    this.len = len;
    const { s } = this;
    s.data = data;
    s.len = len;
    s.tail = data + len;
  }

  bytes(): Uint8Array {
    return M.u8.subarray(this.data, this.data + this.len);
  }
}

/** Returns: a packet with room for `size` bytes, or undefined. Context: any, with GFP_ATOMIC. */
export const alloc_skb = kfunc("alloc_skb", function* (size: number, gfp_mask: number) {
  const addr = yield* kmem_cache_alloc(K.net.skbCache, gfp_mask);
  if (addr === 0) return undefined;
  const bytes = Math.ceil(size / ALIGN) * ALIGN;
  const data = yield* kmalloc(bytes + SHARED_INFO_BYTES, gfp_mask);
  if (data === 0) {
    yield* kmem_cache_free(K.net.skbCache, addr);
    return undefined;
  }
  step(20);
  M.u8.fill(0, addr, addr + K.net.skbBytes);
  const skb = new SkBuff(addr, data, bytes);
  const { s } = skb;
  s.truesize = bytes + K.net.skbBytes;
  poke32(s.users.addr, 1);
  s.head = data;
  s.data = data;
  s.tail = data;
  s.end = skb.end;
  return skb;
});

/** Frees a packet that nobody else uses. Context: any. */
export const __kfree_skb = kfunc("__kfree_skb", function* (skb: SkBuff) {
  yield* kfree(skb.head);
  yield* kmem_cache_free(K.net.skbCache, skb.addr);
});

/** A queue of packets, linked in RAM (struct sk_buff_head at `addr`). */
export class SkBuffHead {
  readonly addr: number;
  readonly s: ViewOf<typeof sk_buff_head>;
  readonly lock: Spinlock;
  private readonly queue: SkBuff[] = [];

  constructor(addr: number, name: string) {
    this.addr = addr;
    this.s = K.view(sk_buff_head, addr);
    this.s.next = addr;
    this.s.prev = addr;
    this.lock = new Spinlock(this.s.lock.addr, name);
  }

  get isEmpty(): boolean {
    return this.queue.length === 0;
  }

  put(skb: SkBuff, front: boolean): void {
    const { queue, s } = this;
    if (front) queue.unshift(skb);
    else queue.push(skb);
    skb.s.list = this.addr;
    const at = front ? 0 : queue.length - 1;
    const before = queue[at - 1];
    const after = queue[at + 1];
    skb.s.next = after?.addr ?? this.addr;
    skb.s.prev = before?.addr ?? this.addr;
    if (before) before.s.next = skb.addr;
    else s.next = skb.addr;
    if (after) after.s.prev = skb.addr;
    else s.prev = skb.addr;
    s.qlen = queue.length;
  }

  take(): SkBuff | undefined {
    const { queue, s } = this;
    const skb = queue.shift();
    if (!skb) return undefined;
    const [next] = queue;
    s.next = next?.addr ?? this.addr;
    if (next) next.s.prev = this.addr;
    else s.prev = this.addr;
    s.qlen = queue.length;
    skb.s.next = 0;
    skb.s.prev = 0;
    skb.s.list = 0;
    return skb;
  }
}

export const skb_queue_tail = kfunc("skb_queue_tail", function* (head: SkBuffHead, skb: SkBuff) {
  const flags = yield* spin_lock_irqsave(head.lock);
  head.put(skb, false);
  yield* spin_unlock_irqrestore(head.lock, flags);
});

export const skb_queue_head = kfunc("skb_queue_head", function* (head: SkBuffHead, skb: SkBuff) {
  const flags = yield* spin_lock_irqsave(head.lock);
  head.put(skb, true);
  yield* spin_unlock_irqrestore(head.lock, flags);
});

export const skb_dequeue = kfunc("skb_dequeue", function* (head: SkBuffHead) {
  const flags = yield* spin_lock_irqsave(head.lock);
  const skb = head.take();
  yield* spin_unlock_irqrestore(head.lock, flags);
  return skb;
});

/** Nothing keeps its packets until later here: freeing is freeing (dev_kfree_skb). */
export const dev_kfree_skb = (skb: SkBuff | undefined): Running => (skb ? __kfree_skb(skb) : finished());
