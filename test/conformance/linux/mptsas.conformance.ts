// Goal: Linux's own driver takes our SAS1068 for the real one. Method: linuxSuite, and what it makes of the topology.
import { expect, test } from "vitest";
import { FusionMptChip } from "../../../hba/mptfusion/chip.ts";
import { card, type AdapterUnderTest } from "./lab.ts";
import { linuxSuite, scsiWords } from "./suite.ts";

const mptsas: AdapterUnderTest = {
  adapter: "mptsas",
  module: "mptsas",
  insert: card((host, disk) => {
    const chip = new FusionMptChip(host, "mpt0", { variant: "sas1068" });
    chip.attach(0, disk);
    return chip;
  }),
};

linuxSuite(
  mptsas,
  {
    ...scsiWords,
    probed: [/ioc0: LSISAS1068 B0: Capabilities=\{Initiator\}/, /attaching ssp device/],
    aborted: /task abort: SUCCESS/,
    // The write, its repetition, and the TEST UNIT READY after the abort.
    silence: { kind: "timeout", on: "any", count: 3 },
    recovered: [/task abort: SUCCESS/, /target reset: SUCCESS/],
    // The driver has no bus reset: Linux goes on to the host, whose message unit reset no disk notices.
    resets: [{ ask: "device", reaches: "target" }, { ask: "bus" }, { ask: "host" }],
  },
  ({ lab, cell }) => {
    test("shows the topology: eight phys, one end device with its address and link rate", (context) => {
      const l = lab(context);
      expect(l.expect("ls /sys/class/sas_phy | wc -l").trim()).toBe("8");
      expect(l.expect("cat /sys/class/sas_phy/phy-0:0/negotiated_linkrate")).toBe("3.0 Gbit");
      expect(l.expect("ls /sys/class/sas_end_device")).toMatch(/end_device-0:0/);
      expect(l.expect("cat /sys/class/sas_device/end_device-0:0/sas_address")).toBe("0x500605b001000000");
      cell.exercised("topology");
    });
  },
);
