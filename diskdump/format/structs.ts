// The C structs that stand on a dump partition. The kernel module fills the same definitions in RAM, savecore reads them.
// Source: include/linux/diskdump.h and include/asm-*/diskdump.h of the RHEL4 kernel; register sets: include/asm-*/elf.h of 2.6.9.
import {
  array,
  char,
  int,
  layoutOf,
  long,
  struct,
  u8,
  uint,
  ulong,
  voidPtr,
  type DataModel,
  type StructType,
} from "../../kernel-sim/abi/types.ts";

/** Length of tasks[]: the most CPUs a dump can describe. */
export const NR_CPUS = 64;

export const DISK_DUMP_SIGNATURE = "DISKDUMP";
export const DISK_DUMP_HEADER_VERSION = 1;

/** Values and flags of disk_dump_header.status. */
export const DUMP_HEADER = {
  /** The dump is whole. */
  COMPLETED: 0,
  /** The dump has begun; nothing more is known. */
  INCOMPLETED: 1,
  /** At least one block of memory has been written. */
  IN_PROGRESS: 2,
  /** The dump ended because the area was too small. */
  SHORT_AREA: 4,
  /** Flag beside the others: memory pages are compressed. */
  COMPRESSED: 8,
} as const;

export const new_utsname = struct(
  "new_utsname",
  {
    sysname: array(char, 65),
    nodename: array(char, 65),
    release: array(char, 65),
    version: array(char, 65),
    machine: array(char, 65),
    domainname: array(char, 65),
  },
  { doc: "what uname(2) answers; include/linux/utsname.h" },
);

export const timespec = struct("timespec", { tv_sec: long, tv_nsec: long }, { doc: "include/linux/time.h" });

export const disk_dump_header = struct(
  "disk_dump_header",
  {
    signature: array(u8, 8),
    header_version: int,
    utsname: new_utsname,
    timestamp: timespec,
    status: uint,
    block_size: int,
    sub_hdr_size: int,
    bitmap_blocks: uint,
    max_mapnr: uint,
    total_ram_blocks: uint,
    device_blocks: uint,
    written_blocks: uint,
    current_cpu: uint,
    nr_cpus: int,
    tasks: array(voidPtr, NR_CPUS),
  },
  { doc: "block 1 of a dump partition; include/linux/diskdump.h" },
);

const words = (names: string): Record<string, typeof ulong> =>
  Object.fromEntries(names.split(" ").map((name) => [name, ulong]));
const numbered = (prefix: string, count: number): string =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`).join(" ");

/** elf_gregset_t of each architecture: the registers in the order of an ELF core's NT_PRSTATUS. */
export const elf_gregset: Readonly<Record<DataModel["name"], StructType>> = {
  i386: struct("elf_gregset_t", words("ebx ecx edx esi edi ebp eax xds xes xfs xgs orig_eax eip xcs eflags esp xss")),
  x86_64: struct(
    "elf_gregset_t",
    words(
      "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs",
    ),
  ),
  ia64: struct("elf_gregset_t", {
    ...words(`${numbered("r", 32)} nat pr ${numbered("b", 8)} ip cfm psr`),
    ...words("ar_rsc ar_bsp ar_bspstore ar_rnat ar_ccv ar_unat ar_fpsr ar_pfs ar_lc ar_ec ar_csd ar_ssd"),
    reserved: array(ulong, 128 - 57),
  }),
  ppc64: struct("elf_gregset_t", {
    ...words(`${numbered("gpr", 32)} nip msr orig_gpr3 ctr link xer ccr softe trap dar dsisr result`),
    reserved: array(ulong, 4),
  }),
};

const subHeaderOf = (name: DataModel["name"]): StructType =>
  struct(
    "disk_dump_sub_header",
    // ia64 keeps a switch_stack pointer per CPU: unwinding starts there.
    name === "ia64" ? { elf_regs: elf_gregset.ia64, sw: array(voidPtr, NR_CPUS) } : { elf_regs: elf_gregset[name] },
    { doc: "block 2 of a dump partition: the registers of the CPU that dumped; include/asm/diskdump.h" },
  );

export const disk_dump_sub_header: Readonly<Record<DataModel["name"], StructType>> = {
  i386: subHeaderOf("i386"),
  x86_64: subHeaderOf("x86_64"),
  ia64: subHeaderOf("ia64"),
  ppc64: subHeaderOf("ppc64"),
};

/** Blocks of the sub header (`size_of_sub_header()`): 1 on all four. */
export const subHeaderBlocks = (model: DataModel): number =>
  Math.ceil(layoutOf(disk_dump_sub_header[model.name], model).size / model.pageSize);
