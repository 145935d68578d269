// Goal: a chip that is wrong does not pass. Method: our 53C895A is broken on purpose, each time in one place, and Linux's own
// driver must notice, loudly. The same steps pass on the chip as it is (sym53c8xx suite).
import { expect, vi } from "vitest";
import { BlockMove } from "../../../hba/sym53c8xx/chip-block-move.ts";
import { Interrupts } from "../../../hba/sym53c8xx/chip-interrupts.ts";
import { ChipMemory } from "../../../hba/sym53c8xx/chip-memory.ts";
import { SYM } from "../../../hba/sym53c8xx/registers.ts";
import { expectNoDisk, mutationSuite } from "./mutations.ts";
import { INQUIRY_255, readByCommand } from "./scsi-ioctls.ts";
import { sym53c895a } from "./sym53c8xx.ts";

/** What the mutations reach into. */
interface PrivateBlockMove {
  readonly scripts: { readonly parts: { readonly words: Int32Array } };
  mismatch(): boolean;
}

const swapHalves = (word: number): number => ((word << 16) | (word >>> 16)) >>> 0;

mutationSuite(sym53c895a, [
  {
    title: "brings no disk when the halves of a word that SCRIPTS write into memory change places",
    noticed: "a swapped reply word",
    judge(lab) {
      const { write32 } = ChipMemory.prototype;
      vi.spyOn(ChipMemory.prototype, "write32").mockImplementation(function (this: ChipMemory, address, value) {
        const isReply = address < this.host.endOfRam;
        write32.call(this, address, isReply ? swapHalves(value) : value);
      });
      expectNoDisk(lab, /CACHE TEST FAILED: chip wrote 2, host read 131072/);
    },
  },
  {
    title: "brings no disk when no condition raises an interrupt",
    noticed: "a missing interrupt",
    judge(lab) {
      vi.spyOn(Interrupts.prototype, "updateLine").mockImplementation(() => {});
      expectNoDisk(lab, /ABORT operation started/);
    },
  },
  {
    title: "lies about the length of an answer when the rest at a phase mismatch is off by one",
    noticed: "a residual off by one",
    judge(lab) {
      expect(lab.probe()).toBe(true);
      const right = readByCommand(lab, INQUIRY_255, 255);
      expect(right.residual).toBe(255 - (5 + right.data[4]!));
      const prototype = BlockMove.prototype as unknown as PrivateBlockMove;
      const { mismatch } = prototype;
      vi.spyOn(prototype, "mismatch").mockImplementation(function (this: PrivateBlockMove) {
        const goesOn = mismatch.call(this);
        this.scripts.parts.words[SYM.RBC >>> 2]!--;
        return goesOn;
      });
      expect(readByCommand(lab, INQUIRY_255, 255).residual).toBe(right.residual - 1);
    },
  },
]);
