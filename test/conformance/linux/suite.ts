// What every SCSI adapter goes through under Linux's own driver. A new adapter is one file that calls `linuxSuite`.
import { afterEach, beforeAll, describe, expect, test, type TestContext } from "vitest";
import type { Fault } from "../../../emulator/disk/faults.ts";
import type { ResetKind } from "../../../emulator/disk/scsi-command.ts";
import { conformanceCell, type Cell } from "../cell.ts";
import { DISK_BYTES, LinuxLab, pattern, md5, type AdapterUnderTest } from "./lab.ts";
import { Unavailable } from "./packages.ts";
import { INQUIRY_255, readByCommand, resetByHand } from "./scsi-ioctls.ts";
import { bootedLinux, type BootedLinux } from "./snapshot.ts";

const MIB = 2 ** 20;
const SECTOR = 512;

/** What differs between drivers: the words they print, and what their error handling does. */
export interface DriverWords {
  /** Printed while probing. */
  readonly probed: readonly RegExp[];
  /** What the driver makes of the disk. */
  readonly disk: RegExp;
  /** Commands that it keeps under way at least, when there are enough to do. */
  readonly depth: number;
  /** False where a disk's protocol does not tell how much of an answer there was. */
  readonly residual: boolean;
  /** Printed beside the sense data of a bad sector. */
  readonly badSector: readonly RegExp[];
  /** What an abort that worked prints. */
  readonly aborted: RegExp;
  /** A disk that answers nothing until the driver has gone to some length. */
  readonly silence: Fault;
  /** What the driver prints on the way. */
  readonly recovered: readonly RegExp[];
  /** Resets that the driver does on demand (SG_SCSI_RESET), and what reaches the disk. */
  readonly resets: readonly { readonly ask: "device" | "target" | "bus" | "host"; readonly reaches?: ResetKind }[];
}

export interface LinuxSuite {
  /** The lab of the running suite; skips the test where there is no Linux to be had. */
  lab(context: TestContext): LinuxLab;
  /** Another guest fresh from boot, which has `other` in it. */
  another(context: TestContext, other: AdapterUnderTest): Promise<LinuxLab>;
  readonly cell: Cell;
}

/** The sector that cannot be read in "reports an error with its sense". */
export const BAD_SECTOR = 5000;
/** What all SCSI drivers have in common. */
export const scsiWords = {
  disk: /DUMPLAB {2}VIRTUAL-36G-10K/,
  depth: 4,
  residual: true,
  badSector: [new RegExp(`critical medium error, dev sda, sector ${BAD_SECTOR}\\b`)],
} as const;

/** The booted guest, or why there is none. */
export async function linuxOrReason(): Promise<BootedLinux | string> {
  try {
    return await bootedLinux();
  } catch (error) {
    if (error instanceof Unavailable) return error.message;
    throw error;
  }
}

/** Where our side lays data that Linux fetches into /tmp/n, in MiB from the start of the disk. */
const SOURCE_MIB = 56;
export const SOURCE_BYTES = 4 * MIB;
export function laySource(lab: LinuxLab, seed: number): Uint8Array {
  const data = pattern(seed, SOURCE_BYTES);
  lab.disk.media.store.write(SOURCE_MIB * MIB, data);
  lab.expect(`dd if=/dev/sda of=/tmp/n bs=256k skip=${SOURCE_MIB * 4} count=16 iflag=direct`);
  return data;
}

/** The first MiB that the data test has written. */
export function readsAgain(lab: LinuxLab): void {
  const output = lab.expect("dd if=/dev/sda bs=64k skip=16 count=16 iflag=direct | md5sum");
  expect(output).toContain(md5(pattern(1, MIB)));
}

/** Probe and a little of everything, as the comparison of two runs needs it. */
function shortRun(lab: LinuxLab): void {
  expect(lab.probe()).toBe(true);
  laySource(lab, 1);
  lab.expect("dd if=/tmp/n of=/dev/sda bs=64k count=16 oflag=direct");
  expect(lab.expect("dd if=/dev/sda bs=32k count=32 iflag=direct | md5sum")).toContain(md5(pattern(1, MIB)));
}

export function linuxSuite(
  under: AdapterUnderTest,
  words: DriverWords,
  more: (suite: LinuxSuite) => void = () => {},
): void {
  describe(`Linux's ${under.module} on our ${under.adapter}`, () => {
    const cell = conformanceCell(under.adapter, "linux");
    let linux: BootedLinux | string;
    let made: LinuxLab | undefined;

    beforeAll(async () => {
      linux = await linuxOrReason();
      if (typeof linux !== "string") made = await LinuxLab.make(linux, under);
    });
    const lab = (context: TestContext): LinuxLab => made ?? cell.skip(context, linux as string);
    const another = (context: TestContext, other: AdapterUnderTest): Promise<LinuxLab> => {
      lab(context);
      return LinuxLab.make(linux as BootedLinux, other);
    };

    afterEach(() => {
      made?.disk.faults.liftAll();
      // Whatever our chip found wrong with the real driver is a mistake of our chip.
      expect(made?.guest.host.complaints ?? []).toEqual([]);
    });

    test("finds the adapter and attaches its disk", (context) => {
      const l = lab(context);
      const found = l.probe();
      const messages = l.messages();
      expect(found, messages).toBe(true);
      for (const expected of words.probed) expect(messages).toMatch(expected);
      expect(messages).toMatch(words.disk);
      expect(messages).toContain(`[sda] ${DISK_BYTES / SECTOR} 512-byte logical blocks`);
      expect(messages).toContain("Write cache: enabled, read cache: enabled");
      expect(messages).toContain("[sda] Attached SCSI disk");
      cell.exercised("probe and scan");
    });

    test("reads 4 MiB that our side has laid, writes them elsewhere, and both sides hold the same bytes", (context) => {
      const l = lab(context);
      const data = laySource(l, 1);
      expect(l.expect("md5sum /tmp/n")).toContain(md5(data));
      // Sizes from one sector to more than one scatter-gather list of a request frame holds.
      l.expect("dd if=/tmp/n of=/dev/sda bs=256k oflag=direct seek=4");
      l.expect("dd if=/tmp/n of=/dev/sda bs=512 count=64 oflag=direct");
      expect(md5(l.media(2048, SOURCE_BYTES))).toBe(md5(data));
      expect(md5(l.media(0, 64 * SECTOR))).toBe(md5(data.subarray(0, 64 * SECTOR)));
      expect(l.expect("dd if=/dev/sda bs=128k skip=8 count=32 iflag=direct | md5sum")).toContain(md5(data));
      cell.exercised("4 MiB read, written, read back and compared on both sides");
    });

    test("serves several processes at once", (context) => {
      const l = lab(context);
      const data = laySource(l, 2);
      l.disk.peakOutstanding = 0;
      const workers = [0, 1, 2, 3];
      const place = (worker: number) => 20 + 2 * worker;
      const each = (worker: number) =>
        `(dd if=/tmp/n of=/dev/sda bs=16k skip=${worker * 64} count=64 seek=${place(worker) * 64} oflag=direct; ` +
        `dd if=/dev/sda of=/tmp/w${worker} bs=16k skip=${place(worker) * 64} count=64 iflag=direct) &`;
      l.expect(`${workers.map(each).join(" ")} wait`);
      expect(l.expect("cat /tmp/w0 /tmp/w1 /tmp/w2 /tmp/w3 | md5sum; rm /tmp/w?")).toContain(md5(data));
      // Through the page cache: the write-back sends many at once.
      l.expect("dd if=/tmp/n of=/dev/sda bs=64k seek=640 conv=fsync");
      for (const worker of workers) {
        const part = data.subarray(worker * MIB, (worker + 1) * MIB);
        expect(md5(l.media(place(worker) * 2048, MIB))).toBe(md5(part));
      }
      expect(md5(l.media(40 * 2048, SOURCE_BYTES))).toBe(md5(data));
      expect(l.disk.peakOutstanding).toBeGreaterThanOrEqual(words.depth);
      cell.exercised(`${l.disk.peakOutstanding} command${words.depth > 1 ? "s" : ""} under way at once`);
    });

    if (words.residual)
      test("tells Linux the residual of a short transfer", (context) => {
        const l = lab(context);
        const answer = readByCommand(l, INQUIRY_255, 255);
        const length = 5 + answer.data[4]!;
        expect(answer).toMatchObject({ status: 0, hostStatus: 0, residual: 255 - length });
        expect(new TextDecoder().decode(answer.data.subarray(8, 16))).toBe("DUMPLAB ");
        cell.exercised("residual");
      });

    test("reports an error with its sense, and reads on where the medium is good", (context) => {
      const l = lab(context);
      const bad = BAD_SECTOR;
      l.messages();
      l.disk.faults.lay({ kind: "media error", on: "read", firstLba: bad });
      const { status, output } = l.run(`dd if=/dev/sda of=/dev/null bs=512 skip=${bad} count=1 iflag=direct`);
      expect(status, output).not.toBe(0);
      expect(output).toMatch(/Input\/output error|No data available/);
      const messages = l.messages();
      expect(messages).toMatch(/Sense Key : Medium Error \[current\]/);
      expect(messages).toMatch(/Add\. Sense: Unrecovered read error/);
      for (const expected of words.badSector) expect(messages).toMatch(expected);
      expect(messages).not.toMatch(/Unaligned partial completion/);
      l.expect(`dd if=/dev/sda of=/dev/null bs=512 skip=${bad + 8} count=8 iflag=direct`);
      l.disk.faults.liftAll();
      l.expect(`dd if=/dev/sda of=/dev/null bs=512 skip=${bad} count=1 iflag=direct`);
      cell.exercised("medium error with sense");
    });

    test("aborts a command that does not come back, and repeats it", (context) => {
      const l = lab(context);
      l.messages();
      l.disk.aborts = 0;
      l.expect("echo 3 > /sys/block/sda/device/timeout");
      const lost = l.disk.faults.lay({ kind: "timeout", on: "read", count: 1 });
      readsAgain(l);
      expect(lost.hits).toBe(1);
      expect(l.disk.aborts).toBe(1);
      expect(l.messages()).toMatch(words.aborted);
      cell.exercised("abort of a lost command");
    });

    test("brings a disk back that answers nothing, and repeats what was lost", (context) => {
      const l = lab(context);
      const data = laySource(l, 3);
      l.messages();
      const fault = l.disk.faults.lay(words.silence);
      l.expect("dd if=/tmp/n of=/dev/sda bs=64k count=16 oflag=direct seek=800", 600);
      expect(fault.hits).toBe(words.silence.count);
      const messages = l.messages();
      for (const expected of words.recovered) expect(messages).toMatch(expected);
      expect(md5(l.media(800 * 128, MIB))).toBe(md5(data.subarray(0, MIB)));
      l.expect("echo 30 > /sys/block/sda/device/timeout");
      cell.exercised("escalation to a reset");
    });

    for (const { ask, reaches } of words.resets) {
      test(`resets the ${ask} on demand`, (context) => {
        const l = lab(context);
        l.disk.resets.length = 0;
        expect(resetByHand(l, ask)).toBe(0);
        if (reaches !== undefined) expect(l.disk.resets).toContain(reaches);
        readsAgain(l);
        cell.exercised(`${ask} reset`);
      });
    }

    more({ lab, another, cell });

    test("lets its driver go and takes it again", (context) => {
      const l = lab(context);
      const driver = `/sys/bus/pci/drivers/${under.module}`;
      // Not rmmod: mptspi of this kernel never gives back all references to a disk that runs at Ultra320.
      l.expect(`ls ${driver} | grep ^0000: > /tmp/function; cat /tmp/function > ${driver}/unbind`);
      expect(l.run("[ -b /dev/sda ]").status).not.toBe(0);
      l.expect(`cat /tmp/function > ${driver}/bind`);
      expect(l.waitForDisk()).toBe(true);
      readsAgain(l);
      cell.exercised("unbind and bind");
    });

    test("does the same register accesses at the same instants in two runs", async (context) => {
      const runs = [await another(context, under), await another(context, under)];
      for (const run of runs) shortRun(run);
      expect(runs[0]!.guest.log.count).toBeGreaterThan(300);
      expect(runs[1]!.registerDigest()).toBe(runs[0]!.registerDigest());
      cell.exercised(`${runs[0]!.guest.log.count} register accesses twice the same`);
    });
  });
}
