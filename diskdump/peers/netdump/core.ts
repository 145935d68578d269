// The core file while its pages come in: RAM stands at "head + physical address", so that a page's place is known before it is
// known which other pages are RAM; the head, which says so, is written last.
import type { DataModel } from "../../../kernel-sim/abi/types.ts";
import { NO_NAME, machineOf, registerBytes, registersOrNone, type CoreFacts } from "../../cores/core.ts";
import type { PageRange } from "../../format/bitmap.ts";
import { layOutCore } from "../../userspace/core-layout.ts";
import { netdumpNotes } from "../../userspace/core-notes.ts";
import { errorCode, systemReason, UsageError } from "../../userspace/errors.ts";
import type { HostFile } from "../../userspace/host-files.ts";

/** Room for the program headers of about 1100 pieces of RAM. */
const HEAD_BYTES = 65536;

export interface CoreBeginning {
  readonly model: DataModel;
  readonly pageSize: number;
  /** One more than the highest page frame. */
  readonly pageCount: number;
  readonly task: bigint;
  /** elf_gregset_t of the CPU that dumps, or something else, which is then left out. */
  readonly registers: Uint8Array;
}

export class NetdumpCore {
  private readonly file: HostFile;
  private readonly name: string;
  /** After a write failed for lack of space: makes some. Returns false when there is none to be had. */
  private readonly makeRoom: () => boolean;
  private beginning: CoreBeginning | undefined;
  /** By page frame: 1 for RAM that has come. */
  private saved = new Uint8Array();
  private closed = false;

  constructor(file: HostFile, name: string, makeRoom: () => boolean) {
    this.file = file;
    this.name = name;
    this.makeRoom = makeRoom;
  }

  begin(beginning: CoreBeginning): void {
    this.beginning = beginning;
    this.saved = new Uint8Array(beginning.pageCount);
  }

  /** Keeps a page; zeroes stay a hole. Returns: why it could not be kept, or undefined. */
  page(pfn: number, bytes: Uint8Array): string | undefined {
    this.saved[pfn] = 1;
    if (!bytes.some((byte) => byte !== 0)) return undefined;
    return this.write(HEAD_BYTES + pfn * bytes.length, bytes);
  }

  private write(offset: number, bytes: Uint8Array): string | undefined {
    for (const lastTry of [false, true]) {
      try {
        this.file.write(offset, bytes);
        return undefined;
      } catch (error) {
        const full = ["ENOSPC", "EDQUOT"].includes(errorCode(error) ?? "");
        if (!full || lastTry || !this.makeRoom()) return `${this.name}: ${systemReason(error)}`;
      }
    }
    return undefined;
  }

  /** Every page is there: writes the head. Returns: why it could not, or undefined. */
  finish(): string | undefined {
    const { beginning } = this;
    if (!beginning) return `${this.name}: never begun`;
    const facts = this.facts(beginning);
    try {
      const layout = layOutCore({
        ...{ name: this.name, model: facts.model, ram: facts.ram, pageSize: facts.pageSize, style: "netdump" },
        presentPages: facts.ram.reduce((sum, { count }) => sum + count, 0),
        notes: netdumpNotes(facts, false),
        fixedHeadBytes: HEAD_BYTES,
      });
      const problem = this.write(0, layout.head);
      if (problem !== undefined) return problem;
      this.file.truncate(layout.sizeBytes);
      this.file.sync();
    } catch (error) {
      if (error instanceof UsageError) return error.message;
      if (errorCode(error) === undefined) throw error;
      return `${this.name}: ${systemReason(error)}`;
    }
    this.close();
    return undefined;
  }

  /** The dump broke off: what has come stays. */
  abandon(): void {
    this.close();
  }

  private close(): void {
    if (!this.closed) this.file.close();
    this.closed = true;
  }

  private facts({ model, pageSize, task, registers }: CoreBeginning): CoreFacts {
    const known = registers.length === registerBytes(model) ? registersOrNone(registers) : {};
    return {
      ...{ model, pageSize, panicText: "", vmcoreinfo: "", timestampSeconds: 0, timestampNs: 0, dumpLevel: 0 },
      systemName: { ...NO_NAME, machine: machineOf(model) },
      ...{ currentCpu: 0, cpusNumbered: false, switchStack: 0n, cpus: [{ task, ...known }] },
      ...{ maxMapnr: this.saved.length, ram: rangesOf(this.saved), endPfn: this.saved.length },
    };
  }
}

function rangesOf(flags: Uint8Array): PageRange[] {
  const ranges: PageRange[] = [];
  for (let first = flags.indexOf(1); first >= 0;) {
    const end = flags.indexOf(0, first);
    const count = (end < 0 ? flags.length : end) - first;
    ranges.push({ first, count });
    first = flags.indexOf(1, first + count);
  }
  return ranges;
}
