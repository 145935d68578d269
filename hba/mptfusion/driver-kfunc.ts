// Leaf functions of the driver's modules.
import { kleaf } from "../../kernel-sim/core/kfunc.ts";

/** kleaf for a module's function: module first, as with moduleFunctions. */
export const kleafOf = <A extends unknown[], T>(module: string, name: string, body: (...args: A) => T) =>
  kleaf(name, body, module);
