// The Wilson score interval: the 95 % interval that the tables print beside a success rate.

/** The 97.5th percentile of the standard normal distribution. */
const Z = 1.959963984540054;

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Shares between 0 and 1. Without trials, everything is possible. Throws a RangeError for impossible counts. */
export function wilson(successes: number, trials: number): Interval {
  if (!(successes >= 0 && successes <= trials)) throw new RangeError(`wilson: ${successes} successes of ${trials}`);
  if (trials === 0) return { low: 0, high: 1 };
  const share = successes / trials;
  const shrink = 1 + Z ** 2 / trials;
  const middle = (share + Z ** 2 / (2 * trials)) / shrink;
  const half = (Z / shrink) * Math.sqrt((share * (1 - share)) / trials + Z ** 2 / (4 * trials ** 2));
  // At 0 and at n the formula gives exactly 0 and 1, give or take a rounding error.
  return {
    low: successes === 0 ? 0 : Math.max(0, middle - half),
    high: successes === trials ? 1 : Math.min(1, middle + half),
  };
}
