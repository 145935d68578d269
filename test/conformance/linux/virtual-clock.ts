// The guest's time: so many nanoseconds per instruction, and jumps over the time in which its CPU sleeps.

/** A CPU of about 100 million instructions per second. */
export const NS_PER_INSTRUCTION = 10;

export class VirtualClock {
  private ns: number;
  private last = 0;
  private counter: () => number = () => 0;

  constructor(startNs = 0) {
    this.ns = startNs;
  }

  /** From now on time follows `counter`: instructions so far, modulo 2^32. */
  follow(counter: () => number): void {
    this.nowNs();
    this.counter = counter;
    this.last = counter();
  }

  /** Nanoseconds since the guest was switched on. */
  nowNs(): number {
    const count = this.counter();
    const passed = (count - this.last) >>> 0;
    if (passed > 0) {
      this.last = count;
      this.ns += passed * NS_PER_INSTRUCTION;
    }
    return this.ns;
  }

  /** The CPU sleeps until something happens in `ns` nanoseconds. */
  jump(ns: number): void {
    this.nowNs();
    this.ns += ns;
  }
}
