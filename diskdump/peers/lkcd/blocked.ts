import type { Lkcd } from "./lkcd.ts";
export function blockedLkcd(_lkcd: Lkcd): { on: string; because: string; function: string | undefined } | undefined {
  return undefined;
}
