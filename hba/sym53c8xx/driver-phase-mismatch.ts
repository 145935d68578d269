// A target changed the phase in the middle of a move: where the transfer goes on is noted in the command (sym_int_ma).
//
// The newer chips can do this in SCRIPTS (CCNTL0.ENPMJ). The driver does it here for all of them: a mismatch comes with a
// short answer or with a disconnection in the middle of the data, a few times in a thousand commands.
import { kfuncOf } from "./driver-kfunc.ts";
import { get32le, put32le } from "./driver-memory.ts";
import type { SYM_HCB } from "./driver-hcb.ts";
import { sym_start_reset } from "./driver-reset.ts";
import { HF_ACT_PM, HF_DP_SAVED, HF_REG } from "./driver-scripts.ts";
import { SYM_CONF_MAX_SG } from "./driver-structs.ts";
import { CTEST3_CLF, STEST3_CSF, SYM } from "./registers.ts";
import { STORE_NS } from "../../kernel-sim/abi/ram.ts";
import { step } from "../../emulator/cpu/cpu.ts";
import { isDataPhase } from "../../emulator/disk/scsi-phases.ts";

const TWO_32 = 4294967296;
const TOLERANT = 0x80;
const COUNT = 0xffffff;

/** Returns: nothing; SCRIPTS go on. Locks held: host_lock. Context: hardirq or poll. */
export const sym_int_ma = kfuncOf("sym_int_ma", function* (np: SYM_HCB) {
  const { chip } = np;
  const dbc = chip.readl(SYM.DBC);
  const dsp = chip.readl(SYM.DSP);
  const now = chip.readb(SYM.SBCL) & 7;
  const cp = np.ccbAt.get(chip.readl(SYM.DSA));
  chip.writeb(chip.readb(SYM.CTEST3) | CTEST3_CLF, SYM.CTEST3);
  chip.writeb(TOLERANT | STEST3_CSF, SYM.STEST3);
  if (cp?.cmd === undefined) {
    yield* sym_start_reset(np);
    return;
  }
  // With DT clocking both are DT data phases.
  if (isDataPhase((dbc >>> 24) & 7)) {
    if (isDataPhase(now)) {
      // The target wants the data the other way round.
      chip.writel(np.ba("data_ovrun"), SYM.DSP);
      return;
    }
    keepPointer(np, cp.addr, dsp - 8, dbc & COUNT);
  }
  chip.writel(np.ba("dispatch"), SYM.DSP);
});

/** The move at `at` was interrupted with `rest` bytes to go. */
function keepPointer(np: SYM_HCB, addr: number, at: number, rest: number): void {
  const { chip, offsets } = np;
  const lastp = addr + offsets.ccb.lastp;
  const contexts = [addr + offsets.ccb.pm0, addr + offsets.ccb.pm1] as const;
  const inContext =
    at === np.ba("pm0_in") || at === np.ba("pm0_data_out")
      ? 0
      : at === np.ba("pm1_in") || at === np.ba("pm1_data_out")
        ? 1
        : -1;
  let entry: number;
  let ret = at + 8;
  if (inContext >= 0) {
    entry = contexts[inContext as 0 | 1];
    ret = get32le(entry + 8);
  } else if (at === np.ba("sdata_in")) entry = addr + offsets.ccb.sense;
  else {
    const out = at >= np.ba("data_out");
    entry = addr + offsets.ccb.data + (((at - np.ba(out ? "data_out" : "data_in")) / 8) % SYM_CONF_MAX_SG) * 8;
  }
  const size = get32le(entry);
  const moved = (size & COUNT) - rest;
  step(5 * STORE_NS);
  if (moved === 0) {
    // Nothing of it is through: the transfer goes on with this very move.
    put32le(lastp, inContext < 0 ? at : np.ba(inContext === 0 ? "pm0_data" : "pm1_data"));
    return;
  }
  const address = (size >>> 24) * TWO_32 + get32le(entry + 4) + moved;
  const flags = chip.readb(HF_REG);
  // The saved pointer may lead to the active context: then the other one is taken.
  const active = (flags & HF_ACT_PM) ^ ((flags & HF_DP_SAVED) !== 0 ? HF_ACT_PM : 0);
  const context = contexts[active as 0 | 1];
  put32le(context, (rest | (Math.floor(address / TWO_32) << 24)) >>> 0);
  put32le(context + 4, address >>> 0);
  put32le(context + 8, ret);
  put32le(lastp, np.ba(active === 0 ? "pm0_data" : "pm1_data"));
  chip.writeb((flags & ~(HF_ACT_PM | HF_DP_SAVED)) | active, HF_REG);
}
