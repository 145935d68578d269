// The dump header as an object: to bytes and back, for every architecture, with a reason and a place for everything that is wrong.
import { DATA_MODELS, layoutOf, type DataModel } from "../../kernel-sim/abi/types.ts";
import type { ByteStore } from "../../emulator/memory/store.ts";
import { bitmapBlocksFor, HEADER_BLOCK, SUB_HEADER_BLOCK } from "./layout.ts";
import { StructBytes } from "./struct-bytes.ts";
import {
  disk_dump_header,
  disk_dump_sub_header,
  DISK_DUMP_HEADER_VERSION,
  DISK_DUMP_SIGNATURE,
  DUMP_HEADER,
  NR_CPUS,
} from "./structs.ts";

export interface SystemName {
  readonly sysname: string;
  readonly nodename: string;
  readonly release: string;
  readonly version: string;
  readonly machine: string;
  readonly domainname: string;
}

export interface DumpHeader {
  /** Byte order, word and page size; told by `systemName.machine` and the byte order of the numbers. */
  readonly model: DataModel;
  /** 1, or 0 as the RHEL4 module leaves it. */
  readonly headerVersion: number;
  readonly systemName: SystemName;
  /** When the system died: seconds since 1970 and nanoseconds. */
  readonly timestampSeconds: number;
  readonly timestampNs: number;
  /** DUMP_HEADER values. */
  readonly status: number;
  /** Bytes of a block: the kernel's page size. */
  readonly blockSize: number;
  readonly subHeaderBlocks: number;
  readonly bitmapBlocks: number;
  readonly maxMapnr: number;
  readonly totalRamBlocks: number;
  readonly deviceBlocks: number;
  /** Blocks that the dump accounts for, block 0 included. */
  readonly writtenBlocks: number;
  readonly currentCpu: number;
  readonly cpuCount: number;
  /** task_struct addresses by CPU, 0 where a CPU did not answer; at most NR_CPUS. */
  readonly tasks: readonly bigint[];
}

/** Something that is not as it should be, and where. */
export interface Problem {
  /** "fatal": the dump cannot be interpreted; "warning": it can, but does not add up. */
  readonly severity: "fatal" | "warning";
  /** Bytes from the partition's beginning. */
  readonly offset: number;
  readonly what: string;
}

const NAMES = ["sysname", "nodename", "release", "version", "machine", "domainname"] as const;

/** The data model for what `uname -m` says. */
export function modelOfMachine(machine: string): DataModel | undefined {
  if (/^i[3-6]86$/.test(machine)) return DATA_MODELS.i386;
  return Object.hasOwn(DATA_MODELS, machine) ? DATA_MODELS[machine as DataModel["name"]] : undefined;
}

/** The header as the bytes of a struct disk_dump_header. `signature`: eight characters; the kernel's unless a file says otherwise. */
export function encodeHeader(header: DumpHeader, signature: string = DISK_DUMP_SIGNATURE): Uint8Array {
  if (header.tasks.length > NR_CPUS)
    throw new RangeError(`dump header: ${header.tasks.length} tasks, at most ${NR_CPUS}`);
  const out = new StructBytes(disk_dump_header, header.model);
  out.setText("signature", signature, false);
  out.set("header_version", header.headerVersion);
  const name = out.inner("utsname");
  for (const field of NAMES) name.setText(field, header.systemName[field]);
  const time = out.inner("timestamp");
  time.set("tv_sec", header.timestampSeconds);
  time.set("tv_nsec", header.timestampNs);
  out.set("status", header.status);
  out.set("block_size", header.blockSize);
  out.set("sub_hdr_size", header.subHeaderBlocks);
  out.set("bitmap_blocks", header.bitmapBlocks);
  out.set("max_mapnr", header.maxMapnr);
  out.set("total_ram_blocks", header.totalRamBlocks);
  out.set("device_blocks", header.deviceBlocks);
  out.set("written_blocks", header.writtenBlocks);
  out.set("current_cpu", header.currentCpu);
  out.set("nr_cpus", header.cpuCount);
  header.tasks.forEach((task, cpu) => out.setBig("tasks", task, cpu));
  return out.bytes;
}

export interface HeaderReading {
  /** Absent when a problem is fatal. */
  readonly header?: DumpHeader;
  readonly problems: readonly Problem[];
}

/** True when the bytes begin like a dump header. */
export const hasHeaderSignature = (bytes: Uint8Array): boolean =>
  Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(8, bytes.length)).toString("latin1") === DISK_DUMP_SIGNATURE;

/** Reads a struct disk_dump_header found `base` bytes from the partition's beginning. `bytes`: a block, at least 4096 bytes. */
export function decodeHeader(bytes: Uint8Array, base: number): HeaderReading {
  const problems: Problem[] = [];
  const fatal = (at: number, what: string): HeaderReading => ({
    problems: [...problems, { severity: "fatal", offset: base + at, what }],
  });
  if (!hasHeaderSignature(bytes)) {
    const found = Buffer.from(bytes.subarray(0, 8))
      .toString("latin1")
      .replace(/[^ -~]/g, ".");
    return fatal(0, `the dump header's signature is "${found}", expected "${DISK_DUMP_SIGNATURE}"`);
  }
  // char arrays lie at the same place in all four layouts, so the machine's name can be read before the layout is known.
  const probe = new StructBytes(disk_dump_header, DATA_MODELS.x86_64, bytes);
  const machine = probe.inner("utsname").getText("machine");
  const model = modelOfMachine(machine);
  const machineAt = probe.offsetOf("utsname") + probe.inner("utsname").offsetOf("machine");
  if (!model) return fatal(machineAt, `utsname.machine is "${machine}", expected i386..i686, x86_64, ia64 or ppc64`);

  const raw = new StructBytes(disk_dump_header, model, bytes);
  const at = (field: string): number => raw.offsetOf(field);
  const version = raw.get("header_version");
  if (version !== 0 && version !== DISK_DUMP_HEADER_VERSION) {
    return fatal(at("header_version"), `header_version is ${version}, expected ${DISK_DUMP_HEADER_VERSION}`);
  }
  const blockSize = raw.get("block_size");
  if (blockSize < 4096 || blockSize > 65536 || (blockSize & (blockSize - 1)) !== 0) {
    return fatal(at("block_size"), `block_size is ${blockSize}, expected a power of two from 4096 to 65536`);
  }
  if (base !== 0 && base !== HEADER_BLOCK * blockSize) {
    return fatal(
      at("block_size"),
      `block_size is ${blockSize}, expected ${base / HEADER_BLOCK}: the header stands at offset ${base}`,
    );
  }
  const header = headerFields(raw, model);
  const subHeaderBytes = layoutOf(disk_dump_sub_header[model.name], model).size;
  if (
    header.subHeaderBlocks < 1 ||
    header.subHeaderBlocks > 64 ||
    header.subHeaderBlocks * blockSize < subHeaderBytes
  ) {
    return fatal(at("sub_hdr_size"), `sub_hdr_size is ${header.subHeaderBlocks}, expected 1 to 64`);
  }
  const oneBitmap = bitmapBlocksFor(header.maxMapnr, blockSize);
  if (header.maxMapnr === 0) return fatal(at("max_mapnr"), "max_mapnr is 0, expected at least one page of memory");
  if (header.bitmapBlocks !== oneBitmap && header.bitmapBlocks !== 2 * oneBitmap) {
    return fatal(
      at("bitmap_blocks"),
      `bitmap_blocks is ${header.bitmapBlocks}, expected ${oneBitmap} (or ${2 * oneBitmap} for a partial dump) for max_mapnr ${header.maxMapnr}`,
    );
  }
  const warn = (field: string, what: string): void => {
    problems.push({ severity: "warning", offset: base + at(field), what });
  };
  if (header.blockSize !== model.pageSize) {
    warn("block_size", `block_size is ${blockSize}, ${model.name} has pages of ${model.pageSize}`);
  }
  if (header.totalRamBlocks > header.maxMapnr) {
    warn("total_ram_blocks", `total_ram_blocks ${header.totalRamBlocks} is more than max_mapnr ${header.maxMapnr}`);
  }
  if (header.writtenBlocks > header.deviceBlocks) {
    warn("written_blocks", `written_blocks ${header.writtenBlocks} is more than device_blocks ${header.deviceBlocks}`);
  }
  if (header.currentCpu >= NR_CPUS)
    warn("current_cpu", `current_cpu is ${header.currentCpu}, expected less than ${NR_CPUS}`);
  if (header.cpuCount < 1 || header.cpuCount > NR_CPUS) {
    warn("nr_cpus", `nr_cpus is ${header.cpuCount}, expected 1 to ${NR_CPUS}`);
  }
  if (header.status > 15) warn("status", `status is ${header.status}, which has unknown bits`);
  if (header.timestampNs < 0 || header.timestampNs >= 1e9) {
    warn("timestamp", `timestamp has ${header.timestampNs} nanoseconds, expected less than a second`);
  }
  return { header, problems };
}

/** What the struct says, unchecked. */
export function headerFields(raw: StructBytes, model: DataModel): DumpHeader {
  return {
    model,
    headerVersion: raw.get("header_version"),
    systemName: nameOf(raw.inner("utsname")),
    timestampSeconds: raw.inner("timestamp").get("tv_sec"),
    timestampNs: raw.inner("timestamp").get("tv_nsec"),
    status: raw.get("status"),
    blockSize: raw.get("block_size"),
    subHeaderBlocks: raw.get("sub_hdr_size"),
    bitmapBlocks: raw.get("bitmap_blocks"),
    maxMapnr: raw.get("max_mapnr"),
    totalRamBlocks: raw.get("total_ram_blocks"),
    deviceBlocks: raw.get("device_blocks"),
    writtenBlocks: raw.get("written_blocks"),
    currentCpu: raw.get("current_cpu"),
    cpuCount: raw.get("nr_cpus"),
    tasks: Array.from({ length: NR_CPUS }, (_, cpu) => raw.getBig("tasks", cpu)),
  };
}

function nameOf(raw: StructBytes): SystemName {
  return {
    sysname: raw.getText("sysname"),
    nodename: raw.getText("nodename"),
    release: raw.getText("release"),
    version: raw.getText("version"),
    machine: raw.getText("machine"),
    domainname: raw.getText("domainname"),
  };
}

/** The possible places of a header: block 1 for every page size Linux has used. */
export const HEADER_OFFSETS = [4096, 8192, 16384, 32768, 65536] as const;

/** Reads the header of a dump partition; undefined when nothing there looks like one. */
export function readHeader(store: ByteStore): HeaderReading | undefined {
  const block = new Uint8Array(4096);
  for (const offset of HEADER_OFFSETS) {
    if (offset + block.length > store.sizeBytes) break;
    store.read(offset, block);
    if (hasHeaderSignature(block)) return decodeHeader(block, offset);
  }
  return undefined;
}

/** Writes the header into its block, the rest of the block zero. */
export function writeHeader(store: ByteStore, header: DumpHeader): void {
  const block = new Uint8Array(header.blockSize);
  block.set(encodeHeader(header));
  store.write(HEADER_BLOCK * header.blockSize, block);
}

/** The sub header's struct, as a view that can be filled or asked: registers by name under `inner("elf_regs")`. */
export const newSubHeader = (model: DataModel): StructBytes => new StructBytes(disk_dump_sub_header[model.name], model);

export function readSubHeader(store: ByteStore, header: DumpHeader): StructBytes {
  const view = newSubHeader(header.model);
  store.read(SUB_HEADER_BLOCK * header.blockSize, view.bytes);
  return view;
}

export function writeSubHeader(store: ByteStore, header: DumpHeader, subHeader: StructBytes): void {
  const block = new Uint8Array(header.subHeaderBlocks * header.blockSize);
  block.set(subHeader.bytes);
  store.write(SUB_HEADER_BLOCK * header.blockSize, block);
}

/** The first block after headers and bitmaps. */
export const memoryBlock = (header: DumpHeader): number => 2 + header.subHeaderBlocks + header.bitmapBlocks;

/** True when the dump has a second bitmap that says which RAM pages were saved. */
export const isPartial = (header: DumpHeader): boolean =>
  header.bitmapBlocks === 2 * bitmapBlocksFor(header.maxMapnr, header.blockSize);

export const isComplete = (header: DumpHeader): boolean =>
  (header.status & ~DUMP_HEADER.COMPRESSED) === DUMP_HEADER.COMPLETED;

const STATUS_NAMES = ["complete", "incomplete", "in progress", "", "short area"] as const;

/** The status in words: "complete", "incomplete", "in progress", "short area", with "compressed" beside it. */
export function statusText(status: number): string {
  const name = STATUS_NAMES[status & 7] || `unknown ${status & 7}`;
  return (status & DUMP_HEADER.COMPRESSED) !== 0 ? `${name}, compressed` : name;
}
