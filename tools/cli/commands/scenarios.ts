// dumplab scenarios: what comes with it, and what a scenario file means.
import { Command } from "commander";
import { table } from "../../campaign/report.ts";
import { scenarioHash } from "../../scenario/identity.ts";
import { builtInScenarios, loadScenario } from "../../scenario/load.ts";
import type { CommandContext } from "../main.ts";
import { setOption } from "../options.ts";

export function scenariosCommand({ terminal }: CommandContext): Command {
  return new Command("scenarios")
    .description("list the built-in scenarios, or show one with every default applied")
    .argument("[scenario]", "built-in name, or path of a YAML or JSON file")
    .addOption(setOption())
    .addHelpText(
      "after",
      `
Examples:
  dumplab scenarios                      the list
  dumplab scenarios paper                the white paper's machine, every key, sizes in bytes
  dumplab scenarios ./mine.yaml          checks a file: exit code 2 and what is wrong with it`,
    )
    .action((ref: string | undefined, options: { set: string[] }) => {
      if (ref === undefined) {
        terminal.out.write(`${table(builtInScenarios().map(({ name, description }) => [name, description]))}\n`);
        return;
      }
      const scenario = loadScenario(ref, options.set);
      terminal.out.write(`${JSON.stringify({ hash: scenarioHash(scenario), ...scenario }, undefined, 2)}\n`);
    });
}
