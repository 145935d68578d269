// What an ELF core has to know about each architecture.
import type { DataModel } from "../../kernel-sim/abi/types.ts";

/** A piece of physical memory that the kernel sees at a second virtual address. */
export interface TextMapping {
  readonly virtual: bigint;
  readonly physical: number;
  readonly bytes: number;
}

export interface Platform {
  /** e_machine. */
  readonly elfMachine: number;
  /** Where physical address 0 is mapped (PAGE_OFFSET of 2.6.9). */
  readonly pageOffset: bigint;
  /** Physical memory below this is in the direct map; absent: all of it. */
  readonly lowMemoryBytes?: number;
  /** The kernel image's own mapping, where it is not the direct map. */
  readonly text?: TextMapping;
}

const MiB = 2 ** 20;

/** Sources: include/asm-{i386,x86_64,ia64,ppc64}/page.h of Linux 2.6.9; machine numbers: ELF gABI. */
export const PLATFORMS: Readonly<Record<DataModel["name"], Platform>> = {
  i386: { elfMachine: 3, pageOffset: 0xc0000000n, lowMemoryBytes: 896 * MiB },
  x86_64: {
    elfMachine: 62,
    pageOffset: 0x0000010000000000n,
    text: { virtual: 0xffffffff80000000n, physical: 0, bytes: 512 * MiB },
  },
  ia64: {
    elfMachine: 50,
    pageOffset: 0xe000000000000000n,
    // One 64 MiB translation register; the kernel is loaded at 64 MiB.
    text: { virtual: 0xa000000100000000n, physical: 64 * MiB, bytes: 64 * MiB },
  },
  ppc64: { elfMachine: 21, pageOffset: 0xc000000000000000n },
};
