// The notes of a core.
//
// netdump style: NT_PRSTATUS of the CPU that dumped, NT_PRPSINFO, NT_TASKSTRUCT, and NT_DISKDUMP if partial. crash(8) takes the
// description from directly behind the name, without padding (netdump.c, dump_Elf64_Nhdr): the name is "CORE" with a length of
// 4, as the netdump server wrote it, not 5 with the NUL.
//
// kdump style, also within a KDUMP file: NT_PRSTATUS of every CPU in their order, and VMCOREINFO when the kernel is known. A CPU whose registers nobody
// saved has a note of zeroes: crash counts the notes to know whose they are, and looks at the stack when there is nothing in one.
import type { DataModel } from "../../kernel-sim/abi/types.ts";
import { array, char, int, s16, struct, u16, uint, ulong, long, type StructType } from "../../kernel-sim/abi/types.ts";
import { StructBytes } from "../format/struct-bytes.ts";
import { elf_gregset } from "../format/structs.ts";
import type { CoreCpu, CoreFacts } from "../cores/core.ts";

export const NT_PRSTATUS = 1;
export const NT_PRPSINFO = 3;
export const NT_TASKSTRUCT = 4;
/** Its first word says whether pages were left out. */
export const NT_DISKDUMP = 0x70000001;

const timeval = struct("timeval", { tv_sec: long, tv_usec: long });

/** struct elf_prstatus of include/linux/elfcore.h. */
export const elf_prstatus = (model: DataModel): StructType =>
  struct("elf_prstatus", {
    si_signo: int,
    si_code: int,
    si_errno: int,
    pr_cursig: s16,
    pr_sigpend: ulong,
    pr_sighold: ulong,
    pr_pid: int,
    pr_ppid: int,
    pr_pgrp: int,
    pr_sid: int,
    pr_utime: timeval,
    pr_stime: timeval,
    pr_cutime: timeval,
    pr_cstime: timeval,
    pr_reg: elf_gregset[model.name],
    pr_fpvalid: int,
  });

/** struct elf_prpsinfo of include/linux/elfcore.h; user ids are 16 bits on i386. */
export const elf_prpsinfo = (model: DataModel): StructType =>
  struct("elf_prpsinfo", {
    pr_state: char,
    pr_sname: char,
    pr_zomb: char,
    pr_nice: char,
    pr_flag: ulong,
    pr_uid: model.name === "i386" ? u16 : uint,
    pr_gid: model.name === "i386" ? u16 : uint,
    pr_pid: int,
    pr_ppid: int,
    pr_pgrp: int,
    pr_sid: int,
    pr_fname: array(char, 16),
    pr_psargs: array(char, 80),
  });

/** Name and length of it: the NUL counts in kdump's notes. */
function note(model: DataModel, name: string, type: number, description: Uint8Array): Uint8Array {
  const padded = (size: number): number => Math.ceil(size / 4) * 4;
  const descriptionAt = 12 + padded(name.length);
  const bytes = new Uint8Array(descriptionAt + padded(description.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, name.length, model.littleEndian);
  view.setUint32(4, description.length, model.littleEndian);
  view.setUint32(8, type, model.littleEndian);
  bytes.set(Buffer.from(name, "latin1"), 12);
  bytes.set(description, descriptionAt);
  return bytes;
}

function words(model: DataModel, values: readonly bigint[]): Uint8Array {
  const pair = new StructBytes(struct("words", { word: array(ulong, values.length) }), model);
  values.forEach((value, index) => pair.setBig("word", value, index));
  return pair.bytes;
}

function statusOf(model: DataModel, cpu: CoreCpu | undefined): Uint8Array {
  const status = new StructBytes(elf_prstatus(model), model);
  if (cpu?.registers) status.inner("pr_reg").bytes.set(cpu.registers);
  if (cpu?.pid !== undefined) status.set("pr_pid", cpu.pid);
  return status.bytes;
}

/** The CPU that dumped, or undefined when nothing says which. */
export const dumpingCpu = ({ cpus, currentCpu }: CoreFacts): CoreCpu | undefined =>
  currentCpu === undefined ? undefined : cpus[currentCpu];

/** The PT_NOTE of a netdump-style core. `partial`: pages were left out. */
export function netdumpNotes(facts: CoreFacts, partial: boolean): Uint8Array {
  const { model } = facts;
  const cpu = dumpingCpu(facts);
  const info = new StructBytes(elf_prpsinfo(model), model);
  info.set("pr_sname", "R".charCodeAt(0));
  info.setText("pr_fname", "vmlinux");
  info.setText("pr_psargs", `vmlinux ${facts.systemName.release}`);
  const notes = [
    note(model, "CORE", NT_PRSTATUS, statusOf(model, cpu)),
    note(model, "CORE", NT_PRPSINFO, info.bytes),
    note(model, "CORE", NT_TASKSTRUCT, words(model, [cpu?.task ?? 0n, facts.switchStack])),
  ];
  if (partial) notes.push(note(model, "CORE", NT_DISKDUMP, words(model, [1n])));
  return Buffer.concat(notes);
}

/** NT_PRSTATUS of every CPU, as a kdump kernel finds them in crash_notes. */
export const cpuNotes = ({ model, cpus }: CoreFacts): Uint8Array =>
  Buffer.concat(cpus.map((cpu) => note(model, "CORE\0", NT_PRSTATUS, statusOf(model, cpu))));

/** The PT_NOTE of a kdump-style core. */
export function kdumpNotes(facts: CoreFacts, partial: boolean): Uint8Array {
  const { model } = facts;
  const notes = [cpuNotes(facts)];
  if (facts.vmcoreinfo !== "") notes.push(note(model, "VMCOREINFO\0", 0, Buffer.from(facts.vmcoreinfo, "latin1")));
  if (partial) notes.push(note(model, "CORE\0", NT_DISKDUMP, words(model, [1n])));
  return Buffer.concat(notes);
}
