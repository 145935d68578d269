// Kernel functions of the driver's module.
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";

export const kfuncOf = moduleFunctions("sym53c8xx");
