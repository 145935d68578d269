// The module dump_netdev: what its functions are defined with.
import { numberApart } from "../../../../kernel-sim/core/function-table.ts";
import { moduleFunctions, moduleLeaves } from "../../../../kernel-sim/core/kfunc.ts";

numberApart("dump_netdev");
export const kfunc = moduleFunctions("dump_netdev");
export const kleaf = moduleLeaves("dump_netdev");
