// docs/dumpers.md is made of what tests say here: one cell of the table of dumpers (test/features/table.mjs).
import type { TestContext } from "vitest";
import type { Dumper } from "../../tools/scenario/scenario.ts";

/** The white paper's points of view, chapter 3.1. */
export type FeatureName =
  | "robustness"
  | "safety"
  | "trigger"
  | "dump device"
  | "additional functions"
  | "core format"
  | "analysis tools"
  | "platform dependency";

declare module "vitest" {
  interface TaskMeta {
    features?: { dumper: string; feature: string; says: string }[];
  }
}

/** The running test proves that cell: `says` is what it asserts, and counts only when it passes. */
export function shows(context: TestContext, dumper: Dumper, feature: FeatureName, says: string): void {
  (context.task.meta.features ??= []).push({ dumper, feature, says });
}
