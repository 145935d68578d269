// The dumpers by name. One that is not here is a name only: AVAILABLE_DUMPERS (scenario/dumpers.ts) says so to users.
import type { Dumper } from "../scenario/scenario.ts";
import type { DumperKind } from "./dumper.ts";
import { kdump, mkdump } from "./dumpers/kdump.ts";
import { diskdump } from "./dumpers/diskdump.ts";

export const DUMPER_KINDS: Readonly<Partial<Record<Dumper, DumperKind>>> = { diskdump, kdump, mkdump };
