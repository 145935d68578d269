// The self-check of white paper 2.1: CRC-32 over a module's text and data, from module_core up to its struct module.
import { buf } from "crc-32";
import { M } from "../../kernel-sim/abi/ram.ts";
import type { LoadedModule } from "../../kernel-sim/core/module.ts";

/** crc32_le() with its table, per byte. */
const CRC_NS_PER_BYTE = 2;

/** Bytes that the checksum covers. */
export const checkedBytes = (module: LoadedModule): number => module.addr - module.core;

/** Virtual time that computing it takes. */
export const checksumNs = (module: LoadedModule): number => checkedBytes(module) * CRC_NS_PER_BYTE;

/** The checksum as it is now, unsigned. Takes no virtual time: the caller pays `checksumNs`. */
export const checksum = (module: LoadedModule): number => buf(M.u8.subarray(module.core, module.addr)) >>> 0;
