// Shares as people read them.
import type { Interval } from "./wilson.ts";

/** "91.6" */
export const percent = (share: number): string => (share * 100).toFixed(1);

/** "57.5 - 78.6" */
export const range = ({ low, high }: Interval): string => `${percent(low)} - ${percent(high)}`;
