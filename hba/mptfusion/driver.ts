// The Fusion-MPT driver's modules, mptbase and mptscsih: probe and host template (drivers/message/fusion of 2.6.9 + diskdump).
import { pciFunctions, type PciFunction } from "../../emulator/bus/mmio.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { INIT_LIST_HEAD, list_add_tail } from "../../kernel-sim/core/list.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { scsi_adjust_queue_depth } from "../../kernel-sim/scsi/dispatch.ts";
import type { Scsi_Host, scsi_device, scsi_host_template } from "../../kernel-sim/scsi/host.ts";
import { scsi_add_host, scsi_host_alloc, scsi_scan_host } from "../../kernel-sim/scsi/scan.ts";
import { mptscsih_poll, mptscsih_sanity_check } from "./driver-dump.ts";
import { mpt_base_reply } from "./driver-events.ts";
import { CAN_SLEEP, MPT_ADAPTER, MPT_BASE_CTX, MPT_SCSI_DONE_CTX, MPT_SCSI_TASK_CTX } from "./driver-ioc.ts";
import { mpt_do_ioc_recovery } from "./driver-bringup.ts";
import {
  mptscsih_abort,
  mptscsih_bus_reset,
  mptscsih_dev_reset,
  mptscsih_host_reset,
  mptscsih_ioc_reset,
  mptscsih_taskmgmt_complete,
  mptscsih_taskmgmt_timeout,
} from "./driver-recovery.ts";
import { MPT_HOSTEVENT_IOC_BRINGUP } from "./driver-reset.ts";
import { MPT_SCSI_HOST } from "./driver-scsi-host.ts";
import { mptscsih_io_done, mptscsih_qcmd } from "./driver-scsi-io.ts";
import {
  MPT_TARGET_FLAGS_Q_YES,
  MPT_TARGET_FLAGS_VALID_INQUIRY,
  struct_MPT_ADAPTER,
  struct_MPT_SCSI_HOST,
  mptbase_data,
} from "./driver-structs.ts";
import { MPI_PORTFACTS_PORTTYPE_SAS } from "./messages.ts";
import { MPT_MEMORY_BAR } from "./registers.ts";

const kfunc = moduleFunctions("mptscsih");
const kfuncBase = moduleFunctions("mptbase");

/** What protocol drivers call (EXPORT_SYMBOL). */
const MPTBASE_EXPORTS = ["mpt_config", "mpt_get_msg_frame", "mpt_free_msg_frame", "mpt_HardResetHandler"] as const;
const LSI = 0x1000;
const ATTO = 0x117c;
/** Device ids that the driver takes: SPI and SAS controllers. */
const DEVICES: ReadonlyMap<number, string> = new Map([
  [0x0030, "LSI53C1030"],
  [0x0032, "LSI53C1035"],
  [0x0040, "LSI53C1035"],
  [0x0050, "LSISAS1064"],
  [0x0054, "LSISAS1068"],
  [0x0056, "LSISAS1064E"],
  [0x0058, "LSISAS1068E"],
]);
const MPT_SCSI_CMD_PER_DEV_HIGH = 31;
const MPT_SCSI_CMD_PER_DEV_LOW = 7;
const PCI_COMMAND = 0x04;
/** Memory space and bus master. */
const PCI_COMMAND_ENABLE = 0x06;
/** Fastest period factor of Ultra160. */
const MPT_ULTRA160 = 0x09;

/** Returns: 0. Context: process. Notes that the target exists. */
const mptscsih_slave_alloc = kfunc("mptscsih_slave_alloc", function* (sdev: scsi_device) {
  const hd = sdev.host.hostdata as MPT_SCSI_HOST;
  hd.targets[sdev.id]!.num_luns = hd.targets[sdev.id]!.num_luns + 1;
  return 0;
});

/** Returns: 0. Context: process. Chooses the queue depth: deep for fast tagged devices. */
const mptscsih_slave_configure = kfunc("mptscsih_slave_configure", function* (sdev: scsi_device) {
  const hd = sdev.host.hostdata as MPT_SCSI_HOST;
  const target = hd.targets[sdev.id]!;
  const { ioc } = hd;
  target.tflags = MPT_TARGET_FLAGS_VALID_INQUIRY | (sdev.s.tagged_supported ? MPT_TARGET_FLAGS_Q_YES : 0);
  target.maxOffset = ioc.s.spi_data.maxSyncOffset;
  target.minSyncFactor = ioc.s.spi_data.minSyncFactor;
  const fast = ioc.s.pfacts.PortType === MPI_PORTFACTS_PORTTYPE_SAS || target.minSyncFactor <= MPT_ULTRA160;
  const depth = fast ? MPT_SCSI_CMD_PER_DEV_HIGH : MPT_SCSI_CMD_PER_DEV_LOW;
  scsi_adjust_queue_depth(sdev, sdev.s.tagged_supported ? depth : 1);
  return 0;
});

const mptscsih_slave_destroy = kfunc("mptscsih_slave_destroy", function* (sdev: scsi_device) {
  const hd = sdev.host.hostdata as MPT_SCSI_HOST;
  hd.targets[sdev.id]!.num_luns = Math.max(0, hd.targets[sdev.id]!.num_luns - 1);
});

function mptscsih_info(host: Scsi_Host): string {
  const { ioc } = host.hostdata as MPT_SCSI_HOST;
  const name = DEVICES.get(ioc.pcidev.readConfig(0x02, 2)) ?? "LSI";
  const { FWVersion } = ioc.s.facts;
  return `${ioc.name}: ${name}, FwRev=${FWVersion.toString(16).padStart(8, "0")}h, Ports=${ioc.s.facts.NumberOfPorts}, MaxQ=${ioc.req_depth}, IRQ=${ioc.s.irq}`;
}

/** White paper 4.3, example 2, with the two members that diskdump adds. */
export const mptscsih_template: scsi_host_template = {
  proc_name: "mptscsih",
  name: "MPT SCSI Host",
  info: mptscsih_info,
  queuecommand: mptscsih_qcmd,
  slave_alloc: mptscsih_slave_alloc,
  slave_configure: mptscsih_slave_configure,
  slave_destroy: mptscsih_slave_destroy,
  eh_abort_handler: mptscsih_abort,
  eh_device_reset_handler: mptscsih_dev_reset,
  eh_bus_reset_handler: mptscsih_bus_reset,
  eh_host_reset_handler: mptscsih_host_reset,
  bios_param: (_sdev, sectors) => [255, 63, Math.floor(sectors / (255 * 63))],
  can_queue: 127,
  this_id: -1,
  sg_tablesize: 40,
  max_sectors: 8192,
  cmd_per_lun: 7,
  use_clustering: true,
  dump_sanity_check: mptscsih_sanity_check,
  dump_poll: mptscsih_poll,
};

/** Brings one controller up. Returns: its adapter, or undefined when it did not come up. Context: process. */
export const mptbase_probe = kfuncBase("mptbase_probe", function* (pdev: PciFunction, id: number) {
  pdev.writeConfig(PCI_COMMAND, 2, pdev.readConfig(PCI_COMMAND, 2) | PCI_COMMAND_ENABLE);
  const chip = pdev.map(MPT_MEMORY_BAR);
  const ioc = new MPT_ADAPTER(id, pdev, chip, K.bootmem(K.sizeOf(struct_MPT_ADAPTER)));
  ioc.s.mem_phys = pdev.readConfig(0x10 + 4 * MPT_MEMORY_BAR, 4) & ~0xf;
  ioc.s.mem_size = chip.size;
  ioc.callbacks[MPT_BASE_CTX] = mpt_base_reply;
  list_add_tail(ioc.addr + K.offsetOf(struct_MPT_ADAPTER, "list"), K.symbol("ioc_list"));
  if ((yield* mpt_do_ioc_recovery(ioc, MPT_HOSTEVENT_IOC_BRINGUP, CAN_SLEEP)) !== 0) {
    yield* printk(`mptbase: WARNING - ${ioc.name} did not initialize properly!\n`, 4);
    return undefined;
  }
  return ioc;
});

/** Adds the SCSI host of a controller and looks for its devices. Context: process. */
export const mptscsih_probe = kfunc("mptscsih_probe", function* (ioc: MPT_ADAPTER) {
  const sas = ioc.s.pfacts.PortType === MPI_PORTFACTS_PORTTYPE_SAS;
  // For SAS, PortSCSIID is the number of targets.
  const maxId = sas ? ioc.s.pfacts.PortSCSIID : 16;
  const host = scsi_host_alloc(mptscsih_template, { maxId, maxLun: 8 });
  const hd = new MPT_SCSI_HOST(ioc, host, K.bootmem(K.sizeOf(struct_MPT_SCSI_HOST)), mptscsih_taskmgmt_timeout);
  ioc.hd = hd;
  ioc.s.sh = host.addr;
  host.hostdata = hd;
  host.s.hostdata = hd.addr;
  host.s.max_cmd_len = 16;
  host.s.this_id = sas ? -1 : ioc.s.pfacts.PortSCSIID;
  host.s.irq = ioc.s.irq;
  host.s.unique_id = ioc.s.id;
  ioc.callbacks[MPT_SCSI_DONE_CTX] = mptscsih_io_done;
  ioc.callbacks[MPT_SCSI_TASK_CTX] = mptscsih_taskmgmt_complete;
  ioc.resetHandlers[MPT_SCSI_DONE_CTX] = mptscsih_ioc_reset;
  yield* scsi_add_host(host);
  yield* scsi_scan_host(host);
  return host;
});

/** Loads mptbase and mptscsih and probes every Fusion-MPT controller on the bus. Returns: their hosts. Context: process. */
export const mptscsih_init = kfunc("mptscsih_init", function* () {
  const hosts: Scsi_Host[] = [];
  yield* printk("Fusion MPT base driver 3.02.18\n", 6);
  let id = 0;
  for (const pdev of pciFunctions(K.machine.pci)) {
    const vendor = pdev.readConfig(0x00, 2);
    if ((vendor !== LSI && vendor !== ATTO) || !DEVICES.has(pdev.readConfig(0x02, 2))) continue;
    const ioc = yield* mptbase_probe(pdev, id++);
    if (ioc) hosts.push(yield* mptscsih_probe(ioc));
  }
  return hosts;
});

/** Puts the modules' text and data into RAM; must come before mptscsih_init. Context: process or boot. */
export function loadMptFusion(): void {
  K.modules.load("mptbase", { data: mptbase_data, bss: 4096, exports: MPTBASE_EXPORTS });
  INIT_LIST_HEAD(K.symbol("ioc_list"));
  K.modules.load("mptscsih", 4096);
}
