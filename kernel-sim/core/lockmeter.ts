// How much the locks are held and waited for: what SGI's lockmeter showed of real kernels, in its words. Bookkeeping beside the
// machine: kernel code does not see it, it takes no time, and nobody pays for it while it is off.
import { K } from "./kernel.ts";

/** The use of a lock, or of one place that takes it. Times in ns. */
export interface Tally {
  /** Times that it was taken. */
  total: number;
  /** Of these, after waiting; and the time that took. */
  contended: number;
  waitNs: number;
  waitMaxNs: number;
  /** Tries that failed (spin_trylock): lockmeter's RJECT. */
  rejected: number;
  holdNs: number;
  holdMaxNs: number;
}

const nothing = (): Tally => ({
  ...{ total: 0, contended: 0, waitNs: 0, waitMaxNs: 0, rejected: 0, holdNs: 0, holdMaxNs: 0 },
});

/** One lock's use. */
export class LockUse {
  readonly name: string;
  readonly all = nothing();
  /** By the id of the kernel function that took it. */
  readonly sites = new Map<number, Tally>();
  private since = -1;
  private holder = 0;

  constructor(name: string) {
    this.name = name;
  }

  private site(functionId: number): Tally {
    let tally = this.sites.get(functionId);
    if (!tally) this.sites.set(functionId, (tally = nothing()));
    return tally;
  }

  taken(at: number, functionId: number): void {
    this.since = at;
    this.holder = functionId;
    this.all.total++;
    this.site(functionId).total++;
  }

  freed(at: number): void {
    // Whoever held it when the measuring began does not count.
    if (this.since < 0) return;
    const ns = at - this.since;
    this.since = -1;
    for (const tally of [this.all, this.site(this.holder)]) {
      tally.holdNs += ns;
      tally.holdMaxNs = Math.max(tally.holdMaxNs, ns);
    }
  }

  waited(ns: number, functionId: number): void {
    for (const tally of [this.all, this.site(functionId)]) {
      tally.contended++;
      tally.waitNs += ns;
      tally.waitMaxNs = Math.max(tally.waitMaxNs, ns);
    }
  }

  rejected(functionId: number): void {
    this.all.rejected++;
    this.site(functionId).rejected++;
  }
}

/** Measures every lock of the running kernel from start() to stop(). */
export class LockMeter {
  readonly locks = new Map<string, LockUse>();

  start(): void {
    K.lockMeter = this;
    for (const lock of K.locks.values()) lock.meter = this.use(lock.name);
  }

  stop(): void {
    K.lockMeter = undefined;
    for (const lock of K.locks.values()) lock.meter = undefined;
  }

  /** The account of a lock, by its name: locks that share one share it. */
  use(name: string): LockUse {
    let use = this.locks.get(name);
    if (!use) this.locks.set(name, (use = new LockUse(name)));
    return use;
  }
}
