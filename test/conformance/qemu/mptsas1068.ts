// QEMU's LSI SAS1068, and our Fusion-MPT driver.
import { loadMptFusion, mptscsih_init } from "../../../hba/mptfusion/driver.ts";
import type { MPT_SCSI_HOST } from "../../../hba/mptfusion/driver-scsi-host.ts";
import { MPI, MPI_HIM_DIM, MPI_DIAG_RESET_ADAPTER } from "../../../hba/mptfusion/registers.ts";
import { PCI_GSI } from "./qemu-machine.ts";
import { ADAPTER_SLOT, type QemuAdapter } from "./adapter.ts";

export const mptsas1068: QemuAdapter = {
  model: "mptsas1068",
  row: "mptsas",
  devfn: ADAPTER_SLOT << 3,
  gsi: PCI_GSI,
  forgets: (_bar, offset, value) => offset === MPI.Diagnostic && (value & MPI_DIAG_RESET_ADAPTER) !== 0,
  device: ["-device", `mptsas1068,id=hba,addr=${ADAPTER_SLOT}`],
  // A disk without a WWN is not shown in the adapter's SAS pages.
  disk: (id, drive) => `scsi-hd,bus=hba.0,scsi-id=${id},drive=${drive},wwn=0x500000000000${(0xa0 + id).toString(16)}0`,
  load: loadMptFusion,
  init: () => mptscsih_init(),
  queueDepth: 31,
  held: (host) => (host.hostdata as MPT_SCSI_HOST).lookup.filter((cmd) => cmd !== undefined),
  mask: (host, masked) =>
    (host.hostdata as MPT_SCSI_HOST).ioc.chip.writel(masked ? 0xffffffff : MPI_HIM_DIM, MPI.IntMask),
  interruptible: "write",
  says: {
    eh_abort_handler: "task abort: SUCCESS",
    eh_device_reset_handler: "target reset: SUCCESS",
    eh_bus_reset_handler: "bus reset: SUCCESS",
    eh_host_reset_handler: "Initiating ioc0 recovery",
  },
  scenario: ['adapters.0.type="mptfusion"', 'adapters.0.model="sas1068"'],
};
