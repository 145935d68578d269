// Goal: Linux's own driver takes our 53C1030 for the real one. Method: linuxSuite, and domain validation.
import { expect, test } from "vitest";
import { FusionMptChip } from "../../../hba/mptfusion/chip.ts";
import { card, type AdapterUnderTest } from "./lab.ts";
import { linuxSuite, scsiWords } from "./suite.ts";

const mptspi: AdapterUnderTest = {
  adapter: "mptspi",
  module: "mptspi",
  insert: card((host, disk) => {
    const chip = new FusionMptChip(host, "mpt0", { variant: "53c1030" });
    chip.attach(0, disk);
    return chip;
  }),
};

linuxSuite(
  mptspi,
  {
    ...scsiWords,
    probed: [
      /ioc0: LSI53C1030 C0: Capabilities=\{Initiator\}/,
      /Beginning Domain Validation/,
      /Ending Domain Validation/,
      /FAST-160 WIDE SCSI 320\.0 MB\/s DT IU QAS \(6\.25 ns, offset 127\)/,
    ],
    aborted: /task abort: SUCCESS/,
    silence: { kind: "bus hang", on: "write", count: 1 },
    recovered: [/bus reset: SUCCESS/],
    resets: [
      { ask: "device", reaches: "target" },
      { ask: "bus", reaches: "bus" },
      // A message unit reset: the bus does not notice.
      { ask: "host" },
    ],
  },
  ({ lab, cell }) => {
    test("validates the domain again when told to", (context) => {
      const l = lab(context);
      l.messages();
      l.disk.opcodes.length = 0;
      l.expect("echo 1 > /sys/class/spi_transport/target0:0:0/revalidate");
      const messages = l.messages();
      expect(messages).toMatch(/Ending Domain Validation/);
      expect(messages).not.toMatch(/Domain Validation (Failure|skipping)/i);
      // WRITE BUFFER and READ BUFFER with patterns, not only INQUIRY.
      expect(l.disk.opcodes).toContain(0x3b);
      expect(l.disk.opcodes).toContain(0x3c);
      cell.exercised("domain validation with echo buffer");
    });
  },
);
