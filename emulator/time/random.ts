// Named random streams: every consumer draws from the stream of its own label, so a new consumer moves no other.

/** sfc32: small, fast, passes PractRand; seeded through splitmix32 of the label and the seed. */
export class RandomStream {
  private a: number;
  private b: number;
  private c: number;
  private counter = 1;

  constructor(seed: number, label: string) {
    let h = (seed ^ Math.floor(seed / 4294967296)) | 0;
    for (let i = 0; i < label.length; i++) h = Math.imul(h ^ label.charCodeAt(i), 0x9e3779b1) + (h >>> 15);
    const split = (): number => {
      h = (h + 0x9e3779b9) | 0;
      let z = h;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return z ^ (z >>> 15);
    };
    this.a = split();
    this.b = split();
    this.c = split();
    for (let i = 0; i < 12; i++) this.u32();
  }

  /** 0 .. 2^32-1 */
  u32(): number {
    const t = (this.a + this.b + this.counter++) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = ((this.c << 21) | (this.c >>> 11)) + t;
    return t >>> 0;
  }

  /** A double in [0, 1). */
  unit(): number {
    return (this.u32() * 2097152 + (this.u32() >>> 11)) / 9007199254740992;
  }

  /** An integer in [low, high], both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.unit() * (high - low + 1));
  }

  /** An index drawn with the given weights. */
  weighted(weights: readonly number[]): number {
    let total = 0;
    for (const weight of weights) total += weight;
    let at = this.unit() * total;
    for (let i = 0; i < weights.length; i++) {
      at -= weights[i]!;
      if (at < 0) return i;
    }
    return weights.length - 1;
  }
}

export class RandomSource {
  readonly seed: number;
  private readonly streams = new Map<string, RandomStream>();
  constructor(seed: number) {
    this.seed = seed;
  }
  stream(label: string): RandomStream {
    let stream = this.streams.get(label);
    if (!stream) this.streams.set(label, (stream = new RandomStream(this.seed, label)));
    return stream;
  }
}
