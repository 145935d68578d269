// A scenario: everything that shapes a trial except the seed. This is the resolved form: every default is applied,
// every size is in bytes and every time in nanoseconds. It is plain JSON, so it crosses worker threads and goes into
// capsules as it is. The form that people write is described by schema.json; load.ts turns one into the other.

import type { KernelVersion } from "../../kernel-sim/core/flavour.ts";

export const PLATFORMS = ["x86_64", "i386", "ia64", "ppc64"] as const;
export type Platform = (typeof PLATFORMS)[number];

export interface Scenario {
  readonly name: string;
  /** One line for people; empty when the file has none. */
  readonly description: string;
  readonly platform: Platform;
  readonly kernel: KernelVersion;
  /** What is particular to kernel 2.4.21; absent with another one. */
  readonly linux24?: Linux24Scenario;
  /** 1..64. */
  readonly cpus: number;
  /** Timer interrupts per second and CPU. */
  readonly hz: number;
  readonly memory: MemoryScenario;
  readonly adapters: readonly AdapterScenario[];
  readonly load: LoadScenario;
  readonly dump: DumpScenario;
  readonly network: NetworkScenario;
  readonly netdump: NetdumpScenario;
  readonly kdump: KdumpScenario;
  readonly crash: CrashScenario;
  /** Deliberate damage, to show that the oracles see it. Empty in an honest trial. */
  readonly damage: readonly Damage[];
  readonly limits: TrialLimits;
  /** Where it came from; no part of its identity (see identity.ts). */
  readonly source: ScenarioSource;
}

export interface Linux24Scenario {
  /** Every SCSI host's lock: io_request_lock, or one of its own as in Red Hat's kernels. */
  readonly hostLock: "global" | "own";
  /** Bytes per buffer head of direct I/O. */
  readonly blockBytes: number;
}

export interface ScenarioSource {
  /** What the user typed: a built-in name or a path. */
  readonly ref: string;
  /** `--set` arguments applied to it, in order. */
  readonly overrides: readonly string[];
}

export interface MemoryScenario {
  /** Bytes of RAM fitted, or the sum of the map's RAM ranges when there is a map. */
  readonly sizeBytes: number;
  /** The firmware's map; null lets the machine lay `sizeBytes` out as its platform does. */
  readonly map: readonly MemoryRange[] | null;
  /** File with the RAM's first contents: raw, or an ELF core whose PT_LOADs are copied in. */
  readonly imagePath: string | null;
  /** Share of RAM pages, 0..1, that hold contents when the load starts. */
  readonly inUseFraction: number;
}

export type MemoryRangeType = "ram" | "reserved" | "acpi";
export interface MemoryRange {
  readonly startBytes: number;
  readonly sizeBytes: number;
  readonly type: MemoryRangeType;
}

export interface AdapterScenario {
  /** A key of tools/machine/adapters.ts: "mptfusion". */
  readonly type: string;
  /** One of its chips: "53c1030". */
  readonly model: string;
  /** What crash points and records call it: its type and place among its kind, "mptfusion0". */
  readonly name: string;
  /** Its interrupt line, 16 to 23, when it is not to be the one of its place; two that name the same share it. */
  readonly irq?: number;
  readonly disks: readonly DiskScenario[];
}

export interface DiskScenario {
  /** The kernel's name, given in order over all adapters: "/dev/sda". */
  readonly device: string;
  /** SCSI target id. */
  readonly id: number;
  readonly sizeBytes: number;
  readonly partitions: readonly PartitionScenario[];
  /** WCE of the caching mode page at power-on. */
  readonly writeCache: boolean;
  readonly timing: DiskTiming;
  /** Raw file behind the media: read where the trial has not written; never written. */
  readonly imagePath: string | null;
  readonly faults: readonly DiskFault[];
}

export interface PartitionScenario {
  /** "/dev/sda1". */
  readonly device: string;
  /** 1..15. */
  readonly number: number;
  /** In sectors of 512 bytes, as /proc/diskdump shows them. */
  readonly startSector: number;
  readonly sectors: number;
}

export interface DiskTiming {
  readonly averageSeekNs: number;
  readonly rpm: number;
  /** Bytes per second off the platters. */
  readonly mediaBytesPerS: number;
  /** Bytes per second over the bus. */
  readonly busBytesPerS: number;
  readonly commandOverheadNs: number;
}

export const DISK_FAULT_KINDS = [
  "mediaError",
  "timeout",
  "lostCompletion",
  "unitAttention",
  "deviceGone",
  "busHang",
  "slow",
] as const;
export type DiskFaultKind = (typeof DISK_FAULT_KINDS)[number];
export interface DiskFault {
  readonly kind: DiskFaultKind;
  /** First sector it concerns; null: the whole disk. */
  readonly lba: number | null;
  readonly sectors: number;
  readonly on: "read" | "write" | "any";
  /** Virtual time since power-on from which it can strike. */
  readonly fromNs: number;
  /** How often it strikes; null: always. */
  readonly count: number | null;
  /** `slow` only: times the normal service time. */
  readonly factor: number;
}

export interface LoadScenario {
  /** Processes in all; they take `devices` in turn. */
  readonly processes: number;
  /** Partitions they work on: every partition that is not a dump device, unless the scenario names them. */
  readonly devices: readonly string[];
  readonly mix: LoadMix;
  readonly sizeMinBytes: number;
  readonly sizeMaxBytes: number;
  /** Absent: anywhere in the process's file. "sequential": one call behind the other. */
  readonly access?: "sequential";
  /** Virtual time from power-on at which it starts; null: when the dumper's service is up. Later when that takes longer. */
  readonly startNs: number | null;
  /** Mean time between two requests of one process. */
  readonly thinkTimeNs: number;
  /** Dirty page-cache bytes at which writers must wait; null: a tenth of RAM. */
  readonly dirtyLimitBytes: number | null;
}

/** Relative weights; only their ratios count. */
export interface LoadMix {
  readonly bufferedWrite: number;
  readonly fsync: number;
  readonly directRead: number;
  readonly directWrite: number;
}

export const DUMPERS = ["diskdump", "lkcd", "lkcd-modified", "netdump", "kdump", "mkdump"] as const;
export type Dumper = (typeof DUMPERS)[number];

export interface DumpScenario {
  readonly dumper: Dumper;
  /** In order of preference. */
  readonly devices: readonly string[];
  /** "paper": word n+1 is (word n + 3) * 11, as the white paper says; "rhel4": + 7, as its later release. */
  readonly signature: "paper" | "rhel4";
  /** How the partition was formatted: every block, sampled blocks only, or every block, computed when it is read. */
  readonly format: "full" | "sparse" | "laid";
  readonly blockOrder: number;
  readonly sampleRate: number;
  readonly fallbackOnErr: boolean;
  /** The dumper that stands behind diskdump. */
  readonly fallback: "none" | "netdump";
  readonly allowRiskyDumps: boolean;
  /** How the dumping CPU stops the others. */
  readonly freeze: "ipi" | "nmi";
  readonly lkcd: LkcdScenario;
  /** Seconds between the end of the dump and the reboot (panic_timeout); 0 waits for ever. */
  readonly panicTimeoutS: number;
}

/** Where LKCD puts the dump first: on a disk, page by page on a server, or in free memory, from where the next kernel saves it. */
export type LkcdMethod = "disk" | "network" | "memory";

export interface LkcdScenario {
  /** Absent: disk. */
  readonly method?: Exclude<LkcdMethod, "disk">;
  readonly compress: "none" | "rle" | "gzip";
  readonly level: "kernel" | "used" | "all";
  readonly version: 8 | 9;
  /** How long the dumping CPU waits for the others' answers; null: for ever. */
  readonly ipiWaitNs: number | null;
  /** What CPUs in INIT's slave loop do when the dump asks for them. */
  readonly initSlaves: "answer" | "silent";
}

/** The Ethernet that a machine is on when it needs one: for netdump, or LKCD to the network. What goes wrong with frames is drawn from the seed. */
export interface NetworkScenario {
  /** From the last bit sent to the frame received. */
  readonly latencyNs: number;
  readonly bitsPerS: number;
  /** Shares of frames, 0 to 1. */
  readonly lossFraction: number;
  readonly reorderFraction: number;
  readonly duplicateFraction: number;
  /** How long a frame that is reordered is held back. */
  readonly reorderDelayNs: number;
  /** Other people's broadcasts, on average. */
  readonly broadcastsPerS: number;
  /** How the NIC's driver leaves interrupts: "enable" switches them on after each packet, as 2.6.9's does; "restore", as they were. */
  readonly driverIrqs: "enable" | "restore";
}

export interface NetdumpScenario {
  /** A dead one is plugged in and hears nothing. */
  readonly server: "alive" | "dead";
  /** What the client has been given, and what the server knows of it (null: it takes any). */
  readonly magic: string;
  readonly serverMagic: string | null;
  /** Whether the client drops requests with another magic number. */
  readonly checksMagic: boolean;
  /** Whether the kernel's log is sent as it is written. */
  readonly netconsole: boolean;
  /** The server's: when it asks again, when it gives a client up, how many pages it asks for at a time. */
  readonly retryNs: number;
  readonly silentNs: number;
  readonly windowPages: number;
  /** Somebody else on the network who sends requests in the server's name. */
  readonly spoof: SpoofScenario | null;
}

/** writeAck: LKCD's START_WRITE_NETDUMP_ACK, which lets its client go on to the next page. */
export const SPOOF_COMMANDS = ["reboot", "exit", "writeAck"] as const;
export interface SpoofScenario {
  readonly command: (typeof SPOOF_COMMANDS)[number];
  readonly everyNs: number;
  readonly magic: string;
}

/** The crash kernel of kdump and mkdump. */
export interface KdumpScenario {
  /** Bytes that `crashkernel=` keeps, and where from; null: right behind the kernel's own low memory. */
  readonly crashkernelBytes: number;
  readonly crashkernelAt: number | null;
  /** On the capture kernel's command line. */
  readonly irqpoll: boolean;
  readonly resetDevices: boolean;
  /** Damages a byte of the loaded image before the crash; null: none. */
  readonly damageOffset: number | null;
}

export const CRASH_TRIGGERS = ["os_init", "nmi_switch", "nmi_watchdog", "panic", "oops", "bug", "sysrq_c"] as const;
export type CrashTrigger = (typeof CRASH_TRIGGERS)[number];

export interface CrashScenario {
  readonly trigger: CrashTrigger;
  /** In what context of the crashing CPU it must strike. */
  readonly context: "process" | "softirq" | "hardirq" | "any";
  /** Lock that the crashing CPU must hold at that instant. */
  readonly holding: string | null;
  /** The CPU it strikes; null: whichever the moment or the seed picks. */
  readonly cpu: number | null;
  readonly at: CrashMoment;
  /** os_init: which CPUs the INIT reaches. "monarch": one, the others run on until the dumper stops them. */
  readonly initTargets: "monarch" | "all";
}

/** All times count from the start of the load. */
export type CrashMoment =
  | { readonly kind: "time"; readonly timeNs: number }
  /** Drawn from the seed, evenly. */
  | { readonly kind: "random"; readonly fromNs: number; readonly toNs: number }
  /** The count-th call of a kernel function. */
  | { readonly kind: "function"; readonly name: string; readonly count: number }
  /** The count-th register access of an adapter. */
  | { readonly kind: "access"; readonly adapter: string; readonly count: number }
  /** The count-th time that the lock is taken, at the first instant at which it is held. */
  | { readonly kind: "lock"; readonly name: string; readonly count: number };

export type Damage =
  /** Flips a bit of a page on the dump partition after it was written. */
  | { readonly kind: "flipDumpedBit"; readonly page: number; readonly bit: number }
  /** The dump writes one sector, this many sectors behind the end of its partition. */
  | { readonly kind: "writeOutsidePartition"; readonly sectorsBeyond: number }
  /** The adapter never completes the n-th write of the dump. */
  | { readonly kind: "dropCompletion"; readonly write: number }
  /** A byte of the dump module's text or data changes before the crash. */
  | { readonly kind: "damageModule"; readonly offset: number };

export interface TrialLimits {
  /** Virtual time from power-on at which a trial is called a hang. */
  readonly virtualTimeNs: number;
  /** Events and CPU turns of the simulator's loop. */
  readonly hostEvents: number;
}
