// Goal: the chip answers as the RTL8139C(L) data sheet says. Method: registers and memory only, and a station that listens.
import { buf as crc32 } from "crc-32";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ISR_BITS, RCR_BITS, RTL, RTL_REGISTERS, RX_STATUS, TSD_BITS } from "./registers.ts";
import { OWN_ADDRESS, PEER_ADDRESS, SpecNic, frameOf } from "./spec-host.ts";

const MINE = RCR_BITS.APM | RCR_BITS.AB | RCR_BITS.WRAP;
const BROADCAST = new Uint8Array(6).fill(0xff);

describe("after power-on", () => {
  test("registers have the data sheet's values, and the address is the EEPROM's", () => {
    const nic = new SpecNic();
    nic.advance(1e6);
    for (const name of ["TSD0", "TSD3", "TCR", "RCR", "IMR", "ISR", "CAPR", "CBR", "CR", "BMSR", "MSR"] as const) {
      const { offset, size, reset } = RTL_REGISTERS[name];
      expect([name, nic.read(offset, size)]).toEqual([name, reset]);
    }
    expect([0, 1, 2, 3, 4, 5].map((i) => nic.read(i, 1))).toEqual([...OWN_ADDRESS]);
    expect(nic.eepromWord(0)).toBe(0x8129);
    expect([7, 8, 9].map((word) => nic.eepromWord(word))).toEqual([0xe000, 0x124c, 0x5634]);
  });

  test("a register can be read byte by byte, and two at once", () => {
    const nic = new SpecNic();
    nic.start(MINE);
    nic.write(0xe07f, RTL.IMR, 2);
    nic.segment.transmit(nic.peer, frameOf(OWN_ADDRESS, 100, 1));
    nic.advance(1e6);
    expect([nic.read(RTL.IMR, 1), nic.read(RTL.IMR + 1, 1)]).toEqual([0x7f, 0xe0]);
    expect([nic.read(RTL.ISR, 1), nic.read(RTL.ISR + 1, 1)]).toEqual([ISR_BITS.ROK, 0]);
    expect(nic.read(RTL.IMR, 4)).toBe(0x0001e07f);
    expect([nic.read(RTL.CBR, 1), nic.read(RTL.CAPR + 1, 1)]).toEqual([108, 0xff]);
  });

  test("the address can be changed only while CR9346 unlocks it", () => {
    const nic = new SpecNic();
    nic.write(0x04030201, RTL.IDR0);
    expect(nic.read(0, 1)).toBe(OWN_ADDRESS[0]);
    nic.write(0xc0, RTL.CR9346, 1);
    nic.write(0x04030202, RTL.IDR0);
    expect(nic.read(0, 4)).toBe(0x04030202);
  });

  test("a register that does not exist is loud", () => {
    const nic = new SpecNic();
    expect(() => nic.write(1, 0x90)).toThrow("not modelled: write of 4 bytes at 0x90");
    expect(() => nic.read(0xf0)).toThrow("not modelled");
  });
});

describe("transmitting", () => {
  test("its configuration can be changed only while the transmitter is on", () => {
    const nic = new SpecNic();
    const { reset } = RTL_REGISTERS.TCR;
    nic.write(0x400, RTL.TCR);
    expect(nic.read(RTL.TCR)).toBe(reset);
    nic.start(MINE);
    nic.write(0x400, RTL.TCR);
    expect(nic.read(RTL.TCR)).toBe((reset & ~0x600) | 0x400);
  });

  test("four descriptors go out in their order, one behind the other, each with TOK and OWN at its last bit", () => {
    const nic = new SpecNic();
    nic.start(MINE);
    const frames = [0, 1, 2, 3].map((i) => frameOf(PEER_ADDRESS, 60 + i * 400, i));
    frames.forEach((frame, i) => nic.send(i, frame));
    expect(nic.read(RTL.TSD0 + 12) & TSD_BITS.OWN).toBe(0);
    nic.advance(1e6);
    expect(nic.heard.map(({ frame }) => Buffer.from(frame).toString("hex"))).toEqual(
      frames.map((frame) => Buffer.from(frame).toString("hex")),
    );
    const gaps = nic.heard.map(({ ns }) => ns).map((ns, i, all) => ns - (all[i - 1] ?? 0));
    for (let i = 1; i < 4; i++) expect(gaps[i]).toBeGreaterThanOrEqual(nic.segment.wireNs(frames[i]!.length));
    for (let i = 0; i < 4; i++) {
      const status = nic.read(RTL.TSD0 + 4 * i);
      expect(status & (TSD_BITS.TOK | TSD_BITS.OWN)).toBe(TSD_BITS.TOK | TSD_BITS.OWN);
      expect(status & TSD_BITS.SIZE).toBe(frames[i]!.length);
    }
    expect(nic.read(RTL.TSAD, 2)).toBe(0xf00f);
    expect(nic.read(RTL.ISR, 2)).toBe(ISR_BITS.TOK);
  });

  test("a frame from memory that is not there is a driver's mistake", () => {
    const nic = new SpecNic();
    nic.start(MINE);
    nic.write(0xfff00000, RTL.TSAD0);
    nic.write(100, RTL.TSD0);
    expect(() => nic.advance(1e6)).toThrow("driver erred: transmit of 100 bytes at 0xfff00000");
  });
});

describe("the link", () => {
  test("a pulled cable is a cause, the PHY's registers tell it, and nothing goes either way until it is back", () => {
    const nic = new SpecNic();
    nic.start(MINE);
    const phy = (): number[] => [nic.read(RTL.MSR, 1) & 4, nic.read(RTL.BMSR, 2) & 0x24, nic.read(RTL.CSCR, 2) & 0xc00];
    expect(phy()).toEqual([0, 0x24, 0x400]);
    nic.chip.linkUp = false;
    expect(nic.read(RTL.ISR, 2)).toBe(ISR_BITS.PUN_LinkChg);
    expect(phy()).toEqual([4, 0, 0x800]);
    nic.write(ISR_BITS.PUN_LinkChg, RTL.ISR, 2);
    expect(phy()).toEqual([4, 0, 0]);
    nic.send(0, frameOf(PEER_ADDRESS, 100, 1));
    nic.segment.transmit(nic.peer, frameOf(OWN_ADDRESS, 100, 1));
    nic.advance(1e6);
    expect([nic.heard, nic.take()]).toEqual([[], undefined]);
    expect(nic.read(RTL.TSD0) & TSD_BITS.TOK).toBe(TSD_BITS.TOK);
    nic.chip.linkUp = true;
    expect(phy()).toEqual([0, 0x24, 0xc00]);
    nic.segment.transmit(nic.peer, frameOf(OWN_ADDRESS, 100, 2));
    nic.advance(1e6);
    expect(nic.take()?.frame).toEqual(frameOf(OWN_ADDRESS, 100, 2));
  });
});

describe("receiving", () => {
  const arrive = (nic: SpecNic, frame: Uint8Array): void => {
    nic.segment.transmit(nic.peer, frame);
    nic.advance(1e6);
  };

  test("a packet lies in the ring behind its status and length, its check sequence behind it, and ROK says so", () => {
    const nic = new SpecNic();
    nic.start(MINE);
    arrive(nic, frameOf(OWN_ADDRESS, 100, 3));
    expect(nic.read(RTL.ISR, 2)).toBe(ISR_BITS.ROK);
    expect(nic.read(RTL.CBR, 2)).toBe(108);
    const packet = nic.take()!;
    expect(packet.status).toBe(RX_STATUS.ROK | RX_STATUS.PAM);
    expect(packet.frame).toEqual(frameOf(OWN_ADDRESS, 100, 3));
    expect(nic.take()).toBeUndefined();
  });

  test("the check sequence is IEEE 802.3's", () => {
    const nic = new SpecNic();
    nic.start(MINE);
    const frame = frameOf(OWN_ADDRESS, 777, 5);
    arrive(nic, frame);
    expect(nic.take()!.crc).toBe(crc32(frame) >>> 0);
  });

  test("lets in what RCR says: own address, broadcasts, multicasts by hash, everything", () => {
    const other = Uint8Array.of(2, 9, 9, 9, 9, 9);
    const group = Uint8Array.of(1, 0, 0x5e, 0, 0, 1);
    const seen = (receive: number): (number | undefined)[] => {
      const nic = new SpecNic();
      nic.start(receive | RCR_BITS.WRAP);
      nic.write(0, RTL.MAR0);
      nic.write(0xffffffff, RTL.MAR0 + 4);
      nic.write(0xffffffff, RTL.MAR0);
      // Straight into the chip: a switch sends what is for others elsewhere.
      return [OWN_ADDRESS, BROADCAST, group, other].map((target) => {
        nic.chip.receive(frameOf(target, 60, 1), nic.machine.events.now);
        nic.advance(1e6);
        return nic.take()?.status;
      });
    };
    const { ROK, PAM, BAR, MAR } = RX_STATUS;
    expect(seen(RCR_BITS.APM)).toEqual([ROK | PAM, undefined, undefined, undefined]);
    expect(seen(RCR_BITS.AB)).toEqual([undefined, ROK | BAR, undefined, undefined]);
    expect(seen(RCR_BITS.AM)).toEqual([undefined, undefined, ROK | MAR, undefined]);
    // In promiscuous mode only broadcasts and multicasts say what they are, unless APM is on, too.
    expect(seen(RCR_BITS.AAP)).toEqual([ROK, ROK | BAR, ROK | MAR, ROK]);
    expect(seen(0)).toEqual([undefined, undefined, undefined, undefined]);
  });

  test("a full ring loses the frame, counts it, and says RXOVW; what is in it stays whole", () => {
    const nic = new SpecNic();
    nic.start(MINE);
    for (let i = 0; i < 8; i++) arrive(nic, frameOf(OWN_ADDRESS, 1000, i));
    arrive(nic, frameOf(OWN_ADDRESS, 1000, 9));
    expect(nic.read(RTL.MPC)).toBe(1);
    expect(nic.read(RTL.ISR, 2) & ISR_BITS.RXOVW).toBe(ISR_BITS.RXOVW);
    for (let i = 0; i < 8; i++) expect(nic.take()!.frame).toEqual(frameOf(OWN_ADDRESS, 1000, i));
    expect(nic.take()).toBeUndefined();
    nic.write(0, RTL.MPC);
    expect(nic.read(RTL.MPC)).toBe(0);
  });

  test("frames that come faster than memory takes them overflow the FIFO, and FOVW says so", () => {
    const nic = new SpecNic();
    nic.start(MINE);
    for (let i = 0; i < 3; i++) nic.chip.receive(frameOf(OWN_ADDRESS, 1000, i), nic.machine.events.now);
    nic.advance(1e6);
    expect(nic.read(RTL.ISR, 2)).toBe(ISR_BITS.FOVW | ISR_BITS.ROK);
    expect([nic.take(), nic.take(), nic.take()].map((packet) => packet?.frame.length)).toEqual([1000, 1000, undefined]);
  });

  test("any train of frames comes out of the ring as it came, however often it goes round", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 60, max: 1514 }), { maxLength: 30 }), fc.nat(2), (sizes, order) => {
        const nic = new SpecNic();
        nic.start(MINE, order);
        sizes.forEach((bytes, i) => {
          arrive(nic, frameOf(OWN_ADDRESS, bytes, i));
          expect(nic.take(8192 << order)!.frame).toEqual(frameOf(OWN_ADDRESS, bytes, i));
        });
      }),
      { numRuns: 30 },
    );
  });

  test("without WRAP a packet goes on at the ring's start", () => {
    const nic = new SpecNic();
    nic.start(RCR_BITS.APM);
    for (let i = 0; i < 7; i++) {
      arrive(nic, frameOf(OWN_ADDRESS, 1100, i));
      nic.take();
    }
    expect(nic.read(RTL.CBR, 2)).toBe(7 * 1108);
    arrive(nic, frameOf(OWN_ADDRESS, 1100, 8));
    const { memory } = nic.machine;
    const wrapped = new Uint8Array(1108 - (8192 - 7 * 1108));
    memory.readBytes(0x100000, wrapped);
    expect(wrapped.subarray(0, 10)).toEqual(frameOf(OWN_ADDRESS, 1100, 8).subarray(432, 442));
    expect(nic.read(RTL.CBR, 2)).toBe(8 * 1108 - 8192);
  });
});

describe("the interrupt line", () => {
  test("is up exactly while a cause that IMR lets through stands in ISR; a one written to it clears it", () => {
    const nic = new SpecNic();
    nic.start(MINE);
    nic.segment.transmit(nic.peer, frameOf(OWN_ADDRESS, 60, 1));
    nic.advance(1e6);
    expect(nic.chip.interruptLine).toBe(false);
    nic.write(ISR_BITS.ROK, RTL.IMR, 2);
    expect(nic.chip.interruptLine).toBe(true);
    nic.write(ISR_BITS.TOK, RTL.ISR, 2);
    expect(nic.chip.interruptLine).toBe(true);
    nic.write(ISR_BITS.ROK, RTL.ISR, 2);
    expect(nic.chip.interruptLine).toBe(false);
  });
});
