// The kernel that runs on a machine: its image (symbols, static objects), its views on RAM, its per-CPU state.
import type { Machine } from "../../emulator/cpu/machine.ts";
import { cpu, type Cpu, type Running } from "../../emulator/cpu/cpu.ts";
import { M, installRam, type AddressMap, type ImageRanges } from "../abi/ram.ts";
import { alignOf, layoutOf, sizeOf, type CType, type Fields, type StructType } from "../abi/types.ts";
import { viewClass, type View, type ViewClass } from "../abi/view.ts";
import type { MemoryRange } from "../../emulator/memory/memory.ts";
import { installLinks, linkFunctions, type Links } from "./kfunc.ts";
import { PseudoFiles } from "./procfs.ts";
import type { IrqController } from "./irq.ts";
import type { LockMeter } from "./lockmeter.ts";
import type { PerCpu } from "./percpu.ts";
import type { PerCpuAreas } from "./percpu-data.ts";
import type { CrashHooks, CrashSite, NotifierChain } from "./panic.ts";
import type { Console } from "./printk.ts";
import type { DumpMode } from "./dump-mode.ts";
import type { EndlessWalk } from "./fault.ts";
import type { Softirqs } from "./softirq.ts";
import type { LoadAverage } from "./load-average.ts";
import type { Timekeeping } from "./timer.ts";
import type { CpuWorkqueue } from "./workqueue.ts";
import type { CallFunction, NmiCallback } from "./smp.ts";
import type { BottomHalves } from "./bottom-half.ts";
import type { Flavour } from "./flavour.ts";
import type { Spinlock } from "./spinlock.ts";
import type { Task } from "./task.ts";
import type { ModuleTable } from "./module.ts";
import type { Ide } from "../ide/ide.ts";
import type { ScsiMidlayer } from "../scsi/midlayer.ts";
import type { PageAllocator } from "../mm/page-alloc.ts";
import type { BlockLayer } from "../block/block-layer.ts";
import type { ProcessMemory } from "../mm/process-memory.ts";
import type { KmemCache } from "../mm/slab.ts";
import type { Vfs } from "../fs/vfs.ts";
import type { Pdflush } from "../mm/pdflush.ts";
import type { Net } from "../net/netdevice.ts";

export interface KernelSymbol {
  readonly name: string;
  /** Physical address. */
  readonly addr: number;
  readonly size: number;
  /** Text, read-only data, data (as nm prints them). */
  readonly letter: "T" | "R" | "D";
  /** The object's C type, when known: what DWARF will say of it. */
  readonly type?: CType;
}

export interface KernelOptions {
  readonly machine: Machine;
  readonly map: AddressMap;
  /** utsname's; undefined: the flavour's own. */
  readonly release?: string;
  /** Ticks per second. */
  readonly hz: number;
  readonly bootArguments: BootArguments;
  /** Which kernel version it is. */
  readonly flavour: Flavour;
  /** What of the memory is this kernel's; default: all of it. */
  readonly region?: MemoryRegion;
  /** The CPU that boots it; default 0. */
  readonly bootCpu?: number;
  /** maxcpus=1: the other CPUs are left as they are. */
  readonly uniprocessor?: boolean;
  /** The words of its command line that drivers and interrupt handling ask for: "irqpoll", "reset_devices". */
  readonly commandLine?: string;
  /** Told when boot memory has run out, also during the boot; may leave the context. */
  readonly onBootmemShortage?: (bytes: number) => void;
}

/**
 * The memory that a kernel may use when it is not alone: one that keeps a part free for a crash kernel (`crashkernel=`), or the crash
 * kernel in that part. Physical addresses in bytes, ends exclusive, multiples of 1 MiB where an image starts.
 */
export interface MemoryRegion {
  /** Its image lies 1 MiB above this, as on a machine of its own. */
  readonly start: number;
  /** End of its part of the flat window: what boot takes comes from below. */
  readonly lowEnd: number;
  /** The memory map that it believes in: the firmware's, or `memmap=exactmap`. */
  readonly e820: readonly MemoryRange[];
  /** What it must keep its hands off in there. */
  readonly reserved: readonly { readonly start: number; readonly end: number }[];
}

/** What a real kernel takes from its command line and its configuration. */
export interface BootArguments {
  /** Wait before the reboot after a panic, seconds; 0: for ever. */
  readonly panicTimeoutSeconds: number;
  readonly panicOnOops: boolean;
  /** NMI watchdog on: a CPU without timer ticks for 5 s dies. */
  readonly nmiWatchdog: boolean;
}

/** Where the kernel image starts, from the start of the kernel's memory. */
const IMAGE_START = 0x100000;
/** Text of all functions, then read-only data, then data: sizes are fixed so that addresses do not depend on use. */
const TEXT_BYTES = 0x80000;
const RODATA_BYTES = 0x10000;
const DATA_BYTES = 0x170000;
const MODULE_BYTES = 0x100000;

export class Kernel {
  readonly machine: Machine;
  readonly map: AddressMap;
  readonly release: string;
  readonly hz: number;
  readonly boot: BootArguments;
  /** What differs between kernel versions: everything else is shared. */
  readonly flavour: Flavour;
  readonly symbols = new Map<string, KernelSymbol>();
  /** Classes of views that were asked for, for the platform that this is. */
  private readonly viewClasses = new Map<object, unknown>();
  readonly ranges: ImageRanges;
  /** Where the parts of the image start (physical); each ends where the next starts, data at ranges.imageEnd. */
  readonly sections: { readonly text: number; readonly rodata: number; readonly data: number };
  readonly region: MemoryRegion;
  /** The CPU that booted it, and those that it runs on. */
  readonly bootCpu: Cpu;
  readonly cpus: readonly Cpu[];
  readonly commandLine: readonly string[];
  private readonly links: Links;
  readonly percpu: PerCpu[] = [];
  /** Each CPU's copies of the per-CPU variables. */
  perCpuAreas!: PerCpuAreas;
  readonly tasks = new Map<number, Task>();
  private rodataAt: number;
  private dataAt: number;
  /** First byte that boot may hand out. */
  bootAt: number;
  /** Where the page allocator's part of the flat window begins: boot memory ends there. */
  bootLimit = Infinity;

  // Set up by each subsystem's init function, in the order of start_kernel().
  irq!: IrqController;
  console!: Console;
  modules!: ModuleTable;
  softirqs!: Softirqs;
  /** 2.4 only. */
  bottomHalves!: BottomHalves;
  time!: Timekeeping;
  loadAverage!: LoadAverage;
  workqueues!: CpuWorkqueue[];
  /** Set while a polled dumper owns the machine: crashdump_mode(). */
  dumpMode: DumpMode | undefined;
  /** The CPU that counts jiffies. */
  timekeeper = 0;
  crashdump!: CrashHooks;
  panicNotifiers!: NotifierChain;
  /** The first crash; and what crashed while the dumper worked. */
  crash: CrashSite | undefined;
  /** Told of the first crash, for who measures; it must not touch the machine. */
  onCrash: ((site: CrashSite) => void) | undefined;
  secondCrash: CrashSite | undefined;
  /** Serialises oopses; and the CPU whose oops has it. */
  dieLock!: Spinlock;
  dieOwner: number | undefined;
  /** Why the machine restarted. */
  restarted: string | undefined;
  /** The CPU that took OS_INIT first. */
  initMonarch: number | undefined;
  /** What the CPUs that get a call-function interrupt, or a dumper's NMI, are to run (call_data). */
  callFunction: CallFunction | undefined;
  /** What a CPU does that takes an NMI or INIT for a dump and then goes on (the nmi callback), or waits in the slaves' loop. */
  nmiCallback: NmiCallback | undefined;
  initSlaveCallback: NmiCallback | undefined;
  /**
   * Set by a dumper that lets the other CPUs run on: asked at the beginning of each schedule(). True: schedule() is nothing here.
   * It does not return on a CPU that is to wait.
   */
  scheduleWhileDumping: (() => Running<boolean>) | undefined;
  /** CPUs that walk a half-linked list in a circle. */
  readonly endlessWalks: EndlessWalk[] = [];
  nextPid = 1;
  /** Bucket arrays of the pid hashes, by pid_type, and the binary logarithm of their length. */
  readonly pidHash: number[] = [];
  pidHashShift = 0;
  /** Counts touch_nmi_watchdog(): who looks and finds it moved lets the CPU live. */
  watchdogTouches = 0;
  pages!: PageAllocator;
  /** Queues, disks and bios; made when the first queue is. */
  block!: BlockLayer;
  pdflush: Pdflush | undefined;
  scsi!: ScsiMidlayer;
  /** Set up by the first IDE chipset's driver. */
  ide: Ide | undefined;
  vfs!: Vfs;
  net!: Net;
  /** netdump_mode: a network dump owns the machine. */
  netdumpMode = false;
  processMemory!: ProcessMemory;
  sighandCache!: KmemCache;
  /** Findings of the run-time checker (lock order, irq safety, calls that dump mode forbids): function, rule, stack. */
  readonly reports: string[] = [];
  /** Every lock by name, for directed crashes and for messages. */
  readonly locks = new Map<string, Spinlock>();
  /** Set while the use of locks is measured. */
  lockMeter: LockMeter | undefined;
  /** /proc and /sys. */
  readonly files = new PseudoFiles();
  /** Told at each schedule(); the dump-mode checker listens. */
  onSchedule: (() => void) | undefined;
  /** Told when interrupts are about to be enabled; the dump-mode checker listens. */
  onIrqEnable: (() => void) | undefined;
  /** Told when boot memory has run out; a kernel that may run short of it panics here and does not come back. */
  onBootmemShortage: ((bytes: number) => void) | undefined;

  constructor(options: KernelOptions) {
    this.machine = options.machine;
    this.map = options.map;
    this.flavour = options.flavour;
    this.release = options.release ?? options.flavour.release;
    this.hz = options.hz;
    this.boot = options.bootArguments;
    const { memory, cpus } = options.machine;
    this.region = options.region ?? { start: 0, lowEnd: memory.flatBytes, e820: memory.map, reserved: [] };
    this.onBootmemShortage = options.onBootmemShortage;
    this.bootCpu = cpus[options.bootCpu ?? 0]!;
    this.cpus = options.uniprocessor ? [this.bootCpu] : cpus;
    this.commandLine = (options.commandLine ?? "").split(" ").filter((word) => word !== "");
    const imageStart = this.region.start + IMAGE_START;
    this.sections = {
      text: imageStart,
      rodata: imageStart + TEXT_BYTES,
      data: imageStart + TEXT_BYTES + RODATA_BYTES,
    };
    this.rodataAt = this.sections.rodata;
    this.dataAt = this.sections.data;
    const imageEnd = this.sections.data + DATA_BYTES;
    this.ranges = {
      imageStart,
      imageEnd,
      moduleStart: imageEnd,
      moduleEnd: imageEnd + MODULE_BYTES,
    };
    this.bootAt = imageEnd + MODULE_BYTES;
    K = this;
    installRam(memory, this.map, this.ranges);
    this.links = linkFunctions(this, imageStart, TEXT_BYTES);
    for (const c of this.cpus) c.domain = this;
    this.machine.domain = this;
    this.machine.nameFunction = (id) => this.functionName(id);
  }

  /** Makes this the kernel that K and M mean. */
  enter(): void {
    K = this;
    installRam(this.machine.memory, this.map, this.ranges);
    installLinks(this.links);
    this.machine.domain = this;
  }

  functionName: (id: number) => string = () => "?";
  /** The function that contains a physical text address. */
  functionAt: (addr: number) => string | undefined = () => undefined;

  /** A static object in the kernel image, with a symbol; zeroed. Returns its physical address. */
  static(name: string, type: CType, section: "data" | "rodata" = "data"): number {
    const size = sizeOf(type, this.map.model);
    const align = Math.max(8, alignOf(type, this.map.model));
    return this.staticBytes(name, size, align, section, type);
  }

  staticBytes(name: string, size: number, align: number, section: "data" | "rodata" = "data", type?: CType): number {
    if (this.symbols.has(name)) throw new Error(`kernel image: ${name} is defined twice`);
    let at = section === "data" ? this.dataAt : this.rodataAt;
    at = Math.ceil(at / align) * align;
    const end = section === "data" ? this.ranges.imageEnd : this.sections.data;
    if (at + size > end) throw new Error(`kernel image: no room for ${name} (${size} bytes) in .${section}`);
    if (section === "data") this.dataAt = at + size;
    else this.rodataAt = at + size;
    const symbol = { name, addr: at, size, letter: section === "data" ? ("D" as const) : ("R" as const) };
    this.symbols.set(name, type ? { ...symbol, type } : symbol);
    return at;
  }

  /** Memory that boot takes for good (alloc_bootmem): zeroed, from the flat window. */
  bootmem(size: number, align = 64): number {
    const at = Math.ceil(this.bootAt / align) * align;
    const limit = Math.min(this.region.lowEnd, this.bootLimit);
    if (at + size > limit) {
      this.onBootmemShortage?.(size);
      throw new Error(`bootmem: ${size} bytes do not fit below 0x${limit.toString(16)}`);
    }
    this.bootAt = at + size;
    return at;
  }

  /** A view on the struct at `addr`. Keep it; making one per access is slow. */
  view<F extends Fields>(type: StructType<F>, addr: number): View<F> {
    let made = this.viewClasses.get(type) as ViewClass<F> | undefined;
    if (!made) this.viewClasses.set(type, (made = viewClass(type, this.map.model)));
    return new made(addr);
  }

  sizeOf(type: CType): number {
    return sizeOf(type, this.map.model);
  }

  offsetOf(type: StructType, field: string): number {
    const layout = layoutOf(type, this.map.model).fields.get(field);
    if (!layout) throw new Error(`struct ${type.name} has no field ${field}`);
    return layout.offset;
  }

  /** Physical address of a symbol. */
  symbol(name: string): number {
    const symbol = this.symbols.get(name);
    if (!symbol) throw new Error(`kernel image: there is no symbol ${name}`);
    return symbol.addr;
  }
}

/** The running kernel; swapped when another machine is entered. */
export let K: Kernel = undefined as unknown as Kernel;

/** The per-CPU state of the CPU that runs now. */
export const this_cpu = (): PerCpu => K.percpu[cpu.id]!;
export const per_cpu = (c: Cpu): PerCpu => K.percpu[c.id]!;
/** The task that runs on this CPU. */
export const current = (): Task => K.percpu[cpu.id]!.current;
export const smp_processor_id = (): number => cpu.id;
export { M };
