// The sym53c8xx driver's module: probe and host template (drivers/scsi/sym53c8xx_2 of 2.6.9, with RHEL4's dump hooks).
import { pciFunctions } from "../../emulator/bus/mmio.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { pci_alloc_consistent } from "../../kernel-sim/core/pci-dma.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { scsi_adjust_queue_depth } from "../../kernel-sim/scsi/dispatch.ts";
import type { Scsi_Host, scsi_device, scsi_host_template } from "../../kernel-sim/scsi/host.ts";
import { scsi_add_host, scsi_host_alloc, scsi_scan_host } from "../../kernel-sim/scsi/scan.ts";
import { SYM_PCI_CHIPS, sym_attach, sym_start } from "./driver-attach.ts";
import { sym53c8xx_poll, sym53c8xx_sanity_check } from "./driver-dump.ts";
import { SYM_CONF_MAX_START, SYM_LCB, type SYM_HCB } from "./driver-hcb.ts";
import { kfuncOf } from "./driver-kfunc.ts";
import { put32le } from "./driver-memory.ts";
import { sym_set_goal } from "./driver-nego.ts";
import {
  sym53c8xx_eh_abort_handler,
  sym53c8xx_eh_bus_reset_handler,
  sym53c8xx_eh_device_reset_handler,
  sym53c8xx_eh_host_reset_handler,
} from "./driver-recovery.ts";
import { sym53c8xx_queue_command } from "./driver-scsi-io.ts";
import {
  SYM_CONF_MAX_LUN,
  SYM_CONF_MAX_SG,
  SYM_CONF_MAX_TARGET,
  SYM_CONF_MAX_TASK,
  sym_lcb,
} from "./driver-structs.ts";

const LSI = 0x1000;
const SYM_DRIVER_NAME = "sym-2.1.18n";
/** Commands of one device at a time, when it knows tags. */
const SYM_SETUP_MAX_TAG = 16;
const ENXIO = 6;

/** Returns: 0, or -ENXIO for an id or lun that the tables do not have. Context: process. The unit's tables. */
const sym53c8xx_slave_alloc = kfuncOf("sym53c8xx_slave_alloc", function* (sdev: scsi_device) {
  const np = sdev.host.hostdata as SYM_HCB;
  const tp = np.targets[sdev.id];
  if (!tp || sdev.lun >= SYM_CONF_MAX_LUN) return -ENXIO;
  if (tp.lcbs[sdev.lun]) return 0;
  const itlq = pci_alloc_consistent(np.pcidev, SYM_CONF_MAX_TASK * 4, 256);
  for (let tag = 0; tag < SYM_CONF_MAX_TASK; tag++) put32le(itlq + 4 * tag, np.bad_itlq.addr);
  const lp = new SYM_LCB(pci_alloc_consistent(np.pcidev, K.sizeOf(sym_lcb)), itlq);
  put32le(lp.addr + np.offsets.lcb.itlq_tbl_sa, itlq);
  put32le(lp.addr + np.offsets.lcb.itl_task_sa, np.bad_itl.addr);
  put32le(lp.addr + np.offsets.lcb.resel_sa, np.ba("resel_no_tag"));
  put32le(tp.luntbl + 4 * sdev.lun, lp.addr);
  if (sdev.lun === 0) put32le(tp.addr + np.offsets.tcb.lun0_sa, lp.addr);
  tp.lcbs[sdev.lun] = lp;
  sdev.host.workingMemory.push({ start: itlq, end: lp.addr + K.sizeOf(sym_lcb), what: "sym_lcb" });
  return 0;
});

/** Returns: 0. Context: process. Queue depth, and what is to be negotiated. */
const sym53c8xx_slave_configure = kfuncOf("sym53c8xx_slave_configure", function* (sdev: scsi_device) {
  const np = sdev.host.hostdata as SYM_HCB;
  sym_set_goal(np, np.targets[sdev.id]!, sdev.s.inquiry);
  scsi_adjust_queue_depth(sdev, sdev.s.tagged_supported !== 0 ? SYM_SETUP_MAX_TAG : 1);
  return 0;
});

export const sym53c8xx_template: scsi_host_template = {
  proc_name: "sym53c8xx",
  name: "sym53c8xx",
  info: () => SYM_DRIVER_NAME,
  queuecommand: sym53c8xx_queue_command,
  slave_alloc: sym53c8xx_slave_alloc,
  slave_configure: sym53c8xx_slave_configure,
  eh_abort_handler: sym53c8xx_eh_abort_handler,
  eh_device_reset_handler: sym53c8xx_eh_device_reset_handler,
  eh_bus_reset_handler: sym53c8xx_eh_bus_reset_handler,
  eh_host_reset_handler: sym53c8xx_eh_host_reset_handler,
  can_queue: SYM_CONF_MAX_START,
  this_id: 7,
  sg_tablesize: SYM_CONF_MAX_SG,
  max_sectors: 8192,
  cmd_per_lun: 1,
  use_clustering: true,
  dump_sanity_check: sym53c8xx_sanity_check,
  dump_poll: sym53c8xx_poll,
};

/** Probes every chip of the family on the bus. Returns: their hosts. Context: process; the module must be loaded. */
export const sym2_init = kfuncOf("sym2_init", function* () {
  const hosts: Scsi_Host[] = [];
  let unit = 0;
  for (const pdev of pciFunctions(K.machine.pci)) {
    if (pdev.readConfig(0x00, 2) !== LSI || !SYM_PCI_CHIPS.has(pdev.readConfig(0x02, 2))) continue;
    const np = yield* sym_attach(pdev, unit);
    if (!np) continue;
    unit++;
    const host = scsi_host_alloc(sym53c8xx_template, { maxId: SYM_CONF_MAX_TARGET, maxLun: SYM_CONF_MAX_LUN });
    np.host = host;
    np.s.host = host.addr;
    host.hostdata = np;
    host.workingMemory.push({ start: np.addr, end: np.memoryEnd, what: "sym53c8xx queues and control blocks" });
    host.s.hostdata = np.addr;
    host.s.max_cmd_len = 16;
    host.s.this_id = np.s.myaddr;
    host.s.irq = np.s.irq;
    host.s.unique_id = np.s.unit;
    if ((yield* sym_start(np)) !== 0) {
      yield* printk(`${np.name}: giving up ...\n`, 3);
      continue;
    }
    yield* scsi_add_host(host);
    yield* scsi_scan_host(host);
    hosts.push(host);
  }
  return hosts;
});

/** Puts the module's text and data into RAM; must come before sym2_init. Context: process or boot. */
export function loadSym53c8xx(): void {
  K.modules.load("sym53c8xx", 4096);
}
