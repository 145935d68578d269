// dumplab format: what `service diskdump initialformat` does, on an image.
import { renameSync, rmSync } from "node:fs";
import { Command, Option } from "commander";
import { hasDump } from "../../../diskdump/userspace/dump-image.ts";
import { isElf } from "../../../diskdump/userspace/elf-core.ts";
import { plural, UsageError } from "../../../diskdump/userspace/errors.ts";
import { FileStore } from "../../../diskdump/userspace/file-store.ts";
import { formatPartition } from "../../../diskdump/userspace/format.ts";
import { missingBytesOf } from "../../../diskdump/userspace/partition-store.ts";
import { parseSize, SIZE_EXPECTED } from "../../scenario/units.ts";
import { IMAGE_ARGUMENT, partitionOf, withImage } from "../image.ts";
import type { CommandContext } from "../main.ts";
import { count } from "../options.ts";
import { refuseOutputs } from "../outputs.ts";

interface FormatFlags {
  partition?: number;
  create?: string;
  formula: "paper" | "rhel4";
  bigEndian?: true;
  blockSize: number;
  sparse?: true;
  blockOrder: number;
  sampleRate: number;
  force?: true;
}

export function formatCommand({ terminal }: CommandContext): Command {
  return new Command("format")
    .description("write diskdump's signatures over a dump partition; what it held is lost")
    .argument("<image>", IMAGE_ARGUMENT)
    .option("--partition <n>", "which partition of a disk image", count(1))
    .option("--create <size>", "make the image first, of that size")
    .addOption(
      new Option("--formula <name>", "(x + 3) * 11 as in the white paper, or (x + 7) * 11 as in its later release")
        .choices(["paper", "rhel4"])
        .default("paper"),
    )
    .option("--big-endian", "for a big-endian machine (ppc64)")
    .option("--block-size <bytes>", "the machine's page size", count(4096), 4096)
    .option("--sparse", "only the blocks that the module inspects: fast")
    .option("--block-order <n>", "with --sparse: the module's block_order", count(0), 2)
    .option("--sample-rate <n>", "with --sparse: the module's sample_rate", count(0), 8)
    .option("--force", "also over a dump that has not been saved")
    .addHelpText(
      "after",
      `
Examples:
  dumplab format --create 80MiB dump.img
  dumplab format disk.img --partition 1 --sparse`,
    )
    .action((path: string, flags: FormatFlags) => {
      if (flags.create === undefined) sign(path, path, flags);
      else createSigned(path, flags.create, flags);
    });

  /** Under another name until it is whole. */
  function createSigned(path: string, sizeText: string, flags: FormatFlags): void {
    const sizeBytes = parseSize(sizeText);
    if (sizeBytes === undefined) throw new UsageError(`--create: expected ${SIZE_EXPECTED}; got ${sizeText}`);
    refuseOutputs([path]);
    const unfinished = `${path}.new-${process.pid}`;
    FileStore.create(unfinished, sizeBytes).close();
    try {
      sign(unfinished, path, flags);
      renameSync(unfinished, path);
    } finally {
      rmSync(unfinished, { force: true });
    }
  }

  function sign(path: string, shownPath: string, flags: FormatFlags): void {
    withImage(path, true, (image) => {
      const partition = partitionOf(image, flags.partition);
      if (!flags.force && hasDump(partition)) {
        throw new UsageError(`${partition.name}: holds a dump; save it with dumplab savecore, or use --force`);
      }
      if (!flags.force && isElf(partition)) {
        throw new UsageError(`${partition.name}: is an ELF file, perhaps a vmcore; --force overwrites it`);
      }
      const missing = missingBytesOf(partition);
      if (missing > 0) {
        throw new UsageError(
          `${partition.name}: the image is truncated: it ends ${missing} bytes before the partition`,
        );
      }
      const { blockOrder, sampleRate } = flags;
      const { blockSize, deviceBlocks, writtenBlocks } = formatPartition(partition, {
        formula: flags.formula,
        littleEndian: flags.bigEndian !== true,
        blockSize: flags.blockSize,
        sparse: flags.sparse ? { blockOrder, sampleRate } : false,
      });
      const blocks = `${writtenBlocks} of ${plural(deviceBlocks, "block")}`;
      terminal.err.write(`dumplab: ${shownPath}: signed ${blocks} of ${blockSize} bytes\n`);
    });
  }
}
