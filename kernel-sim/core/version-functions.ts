// Kernel functions that one kernel version alone has.
import { moduleFunctions } from "./kfunc.ts";

/**
 * The kfunc of one kernel version, of the kernel proper or of a module: its functions are in that version's image only, in the
 * place of those of the same name that other versions have.
 */
export const versionFunctions = (version: string, module?: string): ReturnType<typeof moduleFunctions> =>
  moduleFunctions(module, version);
