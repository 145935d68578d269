// dumplab inspect: what an image, a partition or a vmcore holds, and whether it adds up.
import { Command } from "commander";
import { renderInspect } from "../../../diskdump/userspace/inspect-text.ts";
import { inspect, isSound } from "../../../diskdump/userspace/inspect.ts";
import { openPartition } from "../../../diskdump/userspace/partition-table.ts";
import { IMAGE_ARGUMENT, withImage } from "../image.ts";
import type { CommandContext } from "../main.ts";
import { count } from "../options.ts";

export function inspectCommand({ terminal, exit }: CommandContext): Command {
  return new Command("inspect")
    .description("tell what an image or a vmcore holds, and whether it is consistent")
    .argument("<file>", `${IMAGE_ARGUMENT}, or a vmcore`)
    .option("--partition <n>", "which partition of a disk image; default: all", count(1))
    .option("--json", "print the report as JSON")
    .addHelpText(
      "after",
      `
Exit code 2 when something is wrong with it.

Examples:
  dumplab inspect disk.img
  dumplab inspect vmcore --json`,
    )
    .action((path: string, flags: { partition?: number; json?: true }) =>
      withImage(path, false, (image) => {
        const report = inspect(flags.partition === undefined ? image : openPartition(image, flags.partition));
        const sound = isSound(report);
        if (flags.json) terminal.out.write(`${JSON.stringify({ sound, ...report }, plainData)}\n`);
        else terminal.out.write(`${renderInspect(report).join("\n")}\n`);
        if (!sound) terminal.err.write(`dumplab: ${path}: something is wrong with it, see above\n`);
        exit(sound ? 0 : 2);
      }),
    );
}

/** For JSON.stringify: 64-bit numbers as hexadecimal text, bytes as hexadecimal text, and no open files. */
function plainData(key: string, value: unknown): unknown {
  if (typeof value === "bigint") return `0x${value.toString(16)}`;
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  return typeof value === "function" || ["store", "subHeader", "model"].includes(key) ? undefined : value;
}
