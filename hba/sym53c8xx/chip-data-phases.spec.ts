// Goal: a 53C1010 moves data in DT data phases, as an Ultra160 disk has them, and a chip that is not set to them is found out.
// Method: the chip specs' SCRIPTS, which know DATA OUT and DATA IN only, as Linux's do; and some that name the DT phases.
import { describe, expect, test } from "vitest";
import { PHASE } from "../../emulator/disk/scsi-phases.ts";
import { extent10 } from "../../emulator/disk/test-initiator.ts";
import { CCNTL0_ENPMJ, SIST_MA, SIST_STO, STEST1_DBLEN, SYM } from "./registers.ts";
import { ifPhase, ScriptAssembler, unless, when } from "./scripts-assembler.ts";
import { DATA, STOP, SymSpecHost, TABLE } from "./spec-host.ts";

const READ = 0x28;
const WRITE = 0x2a;
const INQUIRY = (bytes: number) => [0x12, 0, 0, 0, bytes, 0];
/** PPR: 12.5 ns, offset 31, wide, DT; and the same for single transitions. */
const PPR_DT = [1, 6, 4, 0x09, 0, 31, 1, 2];
const PPR_ST = [1, 6, 4, 0x0a, 0, 31, 1, 0];
/** Wide with the fastest divisor, as a driver sets a 53C1010; SCNTL4.U3EN. */
const ULTRA160 = { scntl3: 0x18, sxfer: 31, scntl4: 0x80 };
const ULTRA2 = { ...ULTRA160, scntl4: 0 };
const KEEP_BUS = [0x80];

const agreed = (message: readonly number[]): SymSpecHost => {
  const host = new SymSpecHost("53c1010");
  host.targets.get(0)!.agreement.negotiate(message);
  return host;
};
const pattern = (bytes: number): Uint8Array => new Uint8Array(bytes).map((_, i) => (i * 11 + (i >> 8)) & 0xff);

describe("registers of the 53C1010", () => {
  test("SCNTL4, the AIP and CRC registers are there and keep what is written; the FIFO's byte count is 0", () => {
    const host = new SymSpecHost("53c1010");
    for (const at of [SYM.SCNTL4, SYM.AIPCNTL0, SYM.AIPCNTL1, SYM.CRCCNTL0, SYM.CRCCNTL1]) {
      host.writeb(at, 0x88);
      expect([at, host.readb(at)]).toEqual([at, 0x88]);
    }
    host.writel(SYM.CRCDATA, 0x12345678);
    expect([host.readl(SYM.CRCDATA), host.readw(SYM.DFBC)]).toEqual([0x12345678, 0]);
    host.writeb(SYM.ISTAT0, 0x40);
    host.writeb(SYM.ISTAT0, 0);
    expect(host.readb(SYM.SCNTL4)).toBe(0);
  });

  test.each(["53c895a", "53c875"] as const)("a %s has none of them", (variant) => {
    const host = new SymSpecHost(variant);
    host.strict = false;
    for (const at of [SYM.SCNTL4, SYM.AIPCNTL0, SYM.AIPCNTL1, SYM.CRCPAD, SYM.DFBC]) host.readb(at);
    expect(host.complaints).toHaveLength(5);
  });

  test("the selection timeout does not follow SCNTL3, whose divisor for it is reserved", () => {
    const host = new SymSpecHost("53c1010");
    const outcome = host.command([0, 0, 0, 0, 0, 0], { id: 5, scntl3: 0 });
    expect(outcome.sist).toBe(SIST_STO);
    expect(Math.round(outcome.tookNs / 1e6)).toBe(256);
  });

  test("the bus mode is LVD, and STEST4 does not tell when the quadrupler has locked", () => {
    const host = new SymSpecHost("53c1010");
    host.writeb(SYM.STEST1, STEST1_DBLEN);
    host.wait(400_000);
    expect(host.readb(SYM.STEST4)).toBe(0xc0);
  });
});

describe("DT data phases", () => {
  test("data goes out and comes back, also when the bus is given away in the middle", () => {
    const host = agreed(PPR_DT);
    const bytes = pattern(256 * 1024);
    const written = host.command(extent10(WRITE, 7, 512), { out: bytes, ...ULTRA160 });
    expect(written).toMatchObject({ code: STOP.complete, status: 0, disconnects: 4, savedPointers: 4 });
    const onDisk = new Uint8Array(bytes.length);
    host.disks.get(0)!.media.store.read(7 * 512, onDisk);
    expect(Buffer.compare(onDisk, bytes)).toBe(0);
    host.memory.writeBytes(DATA, new Uint8Array(bytes.length));
    const read = host.command(extent10(READ, 7, 512), { bytes: bytes.length, ...ULTRA160 });
    expect(read).toMatchObject({ code: STOP.complete, disconnects: 4 });
    expect(Buffer.compare(read.data, bytes)).toBe(0);
  });

  test("160 MB/s are half the time of Ultra2's 80", () => {
    const bytes = 60 * 1024;
    const [slow, fast] = (
      [
        [PPR_ST, ULTRA2],
        [PPR_DT, ULTRA160],
      ] as const
    ).map(([message, registers]) => {
      const host = agreed(message);
      host.command(extent10(READ, 0, 120), { bytes, message: KEEP_BUS, ...registers });
      return host.command(extent10(READ, 0, 120), { bytes, message: KEEP_BUS, ...registers }).tookNs;
    });
    expect(slow! - fast!).toBe(bytes * 6.25);
  });

  test.each([
    ["SCNTL4 without U3EN", PPR_DT, ULTRA2, /DT data phase with target 0: the chip is not set to it/],
    [
      "U3EN for a target that has agreed to ST",
      PPR_ST,
      ULTRA160,
      /set to 16 bits, offset 31, DT; the target to 16 bits, offset 31$/,
    ],
    [
      "another offset",
      PPR_DT,
      { ...ULTRA160, sxfer: 62 },
      /set to 16 bits, offset 62, DT; the target to 16 bits, offset 31, DT/,
    ],
    ["a narrow bus", PPR_DT, { ...ULTRA160, scntl3: 0x10 }, /set to 8 bits, offset 31, DT; the target to 16 bits/],
  ])("%s is the driver's mistake", (_what, message, registers, complaint) => {
    const host = agreed(message);
    host.strict = false;
    host.command(INQUIRY(36), { bytes: 36, message: KEEP_BUS, ...registers });
    expect(host.complaints[0]).toMatch(complaint);
  });

  test("U3EN in a chip without SCNTL4 is nothing: a target's DT data phase is none of its own", () => {
    const host = new SymSpecHost("53c895a");
    host.strict = false;
    host.targets.get(0)!.agreement.negotiate(PPR_DT);
    expect(host.command(INQUIRY(36), { bytes: 36, ...ULTRA160 }).code).toBe(STOP.phase);
    expect(host.complaints[0]).toMatch(/DT data phase with target 0/);
  });

  test("a short answer ends in the phase mismatch jump, with RBC and UA", () => {
    const host = agreed(PPR_DT);
    const outcome = host.command(INQUIRY(255), { bytes: 255, message: KEEP_BUS, ...ULTRA160 });
    expect(outcome).toMatchObject({ code: STOP.complete, status: 0 });
    expect(outcome.data.length).toBe(96);
    expect(host.readl(SYM.RBC) & 0xffffff).toBe(255 - 96);
    expect(host.readl(SYM.UA)).toBe(DATA + 96);
  });

  /** INQUIRY with a data move of `phase`, without phase mismatch jumps. Returns DSPS, or 0 when SIST stopped it. */
  function inquiry(host: SymSpecHost, bytes: number, program: (a: ScriptAssembler) => void): number {
    host.prepare(0, INQUIRY(bytes), KEEP_BUS, ULTRA160.scntl3, ULTRA160.sxfer, ULTRA160.scntl4);
    host.writeb(SYM.CCNTL0, 0);
    expect(host.readb(SYM.CCNTL0) & CCNTL0_ENPMJ).toBe(0);
    const a = new ScriptAssembler()
      .label("start")
      .selectTable(0, "start")
      .interrupt(99, unless(when(PHASE.messageOut)))
      .moveTable(PHASE.messageOut, 8)
      .interrupt(98, unless(when(PHASE.command)))
      .moveTable(PHASE.command, 16);
    program(a);
    host.start(a);
    expect(host.runToInterrupt()).toBe(true);
    return (host.readb(SYM.ISTAT0) & 0x01) !== 0 ? host.readl(SYM.DSPS) : 0;
  }

  test("without the jump: an interrupt, and DCMD shows the DT phase of a move that says DATA IN", () => {
    const host = agreed(PPR_DT);
    expect(inquiry(host, 255, (a) => a.chainedMove(PHASE.dataIn, 200, DATA))).toBe(0);
    expect(host.readw(SYM.SIST0)).toBe(SIST_MA);
    expect(host.readl(SYM.DBC)).toBe((PHASE.dtDataIn << 24) | (200 - 96));
    expect(host.readl(SYM.DNAD)).toBe(DATA + 96);
  });

  test("phase tests: DATA IN means either, DT DATA IN only the one, and neither the other way", () => {
    const host = agreed(PPR_DT);
    const asked = inquiry(host, 96, (a) =>
      a
        .interrupt(1, unless(when(PHASE.dataIn)))
        .interrupt(2, unless(ifPhase(PHASE.dtDataIn)))
        .interrupt(3, ifPhase(PHASE.dataOut))
        .interrupt(4, ifPhase(PHASE.dtDataOut))
        .chainedMove(PHASE.dtDataIn, 96, DATA)
        .interrupt(5, unless(when(PHASE.status)))
        .interrupt(6),
    );
    expect(asked).toBe(6);
    expect(host.memory.read8(DATA + 8)).toBe("D".charCodeAt(0));
    expect(host.readb(SYM.SSTAT1) & 7).toBe(PHASE.status);
    const single = agreed(PPR_ST);
    single.strict = false;
    expect(inquiry(single, 96, (a) => a.interrupt(1, when(PHASE.dtDataIn)).interrupt(2))).toBe(2);
  });

  test("direct selection leaves SCNTL4 alone, selection by table loads it", () => {
    const host = agreed(PPR_DT);
    host.command(INQUIRY(36), { bytes: 36, ...ULTRA160 });
    expect(host.readb(SYM.SCNTL4)).toBe(0x80);
    host.memory.write32(TABLE, 0);
    host.run(new ScriptAssembler().label("start").select(0, "start").interrupt(1));
    expect(host.readb(SYM.SCNTL4)).toBe(0x80);
  });
});
