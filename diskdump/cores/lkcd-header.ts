// The headers of an LKCD dump, versions 8 and 9, as lkcdutils saves it to a file.
//
//   offset 0         dump_header, then the machine's dump_header_asm
//   offset 64 KiB    (version 9: where dh_dump_buffer_size says) for each page: dump_page, contents
//   last             a dump_page with the flag END
//
// Everything is packed. dump_header_asm ends with arrays of one element per CPU. Source: lkcd_dump_v8.h of crash 8.0.2.
import {
  array,
  char,
  int,
  layoutOf,
  struct,
  u64,
  uint,
  ulong,
  type DataModel,
  type StructType,
} from "../../kernel-sim/abi/types.ts";
import { pt_regs } from "../../kernel-sim/abi/structs/registers.ts";
import type { ByteStore } from "../../emulator/memory/store.ts";
import { modelOfMachine, type Problem } from "../format/header.ts";
import { StructBytes } from "../format/struct-bytes.ts";
import { elf_gregset } from "../format/structs.ts";
import { hex, UsageError } from "../userspace/errors.ts";

export const LKCD_MAGIC = 0xa8190173618f23edn;
/** Of a dump that the system survived. */
const LKCD_MAGIC_LIVE = 0xa8190173618f23cdn;
export const LKCD_ASM_MAGIC = 0xdeaddeadn;
/** The low bits of dh_version are the version; the high ones mark Mission Critical Linux' variants. */
const VERSION_MASK = 0xf;

const PACKED = { packed: true } as const;
const name65 = array(char, 65);

export const dump_header = struct(
  "dump_header",
  {
    dh_magic_number: u64,
    dh_version: uint,
    dh_header_size: uint,
    dh_dump_level: uint,
    dh_page_size: uint,
    /** Pages. */
    dh_memory_size: u64,
    /** Physical addresses. */
    dh_memory_start: u64,
    dh_memory_end: u64,
    dh_num_pages: uint,
    dh_panic_string: array(char, 256),
    dh_time_sec: u64,
    dh_time_usec: u64,
    dh_utsname_sysname: name65,
    dh_utsname_nodename: name65,
    dh_utsname_release: name65,
    dh_utsname_version: name65,
    dh_utsname_machine: name65,
    dh_utsname_domainname: name65,
    dh_current_task: u64,
    dh_dump_compress: uint,
    dh_dump_flags: uint,
    dh_dump_device: uint,
  },
  PACKED,
);

/** Version 9 has one field more. */
export const dump_header_v9 = struct("dump_header", { ...dump_header.fields, dh_dump_buffer_size: u64 }, PACKED);

/** struct dump_page before the contents of each page: u64 address, u32 size, u32 flags. */
export const DUMP_PAGE_BYTES = 16;
export const DP = { RAW: 1, COMPRESSED: 2, END: 4 } as const;
export const LKCD_COMPRESS = { none: 0, rle: 1, gzip: 2 } as const;
export type LkcdCompression = keyof typeof LKCD_COMPRESS;
/** dh_dump_level: kinds of pages in the dump. */
export const LKCD_LEVEL = { HEADER: 1, KERN: 2, USED: 4, ALL: 8 } as const;
/** Where pages begin in version 8, and in ours of version 9. */
export const FIRST_PAGE_AT = 65536;

/** Registers of elf_gregset_t that pt_regs calls otherwise. */
const OTHER_NAMES: Partial<Record<DataModel["name"], Readonly<Record<string, string>>>> = {
  ia64: { ip: "cr_iip", psr: "cr_ipsr", cfm: "cr_ifs" },
};
/** dha_version of each machine's header; machines without one have no LKCD that is known here. */
const ARCH_VERSIONS: Partial<Record<DataModel["name"], number>> = { x86_64: 2, i386: 5, ia64: 5 };

export interface LkcdArch {
  readonly version: number;
  /** The registers that both have: in pt_regs, in elf_gregset_t. */
  readonly registers: readonly (readonly [saved: string, elf: string])[];
  readonly pt_regs: StructType;
  /** dump_header_asm of a machine with `cpus` CPUs. */
  readonly header: (cpus: number) => StructType;
  /** The same without its arrays. */
  readonly fixed: StructType;
  /** Bytes that each CPU adds. */
  readonly perCpuBytes: number;
}

function archOf(model: DataModel): LkcdArch | undefined {
  const { name } = model;
  const version = ARCH_VERSIONS[name];
  if (version === undefined) return undefined;
  const regs = struct("pt_regs", pt_regs[name].fields, PACKED);
  const registers = Object.keys(elf_gregset[name].fields).flatMap((elf) => {
    const saved = OTHER_NAMES[name]?.[elf] ?? elf;
    return regs.fields[saved]?.kind === "scalar" && elf_gregset[name].fields[elf]?.kind === "scalar"
      ? [[saved, elf] as const]
      : [];
  });
  const before = {
    dha_magic_number: u64,
    dha_version: uint,
    dha_header_size: uint,
    // What stands before the registers, and behind them, on some machines only.
    ...(name === "i386" ? { dha_esp: uint, dha_eip: uint } : {}),
    ...(name === "ia64" ? { dha_pt_regs: u64 } : {}),
    dha_regs: regs,
    ...(name === "ia64" ? { dha_rnat: u64, dha_pfs: u64, dha_bspstore: u64 } : {}),
    dha_smp_num_cpus: uint,
    dha_dumping_cpu: int,
  };
  const header = (cpus: number): StructType =>
    struct(
      "dump_header_asm",
      {
        ...before,
        ...(cpus === 0
          ? {}
          : {
              dha_smp_regs: array(regs, cpus),
              dha_smp_current_task: array(ulong, cpus),
              dha_stack: array(ulong, cpus),
              dha_stack_ptr: array(ulong, cpus),
            }),
        ...(name === "ia64" ? { dha_kernel_addr: u64 } : {}),
      },
      PACKED,
    );
  const perCpuBytes = layoutOf(header(1), model).size - layoutOf(header(0), model).size;
  return { version, registers, pt_regs: regs, header, fixed: header(0), perCpuBytes };
}

const archs = new Map<DataModel["name"], LkcdArch | undefined>();
/** What LKCD's header looks like on a machine; undefined where LKCD's layout is not known here (ppc64). */
export function lkcdArch(model: DataModel): LkcdArch | undefined {
  if (!archs.has(model.name)) archs.set(model.name, archOf(model));
  return archs.get(model.name);
}

/** elf_gregset_t from pt_regs at `bytes`: what LKCD does not keep is 0. */
export function gregsetOf(arch: LkcdArch, model: DataModel, bytes: Uint8Array): Uint8Array {
  const from = new StructBytes(arch.pt_regs, model, bytes);
  const to = new StructBytes(elf_gregset[model.name], model);
  for (const [saved, elf] of arch.registers) to.setBig(elf, from.getBig(saved));
  return to.bytes;
}

export function ptRegsOf(arch: LkcdArch, model: DataModel, gregset: Uint8Array): Uint8Array {
  const from = new StructBytes(elf_gregset[model.name], model, gregset);
  const to = new StructBytes(arch.pt_regs, model);
  for (const [saved, elf] of arch.registers) to.setBig(saved, from.getBig(elf));
  return to.bytes;
}

/** True when the store begins like an LKCD dump. */
export function isLkcd(store: ByteStore): boolean {
  if (store.sizeBytes < 8) return false;
  const bytes = new Uint8Array(8);
  store.read(0, bytes);
  const magic = new DataView(bytes.buffer).getBigUint64(0, true);
  return magic === LKCD_MAGIC || magic === LKCD_MAGIC_LIVE;
}

export interface LkcdHead {
  readonly version: 8 | 9;
  readonly header: StructBytes;
  readonly model: DataModel;
  readonly arch: LkcdArch;
  readonly pageSize: number;
  readonly compression: LkcdCompression;
  readonly firstPageAt: number;
  /** The machine's part; undefined when it is damaged, see `problems`. */
  readonly machine: StructBytes | undefined;
  readonly cpus: number;
  readonly problems: readonly Problem[];
}

/** Reads and checks both headers. Throws a UsageError that says what is wrong and where. */
export function readLkcdHead(store: ByteStore): LkcdHead {
  // Field offsets are the same on all little-endian machines: everything is packed and of fixed size.
  const type = dump_header_v9;
  const any = modelOfMachine("x86_64")!;
  const raw = new StructBytes(type, any);
  if (store.sizeBytes < raw.bytes.length) {
    throw new UsageError(`${store.name}: ends at offset ${hex(store.sizeBytes)}, within the LKCD header`);
  }
  store.read(0, raw.bytes);
  const fail = (field: string, what: string): never => {
    throw new UsageError(`${store.name}: damaged LKCD header at offset ${hex(raw.offsetOf(field))}: ${what}`);
  };
  const version = raw.get("dh_version") & VERSION_MASK;
  if (raw.get("dh_version") > VERSION_MASK || (version !== 8 && version !== 9)) {
    return fail("dh_version", `dh_version is ${hex(raw.get("dh_version"))}, expected 8 or 9`);
  }
  const machineName = raw.getText("dh_utsname_machine");
  const model = modelOfMachine(machineName);
  const arch = model && lkcdArch(model);
  if (!model || !arch)
    return fail("dh_utsname_machine", `utsname.machine is "${machineName}", expected x86_64 or i386..i686`);
  const pageSize = raw.get("dh_page_size");
  if (pageSize !== model.pageSize) fail("dh_page_size", `dh_page_size is ${pageSize}, expected ${model.pageSize}`);
  const compress = raw.get("dh_dump_compress");
  const compression = (Object.keys(LKCD_COMPRESS) as LkcdCompression[]).find(
    (name) => LKCD_COMPRESS[name] === compress,
  );
  if (!compression)
    return fail("dh_dump_compress", `dh_dump_compress is ${compress}, expected 0 (none), 1 (RLE) or 2 (gzip)`);
  const headerBytes = layoutOf(version === 9 ? dump_header_v9 : dump_header, any).size;
  const headerSize = raw.get("dh_header_size");
  if (headerSize < headerBytes - 8 || headerSize > FIRST_PAGE_AT) {
    fail("dh_header_size", `dh_header_size is ${headerSize}, expected ${headerBytes}`);
  }
  const firstPageAt = version === 9 ? raw.get("dh_dump_buffer_size") : FIRST_PAGE_AT;
  if (firstPageAt < headerSize || firstPageAt > store.sizeBytes) {
    const what = `pages begin at offset ${hex(firstPageAt)}, the file ends at ${hex(store.sizeBytes)}`;
    fail(version === 9 ? "dh_dump_buffer_size" : "dh_version", what);
  }
  const problems: Problem[] = [];
  const { machine, cpus } = readArch(store, arch, model, headerSize, firstPageAt, problems);
  return { version, header: raw, model, arch, pageSize, compression, firstPageAt, machine, cpus, problems };
}

function readArch(
  store: ByteStore,
  arch: LkcdArch,
  model: DataModel,
  at: number,
  limit: number,
  problems: Problem[],
): { machine: StructBytes | undefined; cpus: number } {
  const none = (offset: number, what: string): { machine: undefined; cpus: number } => {
    problems.push({ severity: "warning", offset: at + offset, what });
    return { machine: undefined, cpus: 0 };
  };
  const fixed = new StructBytes(arch.fixed, model);
  if (at + fixed.bytes.length > limit)
    return none(0, "there is no room for the machine's header before the first page");
  store.read(at, fixed.bytes);
  const magic = fixed.getBig("dha_magic_number");
  if (magic !== LKCD_ASM_MAGIC)
    return none(0, `the machine's header begins with ${hex(magic)}, expected ${hex(LKCD_ASM_MAGIC)}`);
  const size = fixed.get("dha_header_size");
  const cpus = Math.floor((size - fixed.bytes.length) / arch.perCpuBytes);
  if (cpus < 0 || at + size > limit) {
    return none(
      fixed.offsetOf("dha_header_size"),
      `dha_header_size is ${size}, expected at least ${fixed.bytes.length} and to end before the first page`,
    );
  }
  const machine = new StructBytes(arch.header(cpus), model);
  store.read(at, machine.bytes);
  return { machine, cpus };
}
