// Goal: the dump path works on each adapter, and on the network card. Method: one trial of the small machine per name that `--adapter` takes, judged by
// the oracles that compare every page of the vmcore with RAM at the freeze.
import { describe, expect, test } from "vitest";
import { ADAPTER_CHOICES } from "../../tools/machine/adapters.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import { conformanceCell } from "./cell.ts";

for (const adapter of Object.keys(ADAPTER_CHOICES)) {
  describe(`diskdump through ${adapter}`, () => {
    const cell = conformanceCell(adapter, "diskdump");
    test("saves every page of a machine that panicked under load", () => {
      const { record } = runTrial(loadScenario("learn", [], undefined, adapter), 1, {});
      expect(record).toMatchObject({ outcome: "complete", cause: null });
      cell.exercised(`INIT under load, ${record.dumpedPages} pages dumped and compared`);
    });
  });
}

describe("netdump through rtl8139", () => {
  const cell = conformanceCell("rtl8139 (netdump)", "diskdump");
  test("sends every page of a machine that panicked under load to the server", () => {
    const { record } = runTrial(loadScenario("learn", ["dump.dumper=netdump"]), 1, {});
    expect(record).toMatchObject({ outcome: "complete", cause: null });
    cell.exercised(`INIT under load, ${record.dumpedPages} pages sent to the server and compared`);
  });
});
