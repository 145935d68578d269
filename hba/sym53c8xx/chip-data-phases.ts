// Which phases on the bus an instruction's phase field stands for: DT data phases are data phases, too.
//
// An instruction names the phase by MSG, C/D and I/O. On a chip that is set to DT clocking (SCNTL4.U3EN), DATA OUT and DATA IN
// stand for ST and DT alike, and DCMD shows the phase that it was: Linux's SCRIPTS know no other codes, and sym_int_ma says
// "the MOVE instruction hasn't" the bit that DCMD has. [facts hba/sym53c8xx.md section 3; sym_fw2.h and sym_hipd.c]
import { isDataPhase } from "../../emulator/disk/scsi-phases.ts";
import type { ScriptsParts } from "./chip-scripts.ts";
import { SCNTL4_U3EN, SYM } from "./registers.ts";

/** What MSG makes of a data phase. */
export const DT_BIT = 4;

type DataPhaseParts = Pick<ScriptsParts, "profile" | "regs" | "bus" | "complain">;

/** The chip is set to DT clocking. */
export const isSetToDt = ({ profile, regs }: Pick<ScriptsParts, "profile" | "regs">): boolean =>
  profile.doubleTransition && (regs[SYM.SCNTL4]! & SCNTL4_U3EN) !== 0;

/** True when an instruction that names `wanted` means the phase `actual`. A chip that is not set to a DT phase is reported. */
export function meansPhase(parts: DataPhaseParts, wanted: number, actual: number): boolean {
  if (actual === wanted) return true;
  if (actual !== (wanted | DT_BIT) || !isDataPhase(wanted)) return false;
  if (isSetToDt(parts)) return true;
  parts.complain("driver erred", `DT data phase with target ${parts.bus.connected?.id}: the chip is not set to it`);
  return false;
}
