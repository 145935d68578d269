// The module's parameters (white paper 5.4, MODULE_PARM of diskdump 1.0) and the choices that are the simulator's.
import type { SignatureFormula } from "../format/signature.ts";

export interface DiskdumpParameters {
  /** An I/O of the dump is `pagesize << block_order` bytes. 0..8. */
  readonly block_order: number;
  /**
   * How much of the dump partition is checked before it is written. The module inspects one chunk of `1 << block_order` blocks in
   * every `1 << sample_rate` chunks, and the last chunk; 0 is all blocks, a negative rate none. The white paper explains the
   * default 8 as "256 blocks are inspected"; the code it describes inspects one chunk in 256, and so does this one.
   */
  readonly sample_rate: number;
  /** After a failure, leave the crash to the next dumper (netdump) instead of rebooting. 0 or 1. */
  readonly fallback_on_err: number;
  /** Use a device whose state is doubtful when there is no sane one. 0 or 1. */
  readonly allow_risky_dumps: number;
}

export const DEFAULT_PARAMETERS: DiskdumpParameters = {
  block_order: 2,
  sample_rate: 8,
  fallback_on_err: 1,
  allow_risky_dumps: 1,
};

/** alloc_pages() knows no larger order (MAX_ORDER 11), and 1 MiB is more than any adapter here takes in one command. */
const MAX_BLOCK_ORDER = 8;
/** 2^31 chunks are more than any partition has. */
const MAX_SAMPLE_RATE = 28;

export interface DiskdumpOptions {
  readonly parameters: DiskdumpParameters;
  /** The formula of the partition's signatures: the white paper's, or the one that shipped with RHEL. */
  readonly formula: SignatureFormula;
  /** /proc/diskdump as the white paper shows it, or with RHEL4's parameter lines and bare device names. */
  readonly procStyle: "paper" | "rhel4";
  /** How the other CPUs are told to freeze: by an ordinary interprocessor interrupt (as shipped), or by NMI. */
  readonly freeze: "ipi" | "nmi";
  /**
   * Dump these ranges of memory instead of the machine's RAM: another system's image. The range that starts at 0 lies at `biasBytes`
   * in the machine's memory; block numbers and bitmap count from the image's own 0.
   */
  readonly preserved?: {
    readonly ranges: readonly { readonly start: number; readonly end: number }[];
    readonly biasBytes: number;
  };
  /** Physical address of the scratch buffer's pages, when the caller has some; default: from the page allocator. */
  readonly scratchAt?: number;
}

export const DEFAULT_OPTIONS: DiskdumpOptions = {
  parameters: DEFAULT_PARAMETERS,
  formula: "paper",
  procStyle: "paper",
  freeze: "ipi",
};

const RANGES: Readonly<Record<keyof DiskdumpParameters, readonly [number, number]>> = {
  block_order: [0, MAX_BLOCK_ORDER],
  sample_rate: [-1, MAX_SAMPLE_RATE],
  fallback_on_err: [0, 1],
  allow_risky_dumps: [0, 1],
};

/**
 * Reads what stands behind `modprobe diskdump` or in modprobe.conf: `block_order=3 sample_rate=0`, each perhaps in quotes.
 * Throws an Error that names the parameter that is unknown or out of range (insmod: "Unknown parameter").
 */
export function parseParameters(text: string, defaults = DEFAULT_PARAMETERS): DiskdumpParameters {
  const parameters: Record<keyof DiskdumpParameters, number> = { ...defaults };
  for (const raw of text.split(/\s+/)) {
    const word = raw.replace(/^['"]|['"]$/g, "");
    if (word === "") continue;
    const [, name, value] = /^(\w+)=(.*)$/.exec(word) ?? [];
    if (name === undefined || !Object.hasOwn(RANGES, name)) {
      throw new Error(`diskdump: Unknown parameter \`${name ?? word}' (there are ${Object.keys(RANGES).join(", ")})`);
    }
    const key = name as keyof DiskdumpParameters;
    const [least, most] = RANGES[key];
    if (!/^-?\d+$/.test(value!) || Number(value) < least || Number(value) > most) {
      throw new Error(`diskdump: \`${value}' invalid for parameter \`${name}': expected ${least} to ${most}`);
    }
    parameters[key] = Number(value);
  }
  return parameters;
}
