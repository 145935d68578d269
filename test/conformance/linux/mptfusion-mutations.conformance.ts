// Goal: a chip that is wrong does not pass. Method: our Fusion-MPT chips are broken on purpose, each in one place, and
// Linux's own drivers must notice, loudly. The same steps pass on the chips as they are (mptspi and mptsas suites).
import { expect, vi } from "vitest";
import { FusionMptChip } from "../../../hba/mptfusion/chip.ts";
import { MessageUnit } from "../../../hba/mptfusion/chip-message-unit.ts";
import type { FusionVariant } from "../../../hba/mptfusion/chip-profile.ts";
import { card, type AdapterUnderTest } from "./lab.ts";
import { expectNoDisk, mutationSuite, type Mutation } from "./mutations.ts";
import { INQUIRY_255, readByCommand } from "./scsi-ioctls.ts";

const SCSI_IO = 0x00;
const TRANSFER_COUNT = 5;

const chipOf = (variant: FusionVariant, module: string): AdapterUnderTest => ({
  adapter: module,
  module,
  insert: card((host, disk) => {
    const chip = new FusionMptChip(host, "mpt0", { variant });
    chip.attach(0, disk);
    return chip;
  }),
});

/** Every address reply goes through `change` before the host sees it. */
function changeReplies(change: (words: Int32Array, count: number) => void): void {
  const { postReply } = MessageUnit.prototype;
  vi.spyOn(MessageUnit.prototype, "postReply").mockImplementation(function (this: MessageUnit, words, count) {
    const copy = words.slice();
    change(copy, count);
    postReply.call(this, copy, count);
  });
}

const mutations: readonly Mutation[] = [
  {
    title: "brings no disk when two words of a reply change places",
    noticed: "a swapped reply word",
    judge(lab) {
      // The context tells the host whose reply it is.
      changeReplies((words) => ([words[2], words[3]] = [words[3]!, words[2]!]));
      expectNoDisk(lab, /Invalid cb_idx/);
    },
  },
  {
    title: "brings no disk when a reply raises no interrupt",
    noticed: "a missing interrupt",
    judge(lab) {
      vi.spyOn(MessageUnit.prototype, "updateLine").mockImplementation(() => {});
      expectNoDisk(lab, /Issuing Reset from mpt_config/);
    },
  },
  {
    title: "lies about the length of an answer when the residual is off by one",
    noticed: "a residual off by one",
    judge(lab) {
      expect(lab.probe()).toBe(true);
      const right = readByCommand(lab, INQUIRY_255, 255);
      expect(right.residual).toBe(255 - (5 + right.data[4]!));
      changeReplies((words, count) => {
        if (words[0]! >>> 24 === SCSI_IO && count > TRANSFER_COUNT && words[TRANSFER_COUNT]! > 0)
          words[TRANSFER_COUNT]!--;
      });
      expect(readByCommand(lab, INQUIRY_255, 255).residual).toBe(right.residual + 1);
    },
  },
];

mutationSuite(chipOf("53c1030", "mptspi"), mutations);
mutationSuite(chipOf("sas1068", "mptsas"), mutations);
