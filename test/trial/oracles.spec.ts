// Goal: the oracles can fail. Method: damage one thing in a trial that is complete without it, and see the right outcome.
import { describe, expect, test } from "vitest";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialRecord } from "../../tools/trial/types.ts";
import { shows } from "../features/feature.ts";

const trial = (...overrides: string[]): TrialRecord => runTrial(loadScenario("learn", overrides), 1, {}).record;

describe("a trial of the learning machine", () => {
  test("is complete: every page equals RAM at the freeze", () => {
    const record = trial();
    expect(record).toMatchObject({ outcome: "complete", cause: null });
    expect(record.dumpedPages).toBeGreaterThan(10_000);
  });

  test("with one bit of a dumped page flipped is corrupt, and the page is named", () => {
    const record = trial('damage=[{"kind":"flipDumpedBit","page":9000,"bit":12345}]');
    expect(record.outcome).toBe("corrupt");
    expect(record.cause).toMatch(
      /^page 0x[0-9a-f]+ differs from RAM at the freeze, first in byte 1543 \(1 wrong pages\)$/,
    );
  });

  test("in which one sector behind the partition is written wrote outside, and the sector is named", () => {
    const record = trial('damage=[{"kind":"writeOutsidePartition","sectorsBeyond":7}]');
    expect(record.outcome).toBe("wrote-outside");
    expect(record.cause).toMatch(/was written outside the dump partition, first at sector \d+$/);
  });

  test("in which the adapter drops a completion is incomplete by an I/O error, not a hang", () => {
    const record = trial('damage=[{"kind":"dropCompletion","write":5}]');
    expect(record.outcome).toBe("incomplete");
    expect(record.cause).toMatch(/write error/);
  });

  test("with a damaged byte in the dump module is refused before anything is written", (context) => {
    shows(context, "diskdump", "safety", "a damaged module is refused before anything is written");
    const record = trial('damage=[{"kind":"damageModule","offset":100}]');
    expect(record).toMatchObject({ outcome: "refused", dumpedPages: 0 });
    expect(record.cause).toMatch(/module damaged/);
  });
});
