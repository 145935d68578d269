// mkdump (mkdump.sourceforge.net): a mini kernel with one disk driver that writes all memory itself and reboots.
import type { CrashKernelKind } from "../kdump/crash-dump.ts";

/** No copy of low memory: the mini kernel stays out of it. No /proc/vmcore: pages are written from where they lie. */
export const MKDUMP: CrashKernelKind = { name: "mkdump", backup: false, direct: true, oneDriver: true };
