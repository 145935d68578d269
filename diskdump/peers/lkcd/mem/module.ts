// The module dump_memdev: what its functions are defined with.
import { numberApart } from "../../../../kernel-sim/core/function-table.ts";
import { moduleFunctions } from "../../../../kernel-sim/core/kfunc.ts";

numberApart("dump_memdev");
export const kfunc = moduleFunctions("dump_memdev");
