// The dump loop through each adapter, as a ratio to mptspi's in the same run: what a chip's model costs.
import { ADAPTER_CHOICES } from "../../tools/machine/adapters.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { timedTrial } from "./machine.ts";
import type { Row } from "./measure.ts";

const REFERENCE = "mptspi";
/** PIO is the CPU moving every word: its figure is its own. */
const WITHOUT_TARGET = ["ide"];
const TARGET = 2;

/** A row per adapter: paper's machine, or in a smoke run the small one. */
export function adapterRows(smoke: boolean): Row[] {
  const ref = smoke ? "learn" : "paper";
  const runs = smoke ? 1 : 3;
  const overridesOf = (adapter: string) => loadScenario(ref, [], undefined, adapter).source.overrides;
  const dumpSeconds = (adapter: string, seed: number): number =>
    timedTrial(ref, overridesOf(adapter), seed).between("dump memory", "dump completion");
  // The first trial of a process compiles what the others run.
  dumpSeconds(REFERENCE, 1);
  return Object.keys(ADAPTER_CHOICES)
    .filter((adapter) => adapter !== REFERENCE)
    .map((adapter) => {
      dumpSeconds(adapter, 1);
      // Turn by turn: what else the host does meets both alike.
      const pairs = Array.from({ length: runs }, (_, i) => {
        const reference = dumpSeconds(REFERENCE, i + 1);
        return { reference, took: dumpSeconds(adapter, i + 1) };
      });
      pairs.sort((a, b) => a.took / a.reference - b.took / b.reference);
      const { reference, took } = pairs[runs >> 1]!;
      return {
        name: `dump loop, ${adapter} / ${REFERENCE}`,
        ratio: took / reference,
        ...(smoke || WITHOUT_TARGET.includes(adapter) ? {} : { target: TARGET }),
        detail: `${took.toFixed(2)} s, ${REFERENCE} ${reference.toFixed(2)} s`,
      };
    });
}
