// Tables of what can be done with an open file: struct file_operations with a symbol of its own.
import { file_operations } from "../abi/structs/fs.ts";
import type { Kernel } from "../core/kernel.ts";
import { textAddressOf } from "../core/kfunc.ts";

export type FileOperations = Readonly<
  Partial<Record<Exclude<keyof typeof file_operations.fields, "owner">, { readonly id: number }>>
>;

/** Makes the static table `symbol` of kernel functions. Returns its address. */
export function makeFileOperations(k: Kernel, symbol: string, functions: FileOperations): number {
  const table = k.view(file_operations, k.static(symbol, file_operations));
  for (const [name, f] of Object.entries(functions)) table[name as keyof FileOperations] = textAddressOf(f.id);
  return table.addr;
}
