// Every named C type of the kernel proper: what DWARF, the docs and the layout tests are made from.
//
// A new file of structs is added here; a test compares this list with the folder.
import type { CType, DataModel, EnumType, StructType, Typedef } from "../types.ts";
import * as base from "./base.ts";
import * as block from "./block.ts";
import * as devices from "./devices.ts";
import * as fs from "./fs.ts";
import * as ide from "./ide.ts";
import * as mm from "./mm.ts";
import * as module from "./module.ts";
import * as net from "./net.ts";
import * as registers from "./registers.ts";
import * as sched from "./sched.ts";
import * as scsi from "./scsi.ts";
import * as signal from "./signal.ts";
import * as system from "./system.ts";
import * as tqueue from "./tqueue.ts";
import * as vm from "./vm.ts";

export const STRUCT_FILES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  base,
  block,
  devices,
  fs,
  ide,
  mm,
  module,
  net,
  registers,
  sched,
  scsi,
  signal,
  system,
  tqueue,
  vm,
};

export type NamedType = StructType | EnumType | Typedef;

const isNamed = (value: unknown): value is NamedType => {
  if (typeof value !== "object" || value === null || !("kind" in value) || !("name" in value)) return false;
  const { kind, name } = value as CType & { name: string };
  return (kind === "struct" || kind === "enum" || kind === "typedef") && name !== "";
};

/**
 * The structs, unions, enums and typedefs that the files export, each once, in the order of the files; and what the platform
 * has in place of others'.
 */
export function namedTypes(platform: DataModel["name"]): readonly NamedType[] {
  const common = Object.values(STRUCT_FILES).flatMap((file) => Object.values(file).filter(isNamed));
  return [...new Set([...common, registers.pt_regs[platform]])];
}
