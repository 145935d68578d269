// dumplab export: a dump or core of one format becomes a core of another.
import { Command } from "commander";
import {
  exportCore,
  planExport,
  type Compression,
  type CoreFormat,
  type ExportOptions,
} from "../../../diskdump/cores/export-core.ts";
import { withKernelFacts } from "../../../diskdump/cores/kernel-facts.ts";
import { readKernelImage } from "../../../diskdump/cores/kernel-image.ts";
import { KernelMemory } from "../../../diskdump/cores/kernel-memory.ts";
import { isCoreFile, openCore } from "../../../diskdump/cores/open-core.ts";
import { MemMapFilter } from "../../../diskdump/cores/page-filter.ts";
import type { CoreProgress } from "../../../diskdump/cores/core.ts";
import { pagesIn } from "../../../diskdump/format/bitmap.ts";
import { createFile } from "../../whole-file.ts";
import { IMAGE_ARGUMENT, partitionOf, withImage } from "../image.ts";
import type { CommandContext } from "../main.ts";
import { compressOption, count, formatOption, levelOption } from "../options.ts";
import { refuseOutputs } from "../outputs.ts";
import type { Terminal } from "../terminal.ts";

interface ExportFlags {
  to: CoreFormat;
  compress?: Compression;
  level?: number;
  vmlinux?: string;
  out?: string;
  partition?: number;
  json?: true;
}

/** Whoever waits longer than this wants to know how far it is. */
const PATIENCE_MS = 2000;

export function exportCommand({ terminal, exit }: CommandContext): Command {
  return new Command("export")
    .description("write a dump or a vmcore in another format")
    .argument("<file>", `${IMAGE_ARGUMENT}, or a core file`)
    .addOption(formatOption("--to <format>", "what to write").makeOptionMandatory())
    .addOption(compressOption())
    .addOption(levelOption())
    .option(
      "--vmlinux <file>",
      "the kernel that died: tells kinds of pages, and what the format of <file> has no place for",
    )
    .option("-o, --out <path>", "where to write it; default: <file>.<format>")
    .option("--partition <n>", "which partition of a disk image", count(1))
    .option("--json", "print the result as one line of JSON instead of the path")
    .addHelpText(
      "after",
      `
Formats: elf (as kdump's /proc/vmcore), netdump (as savecore), diskdump, kdump (as makedumpfile), lkcd8, lkcd9.
Exit code 1 when <file> was incomplete: the result is, too.

Examples:
  dumplab export vmcore --to kdump
  dumplab export disk.img --partition 1 --to lkcd9 --compress rle -o dump.lkcd
  dumplab export vmcore --to kdump --level 31 --vmlinux vmlinux`,
    )
    .action((path: string, flags: ExportFlags) => {
      const out = flags.out ?? `${path}.${flags.to}`;
      refuseOutputs([out]);
      withImage(path, false, (image) => {
        const plain = openCore(
          isCoreFile(image) && flags.partition === undefined ? image : partitionOf(image, flags.partition),
        );
        const kernel = flags.vmlinux === undefined ? undefined : withImage(flags.vmlinux, false, readKernelImage);
        const memory = kernel && new KernelMemory(plain, kernel);
        const core = memory ? withKernelFacts(plain, memory) : plain;
        const order: ExportOptions = {
          format: flags.to,
          ...(flags.compress === undefined ? {} : { compress: flags.compress }),
          ...(flags.level === undefined ? {} : { level: flags.level }),
          ...(memory ? { filter: new MemMapFilter(memory) } : {}),
          onProgress: progressLine(terminal),
        };
        const plan = planExport(core, order);
        for (const text of [...core.shortcomings.map((what) => `incomplete: ${what}`), ...plan.remarks]) {
          terminal.err.write(`dumplab: ${text}\n`);
        }
        const writtenBytes = createFile(out, (sink) => exportCore(core, sink, order, plan));
        const result = {
          path: out,
          format: flags.to,
          compress: plan.compress,
          pages: pagesIn(plan.keep),
          writtenBytes,
        };
        terminal.out.write(flags.json ? `${JSON.stringify(result)}\n` : `${out}\n`);
        exit(core.shortcomings.length > 0 ? 1 : 0);
      });
    });
}

/** One line that is written over, from the third second on; it is gone at the end. */
function progressLine(terminal: Terminal): (progress: CoreProgress) => void {
  const begun = Date.now();
  let shown = false;
  return ({ donePages, allPages }) => {
    const finished = donePages >= allPages;
    if (!terminal.err.isTTY || (Date.now() - begun < PATIENCE_MS && !shown)) return;
    terminal.err.write(finished ? "\r\x1b[K" : `\r${donePages}/${allPages} pages\x1b[K`);
    shown = !finished;
  };
}
