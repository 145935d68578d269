// Goal: the dump path works on each adapter. Method: one trial of the small machine per adapter model, judged by the
// oracles that compare every page of the vmcore with RAM at the freeze.
import { describe, expect, test } from "vitest";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import { conformanceCell } from "./cell.ts";

/** Adapter -> the model that a scenario names. */
const MODELS = { mptspi: "53c1030", mptsas: "sas1068" } as const;

for (const [adapter, model] of Object.entries(MODELS)) {
  describe(`diskdump through ${adapter}`, () => {
    const cell = conformanceCell(adapter, "diskdump");
    test("saves every page of a machine that panicked under load", () => {
      const { record } = runTrial(loadScenario("learn", [`adapters.0.model="${model}"`]), 1, {});
      expect(record).toMatchObject({ outcome: "complete", cause: null });
      cell.exercised(`INIT under load, ${record.dumpedPages} pages dumped and compared`);
    });
  });
}
