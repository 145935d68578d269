// The driver's own SCRIPTS: what the chip does by itself between two interrupts.
//
// A job queue in memory feeds it; a command that has ended goes into a done queue with an interrupt on the fly. The kernel is
// asked only for what is rare: messages of negotiation, bad status, phase mismatches, errors (the SIR codes).
// DSA points to the sym_ccb of the command on the bus; SCRATCHB holds its four status bytes.
import { MESSAGE, PHASE } from "../../emulator/disk/scsi-phases.ts";
import { layoutOf, type DataModel, type StructType } from "../../kernel-sim/abi/types.ts";
import { SYM_CONF_MAX_SG, sym_ccb, sym_lcb, sym_tcb, struct_sym_hcb } from "./driver-structs.ts";
import { ISTAT_SEM, SCNTL2_WSR, SYM } from "./registers.ts";
import {
  ScriptAssembler,
  SCRIPT_ACK,
  SCRIPT_ATN,
  SCRIPT_CARRY,
  ifPhase,
  sfbrIs,
  unless,
  when,
} from "./scripts-assembler.ts";

/** What an INT tells the kernel (DSPS). */
export const SIR = {
  badScsiStatus: 1,
  selAtnNoMsgOut: 2,
  msgReceived: 3,
  msgWeird: 4,
  scriptStopped: 7,
  reselNoMsgIn: 11,
  reselNoIdentify: 12,
  reselBadLun: 13,
  reselBadItl: 15,
  reselBadItlq: 16,
  abortSent: 17,
  reselAborted: 18,
  msgOutDone: 19,
  completeError: 20,
  dataOverrun: 21,
  badPhase: 22,
  selfTest: 99,
} as const;

/** Registers that hold the status bytes of the running command. */
export const HS_REG = SYM.SCRATCHB + 1;
export const SS_REG = SYM.SCRATCHB + 2;
export const HF_REG = SYM.SCRATCHB + 3;

/** Host status. */
export const HS_IDLE = 0;
export const HS_BUSY = 1;
export const HS_NEGOTIATE = 2;
export const HS_DISCONNECT = 3;
export const HS_COMPLETE = 0x84;
export const HS_SEL_TIMEOUT = 0x85;
export const HS_UNEXPECTED = 0x86;
export const HS_COMP_ERR = 0x87;
export const HS_ABORTED = 0x88;

/** Host flags: which phase mismatch context is the active one, a SAVE DATA POINTER came, a REQUEST SENSE is under way. */
export const HF_ACT_PM = 0x01;
export const HF_DP_SAVED = 0x02;
export const HF_SENSE = 0x10;
export const HF_EXT_ERR = 0x20;

type OffsetsOf<T extends { readonly fields: object }> = { readonly [Name in keyof T["fields"]]: number };

/** Offsets in the structs as the chip sees them. */
export interface ScriptOffsets {
  readonly ccb: OffsetsOf<typeof sym_ccb>;
  readonly tcb: OffsetsOf<typeof sym_tcb>;
  readonly lcb: OffsetsOf<typeof sym_lcb>;
  readonly hcb: OffsetsOf<typeof struct_sym_hcb>;
}

export function scriptOffsets(model: DataModel): ScriptOffsets {
  const offsetsOf = <T extends StructType>(type: T): OffsetsOf<T> =>
    Object.fromEntries([...layoutOf(type, model).fields].map(([name, { offset }]) => [name, offset])) as OffsetsOf<T>;
  return {
    ccb: offsetsOf(sym_ccb),
    tcb: offsetsOf(sym_tcb),
    lcb: offsetsOf(sym_lcb),
    hcb: offsetsOf(struct_sym_hcb),
  };
}

/** Makes the program; it is linked to where on-chip RAM lies. `c10`: for the 53C1010, which has SCNTL4. */
export function symScripts({ ccb, tcb, lcb, hcb }: ScriptOffsets, c10: boolean): ScriptAssembler {
  const a = new ScriptAssembler();
  a
    // A job: the address of its sym_ccb and of the next entry, which SCRATCHA keeps until the bus is won.
    .label("start")
    .toSfbr(SYM.CTEST2)
    .toSfbr(SYM.ISTAT0)
    .interrupt(SIR.scriptStopped, sfbrIs(ISTAT_SEM, ISTAT_SEM))
    .load(SYM.DSA, 4, "startpos")
    .loadTable(SYM.SCRATCHA, 4, 4)
    .loadTable(SYM.DSA, 4, 0)
    .loadTable(SYM.TEMP, 4, ccb.go_start)
    .return()

    .label("select")
    .selectTable(ccb.select, "reselected")
    .store(SYM.SCRATCHA, 4, "startpos")
    .loadTable(SYM.SCRATCHB, 4, ccb.status)
    .label("wf_sel_done")
    .interrupt(SIR.selAtnNoMsgOut, unless(when(PHASE.messageOut)));
  // Erratum of the C1010-33: selection by table may miss SCNTL3. (sym_fw2.h, SEL_DONE)
  if (c10) a.loadTable(SYM.SCNTL3, 1, ccb.select + 3);
  a.moveTable(PHASE.messageOut, ccb.smsg)
    .jump("dispatch", unless(when(PHASE.command)))
    .label("command")
    .moveTable(PHASE.command, ccb.cmd)

    .label("dispatch")
    .jump("msg_in", when(PHASE.messageIn))
    .jump("data_phase", ifPhase(PHASE.dataOut))
    .jump("data_phase", ifPhase(PHASE.dataIn))
    .jump("status", ifPhase(PHASE.status))
    .jump("command", ifPhase(PHASE.command))
    .jump("msg_out", ifPhase(PHASE.messageOut))
    .interrupt(SIR.badPhase)
    .jump("dispatch")

    // LASTP says where in the data SCRIPTS the transfer goes on.
    .label("data_phase")
    .loadTable(SYM.TEMP, 4, ccb.lastp)
    .return()
    .label("data_in_done")
    .storeTable(SYM.TEMP, 4, ccb.lastp)
    // The pad byte of a wide transfer is nobody's.
    .toSfbr(SYM.SCNTL2)
    .jump("dispatch", unless(sfbrIs(SCNTL2_WSR, SCNTL2_WSR)))
    .register(SYM.SCNTL2, "or", SCNTL2_WSR)
    .jump("dispatch")
    .label("data_out_done")
    .storeTable(SYM.TEMP, 4, ccb.lastp)
    .jump("dispatch")

    .label("status")
    .move(PHASE.status, 1, "scratch")
    .fromSfbr(SS_REG)
    .register(HS_REG, "load", HS_COMPLETE)
    .jump("dispatch", unless(when(PHASE.messageIn)))

    .label("msg_in")
    .move(PHASE.messageIn, 1, "msgin")
    .jump("complete", sfbrIs(MESSAGE.commandComplete))
    .jump("disconnect", sfbrIs(MESSAGE.disconnect))
    .jump("save_dp", sfbrIs(MESSAGE.saveDataPointer))
    .jump("restore_dp", sfbrIs(MESSAGE.restorePointers))
    .jump("msg_extended", sfbrIs(MESSAGE.extended))
    .jump("msg_received", unless(sfbrIs(0x20, 0xf0)))
    .clear(SCRIPT_ACK)
    .move(PHASE.messageIn, 1, { at: "msgin", plus: 1 })
    .label("msg_received")
    .interrupt(SIR.msgReceived)
    .label("clrack")
    .clear(SCRIPT_ACK)
    .jump("dispatch")

    // Extended messages that a target may send have 2, 3 or 6 bytes behind the length.
    .label("msg_extended")
    .clear(SCRIPT_ACK)
    .move(PHASE.messageIn, 1, { at: "msgin", plus: 1 })
    .jump("extended_2", sfbrIs(2))
    .jump("extended_3", sfbrIs(3))
    .jump("extended_6", sfbrIs(6))
    .interrupt(SIR.msgWeird)
    .label("msg_reject")
    .set(SCRIPT_ATN)
    .jump("clrack");
  for (const length of [2, 3, 6]) {
    a.label(`extended_${length}`)
      .clear(SCRIPT_ACK)
      .move(PHASE.messageIn, length, { at: "msgin", plus: 2 })
      .jump("msg_received");
  }
  a.label("msg_out")
    .move(PHASE.messageOut, 1, "msgout")
    .jump("msg_out", when(PHASE.messageOut))
    .interrupt(SIR.msgOutDone)
    .jump("dispatch")

    .label("complete")
    .register(SYM.SCNTL2, "and", 0x7f)
    .clear(SCRIPT_ACK | SCRIPT_ATN)
    .waitDisconnect()
    .storeTable(SYM.SCRATCHB, 4, ccb.status)
    .toSfbr(SS_REG)
    .interrupt(SIR.badScsiStatus, unless(sfbrIs(0)))
    .toSfbr(HF_REG)
    .interrupt(SIR.completeError, unless(sfbrIs(0, HF_SENSE | HF_EXT_ERR)))
    // Into the done queue: the address of the sym_ccb, and the queue's next place.
    .label("done")
    .store(SYM.DSA, 4, "scratch")
    .load(SYM.SCRATCHA, 4, "scratch")
    .load(SYM.DSA, 4, "done_pos")
    .storeTable(SYM.SCRATCHA, 4, 0)
    .loadTable(SYM.SCRATCHA, 4, 4)
    .store(SYM.SCRATCHA, 4, "done_pos")
    .interruptOnTheFly()
    .jump("start")

    .label("save_dp")
    .clear(SCRIPT_ACK)
    .register(HF_REG, "or", HF_DP_SAVED)
    .loadTable(SYM.SCRATCHA, 4, ccb.lastp)
    .storeTable(SYM.SCRATCHA, 4, ccb.savep)
    .jump("msg_in", when(PHASE.messageIn))
    .jump("dispatch")
    .label("restore_dp")
    .clear(SCRIPT_ACK)
    .loadTable(SYM.SCRATCHA, 4, ccb.savep)
    .storeTable(SYM.SCRATCHA, 4, ccb.lastp)
    .jump("dispatch")

    .label("disconnect")
    .register(SYM.SCNTL2, "and", 0x7f)
    .clear(SCRIPT_ACK | SCRIPT_ATN)
    .waitDisconnect()
    .register(HS_REG, "load", HS_DISCONNECT)
    .storeTable(SYM.SCRATCHB, 4, ccb.status)
    .jump("start")

    // Nothing to do: the empty place of the queue leads here.
    .label("idle")
    .waitReselect("start")

    .label("reselected")
    .toSfbr(SYM.SSID, "and", 0x0f)
    // DSA = targtbl + 4 * id; the table is aligned to 256 bytes.
    .load(SYM.DSA, 4, "targtbl")
    .clear(SCRIPT_CARRY)
    .fromSfbr(SYM.DSA, "shl")
    .register(SYM.DSA, "shl", 0)
    .register(SYM.DSA, "and", 0x3c)
    .loadTable(SYM.DSA, 4, 0)
    .interrupt(SIR.reselNoMsgIn, unless(when(PHASE.messageIn)))
    .loadTable(SYM.SCNTL3, 1, tcb.wval)
    .loadTable(SYM.SXFER, 1, tcb.sval);
  if (c10) a.loadTable(SYM.SCNTL4, 1, tcb.uval);
  a.move(PHASE.messageIn, 1, "msgin")
    .jump("resel_lun0", sfbrIs(0x80, 0xbf))
    .interrupt(SIR.reselNoIdentify, unless(sfbrIs(0x80, 0x80)))
    // DSA = luntbl + 4 * lun, aligned alike.
    .loadTable(SYM.DSA, 4, tcb.luntbl_sa)
    .clear(SCRIPT_CARRY)
    .fromSfbr(SYM.DSA, "shl")
    .register(SYM.DSA, "shl", 0)
    .register(SYM.DSA, "and", 0x1c)
    .loadTable(SYM.DSA, 4, 0)
    .jump("resel_lun")
    .label("resel_lun0")
    .loadTable(SYM.DSA, 4, tcb.lun0_sa)
    .label("resel_lun")
    .loadTable(SYM.TEMP, 4, lcb.resel_sa)
    .return()

    .label("resel_tag")
    .clear(SCRIPT_ACK)
    .move(PHASE.messageIn, 2, "msgin")
    .loadTable(SYM.DSA, 4, lcb.itlq_tbl_sa)
    // The last byte on the bus is the tag, and tags are offsets in the table.
    .toSfbr(SYM.SIDL)
    .fromSfbr(SYM.DSA)
    .loadTable(SYM.DSA, 4, 0)
    .loadTable(SYM.TEMP, 4, ccb.go_restart)
    .return()
    .label("resel_no_tag")
    .loadTable(SYM.DSA, 4, lcb.itl_task_sa)
    .loadTable(SYM.TEMP, 4, ccb.go_restart)
    .return()
    .label("resel_dsa")
    .clear(SCRIPT_ACK)
    .loadTable(SYM.SCRATCHB, 4, ccb.status)
    .jump("dispatch")

    .label("resel_bad_lun")
    .interrupt(SIR.reselBadLun)
    .jump("abort_resel")
    .label("bad_i_t_l")
    .interrupt(SIR.reselBadItl)
    .jump("abort_resel")
    .label("bad_i_t_l_q")
    .interrupt(SIR.reselBadItlq)
    .label("abort_resel")
    .set(SCRIPT_ATN)
    .clear(SCRIPT_ACK)
    .register(SYM.SCNTL2, "and", 0x7f)
    .move(PHASE.messageOut, 1, "msgout")
    .clear(SCRIPT_ACK | SCRIPT_ATN)
    .waitDisconnect()
    .interrupt(SIR.reselAborted)
    .jump("start")

    // Task management: DSA points to the adapter's own struct.
    .label("sel_for_abort")
    .selectTable(hcb.abrt_sel, "reselected")
    .label("wf_abort_sel")
    .interrupt(SIR.selAtnNoMsgOut, unless(when(PHASE.messageOut)))
    .register(SYM.SCNTL2, "and", 0x7f)
    .moveTable(PHASE.messageOut, hcb.abrt_tbl)
    .clear(SCRIPT_ACK | SCRIPT_ATN)
    .waitDisconnect()
    .interrupt(SIR.abortSent)
    .jump("start");

  // Data: a command of n segments begins n moves before the end.
  for (const [name, phase] of [
    ["data_in", PHASE.dataIn],
    ["data_out", PHASE.dataOut],
  ] as const) {
    a.label(name);
    for (let i = 0; i < SYM_CONF_MAX_SG; i++) a.chainedMoveTable(phase, ccb.data + 8 * i);
    a.label(`${name}_end`).call(`${name}_done`).label(`${name}_goal`).jump("data_ovrun");
  }
  a.label("sdata_in")
    .chainedMoveTable(PHASE.dataIn, ccb.sense)
    .call("data_in_done")
    .label("sdata_goal")
    .label("no_data")
    .jump("data_ovrun");
  for (const context of ["pm0", "pm1"] as const) {
    a.label(`${context}_data`)
      .jump(`${context}_data_out`, unless(when(PHASE.dataIn)))
      .label(`${context}_in`)
      .chainedMoveTable(PHASE.dataIn, ccb[context])
      .jump(`${context}_data_end`)
      .label(`${context}_data_out`)
      .chainedMoveTable(PHASE.dataOut, ccb[context])
      .label(`${context}_data_end`)
      .loadTable(SYM.TEMP, 4, ccb[context] + 8)
      .return();
  }
  // The target moves more than the command has room for: byte by byte into nowhere, counted.
  a.label("data_ovrun")
    .load(SYM.SCRATCHA, 4, "zero")
    .label("data_ovrun1")
    .jump("data_ovrun_in", unless(when(PHASE.dataOut)))
    .chainedMove(PHASE.dataOut, 1, "scratch")
    .jump("data_ovrun2")
    .label("data_ovrun_in")
    .jump("data_ovrun3", unless(when(PHASE.dataIn)))
    .chainedMove(PHASE.dataIn, 1, "scratch")
    .label("data_ovrun2")
    .register(SYM.SCRATCHA, "add", 1)
    .register(SYM.SCRATCHA + 1, "addc", 0)
    .register(SYM.SCRATCHA + 2, "addc", 0)
    .jump("data_ovrun1")
    .label("data_ovrun3")
    .interrupt(SIR.dataOverrun)
    .jump("dispatch")

    // The self test: a dword from memory and back.
    .label("snooptest")
    .loadTable(SYM.SCRATCHA, 4, hcb.scratch)
    .storeTable(SYM.TEMP, 4, hcb.scratch)
    .loadTable(SYM.TEMP, 4, hcb.scratch)
    .interrupt(SIR.selfTest)
    .label("snoopend");
  for (const name of ["zero", "scratch", "msgin", "msgin_more", "msgout", "startpos", "done_pos", "targtbl"]) {
    a.label(name).data(0);
    if (name === "msgin_more") a.data(0);
  }
  return a;
}
