// scsi_malloc() and scsi_free() (drivers/scsi/scsi_dma.c of 2.4): scatter-gather tables come from a pool of 512-byte sectors, one
// bit each, under one lock for all hosts.
import { step } from "../../emulator/cpu/cpu.ts";
import { peek32, poke32 } from "../abi/ram.ts";
import { K, type Kernel } from "../core/kernel.ts";
import { versionFunctions } from "../core/version-functions.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore, staticLock, type Spinlock } from "../core/spinlock.ts";
import { DMA_POOL_NS } from "../flavours/prices-2.4.ts";
import { scatterlistBytes, type scsi_cmnd } from "./host.ts";

const kfunc = versionFunctions("2.4.21", "scsi_mod");
const SECTOR = 512;
const BITS = 32;

class DmaPool {
  readonly allocator_request_lock: Spinlock = staticLock("allocator_request_lock");
  /** dma_malloc_freelist: a word for each 32 sectors, a bit for each that is taken. */
  readonly bitmap: number;
  readonly sectors: number;
  /** dma_malloc_pages: the sectors themselves. */
  readonly memory: number;

  /** scsi_resize_dma_pool(): enough for a table for every command of every host. */
  constructor() {
    const wanted = K.scsi.hosts.reduce((sum, host) => sum + (host.hostt.can_queue + 1) * sectorsOf(host.hostt), 0);
    this.sectors = Math.ceil(Math.max(wanted, BITS) / BITS) * BITS;
    this.bitmap = K.bootmem(this.sectors / 8);
    this.memory = K.bootmem(this.sectors * SECTOR, 4096);
  }
}

const pools = new WeakMap<Kernel, DmaPool>();
function dmaPool(): DmaPool {
  let pool = pools.get(K);
  if (!pool) pools.set(K, (pool = new DmaPool()));
  return pool;
}

const sectorsOf = (hostt: { readonly sg_tablesize: number }): number =>
  Math.ceil((hostt.sg_tablesize * scatterlistBytes()) / SECTOR);

/** A table for the command's request. Returns: false when the pool is empty. Locks: allocator_request_lock, inside. Context: any. */
export const scsi_malloc = kfunc("scsi_malloc", function* (cmd: scsi_cmnd) {
  const pool = dmaPool();
  const wanted = sectorsOf(cmd.device.host.hostt);
  const mask = 2 ** wanted - 1;
  const flags = yield* spin_lock_irqsave(pool.allocator_request_lock);
  step(DMA_POOL_NS);
  for (let word = 0; word < pool.sectors / BITS; word++) {
    const at = pool.bitmap + word * 4;
    const taken = peek32(at) >>> 0;
    for (let bit = 0; bit + wanted <= BITS; bit++) {
      if ((taken & (mask << bit)) !== 0) continue;
      poke32(at, taken | (mask << bit));
      step(2);
      cmd.sglist = word * BITS + bit;
      cmd.sgTable = pool.memory + cmd.sglist * SECTOR;
      cmd.s.sglist_len = wanted * SECTOR;
      yield* spin_unlock_irqrestore(pool.allocator_request_lock, flags);
      return true;
    }
  }
  yield* spin_unlock_irqrestore(pool.allocator_request_lock, flags);
  return false;
});

/** The command's table back to the pool. Locks: allocator_request_lock, inside. Context: any. */
export const scsi_free = kfunc("scsi_free", function* (cmd: scsi_cmnd) {
  const pool = dmaPool();
  const wanted = cmd.s.sglist_len / SECTOR;
  const flags = yield* spin_lock_irqsave(pool.allocator_request_lock);
  step(DMA_POOL_NS / 2);
  const at = pool.bitmap + Math.floor(cmd.sglist / BITS) * 4;
  poke32(at, peek32(at) & ~((2 ** wanted - 1) << (cmd.sglist % BITS)));
  cmd.sglist = -1;
  cmd.sgTable = 0;
  yield* spin_unlock_irqrestore(pool.allocator_request_lock, flags);
});
