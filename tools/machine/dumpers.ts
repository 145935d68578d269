// The dumpers by name. One that is not here is a name only: AVAILABLE_DUMPERS (scenario/dumpers.ts) says so to users.
import type { Dumper } from "../scenario/scenario.ts";
import type { DumperKind } from "./dumper.ts";
import { diskdump } from "./dumpers/diskdump.ts";
import { lkcd, lkcdModified } from "./dumpers/lkcd.ts";
import { netdump } from "./dumpers/netdump.ts";

export const DUMPER_KINDS: Readonly<Partial<Record<Dumper, DumperKind>>> = {
  diskdump,
  lkcd,
  "lkcd-modified": lkcdModified,
  netdump,
};
