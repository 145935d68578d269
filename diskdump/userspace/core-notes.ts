// The notes of a netdump-style core: NT_PRSTATUS of the CPU that dumped, NT_PRPSINFO, NT_TASKSTRUCT, and NT_DISKDUMP if partial.
//
// crash(8) takes the description from directly behind the name, without padding (netdump.c, dump_Elf64_Nhdr): the name is
// "CORE" with a length of 4, as the netdump server wrote it, not 5 with the NUL.
import { layoutOf, type DataModel } from "../../kernel-sim/abi/types.ts";
import { array, char, int, s16, struct, u16, uint, ulong, long, type StructType } from "../../kernel-sim/abi/types.ts";
import { StructBytes } from "../format/struct-bytes.ts";
import { elf_gregset } from "../format/structs.ts";
import { isPartial } from "../format/header.ts";
import type { DumpImage } from "./dump-image.ts";

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

function note(model: DataModel, type: number, description: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(16 + Math.ceil(description.length / 4) * 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 4, model.littleEndian);
  view.setUint32(4, description.length, model.littleEndian);
  view.setUint32(8, type, model.littleEndian);
  bytes.set(Buffer.from("CORE"), 12);
  bytes.set(description, 16);
  return bytes;
}

function words(model: DataModel, values: readonly bigint[]): Uint8Array {
  const pair = new StructBytes(struct("words", { word: array(ulong, values.length) }), model);
  values.forEach((value, index) => pair.setBig("word", value, index));
  return pair.bytes;
}

/** The contents of the PT_NOTE segment. */
export function buildNotes(dump: DumpImage): Uint8Array {
  const { header, subHeader } = dump;
  const { model } = header;
  const status = new StructBytes(elf_prstatus(model), model);
  status.inner("pr_reg").bytes.set(subHeader.inner("elf_regs").bytes);
  const info = new StructBytes(elf_prpsinfo(model), model);
  info.set("pr_sname", "R".charCodeAt(0));
  info.setText("pr_fname", "vmlinux");
  info.setText("pr_psargs", `vmlinux ${header.systemName.release}`);
  const task = header.tasks[header.currentCpu] ?? 0n;
  const hasSwitchStack = layoutOf(subHeader.type, model).fields.has("sw");
  const switchStack =
    hasSwitchStack && header.currentCpu < header.tasks.length ? subHeader.getBig("sw", header.currentCpu) : 0n;
  const notes = [
    note(model, NT_PRSTATUS, status.bytes),
    note(model, NT_PRPSINFO, info.bytes),
    note(model, NT_TASKSTRUCT, words(model, [task, switchStack])),
  ];
  if (isPartial(header)) notes.push(note(model, NT_DISKDUMP, words(model, [1n])));
  return Buffer.concat(notes);
}
