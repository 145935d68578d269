// The form of a scenario that people write, after schema.json has accepted it. Every key is optional except in lists.
import type { KernelVersion } from "../../kernel-sim/core/flavour.ts";
import type {
  CrashTrigger,
  DiskFaultKind,
  Dumper,
  LkcdMethod,
  MemoryRangeType,
  Platform,
  SpoofScenario,
} from "./scenario.ts";

/** "8GiB", "36GB", or a number of bytes. */
export type SizeText = string | number;
/** "250ms", "2us". */
export type TimeText = string;

export interface ScenarioDocument {
  extends?: string;
  name?: string;
  description?: string;
  platform?: Platform;
  kernel?: KernelVersion;
  linux24?: { hostLock?: "global" | "own"; blockSize?: SizeText };
  cpus?: number;
  hz?: number;
  memory?: {
    size?: SizeText;
    map?: { start: SizeText; size: SizeText; type: MemoryRangeType }[];
    image?: string;
    inUse?: number;
  };
  adapters?: AdapterDocument[];
  load?: {
    processes?: number;
    perDisk?: number;
    devices?: string[];
    mix?: { bufferedWrite?: number; fsync?: number; directRead?: number; directWrite?: number };
    access?: "random" | "sequential";
    sizeMin?: SizeText;
    sizeMax?: SizeText;
    start?: TimeText;
    thinkTime?: TimeText;
    dirtyLimit?: SizeText;
  };
  dump?: {
    dumper?: Dumper;
    devices?: string[];
    signature?: "paper" | "rhel4";
    format?: "full" | "sparse" | "laid";
    blockOrder?: number;
    sampleRate?: number;
    fallbackOnErr?: boolean;
    fallback?: "none" | "netdump";
    allowRiskyDumps?: boolean;
    freeze?: "ipi" | "nmi";
    lkcd?: {
      method?: LkcdMethod;
      compress?: "none" | "rle" | "gzip";
      level?: "kernel" | "used" | "all";
      version?: 8 | 9;
      ipiWait?: TimeText;
      initSlaves?: "answer" | "silent";
    };
    panicTimeout?: TimeText;
  };
  network?: {
    latency?: TimeText;
    megabitsPerS?: number;
    lossFraction?: number;
    reorderFraction?: number;
    duplicateFraction?: number;
    reorderDelay?: TimeText;
    broadcastsPerS?: number;
    driverIrqs?: "enable" | "restore";
  };
  netdump?: {
    server?: "alive" | "dead";
    magic?: string;
    serverMagic?: string;
    checksMagic?: boolean;
    netconsole?: boolean;
    retry?: TimeText;
    silent?: TimeText;
    window?: number;
    spoof?: { command?: SpoofScenario["command"]; every?: TimeText; magic?: string };
  };
  crash?: {
    trigger?: CrashTrigger;
    context?: "process" | "softirq" | "hardirq" | "any";
    holding?: string;
    cpu?: number;
    at?: MomentDocument;
    initTargets?: "monarch" | "all";
  };
  kdump?: {
    crashkernel?: SizeText;
    at?: SizeText;
    irqpoll?: boolean;
    resetDevices?: boolean;
    damageOffset?: number;
  };
  damage?: DamageDocument[];
  limits?: { virtualTime?: TimeText; hostEvents?: number };
}

export interface AdapterDocument {
  type?: string;
  model?: string;
  irq?: number;
  disks?: DiskDocument[];
}

export interface DiskDocument {
  id?: number;
  size: SizeText;
  partitions?: { number?: number; startSector: number; sectors: number }[];
  writeCache?: boolean;
  timing?: {
    averageSeek?: TimeText;
    rpm?: number;
    mediaMbPerS?: number;
    busMbPerS?: number;
    commandOverhead?: TimeText;
  };
  image?: string;
  faults?: FaultDocument[];
}

export interface FaultDocument {
  kind: DiskFaultKind;
  lba?: number;
  sectors?: number;
  on?: "read" | "write" | "any";
  from?: TimeText;
  count?: number;
  factor?: number;
}

export interface MomentDocument {
  time?: TimeText;
  random?: { from: TimeText; to: TimeText };
  function?: { name: string; count?: number; type?: "PANIC" | "BUG" | "EXCEPTION" | "LOOP" };
  access?: { adapter: string; count: number };
  lock?: { name: string; count?: number };
}

export type DamageDocument =
  | { kind: "flipDumpedBit"; page: number; bit?: number }
  | { kind: "writeOutsidePartition"; sectorsBeyond?: number }
  | { kind: "dropCompletion"; write?: number }
  | { kind: "damageModule"; offset?: number };
