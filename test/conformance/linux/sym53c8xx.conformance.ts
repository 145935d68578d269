// Goal: Linux's own driver, with its own SCRIPTS, takes our 53C8xx for the real one. Method: linuxSuite on two chips.
import { Sym53c8xxChip } from "../../../hba/sym53c8xx/chip.ts";
import type { SymVariant } from "../../../hba/sym53c8xx/chip-profile.ts";
import { card, type AdapterUnderTest } from "./lab.ts";
import { linuxSuite, scsiWords } from "./suite.ts";

const sym = (variant: SymVariant): AdapterUnderTest => ({
  adapter: "sym53c8xx",
  module: "sym53c8xx",
  insert: card((host, disk) => {
    const chip = new Sym53c8xxChip(host, "sym0", { variant });
    chip.attach(0, disk);
    return chip;
  }),
});

linuxSuite(sym("53c895a"), {
  ...scsiWords,
  probed: [/sym0: <895a>/],
  aborted: /ABORT operation complete/,
  silence: { kind: "bus hang", on: "write", count: 1 },
  recovered: [/BUS RESET operation complete/],
  resets: [
    { ask: "device", reaches: "target" },
    { ask: "bus", reaches: "bus" },
    { ask: "host", reaches: "bus" },
  ],
});
