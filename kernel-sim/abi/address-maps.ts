// Where the kernels of appendix A's platforms keep the direct map, their image and their modules (2.6.9).
import type { AddressMap } from "./ram.ts";
import { I386, IA64, PPC64, X86_64 } from "./types.ts";

/** x86_64 before 2.6.11 (boot_vmalloc_pgt layout): asm-x86_64/page.h. */
export const X86_64_MAP: AddressMap = {
  model: X86_64,
  pageOffset: 0x0000010000000000n,
  kernelMap: 0xffffffff80000000n,
  moduleBase: 0xffffffffa0000000n,
};
export const I386_MAP: AddressMap = {
  model: I386,
  pageOffset: 0xc0000000n,
  kernelMap: 0xc0000000n,
  moduleBase: 0xf8800000n,
};
/** Region 7 is the identity map, region 5 the kernel: asm-ia64/page.h, pgtable.h. */
export const IA64_MAP: AddressMap = {
  model: IA64,
  pageOffset: 0xe000000000000000n,
  kernelMap: 0xa000000100000000n,
  moduleBase: 0xa000000200000000n,
};
export const PPC64_MAP: AddressMap = {
  model: PPC64,
  pageOffset: 0xc000000000000000n,
  kernelMap: 0xc000000000000000n,
  moduleBase: 0xd000000000000000n,
};
export const ADDRESS_MAPS = { x86_64: X86_64_MAP, i386: I386_MAP, ia64: IA64_MAP, ppc64: PPC64_MAP } as const;
