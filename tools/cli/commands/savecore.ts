// dumplab savecore: the second stage of a dump, on an image.
import { Command, Option } from "commander";
import type { Compression, CoreFormat } from "../../../diskdump/cores/export-core.ts";
import { readKernelImage, type KernelImage } from "../../../diskdump/cores/kernel-image.ts";
import { lkcdOnPartition } from "../../../diskdump/cores/lkcd-partition.ts";
import { isElf } from "../../../diskdump/userspace/elf-core.ts";
import { UsageError } from "../../../diskdump/userspace/errors.ts";
import {
  savecore,
  type ResignMode,
  type SavecoreOptions,
  type SavecoreResult,
} from "../../../diskdump/userspace/savecore.ts";
import type { ByteStore } from "../../../emulator/memory/store.ts";
import { lkcdDiscard, lkcdSave } from "../lkcd-save.ts";
import { IMAGE_ARGUMENT, partitionOf, withImage } from "../image.ts";
import type { CommandContext } from "../main.ts";
import { compressOption, count, formatOption, levelOption } from "../options.ts";

interface SavecoreFlags {
  partition?: number;
  directory: string;
  resign: ResignMode;
  verbose?: true;
  progress?: true;
  delete?: true;
  force?: true;
  pageFlags?: string;
  format: CoreFormat;
  compress?: Compression;
  level?: number;
  vmlinux?: string;
  discard?: true;
  json?: true;
}

export function savecoreCommand({ terminal, exit }: CommandContext): Command {
  return new Command("savecore")
    .description("turn the dump on a partition into <directory>/127.0.0.1-<date>/vmcore and sign the partition again")
    .argument("<image>", IMAGE_ARGUMENT)
    .option("--partition <n>", "which partition of a disk image", count(1))
    .option("--directory <path>", "where crash directories go; /var/crash on a real system", ".")
    .addOption(
      new Option("--resign <which>", "blocks to sign again: none leaves the image as it is")
        .choices(["all", "sampled", "none"])
        .default("all"),
    )
    .option("-v, --verbose", "say what is done")
    .option("-p, --progress", "show how far it is")
    .option("-D, --delete", "delete the dump after it was saved, also with --resign none")
    .option("-f, --force", "save although the crash directory exists; replaces a vmcore in it")
    .addOption(formatOption("--format <format>", "what the vmcore is").default("netdump"))
    .addOption(compressOption())
    .addOption(levelOption())
    .option("--vmlinux <file>", "the kernel that died; --level and -P need it")
    .option("-P, --page-flags <flags>", "pages with any of these page->flags stay uncompressed, as 0x80 for slab")
    .option("-X, --discard", "delete the dump without saving it")
    .option("--json", "print the result as one line of JSON instead of the vmcore's path")
    .addHelpText(
      "after",
      `
Exit code 1 when the dump was incomplete (vmcore-incomplete), 2 when there was no space for it: then it is still on the
partition.

Examples:
  dumplab trial learn --disk disk.img && dumplab savecore disk.img --partition 1
  dumplab savecore dump.img --resign none --directory crash -v
  dumplab savecore dump.img --format kdump --level 31 --vmlinux vmlinux

An LKCD dump on a swap partition is copied as it is, and its header (not the swap header) erased: "lkcd save".`,
    )
    .action((path: string, flags: SavecoreFlags) => {
      const changesImage = flags.resign !== "none" || flags.delete === true || flags.discard === true;
      withImage(path, changesImage, (image) => {
        const kernel = flags.vmlinux === undefined ? undefined : withImage(flags.vmlinux, false, readKernelImage);
        const partition = partitionOf(image, flags.partition);
        refuseElfCore(path, partition, flags.partition);
        const result = saveLkcdDump(partition, flags) ?? savecore(partition, optionsFrom(flags, kernel));
        if (flags.progress && terminal.err.isTTY) terminal.err.write("\n");
        if (flags.json) terminal.out.write(`${JSON.stringify(result)}\n`);
        else if (result.path !== undefined) terminal.out.write(`${result.path}\n`);
        // Of a lack of space savecore has told itself.
        else if (result.outcome !== "no space") terminal.err.write(`dumplab: ${path}: ${result.outcome}\n`);
        exit(result.outcome === "no space" ? 2 : result.outcome === "incomplete" ? 1 : 0);
      });
    });

  /** What kdump and mkdump leave is no dump of savecore's kind: it is a core already. */
  function refuseElfCore(path: string, partition: ByteStore, number: number | undefined): void {
    if (!isElf(partition)) return;
    const where = number === undefined ? "" : ` --partition ${number}`;
    throw new UsageError(
      `${partition.name}: holds an ELF core, as kdump and mkdump leave it; "dumplab export ${path}${where} --to kdump --out vmcore" ` +
        "saves it, and makes the other formats of it",
    );
  }

  /** LKCD's dumps are copied as they are. Undefined: there is none. */
  function saveLkcdDump(partition: ByteStore, flags: SavecoreFlags): SavecoreResult | undefined {
    if (!lkcdOnPartition(partition)) return undefined;
    if (flags.discard) {
      lkcdDiscard(partition);
      return { outcome: "deleted", savedPages: 0, writtenBytes: 0, shortcomings: [], resigned: false };
    }
    if (flags.format !== "netdump" || flags.compress !== undefined || flags.level !== undefined) {
      const what = "an LKCD dump, which savecore copies as it is";
      throw new UsageError(`${partition.name}: holds ${what}; "dumplab export" makes other formats of it`);
    }
    const forget = flags.resign !== "none" || flags.delete === true;
    return lkcdSave(partition, { directory: flags.directory, forget, force: flags.force === true });
  }

  function optionsFrom(flags: SavecoreFlags, kernel: KernelImage | undefined): SavecoreOptions {
    return {
      directory: flags.directory,
      resign: flags.resign,
      deleteAfterSave: flags.delete === true,
      deleteOnly: flags.discard === true,
      force: flags.force === true,
      format: flags.format,
      ...(flags.compress === undefined ? {} : { compress: flags.compress }),
      ...(flags.level === undefined ? {} : { level: flags.level }),
      ...(kernel === undefined ? {} : { kernel }),
      ...(flags.pageFlags === undefined ? {} : { pageFlags: flags.pageFlags }),
      runId: String(process.pid),
      // What went wrong is said in any case.
      onMessage: (line) => {
        if (flags.verbose || /^(warning|incomplete|not enough)/.test(line)) terminal.err.write(`dumplab: ${line}\n`);
      },
      ...(flags.progress ? { onProgress: ({ donePages, allPages }) => showProgress(donePages, allPages) } : {}),
    };
  }

  function showProgress(donePages: number, allPages: number): void {
    const text = `${donePages}/${allPages} pages`;
    terminal.err.write(terminal.err.isTTY ? `\r${text}\x1b[K` : `${text}\n`);
  }
}
