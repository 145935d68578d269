// Goal: Linux's own driver takes our PIIX4 IDE function and our ATA drive for real ones. Method: linuxSuite, and what only ATA has.
import { expect, test, vi } from "vitest";
import { ScsiDisk } from "../../../emulator/disk/scsi-disk.ts";
import { DISK_BYTES, md5, type LinuxLab } from "./lab.ts";
import { piix4 } from "./piix4.ts";
import { readByCommand } from "./scsi-ioctls.ts";
import { BAD_SECTOR, laySource, linuxSuite, readsAgain, SOURCE_BYTES } from "./suite.ts";

const SECTOR = 512;
const IDENTIFY_DEVICE = 0xec;
const SET_FEATURES = 0xef;
const READ_SECTORS = 0x20;
const WRITE_SECTORS_EXT = 0x34;
const READ_MULTIPLE = 0xc4;
const WRITE_MULTIPLE_EXT = 0x39;
const SET_MULTIPLE_MODE = 0xc6;
/** ATA PASS-THROUGH (16) that carries SET MULTIPLE MODE, without data, and wants the task file back. [SAT-2 12.2] */
const setMultiple = (sectors: number): number[] => {
  const cdb = new Array<number>(16).fill(0);
  [cdb[0], cdb[1], cdb[2], cdb[6], cdb[13], cdb[14]] = [0x85, 3 << 1, 0x20, sectors, 0xa0, SET_MULTIPLE_MODE];
  return cdb;
};

linuxSuite(
  piix4,
  {
    probed: [
      /ata1: PATA max UDMA\/33 cmd 0x1f0 ctl 0x3f6 .* irq 14/,
      new RegExp(`ata1\\.00: ${DISK_BYTES / SECTOR} sectors, multi 0: LBA48`),
    ],
    disk: /ata1\.00: ATA-6: DUMPLAB VIRTUAL-36G-10K/,
    depth: 1,
    residual: false,
    badSector: [
      /failed command: READ DMA/,
      /status: \{ DRDY ERR \}/,
      /error: \{ UNC \}/,
      new RegExp(`I/O error, dev sda, sector ${BAD_SECTOR}\\b`),
    ],
    // A drive of ATA-6 has no abort of one command: the channel is reset.
    aborted: /failed command: READ DMA[^]*Emask 0x4 \(timeout\)[^]*soft resetting link/,
    silence: { kind: "timeout", on: "any", count: 3 },
    recovered: [/failed command: WRITE DMA[^]*Emask 0x4 \(timeout\)/, /limiting speed to UDMA\/25:PIO4/],
    // SG_SCSI_RESET ends in EIO: libata offers no reset that waits for its result.
    resets: [],
  },
  ({ lab, another, cell }) => {
    /** The drive's command register, spied upon: operation codes since the last call. */
    const commandsOf = (l: LinuxLab): (() => number[]) => {
      const spy = vi.spyOn(l.guest.board.ide.channels[0].drives[0]!, "writeCommand");
      return () => spy.mock.calls.splice(0).map(([opcode]) => opcode);
    };

    test("says how far a transfer came before the bad sector", (context) => {
      const l = lab(context);
      l.messages();
      l.disk.faults.lay({ kind: "media error", on: "read", firstLba: BAD_SECTOR + 3 });
      expect(l.run(`dd if=/dev/sda of=/dev/null bs=4k skip=${BAD_SECTOR / 8} count=1`).status).not.toBe(0);
      const messages = l.messages();
      // Count and address in the task file: five sectors are left, the first of them is the bad one (138B).
      expect(messages).toContain("res 51/40:05:8b:13:00/00:00:00:00:00/e0");
      expect(messages).toMatch(new RegExp(`I/O error, dev sda, sector ${BAD_SECTOR + 3}\\b`));
      cell.exercised("count and address after an error");
    });

    test("resets the channel when told to look for drives again, and keeps the drive", (context) => {
      const l = lab(context);
      const commands = commandsOf(l);
      l.disk.resets.length = 0;
      l.expect("echo '- - -' > /sys/class/scsi_host/host0/scan; sleep 2");
      expect(l.disk.resets).toEqual(["bus"]);
      expect(commands()).toEqual(expect.arrayContaining([IDENTIFY_DEVICE, SET_FEATURES]));
      readsAgain(l);
      cell.exercised("channel reset");
    });

    /** Loads libata and the driver anew; the mode that Linux then chooses for the drive. */
    const reload = (l: LinuxLab, parameters: string): string => {
      l.expect(`rmmod ata_piix; rmmod libata; insmod /modules/libata.ko ${parameters}; load ata_piix`);
      expect(l.waitForDisk()).toBe(true);
      return l.expect("cat /sys/class/ata_device/dev1.0/xfer_mode");
    };

    test("moves data by multiword DMA when Linux is told to", (context) => {
      const l = lab(context);
      expect(reload(l, "force=1.00:mwdma2")).toBe("XFER_MW_DMA_2");
      expect(l.guest.board.ide.channels[0].drives[0]!.modes.dma).toEqual({ kind: "mwdma", mode: 2 });
      readsAgain(l);
      cell.exercised("multiword DMA");
    });

    test("moves the same data by port when Linux may not use DMA, a sector at a time and sixteen", (context) => {
      const l = lab(context);
      expect(reload(l, "dma=0")).toBe("XFER_PIO_4");
      const data = laySource(l, 4);
      const commands = commandsOf(l);
      /** Writes 4 MiB at `mib` and reads them again; both sides compare. */
      const thereAndBack = (mib: number): void => {
        commands();
        l.expect(`dd if=/tmp/n of=/dev/sda bs=64k seek=${mib * 16} conv=fsync`);
        expect(md5(l.media(mib * 2048, SOURCE_BYTES))).toBe(md5(data));
        expect(l.expect(`dd if=/dev/sda bs=64k skip=${mib * 16} count=64 | md5sum`)).toContain(md5(data));
      };
      thereAndBack(8);
      expect(commands()).toEqual(expect.arrayContaining([WRITE_SECTORS_EXT, READ_SECTORS]));
      // Linux takes over what a command by hand has set. The answer holds the task file as the drive left it.
      const { sense } = readByCommand(l, setMultiple(16), 0);
      expect([...sense.slice(8)]).toEqual([0x09, 12, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0xa0, 0x50]);
      l.expect("sleep 1");
      thereAndBack(16);
      expect(commands()).toEqual(expect.arrayContaining([WRITE_MULTIPLE_EXT, READ_MULTIPLE]));
      cell.exercised("4 MiB each way by port, single sectors and multiple");
    });

    test("serves drives on both channels at once, and a slave beside its master", async (context) => {
      const disks: ScsiDisk[] = [];
      const l = await another(context, {
        ...piix4,
        insert({ board, host }, disk) {
          const more = ["sdb", "sdc"].map(
            (name) => new ScsiDisk(host.events, host.memory.pool, { name, sizeBytes: DISK_BYTES }),
          );
          disks.push(disk, ...more);
          disks.forEach((one, position) => board.ide.attach(position, one));
          return board.ide;
        },
      });
      expect(l.probe()).toBe(true);
      l.expect("while ! [ -b /dev/sdc ]; do sleep 1; done");
      const messages = l.messages();
      for (const drive of ["ata1.00", "ata1.01", "ata2.00"]) expect(messages).toContain(`${drive}: ATA-6: DUMPLAB`);
      const data = laySource(l, 5);
      const copies = ["sda", "sdb", "sdc"].map((name) => `dd if=/tmp/n of=/dev/${name} bs=64k conv=fsync &`);
      l.expect(`${copies.join(" ")} wait`);
      for (const disk of disks) {
        const bytes = new Uint8Array(SOURCE_BYTES);
        disk.media.store.read(0, bytes);
        expect(md5(bytes)).toBe(md5(data));
      }
      const counts = l.expect("awk '/ata_piix/ { print $1, $2 }' /proc/interrupts");
      expect(counts).toMatch(/^14: [1-9]\d*\n15: [1-9]\d*$/);
      expect(l.guest.host.complaints).toEqual([]);
      cell.exercised("three drives on two channels");
    });

    test("never waits for an interrupt that was lost, or takes one that nobody wants", (context) => {
      expect(lab(context).expect("dmesg")).not.toMatch(/lost interrupt|nobody cared|[Ss]purious/);
    });
  },
);
