// The IDE function of the guest's board, with a disk on its first cable.
import type { AdapterUnderTest } from "./lab.ts";

export const piix4: AdapterUnderTest = {
  adapter: "ide",
  module: "ata_piix",
  insert({ board }, disk) {
    board.ide.attach(0, disk);
    return board.ide;
  },
};
