// QEMU's LSI 53C895A, and our sym53c8xx driver with its SCRIPTS.
import { loadSym53c8xx, sym2_init } from "../../../hba/sym53c8xx/driver.ts";
import type { SYM_HCB } from "../../../hba/sym53c8xx/driver-hcb.ts";
import { ADAPTER_SLOT, type QemuAdapter } from "./adapter.ts";
import { PCI_GSI } from "./qemu-machine.ts";

export const lsi53c895a: QemuAdapter = {
  model: "lsi53c895a",
  row: "sym53c8xx",
  devfn: ADAPTER_SLOT << 3,
  gsi: PCI_GSI,
  forgets: (_bar, offset, value) => offset === 0x14 && (value & 0x40) !== 0,
  device: ["-device", `lsi53c895a,id=hba,addr=${ADAPTER_SLOT}`],
  disk: (id, drive) => `scsi-hd,bus=hba.0,scsi-id=${id},drive=${drive}`,
  load: loadSym53c8xx,
  init: () => sym2_init(),
  queueDepth: 16,
  held: (host) => (host.hostdata as SYM_HCB).ccbs.flatMap((ccb) => (ccb.cmd ? [ccb.cmd] : [])),
  lateErrorsFail: "QEMU's lsi53c895a loses a command that fails after it has disconnected",
  interruptible: "read",
  says: {
    eh_abort_handler: "ABORT operation",
    eh_device_reset_handler: "DEVICE RESET operation",
    eh_bus_reset_handler: "BUS RESET operation",
    eh_host_reset_handler: "HOST RESET operation",
  },
  scenario: ['adapters.0.type="sym53c8xx"', 'adapters.0.model="53c895a"'],
};
