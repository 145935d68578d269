// The report of inspect as text for people.
import type { CoreReader } from "../cores/core.ts";
import { pagesIn, type PageRange } from "../format/bitmap.ts";
import type { DumpImage } from "./dump-image.ts";
import type { ElfCore } from "./elf-core.ts";
import { hex, plural } from "./errors.ts";
import { wrongBlockText } from "./format.ts";
import { dumpFacts, dumpStatusText, type FormatReport, type InspectReport } from "./inspect.ts";

/** Ranges, segments and the like that are shown before "and N more". */
const MOST_LINES = 16;

const field = (name: string, value: string | number): string => `  ${name.padEnd(18)} ${value}`;

function listed<T>(items: readonly T[], render: (item: T) => string): string[] {
  const lines = items.slice(0, MOST_LINES).map(render);
  if (items.length > MOST_LINES) lines.push(`    ... and ${items.length - MOST_LINES} more`);
  return lines;
}

const formatText = (format: FormatReport | undefined): string =>
  format
    ? `signed with (n + ${format.formula === "paper" ? 3 : 7}) * 11 (${format.formula}), blocks of ${format.blockSize} bytes, ${format.littleEndian ? "little" : "big"} endian`
    : "block 0 carries no signature";

/** Renders a report, one line per element. */
export function renderInspect(report: InspectReport): string[] {
  const lines = linesOf(report);
  if (report.missingBytes > 0) {
    lines.push(field("TRUNCATED", `the image ends ${plural(report.missingBytes, "byte")} before the partition does`));
  }
  return lines;
}

function linesOf(report: InspectReport): string[] {
  const title = `${report.name}: `;
  switch (report.kind) {
    case "formatted": {
      const lines = [`${title}a formatted dump partition`, field("format", formatText(report.format))];
      lines.push(field("blocks", report.deviceBlocks));
      if (report.signed === "all") lines.push(field("signatures", "all right"));
      else if (report.signed === "sampled") lines.push(field("signatures", "the sampled blocks only (sparse format)"));
      else lines.push(field("signatures", `WRONG: ${wrongBlockText(report.firstWrong!)}`));
      return lines;
    }
    case "dump":
      return [`${title}a dump`, ...dumpLines(report.dump, report.format)];
    case "damaged dump":
      return [`${title}a damaged dump`, field("reason", report.reason), field("format", formatText(report.format))];
    case "vmcore":
      return [`${title}an ELF core`, ...coreLines(report.core)];
    case "core file":
      return [`${title}${report.file.kind}`, ...coreFileLines(report.file, report.badPages)];
    case "disk":
      return [
        `${title}a disk with ${plural(report.partitions.length, "partition")}`,
        ...report.partitions.flatMap(({ partition, report: inner }) => [
          `partition ${partition.number}: type ${hex(partition.type)}, sectors ${partition.startSector} to ${partition.startSector + partition.sectorCount - 1}`,
          ...renderInspect(inner).map((line) => `  ${line}`),
        ]),
      ];
    case "unknown":
      return [`${title}not recognised`, field("reason", report.reason)];
  }
}

function coreFileLines(core: CoreReader, badPages: readonly string[]): string[] {
  const { facts } = core;
  const { systemName: name } = facts;
  const time = new Date(facts.timestampSeconds * 1000);
  const known = facts.cpus.flatMap(({ registers }, cpu) => (registers ? [cpu] : []));
  const task = facts.currentCpu === undefined ? undefined : facts.cpus[facts.currentCpu]?.task;
  const dumping = facts.currentCpu === undefined ? "not told" : `${facts.currentCpu} of ${facts.cpus.length}`;
  return [
    field("system", `${name.sysname} ${name.nodename} ${name.release} ${name.version} ${name.machine}`),
    field(
      "time",
      facts.timestampSeconds === 0
        ? "not told"
        : Number.isNaN(time.getTime())
          ? `${facts.timestampSeconds} s`
          : time.toISOString(),
    ),
    ...(facts.panicText === "" ? [] : [field("panic", facts.panicText)]),
    field("dumping CPU", `${dumping}${task ? `, task ${hex(task)}` : ""}`),
    field("registers", known.length === 0 ? "none" : `of CPU ${known.join(" ")}`),
    field("RAM", `${plural(pagesIn(facts.ram), "page")} in ${plural(facts.ram.length, "range")}`),
    ...listed(facts.ram, (range) => rangeText(range, facts.pageSize)),
    field("in the file", `${plural(pagesIn(core.saved), "page")} in ${plural(core.saved.length, "range")}`),
    ...(facts.dumpLevel === 0 ? [] : [field("dump level", facts.dumpLevel)]),
    ...core.shortcomings.map((text) => field("INCOMPLETE", text)),
    ...core.problems.map(({ offset, what }) => field("PROBLEM", `at offset ${hex(offset)}: ${what}`)),
    ...badPages.map((what) => field("PROBLEM", what)),
  ];
}

function dumpLines(dump: DumpImage, format: FormatReport | undefined): string[] {
  const { header } = dump;
  const { systemName: name } = header;
  const { expectedBlocks } = dumpFacts(dump);
  const time = new Date(header.timestampSeconds * 1000);
  const task = header.tasks[header.currentCpu] ?? 0n;
  const frozen = header.tasks.flatMap((address, cpu) => (address === 0n ? [] : [cpu]));
  return [
    field("format", formatText(format)),
    field("system", `${name.sysname} ${name.nodename} ${name.release} ${name.version} ${name.machine}`),
    field("time", Number.isNaN(time.getTime()) ? `${header.timestampSeconds} s` : time.toISOString()),
    field("status", `${header.status} (${dumpStatusText(dump)})`),
    field("block size", header.blockSize),
    field("sub header", plural(header.subHeaderBlocks, "block")),
    field("bitmap", plural(header.bitmapBlocks, "block")),
    field("max_mapnr", header.maxMapnr),
    field("total_ram_blocks", header.totalRamBlocks),
    field("device_blocks", header.deviceBlocks),
    field("written_blocks", `${header.writtenBlocks} of ${expectedBlocks}`),
    field("dumping CPU", `${header.currentCpu} of ${header.cpuCount}, task ${hex(task)}`),
    field("CPUs with a task", frozen.join(" ") || "none"),
    field("RAM", `${plural(dump.ramPages, "page")} in ${plural(dump.ram.length, "range")}`),
    ...listed(dump.ram, (range) => rangeText(range, header.blockSize)),
    field("saved", `${dump.presentPages} of ${plural(dump.savedPages, "page")}`),
    ...dump.shortcomings.map((text) => field("INCOMPLETE", text)),
    ...dump.problems.map(({ offset, what }) => field("PROBLEM", `at offset ${hex(offset)}: ${what}`)),
  ];
}

function rangeText({ first, count }: PageRange, pageSize: number): string {
  const end = (first + count) * pageSize - 1;
  return `    ${hex(first * pageSize)}-${hex(end)}  ${plural(count, "page")}`;
}

function coreLines(core: ElfCore): string[] {
  const order = core.littleEndian ? "little" : "big";
  const lines = [
    field(
      "class",
      `ELF${core.bits}, ${order} endian, machine ${core.machine}${core.model ? ` (${core.model.name})` : ""}`,
    ),
    field("program headers", `${core.segments.length} at offset ${core.programHeaderOffset}`),
    ...listed(
      core.segments,
      (s) =>
        `    ${s.type.padEnd(8)} file ${hex(s.fileOffset)}+${hex(s.fileBytes)}  memory ${hex(s.physical)}+${hex(s.memoryBytes)}  virtual ${hex(s.virtual)}`,
    ),
    field("notes", core.notes.length),
    ...listed(
      core.notes,
      (note) => `    ${note.name.padEnd(8)} ${note.typeName}, ${plural(note.description.length, "byte")}`,
    ),
  ];
  for (const note of core.notes) {
    if (!note.registers) continue;
    const registers = [...note.registers].map(([name, value]) => `${name}=${hex(value)}`);
    for (let i = 0; i < registers.length; i += 6)
      lines.push(field(i === 0 ? "registers" : "", registers.slice(i, i + 6).join(" ")));
  }
  lines.push(...core.problems.map(({ offset, what }) => field("PROBLEM", `at offset ${hex(offset)}: ${what}`)));
  return lines;
}
