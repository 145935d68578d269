// The dumpers by name.
import type { Dumper } from "../scenario/scenario.ts";
import type { DumperKind } from "./dumper.ts";
import { kdump, mkdump } from "./dumpers/kdump.ts";
import { diskdump } from "./dumpers/diskdump.ts";
import { lkcd, lkcdModified } from "./dumpers/lkcd.ts";
import { netdump } from "./dumpers/netdump.ts";

export const DUMPER_KINDS: Readonly<Record<Dumper, DumperKind>> = {
  diskdump,
  lkcd,
  "lkcd-modified": lkcdModified,
  netdump,
  kdump,
  mkdump,
};
