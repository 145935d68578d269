// savecore: the second stage of a dump (white paper 1.2, 5.3). The partition becomes <dir>/127.0.0.1-<date>/vmcore, and is signed again.
import type { ByteStore } from "../../emulator/memory/store.ts";
import { HEADER_BLOCK } from "../format/layout.ts";
import type { DumpHeader } from "../format/header.ts";
import { firstWrongWord, type SignatureFormula } from "../format/signature.ts";
import { FileSink } from "./core-sink.ts";
import type { CoreProgress } from "../cores/core.ts";
import {
  exportCore,
  planExport,
  type Compression,
  type CoreFormat,
  type ExportOptions,
  type ExportPlan,
} from "../cores/export-core.ts";
import type { CoreReader } from "../cores/core.ts";
import { withKernelFacts } from "../cores/kernel-facts.ts";
import type { KernelImage } from "../cores/kernel-image.ts";
import { KernelMemory } from "../cores/kernel-memory.ts";
import { MemMapFilter } from "../cores/page-filter.ts";
import { partitionCore } from "../cores/partition-core.ts";
import { openDump, hasDump, type DumpImage } from "./dump-image.ts";
import { errorCode, hex, plural, systemReason, UsageError } from "./errors.ts";
import { formatOf, formatPartition, signBlock, type SampleRule } from "./format.ts";
import { nodeFiles, type HostFiles } from "./host-files.ts";

/** What becomes of the partition's signatures. */
export type ResignMode =
  /** Every block that the dump may have overwritten (default). */
  | "all"
  /** Only those that the module samples. */
  | "sampled"
  /** None: the dump stays on the partition. */
  | "none";

export interface SavecoreOptions {
  /** The crash directory, /var/crash on a real system. */
  readonly directory: string;
  /** Default "all". */
  readonly resign?: ResignMode;
  /** The module's sampling parameters, for "sampled". */
  readonly sample?: SampleRule;
  /** Formula for signing; default: the one of block 0, or the paper's. */
  readonly formula?: SignatureFormula;
  /** -D: the dump is deleted after it was saved, even with `resign: "none"`. */
  readonly deleteAfterSave?: boolean;
  /** -X: the dump is deleted without being saved. */
  readonly deleteOnly?: boolean;
  /** -f: save although there is a core of this crash; it is replaced. */
  readonly force?: boolean;
  /** The file's format; default "netdump", the one that savecore always wrote. */
  readonly format?: CoreFormat;
  /** How pages are kept; default: the format's own. */
  readonly compress?: Compression;
  /** Kinds of pages to leave out: makedumpfile's dump level. Anything but 1 needs the kernel. */
  readonly level?: number;
  /** The vmlinux of the system that died. */
  readonly kernel?: KernelImage;
  /** -P: pages with any of these page->flags stay uncompressed; a number, "0x80" or "128". Needs the kernel. */
  readonly pageFlags?: string;
  /** -v: what is being done, line by line. */
  readonly onMessage?: (line: string) => void;
  /** -p. */
  readonly onProgress?: (progress: CoreProgress) => void;
  /** Distinguishes temporary files of several runs; the CLI passes its process id. */
  readonly runId?: string;
  readonly files?: HostFiles;
}

export interface SavecoreResult {
  /**
   * "saved": vmcore; "incomplete": vmcore-incomplete; "no dump": the partition is formatted and holds none; "deleted": -X;
   * "no space": nothing was saved and the dump is still on the partition.
   */
  readonly outcome: "saved" | "incomplete" | "no dump" | "deleted" | "no space";
  /** The core's path. */
  readonly path?: string;
  readonly savedPages: number;
  /** Bytes that take up space in the core. */
  readonly writtenBytes: number;
  readonly shortcomings: readonly string[];
  readonly resigned: boolean;
}

const NOTHING = { savedPages: 0, writtenBytes: 0, shortcomings: [] };

/** "127.0.0.1-2006-03-30-14:05": the time of the crash, in UTC so that it does not depend on the host. */
export function crashDirectoryName(header: Pick<DumpHeader, "timestampSeconds">): string {
  const time = new Date(header.timestampSeconds * 1000);
  if (Number.isNaN(time.getTime())) return "127.0.0.1-unknown";
  return `127.0.0.1-${time.toISOString().slice(0, 10)}-${time.toISOString().slice(11, 16)}`;
}

/**
 * Saves the dump of a partition as a core file. Throws a UsageError for a partition that is neither formatted nor a dump, for
 * a damaged dump, and for a target that exists; then nothing has been written.
 */
export function savecore(partition: ByteStore, options: SavecoreOptions): SavecoreResult {
  if (!hasDump(partition)) {
    const format = formatOf(partition);
    if (format) {
      refuseWithoutHeader(partition, format.blockSize);
      options.onMessage?.(`${partition.name}: no dump`);
      return { outcome: "no dump", ...NOTHING, resigned: false };
    }
    openDump(partition); // says what is missing
  }
  if (options.deleteOnly) {
    deleteDump(partition, options, undefined);
    return { outcome: "deleted", ...NOTHING, resigned: options.resign !== "none" };
  }
  const dump = openDump(partition);
  for (const { what } of dump.problems) options.onMessage?.(`warning: ${what}`);
  for (const shortcoming of dump.shortcomings) options.onMessage?.(`incomplete: ${shortcoming}`);

  const saved = saveCore(dump, planSave(dump, options), options);
  if (!saved) return { outcome: "no space", ...NOTHING, shortcomings: dump.shortcomings, resigned: false };
  const resigned = afterSave(dump, options);
  return {
    outcome: dump.shortcomings.length === 0 ? "saved" : "incomplete",
    ...saved,
    savedPages: dump.presentPages,
    shortcomings: dump.shortcomings,
    resigned,
  };
}

/** A partition that ends before its header cannot be said to hold no dump: the image is truncated. */
function refuseWithoutHeader(partition: ByteStore, blockSize: number): void {
  const headerEnd = (HEADER_BLOCK + 1) * blockSize;
  if (partition.sizeBytes >= headerEnd) return;
  throw new UsageError(
    `${partition.name}: is truncated: it ends at offset ${hex(partition.sizeBytes)}, a dump's header at ${hex(headerEnd)}`,
  );
}

interface SavePlan {
  readonly core: CoreReader;
  readonly order: ExportOptions;
  readonly plan: ExportPlan;
}

/** What will be written, before anything is: a request that cannot be met changes nothing. */
function planSave(dump: DumpImage, options: SavecoreOptions): SavePlan {
  const { kernel, pageFlags } = options;
  if (pageFlags !== undefined && !/^(0x[0-9a-f]+|\d+)$/i.test(pageFlags)) {
    throw new UsageError(`-P ${pageFlags}: expected page->flags as a number, as in 0x80 for slab pages`);
  }
  const plain = partitionCore(dump);
  const memory = kernel && new KernelMemory(plain, kernel);
  const core = memory ? withKernelFacts(plain, memory) : plain;
  const order: ExportOptions = {
    format: options.format ?? "netdump",
    ...(options.compress === undefined ? {} : { compress: options.compress }),
    ...(options.level === undefined ? {} : { level: options.level }),
    ...(memory ? { filter: new MemMapFilter(memory) } : {}),
    ...(pageFlags === undefined ? {} : { plainFlags: BigInt(pageFlags) }),
    ...(options.onProgress ? { onProgress: options.onProgress } : {}),
  };
  const plan = planExport(core, order);
  for (const remark of plan.remarks) options.onMessage?.(remark);
  return { core, order, plan };
}

function saveCore(
  dump: DumpImage,
  planned: SavePlan,
  options: SavecoreOptions,
): { path: string; writtenBytes: number } | undefined {
  const files = options.files ?? nodeFiles;
  const directory = `${options.directory}/${crashDirectoryName(dump.header)}`;
  const existed = files.exists(directory);
  // A directory without a core is what a savecore that was killed leaves behind: the dump in it still has to be saved.
  const present = ["vmcore", "vmcore-incomplete"].find((name) => files.exists(`${directory}/${name}`));
  if (present && !options.force) {
    throw new UsageError(`${directory}/${present}: exists; this dump may have been saved already (-f saves it again)`);
  }
  const path = `${directory}/${dump.shortcomings.length === 0 ? "vmcore" : "vmcore-incomplete"}`;
  const temporary = `${directory}/vmcore.tmp-${options.runId ?? "savecore"}`;
  for (const lastTry of [false, true]) {
    options.onMessage?.(`saving ${plural(dump.presentPages, "page")} to ${path}`);
    const failure = tryToSave(planned, options, { directory, path, temporary });
    if (typeof failure === "number") return { path, writtenBytes: failure };
    if (!existed) files.removeEmptyDirectory(directory);
    if (!isNoSpace(failure)) {
      if (failure instanceof UsageError || errorCode(failure) === undefined) throw failure;
      throw new UsageError(`${temporary}: cannot be written: ${systemReason(failure)}`, { cause: failure });
    }
    options.onMessage?.(`${directory}: ${systemReason(failure)}`);
    if (lastTry) break;
    // The script makes room and asks for another try with an exit code that is not zero.
    const code = files.run(`${options.directory}/script/diskdump-nospace`, ["127.0.0.1", directory]);
    if (code === undefined || code === 0) break;
  }
  options.onMessage?.(`not enough space in ${options.directory}: nothing was saved, the dump stays on the partition`);
  return undefined;
}

const isNoSpace = (error: unknown): boolean => ["ENOSPC", "EDQUOT"].includes(errorCode(error) ?? "");

/** Returns the bytes written, or the error; the temporary file is gone then. */
function tryToSave(
  { core, order, plan }: SavePlan,
  options: SavecoreOptions,
  paths: { directory: string; path: string; temporary: string },
): number | Error {
  const files = options.files ?? nodeFiles;
  let created = false;
  try {
    files.makeDirectory(paths.directory);
    const file = files.create(paths.temporary);
    created = true;
    const sink = new FileSink(file);
    try {
      exportCore(core, sink, order, plan);
      // The only other copy is about to be overwritten.
      if (destroysDump(options)) file.sync();
    } finally {
      file.close();
    }
    if (!options.force && files.exists(paths.path)) {
      throw new UsageError(`${paths.path}: was made by somebody else in the meantime`);
    }
    files.rename(paths.temporary, paths.path);
    return sink.writtenBytes;
  } catch (error) {
    if (created) files.remove(paths.temporary);
    return error instanceof Error ? error : new Error(String(error));
  }
}

const destroysDump = (options: SavecoreOptions): boolean =>
  options.resign !== "none" || (options.deleteAfterSave ?? false);

/** Returns whether the partition is formatted again. */
function afterSave(dump: DumpImage, options: SavecoreOptions): boolean {
  if (!destroysDump(options)) return false;
  const { store, header } = dump;
  if (store.sizeBytes < header.deviceBlocks * header.blockSize) {
    options.onMessage?.(`${store.name}: is shorter than the device that was dumped to, so it is left as it is`);
    return false;
  }
  return deleteDump(store, options, dump);
}

function deleteDump(partition: ByteStore, options: SavecoreOptions, dump: DumpImage | undefined): boolean {
  const header = dump?.header;
  const format = formatOf(partition);
  const blockSize = header?.blockSize ?? format?.blockSize ?? 4096;
  const littleEndian = header?.model.littleEndian ?? format?.littleEndian ?? true;
  const style = { formula: options.formula ?? format?.formula ?? ("paper" as const), littleEndian };
  if (options.resign === "none") {
    signBlock(partition, HEADER_BLOCK, blockSize, style);
    options.onMessage?.(`${partition.name}: dump deleted`);
    return false;
  }
  const sparse = options.resign === "sampled" ? (options.sample ?? true) : false;
  const result = formatPartition(partition, {
    ...style,
    blockSize,
    sparse,
    // Blocks that a whole dump did not reach still have theirs, if all had one before.
    ...(dump && !sparse && isSignedBehind(dump) ? { endBlock: dump.header.writtenBlocks } : {}),
  });
  // The sampled blocks do not include the header's own: a dump that was saved must not be found again.
  if (sparse) signBlock(partition, HEADER_BLOCK, blockSize, style);
  options.onMessage?.(`${partition.name}: signed again, ${plural(result.writtenBlocks, "block")} written`);
  return true;
}

/** True when the dump is whole and a block behind it is signed that no sparse format would sign: so is then all the rest. */
function isSignedBehind({ store, header, shortcomings }: DumpImage): boolean {
  const probe = header.writtenBlocks + 7;
  const format = formatOf(store);
  if (shortcomings.length > 0 || !format || probe % 1024 < 4) return false;
  if ((probe + 5) * header.blockSize > store.sizeBytes) return false;
  const bytes = new Uint8Array(format.blockSize);
  store.read(probe * format.blockSize, bytes);
  return firstWrongWord(bytes, probe, format) < 0;
}
