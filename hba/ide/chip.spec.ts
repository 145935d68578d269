// Goal: the PIIX function and its drives answer at their ports as ATA/ATAPI-6 and the PIIX datasheets say.
// Method: ports only, in the order in which Linux uses them; what lands on the media is compared byte by byte.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DATA, SpecIde, pattern } from "./spec-host.ts";
import { ATA, ATA_ALT_STATUS, BM } from "./registers.ts";

const media = (ide: SpecIde, lba: number, sectors: number, disk = 0): Uint8Array => {
  const into = new Uint8Array(sectors * 512);
  ide.disks[disk]!.media.store.read(lba * 512, into);
  return into;
};
const lay = (ide: SpecIde, lba: number, data: Uint8Array): void => ide.disks[0]!.media.store.write(lba * 512, data);
const word = (data: Uint8Array, n: number): number => data[n * 2]! | (data[n * 2 + 1]! << 8);
const setMultiple = (ide: SpecIde, count: number): void => {
  ide.issue({ command: 0xc6, sectors: count });
  expect(ide.settle()).toBe(0x50);
};
const lbaOf = (ide: SpecIde): number =>
  ide.inb(ATA.LbaLow) |
  (ide.inb(ATA.LbaMid) << 8) |
  (ide.inb(ATA.LbaHigh) << 16) |
  ((ide.inb(ATA.Device) & 0x0f) << 24);

describe("detection, as libata and 2.6 do it", () => {
  test("a soft reset leaves the signature, error 01, DRDY, and raises no interrupt", () => {
    const ide = new SpecIde();
    ide.control(0x04);
    expect(ide.altStatus).toBe(0x80);
    ide.control(0x00);
    expect(ide.settle()).toBe(0x50);
    expect([1, 2, 3, 4, 5].map((register) => ide.inb(register))).toEqual([1, 1, 1, 0, 0]);
    expect(ide.edges).toEqual([]);
  });

  test("count and LBA low read back what was written, on a drive that is there", () => {
    const ide = new SpecIde([0]);
    for (const [a, b] of [
      [0x55, 0xaa],
      [0xaa, 0x55],
    ] as const) {
      ide.outb(a, ATA.SectorCount);
      ide.outb(b, ATA.LbaLow);
      expect([ide.inb(ATA.SectorCount), ide.inb(ATA.LbaLow)]).toEqual([a, b]);
    }
    ide.select(1);
    expect([ide.inb(ATA.Status), ide.inb(ATA.SectorCount)]).toEqual([0, 0]);
    expect(ide.inb(ATA.Status, 1)).toBe(0x7f);
  });

  test("the firmware has switched the ports on; without IDETIM bit 15 nobody answers", () => {
    const ide = new SpecIde();
    expect(ide.chip.readConfig(0x40, 2)).toBe(0x8000);
    ide.chip.writeConfig(0x40, 2, 0x0000);
    expect(ide.inb(ATA.Status)).toBe(0xff);
    ide.chip.writeConfig(0x40, 2, 0xa307);
    expect(ide.inb(ATA.Status)).toBe(0x50);
  });

  test("only BAR 4 exists, and a PIIX3 has no Ultra DMA registers", () => {
    const piix3 = new SpecIde([0], {}, "piix3");
    const piix4 = new SpecIde([0], {}, "piix4");
    for (const [ide, id, stored] of [
      [piix3, 0x70108086, 0],
      [piix4, 0x71118086, 0x0f],
    ] as const) {
      expect(ide.chip.readConfig(0x00, 4)).toBe(id);
      expect(ide.chip.readConfig(0x08, 4) >>> 8).toBe(0x010180);
      ide.chip.writeConfig(0x10, 4, 0xffffffff);
      ide.chip.writeConfig(0x20, 4, 0xffffffff);
      expect([ide.chip.readConfig(0x10, 4), ide.chip.readConfig(0x20, 4)]).toEqual([0, 0xfffffff1]);
      ide.chip.writeConfig(0x48, 1, 0xff);
      expect(ide.chip.readConfig(0x48, 1)).toBe(stored);
    }
  });

  test("IDENTIFY says what libata needs to know", () => {
    const ide = new SpecIde();
    const { data, status } = ide.pioIn({ command: 0xec });
    expect(status).toBe(0x50);
    expect(word(data, 0) & 0x8000).toBe(0);
    expect(word(data, 49) & 0x0300).toBe(0x0300);
    expect(word(data, 60) + word(data, 61) * 65536).toBe((64 << 20) / 512);
    expect(word(data, 100)).toBe(word(data, 60));
    expect(word(data, 83) & 0xc000).toBe(0x4000);
    expect(word(data, 83) & 0x3400).toBe(0x3400);
    expect(word(data, 87) & 0xc000).toBe(0x4000);
    expect([word(data, 88) & 0xff, word(data, 93) & 0x6000]).toEqual([0x3f, 0x6000]);
    expect(String.fromCharCode(data[55]!, data[54]!)).toBe("DU");
    expect(data.reduce((sum, byte) => (sum + byte) & 0xff)).toBe(0);
  });

  test("two drives on one cable keep their registers, commands and interrupts apart", () => {
    const ide = new SpecIde([0, 1]);
    ide.select(1);
    ide.outb(0xe5, ATA.Status);
    // While the selected drive is busy nobody listens.
    ide.select(0);
    expect(ide.altStatus & 0x80).toBe(0x80);
    ide.settle();
    expect(ide.lines.get(14)).toBe(true);
    ide.select(0);
    expect(ide.lines.get(14)).toBe(false);
    ide.select(1);
    // The slave's interrupt has waited for its selection.
    expect(ide.edges).toEqual([14, 14]);
    ide.inb(ATA.Status);
    expect(ide.lines.get(14)).toBe(false);
    ide.disks[1]!.media.store.write(512 * 5, pattern(512, 9));
    ide.outb(1, ATA.SectorCount);
    ide.outb(5, ATA.LbaLow);
    ide.outb(0, ATA.LbaMid);
    ide.outb(0, ATA.LbaHigh);
    ide.outb(0xf0, ATA.Device);
    ide.outb(0x20, ATA.Status);
    expect(ide.settle()).toBe(0x58);
    expect(ide.readData(512)).toEqual(pattern(512, 9));
  });
});

describe("data by port", () => {
  test("READ SECTORS interrupts before each sector and not after the last", () => {
    const ide = new SpecIde();
    lay(ide, 100, pattern(4 * 512, 1));
    const { data, status, interrupts } = ide.pioIn({ command: 0x20, lba: 100, sectors: 4 });
    expect(data).toEqual(pattern(4 * 512, 1));
    expect([status, interrupts]).toEqual([0x50, 4]);
    expect([lbaOf(ide), ide.inb(ATA.SectorCount)]).toEqual([103, 0]);
  });

  test("WRITE SECTORS does not interrupt before the first sector, and does after each", () => {
    const ide = new SpecIde();
    const { status, interrupts } = ide.pioOut({ command: 0x30, lba: 77, sectors: 3 }, pattern(3 * 512, 2));
    expect([status, interrupts]).toEqual([0x50, 3]);
    expect(media(ide, 77, 3)).toEqual(pattern(3 * 512, 2));
  });

  test("the MULTIPLE commands move blocks as long as SET MULTIPLE said, the last one shorter", () => {
    const ide = new SpecIde();
    ide.issue({ command: 0xc4, lba: 0, sectors: 1 });
    expect([ide.settle(), ide.inb(ATA.Error)]).toEqual([0x51, 0x04]);
    setMultiple(ide, 16);
    ide.edges.length = 0;
    const out = ide.pioOut({ command: 0xc5, lba: 1001, sectors: 40 }, pattern(40 * 512, 3), 16);
    expect(out).toEqual({ status: 0x50, interrupts: 3 });
    expect(media(ide, 1001, 40)).toEqual(pattern(40 * 512, 3));
    const back = ide.pioIn({ command: 0xc4, lba: 1001, sectors: 40 }, 16);
    expect(back.data).toEqual(pattern(40 * 512, 3));
    // A count that is no power of two is refused, and so is more than word 47 says.
    for (const count of [3, 32]) {
      ide.issue({ command: 0xc6, sectors: count });
      expect([ide.settle(), ide.inb(ATA.Error)]).toEqual([0x51, 0x04]);
    }
  });

  test("a count of 0 stands for 256 sectors, in the 48-bit form for 65536", () => {
    const ide = new SpecIde();
    setMultiple(ide, 16);
    lay(ide, 0, pattern(256 * 512, 4));
    ide.issue({ command: 0xc4, lba: 0, sectors: 0 });
    let bytes = 0;
    const { memory } = ide.machine;
    for (; (ide.settle() & 0x08) !== 0; bytes += 8192) ide.chip.readString(0, ATA.Data, memory, DATA, 8192);
    expect(bytes).toBe(256 * 512);
    ide.issue({ command: 0x29, lba: 0, sectors: 0, extended: true });
    for (bytes = 0; (ide.settle() & 0x08) !== 0; bytes += 8192) ide.chip.readString(0, ATA.Data, memory, DATA, 8192);
    expect(bytes).toBe(65536 * 512);
  });

  test("the previous contents of the registers are read with HOB; a write to the command block clears it", () => {
    const ide = new SpecIde();
    ide.issue({ command: 0x24, lba: 0x1234, sectors: 1, extended: true });
    ide.settle();
    ide.readData(512);
    ide.outb(0x11, ATA.LbaMid);
    ide.outb(0x22, ATA.LbaMid);
    ide.control(0x80);
    expect(ide.inb(ATA.LbaMid)).toBe(0x11);
    ide.outb(0x33, ATA.LbaHigh);
    expect(ide.inb(ATA.LbaMid)).toBe(0x22);
  });

  test("CHS addresses follow the geometry that INITIALIZE DEVICE PARAMETERS sets", () => {
    const ide = new SpecIde();
    ide.outb(32, ATA.SectorCount);
    ide.outb(0xa3, ATA.Device);
    ide.outb(0x91, ATA.Status);
    expect(ide.settle()).toBe(0x50);
    // Cylinder 2, head 1, sector 5 with 4 heads of 32 sectors.
    const lba = (2 * 4 + 1) * 32 + 4;
    lay(ide, lba, pattern(512, 5));
    for (const [value, register] of [
      [1, ATA.SectorCount],
      [5, ATA.LbaLow],
      [2, ATA.LbaMid],
      [0, ATA.LbaHigh],
      [0xa1, ATA.Device],
      [0x20, ATA.Status],
    ] as const) {
      ide.outb(value, register);
    }
    expect(ide.settle()).toBe(0x58);
    expect(ide.readData(512)).toEqual(pattern(512, 5));
    ide.outb(0, ATA.LbaLow);
    ide.outb(0x20, ATA.Status);
    expect([ide.settle(), ide.inb(ATA.Error)]).toEqual([0x51, 0x10]);
  });
});

describe("DMA", () => {
  const whole = (sectors: number): { address: number; bytes: number }[] => [{ address: DATA, bytes: sectors * 512 }];
  const inMemory = (ide: SpecIde, bytes: number): Uint8Array => {
    const into = new Uint8Array(bytes);
    ide.machine.memory.readBytes(DATA, into);
    return into;
  };

  test("moves both ways, in 28 and in 48 bits, and ends with INTERRUPT and without ACTIVE", () => {
    const ide = new SpecIde();
    ide.machine.memory.writeBytes(DATA, pattern(64 * 512, 6));
    expect(ide.dma({ command: 0xca, lba: 10, sectors: 64 }, whole(64), false)).toEqual({ bm: 0x04, status: 0x50 });
    expect(media(ide, 10, 64)).toEqual(pattern(64 * 512, 6));
    ide.machine.memory.writeBytes(DATA, new Uint8Array(64 * 512));
    expect(ide.dma({ command: 0x25, lba: 10, sectors: 64, extended: true }, whole(64), true)).toEqual({
      bm: 0x04,
      status: 0x50,
    });
    expect(inMemory(ide, 64 * 512)).toEqual(pattern(64 * 512, 6));
    expect(ide.dma({ command: 0x35, lba: 500, sectors: 64, extended: true }, whole(64), false).bm).toBe(0x04);
    expect(media(ide, 500, 64)).toEqual(pattern(64 * 512, 6));
  });

  test("gathers from odd-sized regions; a count of 0 is 64 KiB", () => {
    const ide = new SpecIde();
    lay(ide, 0, pattern(130 * 512, 7));
    const regions = [
      { address: DATA, bytes: 0x200 },
      { address: DATA + 0x10000, bytes: 0x10000 },
      { address: DATA + 0x30002, bytes: 0x200 },
    ];
    expect(ide.dma({ command: 0xc8, lba: 0, sectors: 130 }, regions, true).bm).toBe(0x04);
    const second = new Uint8Array(0x10000);
    ide.machine.memory.readBytes(DATA + 0x10000, second);
    expect(second).toEqual(pattern(130 * 512, 7).slice(0x200, 0x10200));
  });

  test("with a table that is too long ACTIVE stays, with one that is too short no interrupt comes", () => {
    const ide = new SpecIde();
    expect(ide.dma({ command: 0xc8, lba: 0, sectors: 4 }, whole(8), true)).toEqual({ bm: 0x05, status: 0x50 });
    const short = ide.dma({ command: 0xc8, lba: 0, sectors: 8 }, whole(4), true, 100);
    expect([short.bm, short.status & 0x80]).toEqual([0, 0x80]);
    ide.control(0x04);
    ide.control(0x00);
    expect(ide.settle()).toBe(0x50);
  });

  test("that is stopped half-way hangs until a reset, and moves nothing more", () => {
    const ide = new SpecIde();
    ide.prds(whole(128));
    ide.outBm(0x8000, BM.BMIDTPX, 4);
    ide.issue({ command: 0xc8, lba: 20000, sectors: 128 });
    ide.outBm(0x09, BM.BMICX);
    ide.advance(200_000);
    ide.outBm(0x08, BM.BMICX);
    ide.advance(1e9);
    expect([ide.altStatus & 0x80, ide.edges.length]).toEqual([0x80, 0]);
    ide.control(0x04);
    ide.control(0x00);
    expect(ide.settle()).toBe(0x50);
  });

  test("without bus mastering, or the wrong way round, is the driver's error", () => {
    const ide = new SpecIde();
    ide.machine.strict = false;
    ide.chip.config.setUint16(0x04, 0x0001, true);
    ide.dma({ command: 0xc8, lba: 0, sectors: 1 }, whole(1), true, 10);
    ide.control(0x04);
    ide.control(0x00);
    ide.settle();
    ide.chip.config.setUint16(0x04, 0x0005, true);
    ide.dma({ command: 0xc8, lba: 0, sectors: 1 }, whole(1), false, 10);
    expect(ide.machine.complaints).toEqual([
      expect.stringContaining("bus mastering is off"),
      expect.stringContaining("the other way"),
    ]);
  });

  test("goes as fast as the mode that was set, not faster", () => {
    const rate = (mode: number): number => {
      const ide = new SpecIde([0], { writeCacheEnabled: true });
      ide.issue({ command: 0xef, features: 0x03, sectors: mode });
      expect(ide.settle()).toBe(0x50);
      const start = ide.now;
      ide.dma({ command: 0xca, lba: 0, sectors: 128 }, whole(128), false);
      return (128 * 512 * 1e9) / (ide.now - start);
    };
    expect(rate(0x22)).toBeLessThan(16.7e6);
    expect(rate(0x22)).toBeGreaterThan(14e6);
    expect(rate(0x42)).toBeLessThan(33.3e6);
    expect(rate(0x42)).toBeGreaterThan(24e6);
  });
});

describe("errors", () => {
  test("a bad sector: what lies before it is delivered, then UNC with its address and what is left", () => {
    const ide = new SpecIde();
    lay(ide, 200, pattern(8 * 512, 8));
    ide.disks[0]!.faults.lay({ kind: "media error", firstLba: 205 });
    const { data, status } = ide.pioIn({ command: 0x20, lba: 200, sectors: 8 });
    expect(data.slice(0, 5 * 512)).toEqual(pattern(8 * 512, 8).slice(0, 5 * 512));
    expect([status, ide.inb(ATA.Error), lbaOf(ide), ide.inb(ATA.SectorCount)]).toEqual([0x51, 0x40, 205, 3]);
    expect(ide.dma({ command: 0xc8, lba: 200, sectors: 8 }, [{ address: DATA, bytes: 8 * 512 }], true).status).toBe(
      0x51,
    );
    expect([ide.inb(ATA.Error), lbaOf(ide), ide.inb(ATA.SectorCount)]).toEqual([0x40, 205, 3]);
  });

  test("a write that fails is a device fault; beyond the end is IDNF; an unknown command is aborted", () => {
    const ide = new SpecIde();
    ide.disks[0]!.faults.lay({ kind: "media error", on: "write", firstLba: 31, count: 1 });
    const { status } = ide.pioOut({ command: 0x30, lba: 30, sectors: 2 }, pattern(1024, 1));
    expect([status, lbaOf(ide), ide.inb(ATA.SectorCount)]).toEqual([0x71, 31, 1]);
    ide.issue({ command: 0x20, lba: (64 << 20) / 512 - 1, sectors: 2 });
    expect([ide.settle(), ide.inb(ATA.Error)]).toEqual([0x51, 0x10]);
    ide.issue({ command: 0xb0 });
    expect([ide.settle(), ide.inb(ATA.Error)]).toEqual([0x51, 0x04]);
  });

  test("a command that is swallowed leaves BSY until a soft reset; one to a drive that is gone is lost", () => {
    const ide = new SpecIde([0, 1]);
    const fault = ide.disks[0]!.faults.lay({ kind: "bus hang" });
    ide.issue({ command: 0x20 });
    ide.advance(10e9);
    expect(ide.altStatus & 0x80).toBe(0x80);
    ide.disks[0]!.faults.lift(fault);
    ide.control(0x04);
    ide.control(0);
    expect(ide.settle()).toBe(0x50);
    expect(ide.pioIn({ command: 0x20 }).status).toBe(0x50);
    ide.disks[0]!.faults.lay({ kind: "device gone" });
    expect(ide.altStatus).toBe(0x00);
  });

  test("unit attentions and a disk that spins up are the drive's own affair", () => {
    const ide = new SpecIde([0], { timing: { spinUpNs: 3e9 } });
    ide.disks[0]!.faults.lay({ kind: "unit attention", count: 2 });
    ide.issue({ command: 0x20 });
    expect(ide.settle(5000)).toBe(0x58);
    expect(ide.now).toBeGreaterThan(3e9);
  });
});

describe("interrupts", () => {
  test("reading Status takes the interrupt away, the alternate status does not; nIEN hides it and loses nothing", () => {
    const ide = new SpecIde();
    ide.control(0x02);
    ide.issue({ command: 0xe5 });
    ide.settle();
    expect(ide.edges).toEqual([]);
    expect(ide.inBm(BM.BMISX)).toBe(0);
    ide.control(0x00);
    expect(ide.edges).toEqual([14]);
    expect(ide.inBm(BM.BMISX)).toBe(0x04);
    void ide.altStatus;
    expect(ide.lines.get(14)).toBe(true);
    ide.inb(ATA.Status);
    expect(ide.lines.get(14)).toBe(false);
    ide.outBm(0x04, BM.BMISX);
    expect(ide.inBm(BM.BMISX)).toBe(0);
  });

  test("the second channel has its own ports, its own bus master and IRQ 15", () => {
    const ide = new SpecIde([2]);
    ide.chip.write(2, ATA.Device, 1, 0xe0);
    ide.chip.write(2, ATA.Status, 1, 0xe5);
    ide.advance(1e6);
    expect(ide.edges).toEqual([15]);
    expect([ide.inBm(BM.BMISX, 1, 0), ide.inBm(BM.BMISX, 1, 1)]).toEqual([0, 0x04]);
    expect(ide.chip.read(3, ATA_ALT_STATUS, 1)).toBe(0x50);
  });
});

describe("the write cache", () => {
  test("FLUSH CACHE waits until it is empty; SET FEATURES turns it off and on, IDENTIFY says so", () => {
    const ide = new SpecIde([0], { writeCacheEnabled: true });
    const [disk] = ide.disks;
    for (let i = 0; i < 20; i++) {
      ide.dma({ command: 0xca, lba: i * 5000, sectors: 8 }, [{ address: DATA, bytes: 8 * 512 }], false);
    }
    expect(disk!.volatileBytes).toBeGreaterThan(0);
    ide.issue({ command: 0xe7 });
    expect(ide.settle(5000)).toBe(0x50);
    expect(disk!.volatileBytes).toBe(0);
    for (const [features, enabled] of [
      [0x82, 0],
      [0x02, 0x20],
    ] as const) {
      ide.issue({ command: 0xef, features });
      expect(ide.settle()).toBe(0x50);
      expect(word(ide.pioIn({ command: 0xec }).data, 85) & 0x20).toBe(enabled);
    }
  });
});

test("power: STANDBY shows in CHECK POWER MODE, and an access ends it", () => {
  const ide = new SpecIde();
  const mode = (): number => {
    ide.issue({ command: 0xe5 });
    ide.settle();
    return ide.inb(ATA.SectorCount);
  };
  expect(mode()).toBe(0xff);
  ide.issue({ command: 0xe0 });
  ide.settle();
  expect(mode()).toBe(0x00);
  ide.pioIn({ command: 0x20 });
  expect(mode()).toBe(0xff);
});

test("accesses of the wrong width are the driver's error", () => {
  const ide = new SpecIde();
  expect(() => ide.chip.read(0, ATA.Data, 1)).toThrow("driver erred: read of 1 bytes at BAR 0 + 0x0");
  expect(() => ide.chip.write(0, ATA.LbaLow, 2, 0)).toThrow("task file registers are one byte wide");
});

test("whatever is written by one protocol is read back by any other", () => {
  const protocols = fc.constantFrom("pio", "multiple", "dma") as fc.Arbitrary<"pio" | "multiple" | "dma">;
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          lba: fc.nat(131071 - 300),
          sectors: fc.integer({ min: 1, max: 300 }),
          extended: fc.boolean(),
          out: protocols,
          back: protocols,
        }),
        { minLength: 1, maxLength: 4 },
      ),
      (transfers) => {
        const ide = new SpecIde([0], { writeCacheEnabled: true });
        setMultiple(ide, 8);
        transfers.forEach(({ lba, sectors: wanted, extended, out, back }, i) => {
          const sectors = extended ? wanted : Math.min(wanted, 255);
          const data = pattern(sectors * 512, i);
          const opcode = (short: number, long: number): number => (extended ? long : short);
          const base = { lba, sectors, extended };
          const regions: { address: number; bytes: number }[] = [];
          for (let at = 0; at < data.length; at += 0x10000) {
            regions.push({ address: DATA + at, bytes: Math.min(0x10000, data.length - at) });
          }
          if (out === "dma") {
            ide.machine.memory.writeBytes(DATA, data);
            ide.dma({ ...base, command: opcode(0xca, 0x35) }, regions, false);
          } else if (out === "pio") ide.pioOut({ ...base, command: opcode(0x30, 0x34) }, data);
          else ide.pioOut({ ...base, command: opcode(0xc5, 0x39) }, data, 8);
          expect(Buffer.compare(media(ide, lba, sectors), data)).toBe(0);
          let read: Uint8Array;
          if (back === "dma") {
            ide.machine.memory.writeBytes(DATA, new Uint8Array(data.length));
            ide.dma({ ...base, command: opcode(0xc8, 0x25) }, regions, true);
            ide.machine.memory.readBytes(DATA, (read = new Uint8Array(data.length)));
          } else if (back === "pio") read = ide.pioIn({ ...base, command: opcode(0x20, 0x24) }).data;
          else read = ide.pioIn({ ...base, command: opcode(0xc4, 0x29) }, 8).data;
          expect(Buffer.compare(read, data)).toBe(0);
        });
      },
    ),
    { numRuns: 25 },
  );
});
