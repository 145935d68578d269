// Our 53C8xx as a card in the guest.
import { Sym53c8xxChip } from "../../../hba/sym53c8xx/chip.ts";
import type { SymVariant } from "../../../hba/sym53c8xx/chip-profile.ts";
import { card, type AdapterUnderTest } from "./lab.ts";

const sym = (variant: SymVariant, adapter: string): AdapterUnderTest => ({
  adapter,
  module: "sym53c8xx",
  insert: card((host, disk) => {
    const chip = new Sym53c8xxChip(host, "sym0", { variant });
    chip.attach(0, disk);
    return chip;
  }),
});

export const sym53c895a = sym("53c895a", "sym53c8xx");
/** The one without phase-mismatch jumps: Linux's driver takes other SCRIPTS. */
export const sym53c875 = sym("53c875", "sym53c8xx (53c875)");
/** The one with DT clocking. */
export const sym53c1010 = sym("53c1010", "sym53c8xx (53c1010)");
