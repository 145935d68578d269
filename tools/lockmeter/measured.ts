// What lockmeter and kernprof saw of real 2.4 kernels on four CPUs under disk load, as published on the linux-kernel list. UTIL is the
// share of wall time for which somebody holds the lock: the chance that it is held at a random instant.

export interface MeasuredRow {
  readonly machine: string;
  readonly load: string;
  /** Shares, 0..1; mean and longest hold in microseconds; null where it was not published. */
  readonly ioRequestLock: { readonly util: number; readonly meanUs: number; readonly maxUs: number | null };
  readonly globalBhLock: { readonly util: number; readonly meanUs: number } | null;
  /** Share of all CPU time in do_IRQ, softirqs included. */
  readonly doIrq: number | null;
  readonly source: string;
}

export const MEASURED: readonly MeasuredRow[] = [
  {
    machine: "4 x Itanium 733, 8 GB, 2.4.8",
    load: "4 mkfs, 24 disks on 3 channels",
    ioRequestLock: { util: 0.066, meanUs: 1.1, maxUs: 201 },
    globalBhLock: { util: 0.031, meanUs: 25 },
    doIrq: 0.044,
    source: "K. Van Maren, 28 Aug 2001",
  },
  {
    machine: "4 x Itanium, 8 GB, 2.4.8",
    load: "4 mkfs, 4 disks",
    ioRequestLock: { util: 0.052, meanUs: 1.5, maxUs: 69 },
    globalBhLock: { util: 0.024, meanUs: 19 },
    doIrq: null,
    source: "K. Van Maren, 22 Aug 2001",
  },
  {
    machine: "4 x Pentium III 500, 2.4.5",
    load: "10 dd from raw devices, 50 disks",
    ioRequestLock: { util: 0.276, meanUs: 1.4, maxUs: 64 },
    globalBhLock: { util: 0.246, meanUs: 80 },
    doIrq: null,
    source: "P. Wong, 7 Sep 2001",
  },
  {
    machine: "the same, no bounce buffers",
    load: "the same",
    ioRequestLock: { util: 0.577, meanUs: 1.8, maxUs: 118 },
    globalBhLock: { util: 0.358, meanUs: 242 },
    doIrq: null,
    source: "P. Wong, 7 Sep 2001",
  },
  {
    machine: "4 x Pentium III 700",
    load: "tiobench on ext2",
    ioRequestLock: { util: 0.029, meanUs: 7.4, maxUs: null },
    globalBhLock: null,
    doIrq: null,
    source: "linux-kernel, 2002",
  },
];
