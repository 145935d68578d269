// Goal: on a 53C1010 the driver comes to DT clocking with each disk that can, and to what is left with each that cannot.
// Method: a booted kernel, disks of several generations; a chip that is set wrongly in a data phase complains.
import { afterEach, describe, expect, test, vi } from "vitest";
import { TransferAgreement, ULTRA160_WIDE, ULTRA2_WIDE } from "../../emulator/disk/transfer-agreement.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { do_fork } from "../../kernel-sim/core/fork.ts";
import { msleep } from "../../kernel-sim/core/timer.ts";
import { onDisk, scatteredPages, transfer } from "../mptfusion/driver-testing.ts";
import { makeRig, type Rig, type RigOptions } from "./driver-testing.ts";

const PPR = [1, 6, 4, 9, 0, 31, 1, 2];
const WDTR = [1, 2, 3, 1];
const SDTR = [1, 3, 1, 0x0a, 31];
const ULTRA160 = { width: 1, period: 9, offset: 31, doubleTransition: true };
const ULTRA2 = { width: 1, period: 0x0a, offset: 31, doubleTransition: false };

afterEach(() => {
  vi.restoreAllMocks();
});

/** A booted machine, and the negotiation messages that its disks have got. */
function boot(options: RigOptions = {}): { rig: Rig; messages: readonly (readonly number[])[] } {
  const negotiate = vi.spyOn(TransferAgreement.prototype, "negotiate");
  const rig = makeRig({ variant: "53c1010", ids: [0], ...options });
  return { rig, messages: negotiate.mock.calls.map(([message]) => message) };
}

/** Writes to all disks at once, `each` to each, again and again, and reads back. Returns whether all came out as they went in. */
function passesData(rig: Rig, each = 1): boolean {
  rig.kernel.enter();
  const sds = rig.sds.flatMap((sd, disk) =>
    Array.from({ length: each }, (_, i) => ({ sd, disk, sector: 1000 + 2000 * i })),
  );
  const work = sds.map((place, n) => ({
    ...place,
    n,
    out: scatteredPages(rig.kernel, 40),
    back: scatteredPages(rig.kernel, 40),
  }));
  for (const { n, out } of work) out.forEach((page, i) => M.u8.fill(i * 5 + n + 1, page, page + 4096));
  let done = 0;
  rig.run(function* () {
    for (const { sd, sector, n, out, back } of work) {
      yield* do_fork(
        `worker${n}`,
        function* () {
          for (let round = 0; round < 3; round++) {
            if (!(yield* transfer(sd, true, sector + 320 * round, out))) return;
            if (!(yield* transfer(sd, false, sector + 320 * round, back))) return;
          }
          done++;
        },
        n & 1,
      );
    }
    while (done < work.length) yield* msleep(10);
  });
  return work.every(({ disk, sector, out, back }) =>
    out.every((page, i) => {
      const sent = Buffer.from(M.u8.subarray(page, page + 4096));
      const got = Buffer.from(M.u8.subarray(back[i]!, back[i]! + 4096));
      return sent.equals(got) && sent.equals(onDisk(rig.disks[disk]!, sector + 8 * i, 4096));
    }),
  );
}

describe("DT clocking", () => {
  test("is asked for by PPR alone, once, and stands in the log", () => {
    const { rig, messages } = boot();
    expect(messages).toEqual([PPR]);
    expect(rig.targets[0]!.agreement).toMatchObject(ULTRA160);
    expect(rig.log().join("\n")).toContain("sym0:0: WIDE SCSI, synchronous, period factor 9, offset 31, DT");
    expect(passesData(rig)).toBe(true);
    expect(rig.kernel.machine.complaints).toEqual([]);
  });

  test.each([
    ["a disk that declines it in its answer goes at Ultra2", ULTRA2_WIDE, [PPR], ULTRA2],
    [
      "a disk that does not know PPR is asked the older way",
      { ...ULTRA2_WIDE, protocolRequest: false },
      [PPR, WDTR, SDTR],
      ULTRA2,
    ],
    [
      "a slower disk with a lesser offset gets it as it can",
      { ...ULTRA2_WIDE, doubleTransition: { period: 0x0a, offset: 15 } },
      [PPR],
      { width: 1, period: 0x0a, offset: 15, doubleTransition: true },
    ],
  ])("%s", (_what, limits, expected, agreement) => {
    const { rig, messages } = boot({ limits });
    expect(messages).toEqual(expected);
    expect(rig.targets[0]!.agreement).toMatchObject(agreement);
    expect(passesData(rig)).toBe(true);
    expect(rig.kernel.machine.complaints).toEqual([]);
  });

  test("a disk whose INQUIRY does not announce it is not asked for it", () => {
    const { rig, messages } = boot({ disk: { identity: { version: 2 } } });
    expect(messages).toEqual([WDTR, SDTR]);
    expect(rig.targets[0]!.agreement).toMatchObject(ULTRA2);
    expect(passesData(rig)).toBe(true);
  });

  test.each([
    ["options that were not asked for", { 7: 3 }],
    ["options without DT", { 3: 0x0a, 7: 4 }],
    ["DT on a narrow bus", { 6: 0 }],
    ["a period that DT alone has", { 7: 0 }],
    ["a deeper offset", { 5: 62 }],
  ])("an answer with %s is rejected; the rest is agreed on the older way", (_what, wrong) => {
    const { negotiate } = TransferAgreement.prototype;
    vi.spyOn(TransferAgreement.prototype, "negotiate").mockImplementation(function (this: TransferAgreement, message) {
      const answer = negotiate.call(this, message);
      return answer?.[2] === 4 ? Object.assign(answer, wrong) : answer;
    });
    const rig = makeRig({ variant: "53c1010", ids: [0] });
    expect(rig.targets[0]!.agreement).toMatchObject(ULTRA2);
    expect(passesData(rig)).toBe(true);
    expect(rig.kernel.machine.complaints).toEqual([]);
  });

  test("disks of three generations on one bus, all at once: selection and reselection set the chip to each", () => {
    const narrow = { width: 0, period: 0x0c, offset: 8, protocolRequest: false } as const;
    const { rig } = boot({ ids: [0, 1, 2], limitsOf: { 0: ULTRA160_WIDE, 1: ULTRA2_WIDE, 2: narrow } });
    expect(passesData(rig)).toBe(true);
    expect(rig.targets.map(({ agreement }) => agreement.doubleTransition)).toEqual([true, false, false]);
    expect(rig.targets[2]!.agreement).toMatchObject({ width: 0, period: 0x0c, offset: 8 });
    expect(rig.kernel.machine.complaints).toEqual([]);
  });

  test("after a bus reset it is agreed on again, and commands queued behind the one that asks find the chip set", () => {
    const { rig, messages } = boot();
    rig.chip.externalBusReset();
    rig.run(function* () {
      yield* msleep(10);
    });
    expect(rig.targets[0]!.agreement).toMatchObject({ width: 0, offset: 0, doubleTransition: false });
    const before = messages.length;
    const negotiate = vi.mocked(TransferAgreement.prototype.negotiate);
    expect(passesData(rig, 6)).toBe(true);
    expect(negotiate.mock.calls.slice(before).map(([message]) => message)).toEqual([PPR]);
    expect(rig.targets[0]!.agreement).toMatchObject(ULTRA160);
    expect(rig.kernel.machine.complaints).toEqual([]);
  });
});
