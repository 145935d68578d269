// The diskdump module's state on one kernel: its variables in RAM, and the objects that belong to them.
import type { Running } from "../../emulator/cpu/cpu.ts";
import type { ViewOf } from "../../kernel-sim/abi/view.ts";
import { struct, type StructType } from "../../kernel-sim/abi/types.ts";
import { K, type Kernel } from "../../kernel-sim/core/kernel.ts";
import { INIT_LIST_HEAD } from "../../kernel-sim/core/list.ts";
import type { LoadedModule } from "../../kernel-sim/core/module.ts";
import { NotifierChain } from "../../kernel-sim/core/panic.ts";
import { Semaphore } from "../../kernel-sim/core/wait.ts";
import type { PageRange } from "../format/bitmap.ts";
import { blocksRequired, type BlocksRequired } from "../format/layout.ts";
import { disk_dump_header, disk_dump_sub_header } from "../format/structs.ts";
import { DumpModeChecker } from "./checker.ts";
import { DumpLibrary } from "./dump-library.ts";
import { OutcomeRecord, type DumpOutcome, type DumpReason } from "./outcome.ts";
import type { DiskdumpOptions } from "./parameters.ts";
import { maxPfn, ramPageRanges } from "./ram-map.ts";
import {
  disk_dump_device,
  type disk_dump_partition,
  type disk_dump_type,
  diskdump_bss,
  diskdump_data,
} from "./structs.ts";

/** rw of rw_block. */
export const READ = 0;
export const WRITE = 1;

/**
 * What a dump type supplies for its devices (struct disk_dump_device_ops). All run with interrupts off, the other CPUs
 * stopped, on the dump's own stack; none may sleep, allocate or enable interrupts; none is called with a lock held.
 */
export interface disk_dump_device_ops {
  /** Returns: 0 sane, negative errno insane, positive: may work ("risky"). */
  readonly sanity_check: (device: DumpDevice) => Running<number>;
  /** Stops ongoing I/O and makes the device ready for the dump. Returns: 0 or a negative errno. */
  readonly quiesce?: (device: DumpDevice) => Running<number>;
  /** The dump is over. Returns: 0 or a negative errno. */
  readonly shutdown?: (device: DumpDevice) => Running<number>;
  /**
   * Transfers `count` blocks between partition block `block` and memory at physical address `buffer`.
   * Returns: 0 or more when done, a negative errno when not.
   */
  readonly rw_block: (
    partition: DumpPartition,
    rw: typeof READ | typeof WRITE,
    block: number,
    buffer: number,
    count: number,
  ) => Running<number>;
}

/** A kind of dump device (struct disk_dump_type): how devices are recognised and added. */
export interface DumpTypeDefinition {
  readonly name: string;
  /** Returns the type's own device behind what was registered, or undefined when it is none of its kind. */
  readonly probe: (device: unknown) => unknown;
  /** Fills in ops and max_blocks. Returns 0 or a negative errno. Context: process, disk_dump_mutex held. */
  readonly add_device: (device: DumpDevice) => Running<number>;
  readonly remove_device: (device: DumpDevice) => Running;
  /** Computes its module's checksum again: its list links have changed. */
  readonly compute_cksum?: () => void;
  /** Address of the owner's struct module. */
  readonly owner: number;
  /** Address of its struct disk_dump_type, in its module's data. */
  readonly addr: number;
}

export interface DumpType extends DumpTypeDefinition {
  readonly s: ViewOf<typeof disk_dump_type>;
  /** Address of its list entry. */
  readonly list: number;
}

/** What is registered: a partition (or a whole disk) as the block layer knows it. */
export interface DumpTarget {
  /** bdevname(): "sde1". */
  readonly name: string;
  /** The device that it lies on; for SCSI a scsi_device. */
  readonly device: unknown;
  /** First sector of 512 bytes on the device, and how many. */
  readonly start_sect: number;
  readonly nr_sects: number;
  /** Physical address of its struct block_device, 0 when there is none. */
  readonly bdev?: number;
}

export interface DumpDevice {
  readonly s: ViewOf<typeof disk_dump_device>;
  readonly addr: number;
  readonly list: number;
  /** List head of its partitions. */
  readonly partitionList: number;
  readonly type: DumpType;
  /** The type's own device. */
  readonly device: unknown;
  ops: disk_dump_device_ops;
  readonly partitions: DumpPartition[];
  /** Why its ops said no, for the outcome; they set it. */
  failure: DumpReason | undefined;
}

export interface DumpPartition {
  readonly s: ViewOf<typeof disk_dump_partition>;
  readonly addr: number;
  readonly list: number;
  readonly part_list: number;
  readonly device: DumpDevice;
  readonly target: DumpTarget;
  readonly start_sect: number;
  readonly nr_sects: number;
  /** Whole blocks: SECTOR_BLOCK(nr_sects). */
  readonly blocks: number;
}

/** A fresh stack for the dump, as large as a task's. */
const DUMP_STACK_BYTES = 8192;

/** RAM that is written while the dump runs (physical addresses), and whose it is. For oracles. */
export interface TouchedRange {
  readonly start: number;
  readonly end: number;
  readonly what: string;
  /** What is written there may be written back before the dump ends: memory that an adapter works in. */
  readonly changesBack?: true;
}

export class DiskDump {
  readonly kernel: Kernel;
  readonly options: DiskdumpOptions;
  readonly module: LoadedModule;
  readonly data: ViewOf<typeof diskdump_data>;
  readonly bss: ViewOf<typeof diskdump_bss>;
  /** List heads in RAM. */
  readonly devicesHead: number;
  readonly partitionsHead: number;
  readonly typesHead: number;
  readonly mutex: Semaphore;
  readonly types: DumpType[] = [];
  readonly devices: DumpDevice[] = [];
  readonly partitions: DumpPartition[] = [];
  /** disk_dump_notifier_list: told when a dump begins. */
  readonly notifiers = new NotifierChain();
  readonly header: ViewOf<typeof disk_dump_header>;
  readonly headerBytes: number;
  /** Address of header.tasks. */
  readonly headerTasks: number;
  readonly subHeaderAt: number;
  readonly subHeaderType: StructType;
  readonly ram: readonly PageRange[];
  /** Where in memory page frame 0 of `ram` lies: not 0 when another system's image is dumped. */
  readonly biasBytes: number;
  readonly maxPfn: number;
  readonly required: BlocksRequired;
  readonly pageSize: number;
  /** Sectors of 512 bytes in a block. */
  readonly sectorsPerBlock: number;
  readonly stackTop: number;
  readonly checker = new DumpModeChecker();
  readonly library: DumpLibrary;
  readonly outcome = new OutcomeRecord();
  /** What dump types add to touchedRanges(). */
  readonly otherTouchedRanges: (() => TouchedRange[])[] = [];
  /** Physical address of the scratch buffer: `1 << block_order` contiguous pages. */
  scratch = 0;
  /** A page of flat memory in which a block larger than a page frame is checked; 0 when not needed. */
  readonly checkBuffer: number;

  constructor(kernel: Kernel, module: LoadedModule, options: DiskdumpOptions) {
    const { model } = kernel.map;
    const { parameters } = options;
    this.kernel = kernel;
    this.options = options;
    this.module = module;
    this.pageSize = model.pageSize;
    this.sectorsPerBlock = model.pageSize / 512;
    this.data = kernel.view(diskdump_data, module.dataAt);
    this.bss = kernel.view(diskdump_bss, module.bssAt);
    const at = (field: keyof typeof diskdump_data.fields): number =>
      module.dataAt + kernel.offsetOf(diskdump_data, field);
    this.devicesHead = at("disk_dump_devices");
    this.partitionsHead = at("disk_dump_partitions");
    this.typesHead = at("disk_dump_types");
    for (const head of [this.devicesHead, this.partitionsHead, this.typesHead]) INIT_LIST_HEAD(head);
    this.mutex = new Semaphore(at("disk_dump_mutex"), "disk_dump_mutex", 1);
    this.data.fallback_on_err = parameters.fallback_on_err;
    this.data.allow_risky_dumps = parameters.allow_risky_dumps;
    this.data.block_order = parameters.block_order;
    this.data.sample_rate = parameters.sample_rate;

    this.headerBytes = kernel.sizeOf(disk_dump_header);
    const headerAt = kernel.symbol("dump_header");
    this.header = kernel.view(disk_dump_header, headerAt);
    this.headerTasks = headerAt + kernel.offsetOf(disk_dump_header, "tasks");
    this.subHeaderType = disk_dump_sub_header[model.name];
    this.subHeaderAt = kernel.symbol("dump_sub_header");

    const { preserved } = options;
    this.biasBytes = preserved?.biasBytes ?? 0;
    const map = preserved
      ? preserved.ranges.map((range) => ({ ...range, type: "ram" as const }))
      : kernel.machine.memory.map;
    this.ram = ramPageRanges(map, model.pageSize);
    this.maxPfn = maxPfn(this.ram);
    const ramPages = this.ram.reduce((sum, range) => sum + range.count, 0);
    this.required = blocksRequired({ ramPages, maxMapnr: this.maxPfn, model });
    this.bss.header_blocks = this.required.header;
    this.bss.bitmap_blocks = this.required.bitmap;
    this.bss.total_ram_blocks = this.required.memory;
    this.bss.total_blocks = this.required.total;

    this.stackTop = kernel.bootmem(DUMP_STACK_BYTES, DUMP_STACK_BYTES) + DUMP_STACK_BYTES - 64;
    this.bss.diskdump_stack = this.stackTop;
    this.checkBuffer = model.pageSize > 4096 ? kernel.bootmem(model.pageSize, 4096) : 0;
    this.library = new DumpLibrary(this.checker, kernel.bootmem(DumpLibrary.savedBytes()));
  }

  get parameters(): DiskdumpOptions["parameters"] {
    return this.options.parameters;
  }

  /** RAM that the dump itself writes after the freeze: the pages in which a dump may differ from RAM. */
  touchedRanges(): TouchedRange[] {
    const { bss, header, headerBytes, stackTop, scratch, module } = this;
    return [
      { start: bss.addr, end: bss.addr + K.sizeOf(diskdump_bss), what: "diskdump's variables" },
      { start: header.addr, end: header.addr + headerBytes, what: "dump_header" },
      { start: this.subHeaderAt, end: this.subHeaderAt + K.sizeOf(this.subHeaderType), what: "dump_sub_header" },
      { start: stackTop + 64 - DUMP_STACK_BYTES, end: stackTop + 64, what: "the dump's stack" },
      { start: scratch, end: scratch + (this.pageSize << this.parameters.block_order), what: "scratch buffer" },
      { start: module.dataAt, end: module.dataAt + K.sizeOf(diskdump_data), what: "diskdump's data" },
      ...this.devices.map((d) => ({
        start: d.addr,
        end: d.addr + K.sizeOf(disk_dump_device),
        what: "disk_dump_device",
      })),
      ...this.library.touchedRanges(),
      ...this.otherTouchedRanges.flatMap((ranges) => ranges()),
    ];
  }
}

/** The module's zeroed variables on this kernel's platform: what diskdump_bss has, and the headers that a dump begins with. */
export const diskdumpBss = (kernel: Kernel): StructType =>
  struct("", {
    ...diskdump_bss.fields,
    dump_header: disk_dump_header,
    dump_sub_header: disk_dump_sub_header[kernel.map.model.name],
  });

const loaded = new WeakMap<Kernel, DiskDump>();

/** The module's state on a kernel; undefined when it is not loaded there. */
export const diskdumpOf = (kernel: Kernel): DiskDump | undefined => loaded.get(kernel);
export const setDiskdump = (kernel: Kernel, dump: DiskDump | undefined): void => {
  if (dump) loaded.set(kernel, dump);
  else loaded.delete(kernel);
};

const NOT_LOADED = new OutcomeRecord();

/** What became of the dump, as far as it has come. Works on a machine that hangs, too. */
export function dumpOutcome(kernel: Kernel): DumpOutcome {
  const record = loaded.get(kernel)?.outcome ?? NOT_LOADED;
  const outcome = record.snapshot();
  // A panic inside the dump does not come back here: the next dumper was called, or nobody.
  if (record.result !== "running" || !kernel.secondCrash) return outcome;
  return {
    ...outcome,
    result: record.touched ? "incomplete" : "refused",
    reason: "double panic",
    fallback: record.netdumpBehind ? "netdump" : "no fallback registered",
  };
}
