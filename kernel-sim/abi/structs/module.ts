// What a loaded module carries of its symbols (include/linux/module.h, linux/elf.h of 2.6.9).
import { charPtr, struct, typedef, u16, u64, u8, uint, ulong } from "../types.ts";

export const kernel_symbol = struct("kernel_symbol", { value: ulong, name: charPtr }, { doc: "an exported symbol" });
export const Elf64_Sym = typedef(
  "Elf64_Sym",
  struct("elf64_sym", { st_name: uint, st_info: u8, st_other: u8, st_shndx: u16, st_value: u64, st_size: u64 }),
);
export const Elf32_Sym = typedef(
  "Elf32_Sym",
  struct("elf32_sym", { st_name: uint, st_value: uint, st_size: uint, st_info: u8, st_other: u8, st_shndx: u16 }),
);
export const STB_GLOBAL_FUNC = (1 << 4) | 2;
export const STB_GLOBAL_OBJECT = (1 << 4) | 1;
