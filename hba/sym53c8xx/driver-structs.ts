// The driver's structs in RAM (drivers/scsi/sym53c8xx_2/sym_hipd.h of 2.6.9). Field names are the driver's.
//
// What SCRIPTS read and write comes first in each: dwords, little endian on every platform (driver-memory.ts).
import { timer_list } from "../../kernel-sim/abi/structs/base.ts";
import { array, int, struct, u16, u32, u8, ulong, voidPtr } from "../../kernel-sim/abi/types.ts";

/** Segments of a command: as many moves are in the data SCRIPTS. */
export const SYM_CONF_MAX_SG = 64;
export const SYM_CONF_MAX_TARGET = 16;
export const SYM_CONF_MAX_LUN = 8;
/** Tags of a logical unit: what a 256-byte table of dwords holds. */
export const SYM_CONF_MAX_TASK = 64;

/** One entry of a table: what a table-indirect move takes. */
export const sym_tblmove = struct("sym_tblmove", { size: u32, addr: u32 }, { doc: "little endian" });

/** Where a data transfer that was interrupted goes on. */
export const sym_pmc = struct(
  "sym_pmc",
  { sg: sym_tblmove, ret: u32 },
  { doc: "phase mismatch context; little endian" },
);

export const sym_ccb = struct(
  "sym_ccb",
  {
    go_start: u32,
    go_restart: u32,
    savep: u32,
    lastp: u32,
    /** xx, host status, SCSI status, host flags: SCRATCHB while SCRIPTS work on it. */
    status: array(u8, 4),
    pm0: sym_pmc,
    pm1: sym_pmc,
    /** SCNTL4, SXFER, id, SCNTL3. */
    select: array(u8, 4),
    smsg: sym_tblmove,
    cmd: sym_tblmove,
    sense: sym_tblmove,
    data: array(sym_tblmove, SYM_CONF_MAX_SG),
    /** Start queue entry that puts the command before all others: job, next. */
    first_job: array(u32, 2),
    cdb_buf: array(u8, 16),
    scsi_smsg: array(u8, 12),
    sns_bbuf: array(u8, 32),
    // The host's part.
    goalp: u32,
    startp: u32,
    ccb_ba: u32,
    segments: u16,
    tag: u16,
    target: u8,
    lun: u8,
    nego_status: u8,
    to_abort: u8,
    sensecmd: array(u8, 6),
    extra_bytes: int,
    scmd: voidPtr,
  },
  { doc: "a command on its way: DSA points here" },
);

export const sym_tcb = struct(
  "sym_tcb",
  {
    luntbl_sa: u32,
    lun0_sa: u32,
    /** SCNTL4, SXFER, unused, SCNTL3: at the registers' own places in a dword. */
    uval: u8,
    sval: u8,
    filler: u8,
    wval: u8,
    // The host's part.
    to_reset: u8,
    check_nego: u8,
    goal_width: u8,
    goal_period: u8,
    goal_offset: u8,
    curr_width: u8,
    curr_period: u8,
    curr_offset: u8,
    usrflags: u32,
    goal_dt: u8,
    curr_dt: u8,
  },
  { doc: "a target" },
);

export const sym_lcb = struct(
  "sym_lcb",
  {
    resel_sa: u32,
    itl_task_sa: u32,
    itlq_tbl_sa: u32,
    // The host's part.
    busy_itlq: u16,
    busy_itl: u16,
    ia_tag: u16,
    if_tag: u16,
    cb_tags: array(u8, SYM_CONF_MAX_TASK),
  },
  { doc: "a logical unit" },
);

export const struct_sym_hcb = struct(
  "sym_hcb",
  {
    // What the SCRIPTS of an abort use: DSA points here then.
    abrt_sel: array(u8, 4),
    abrt_tbl: sym_tblmove,
    /** The self test's variable. */
    scratch: u32,
    abrt_msg: array(u8, 4),
    // The host's part.
    unit: int,
    device_id: u16,
    revision_id: u8,
    myaddr: u8,
    features: u32,
    clock_khz: u32,
    multiplier: u8,
    clock_divn: u8,
    minsync: u8,
    maxoffs: u8,
    maxwide: u8,
    rv_scntl0: u8,
    rv_scntl3: u8,
    rv_dmode: u8,
    rv_dcntl: u8,
    rv_ctest3: u8,
    rv_ctest4: u8,
    rv_ctest5: u8,
    rv_stest1: u8,
    rv_stest2: u8,
    rv_ccntl0: u8,
    rv_ccntl1: u8,
    istat_sem: u8,
    mmio_ba: u32,
    ram_ba: u32,
    squeue_ba: u32,
    squeueput: u16,
    dqueue_ba: u32,
    dqueueget: u16,
    targtbl: u32,
    target: voidPtr,
    busy_ccbs: u16,
    host: voidPtr,
    settle_time_valid: int,
    settle_time: ulong,
    lasttime: ulong,
    timer: timer_list,
    irq: int,
    bus_resets: int,
  },
  { doc: "one adapter: Scsi_Host.hostdata points here" },
);
