// Goal: every trigger of the shipped scenarios ends in a dump, or in the refusal that its lock must cause.
import { describe, expect, test } from "vitest";
import { builtInScenarios, loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";

/** What each scenario must end in; complete unless said otherwise. */
const EXPECTED: Readonly<Record<string, { outcome: string; cause: RegExp }>> = {
  "with-host-lock-held": { outcome: "refused", cause: /host_lock held/ },
  "panic-holding-host-lock": { outcome: "refused", cause: /host_lock held/ },
  "with-freeqlock-held": { outcome: "refused", cause: /adapter not sane/ },
};
/** Too long for a unit test, or shown elsewhere. */
const ELSEWHERE = ["paper", "paper-2.4", "paper-rhel3", "chapter-5"];

describe("the shipped scenario", () => {
  for (const { name } of builtInScenarios().filter(({ name }) => !ELSEWHERE.includes(name))) {
    const { outcome, cause } = EXPECTED[name] ?? { outcome: "complete", cause: undefined };
    test(`${name} ends ${outcome}`, () => {
      const { record } = runTrial(loadScenario(name), 1, {});
      expect({ outcome: record.outcome, cause: record.cause }).toEqual({
        outcome,
        cause: cause ? expect.stringMatching(cause) : null,
      });
      expect(record.crash).not.toBeNull();
    });
  }
});
