// Memory that the chip reads and writes: dwords are little endian there, whatever the platform.
import { M } from "../../kernel-sim/abi/ram.ts";

export const put32le = (at: number, value: number): void => {
  M.u32[at >>> 2] = value;
};
export const get32le = (at: number): number => M.u32[at >>> 2]!;
export const put8 = (at: number, value: number): void => {
  M.u8[at] = value;
};
export const get8 = (at: number): number => M.u8[at]!;
