// What the notes of an ELF core, or those within a KDUMP file, say about the CPUs.
import { layoutOf, type DataModel } from "../../kernel-sim/abi/types.ts";
import { StructBytes } from "../format/struct-bytes.ts";
import {
  elf_prpsinfo,
  elf_prstatus,
  NT_DISKDUMP,
  NT_PRPSINFO,
  NT_PRSTATUS,
  NT_TASKSTRUCT,
} from "../userspace/core-notes.ts";
import type { CoreNote } from "../userspace/elf-core.ts";
import { registersOrNone, type CoreCpu, type CoreFacts } from "./core.ts";
import { parseVmcoreinfo, vmcoreinfoText } from "./vmcoreinfo.ts";

export interface NoteFacts {
  readonly facts: Pick<
    CoreFacts,
    "vmcoreinfo" | "cpus" | "currentCpu" | "cpusNumbered" | "switchStack" | "timestampSeconds"
  >;
  readonly release: string;
  /** Pages were left out. */
  readonly partial: boolean;
}

/** Word `index` of a description, 0 beyond its end. */
function wordOf(note: CoreNote | undefined, index: number, model: DataModel): bigint {
  const bytes = note?.description ?? new Uint8Array();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if ((index + 1) * model.wordBytes > bytes.length) return 0n;
  return model.wordBytes === 8
    ? view.getBigUint64(index * 8, model.littleEndian)
    : BigInt(view.getUint32(index * 4, model.littleEndian));
}

/** The release that netdump's "vmlinux 2.6.9-5.ELsmp" carries. */
function releaseOf(note: CoreNote | undefined, model: DataModel): string {
  const type = elf_prpsinfo(model);
  if (!note || note.description.length < layoutOf(type, model).size) return "";
  const text = new StructBytes(type, model, note.description).getText("pr_psargs");
  return text.startsWith("vmlinux ") ? text.slice(8) : "";
}

/** `vmcoreinfo` stands beside the notes in a KDUMP file, and is one of them in an ELF core. */
export function factsOfNotes(notes: readonly CoreNote[], model: DataModel, vmcoreinfo?: Uint8Array): NoteFacts {
  const core = (wanted: number): CoreNote[] => notes.filter(({ type, name }) => type === wanted && name === "CORE");
  const info = vmcoreinfoText(vmcoreinfo ?? notes.find(({ name }) => name === "VMCOREINFO")?.description);
  const said = parseVmcoreinfo(info);
  const taskNote = core(NT_TASKSTRUCT)[0];
  const type = elf_prstatus(model);
  const states = core(NT_PRSTATUS).filter(({ description }) => description.length >= layoutOf(type, model).size);
  // netdump's core has one CPU, the one that dumped, and its task; kdump's has all of them in their order.
  const netdump = taskNote !== undefined;
  const cpus = states.map(({ description }): CoreCpu => {
    const status = new StructBytes(type, model, description);
    const pid = status.get("pr_pid");
    return {
      task: netdump ? wordOf(taskNote, 0, model) : 0n,
      ...(pid === 0 ? {} : { pid }),
      ...registersOrNone(status.inner("pr_reg").bytes.slice()),
    };
  });
  // A dumper that saves the registers of one CPU saves those of its own.
  const known = cpus.flatMap(({ registers }, cpu) => (registers ? [cpu] : []));
  return {
    facts: {
      vmcoreinfo: info,
      cpus: cpus.length > 0 ? cpus : [{ task: wordOf(taskNote, 0, model) }],
      currentCpu: netdump ? 0 : known.length === 1 ? known[0] : undefined,
      cpusNumbered: !netdump && cpus.length > 0,
      switchStack: model.name === "ia64" ? wordOf(taskNote, 1, model) : 0n,
      timestampSeconds: Number(said.get("CRASHTIME") ?? 0) || 0,
    },
    release: said.get("OSRELEASE") ?? releaseOf(core(NT_PRPSINFO)[0], model),
    partial: core(NT_DISKDUMP).length > 0,
  };
}
