// The command line: builds the commands, runs one, and turns what happens into an exit code.
import { Command, CommanderError } from "commander";
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { version } from "../version.ts";
import { benchCommand } from "./commands/bench.ts";
import { exportCommand } from "./commands/export.ts";
import { formatCommand } from "./commands/format.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { lockmeterCommand } from "./commands/lockmeter.ts";
import { netdumpServerCommand } from "./commands/netdump-server.ts";
import { replayCommand } from "./commands/replay.ts";
import { savecoreCommand } from "./commands/savecore.ts";
import { scenariosCommand } from "./commands/scenarios.ts";
import { trialCommand } from "./commands/trial.ts";
import type { Lab } from "./lab.ts";
import type { ExitCode, Terminal } from "./terminal.ts";

/** What a command is given; it answers with `exit`, and 0 is meant when it does not. */
export interface CommandContext extends Lab {
  readonly terminal: Terminal;
  readonly exit: (code: ExitCode) => void;
}

const COMMANDS: readonly ((context: CommandContext) => Command)[] = [
  trialCommand,
  benchCommand,
  replayCommand,
  formatCommand,
  savecoreCommand,
  inspectCommand,
  exportCommand,
  lockmeterCommand,
  netdumpServerCommand,
  scenariosCommand,
];

/** A message may quote a file that is no text: nothing of it may steer the terminal. */
function printable(message: string): string {
  return message.trimEnd().replace(/[^\P{C}\n]|\ufffd/gu, "?");
}

/** Runs one command line (without node and script). Never throws for what a user can get wrong. */
export async function main(args: readonly string[], terminal: Terminal, lab: Lab): Promise<ExitCode> {
  let exitCode: ExitCode = 0;
  const program = new Command("dumplab")
    .description("A machine you can crash ten thousand times a day.")
    .version(version)
    .addHelpText("after", "\nExit codes: 0 as expected, 1 a trial failed, 2 usage.\nFirst try: dumplab trial");
  const commands = COMMANDS.map((build) => build({ ...lab, terminal, exit: (code) => (exitCode = code) }));
  for (const command of commands) program.addCommand(command);
  for (const command of [program, ...commands]) {
    command.exitOverride().showHelpAfterError("(--help shows what there is)");
    command.configureOutput({
      writeOut: (text) => void terminal.out.write(text),
      writeErr: (text) => void terminal.err.write(text),
    });
  }
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    // Commander has printed its own message; --help and --version end this way too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof UsageError)) throw error;
    terminal.err.write(`dumplab: ${printable(error.message)}\n`);
    return 2;
  }
}
