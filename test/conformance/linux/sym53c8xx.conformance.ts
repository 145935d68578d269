// Goal: Linux's own driver, with its own SCRIPTS, takes our 53C8xx for the real one. Method: linuxSuite on two chips.
import { linuxSuite, scsiWords } from "./suite.ts";
import { sym53c875, sym53c895a } from "./sym53c8xx.ts";

const words = {
  ...scsiWords,
  aborted: /ABORT operation complete/,
  silence: { kind: "bus hang", on: "write", count: 1 },
  recovered: [/BUS RESET operation complete/],
  resets: [
    { ask: "device", reaches: "target" },
    { ask: "bus", reaches: "bus" },
    { ask: "host", reaches: "bus" },
  ],
} as const;

linuxSuite(sym53c895a, { ...words, probed: [/sym0: <895a>/] });
linuxSuite(sym53c875, { ...words, probed: [/sym0: <875>/] });
