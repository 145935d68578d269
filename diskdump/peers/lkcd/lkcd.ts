// LKCD on one kernel: its variables in RAM, its buffers, and the objects that belong to them.
import type { ViewOf } from "../../../kernel-sim/abi/view.ts";
import type { StructType } from "../../../kernel-sim/abi/types.ts";
import { M } from "../../../kernel-sim/abi/ram.ts";
import type { Kernel } from "../../../kernel-sim/core/kernel.ts";
import type { LoadedModule } from "../../../kernel-sim/core/module.ts";
import { registerBytes } from "../../../kernel-sim/core/registers.ts";
import { THREAD_BYTES } from "../../../kernel-sim/core/task.ts";
import { DUMP_PAGE_BYTES, dump_header, dump_header_v9, lkcdArch, type LkcdArch } from "../../cores/lkcd-header.ts";
import { StructBytes } from "../../format/struct-bytes.ts";
import type { PageRange } from "../../format/bitmap.ts";
import { ramPageRanges } from "../../module/ram-map.ts";
import type { DumpDevice } from "./dump-device.ts";
import type { LkcdOptions } from "./options.ts";
import { lkcd_data } from "./structs.ts";

/** DUMP_BUFFER_SIZE: what one write takes. */
export const DUMP_BUFFER_BYTES = 65536;
/** The header is written again after so many buffers. */
export const BUFFERS_PER_HEADER = 64;
/** What the header has of the device before the pages begin. */
export const DUMP_HEADER_ROOM = 65536;

export type LkcdStage =
  | "idle"
  | "configure header"
  | "wait for other CPUs"
  | "silence"
  | "unlock"
  | "header"
  | "memory"
  | "completion"
  | "halt CPUs"
  | "soft boot"
  | "ended";

/** What became of the dump: for the trial; kernel code writes it and does not read it. */
export class LkcdOutcome {
  result: "not started" | "running" | "complete" | "refused" | "incomplete" = "not started";
  reason = "";
  private currentStage: LkcdStage = "idle";
  onStage: ((stage: LkcdStage) => void) | undefined;
  /** A page that is not all holes is about to be copied: into the dump, or to be compressed. The last copy counts. */
  onPage: ((pfn: number) => void) | undefined;
  pagesWritten = 0;
  /** Bytes of writes that were begun, headers each time. */
  bytesWritten = 0;
  /** Virtual time at which it ended, well or badly. */
  endedAtNs: number | undefined;
  /** Writes that have ended: what an observer takes for progress. */
  writesEnded = 0;
  /** A header has been written. */
  touched = false;

  get stage(): LkcdStage {
    return this.currentStage;
  }
  set stage(stage: LkcdStage) {
    this.currentStage = stage;
    this.onStage?.(stage);
  }
}

export class Lkcd {
  readonly kernel: Kernel;
  readonly options: LkcdOptions;
  readonly module: LoadedModule;
  readonly data: ViewOf<typeof lkcd_data>;
  readonly device: DumpDevice;
  readonly arch: LkcdArch;
  readonly machineHeader: StructType;
  readonly headerType: typeof dump_header;
  /** Physical addresses: the headers, and how many bytes of the device they take. */
  readonly headerAt: number;
  readonly headerBytes: number;
  /** The buffer, with room behind it for a page that began in it. */
  readonly bufferAt: number;
  /** Copies of the CPUs' stacks and registers, one behind the other. */
  readonly stacksAt: number;
  readonly regsAt: number;
  readonly ram: readonly PageRange[];
  readonly pageSize: number;
  readonly outcome = new LkcdOutcome();
  /** Time between two looks of a loop that waits; see relax.ts. */
  relaxNs = 0;

  constructor(kernel: Kernel, module: LoadedModule, device: DumpDevice, options: LkcdOptions) {
    const { model } = kernel.map;
    const cpus = kernel.machine.cpus.length;
    this.kernel = kernel;
    this.options = options;
    this.module = module;
    this.device = device;
    this.pageSize = model.pageSize;
    this.data = kernel.view(lkcd_data, module.dataAt);
    this.arch = lkcdArch(model)!;
    this.machineHeader = this.arch.header(cpus);
    this.headerType = options.version === 9 ? (dump_header_v9 as unknown as typeof dump_header) : dump_header;
    const exact = kernel.sizeOf(this.headerType) + kernel.sizeOf(this.machineHeader);
    this.headerBytes = Math.ceil(exact / this.pageSize) * this.pageSize;
    this.headerAt = kernel.bootmem(this.headerBytes, this.pageSize);
    this.bufferAt = kernel.bootmem(DUMP_BUFFER_BYTES + 2 * (this.pageSize + DUMP_PAGE_BYTES), this.pageSize);
    this.stacksAt = kernel.bootmem(cpus * THREAD_BYTES, this.pageSize);
    this.regsAt = kernel.bootmem(cpus * registerBytes());
    this.ram = ramPageRanges(kernel.machine.memory.map, this.pageSize);
    const { data } = this;
    data.dump_buf = this.bufferAt;
    data.dump_header = this.headerAt;
    data.dumping_cpu = -1;
  }

  /** Header and machine header as they lie in RAM. Views for the moment: writing to them takes no time of its own. */
  header(): StructBytes {
    const { headerAt, headerType } = this;
    const size = this.kernel.sizeOf(headerType);
    return new StructBytes(headerType, this.kernel.map.model, M.u8.subarray(headerAt, headerAt + size));
  }
  machine(): StructBytes {
    const at = this.headerAt + this.kernel.sizeOf(this.headerType);
    const bytes = M.u8.subarray(at, at + this.kernel.sizeOf(this.machineHeader));
    return new StructBytes(this.machineHeader, this.kernel.map.model, bytes);
  }

  /** Element of an array of pointers in LKCD's data, by CPU. */
  slot(field: "dump_saved_task" | "dump_saved_regs" | "dump_saved_stack", cpuId: number): number {
    return this.data[field] + cpuId * this.kernel.map.model.wordBytes;
  }
}

const loaded = new WeakMap<Kernel, Lkcd>();
export const lkcdOf = (kernel: Kernel): Lkcd | undefined => loaded.get(kernel);
export const setLkcd = (kernel: Kernel, lkcd: Lkcd): void => void loaded.set(kernel, lkcd);
