// Goal: Linux's own driver, with its own SCRIPTS, takes our 53C8xx for the real one. Method: linuxSuite on three chips.
import { linuxSuite, scsiWords } from "./suite.ts";
import { sym53c1010, sym53c875, sym53c895a } from "./sym53c8xx.ts";

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

/** Domain validation has moved data at 160 MB/s and seen the same come back: it has not dropped back to less. */
const validatedAtUltra160 =
  /FAST-80 WIDE SCSI 160\.0 MB\/s DT \(12\.5 ns, offset 31\)(?:(?!dropping back)[^])*Ending Domain Validation/;
linuxSuite(sym53c1010, { ...words, probed: [/sym0: <1010-33>/, validatedAtUltra160] });
