// What happened, in a ring of plain records: time, who, what, two numbers. Off costs one test.

export interface TraceRecord {
  /** Nanoseconds since power-on. */
  readonly at: number;
  /** "cpu0", "mpt0", "sda". */
  readonly who: string;
  readonly what: string;
  readonly a: number;
  readonly b: number;
}

export class TraceRecorder {
  enabled = false;
  private readonly names: string[] = [];
  private readonly nameIds = new Map<string, number>();
  private ring = new Float64Array(0);
  private capacity = 0;
  private count = 0;

  /** Starts recording the last `capacity` records. */
  start(capacity = 1 << 18): void {
    this.enabled = true;
    this.capacity = capacity;
    this.ring = new Float64Array(capacity * 5);
    this.count = 0;
  }

  private id(name: string): number {
    let id = this.nameIds.get(name);
    if (id === undefined) {
      id = this.names.length;
      this.names.push(name);
      this.nameIds.set(name, id);
    }
    return id;
  }

  record(at: number, who: string, what: string, a: number, b: number): void {
    if (!this.enabled) return;
    const base = (this.count++ % this.capacity) * 5;
    const { ring } = this;
    ring[base] = at;
    ring[base + 1] = this.id(who);
    ring[base + 2] = this.id(what);
    ring[base + 3] = a;
    ring[base + 4] = b;
  }

  /** Records that fell out of the ring. */
  get dropped(): number {
    return Math.max(0, this.count - this.capacity);
  }

  *records(): Generator<TraceRecord> {
    const first = this.dropped;
    for (let i = first; i < this.count; i++) {
      const base = (i % this.capacity) * 5;
      const { ring, names } = this;
      yield {
        at: ring[base]!,
        who: names[ring[base + 1]!]!,
        what: names[ring[base + 2]!]!,
        a: ring[base + 3]!,
        b: ring[base + 4]!,
      };
    }
  }
}
