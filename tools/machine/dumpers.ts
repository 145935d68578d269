// The dumpers by name.
import type { Dumper } from "../scenario/scenario.ts";
import type { DumperKind } from "./dumper.ts";
import { kdump, mkdump } from "./dumpers/kdump.ts";
import { diskdump } from "./dumpers/diskdump.ts";
import { lkcdKind } from "./dumpers/lkcd.ts";
import { netdump } from "./dumpers/netdump.ts";
import { lkcd_memory_of } from "./dumpers/lkcd-memory.ts";
import { lkcd_network_of } from "./dumpers/lkcd-network.ts";

const lkcdMethods = { network: lkcd_network_of, memory: lkcd_memory_of };

export const DUMPER_KINDS: Readonly<Record<Dumper, DumperKind>> = {
  diskdump,
  lkcd: lkcdKind(false, lkcdMethods),
  "lkcd-modified": lkcdKind(true, lkcdMethods),
  netdump,
  kdump,
  mkdump,
};
