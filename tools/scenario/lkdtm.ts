// The names of the Linux Kernel Dump Test Module (2006): crash points stand for kernel functions, types for triggers.
import type { CrashTrigger } from "./scenario.ts";

/** cpoint_name -> the function of a 2.6.9 kernel at whose entry it strikes. */
const CRASH_POINTS: Readonly<Record<string, string>> = {
  INT_HARDWARE_ENTRY: "do_IRQ",
  INT_HW_IRQ_EN: "handle_IRQ_event",
  INT_TASKLET_ENTRY: "tasklet_action",
  // The original probes ll_rw_block; every block I/O of this kernel comes through here.
  FS_DEVRW: "submit_bio",
  MEM_SWAPOUT: "shrink_cache",
  // The original probes hrtimer_start, which 2.6.9 does not have; a timer is armed here.
  TIMERADD: "__mod_timer",
  SCSI_DISPATCH_CMD: "scsi_dispatch_cmd",
};

/** cpoint_type -> trigger. LOOP spins with interrupts off until the watchdog notices. */
const CRASH_TYPES = { PANIC: "panic", BUG: "bug", EXCEPTION: "oops", LOOP: "nmi_watchdog" } as const;
export type LkdtmType = keyof typeof CRASH_TYPES;

/** The kernel function for one of LKDTM's names; any other name is a kernel function already. */
export function lkdtmFunction(name: string): string {
  return Object.hasOwn(CRASH_POINTS, name) ? CRASH_POINTS[name]! : name;
}

export function lkdtmTrigger(type: LkdtmType | undefined): CrashTrigger | undefined {
  return type && CRASH_TYPES[type];
}
