// Goal: the chip does what a driver of the family relies on, at the level of registers, SCRIPTS and the SCSI bus.
// Method: small programs of our own, run against real disks on the chip's bus; no driver.
import { describe, expect, test } from "vitest";
import { extent10, filled } from "../../emulator/disk/test-initiator.ts";
import { ARBITRATION_NS } from "../../emulator/disk/scsi-bus.ts";
import { MESSAGE, PHASE } from "../../emulator/disk/scsi-phases.ts";
import { SCRIPTS_RUNAWAY_LIMIT } from "./chip-scripts.ts";
import { SYM, SYM_RAM_BAR, SYM_REGISTERS } from "./registers.ts";
import { carrySet, ScriptAssembler, sfbrIs, SCRIPT_ACK, SCRIPT_ATN, unless, when } from "./scripts-assembler.ts";
import { commandScript, DATA, SCRIPT, STOP, SymSpecHost, TABLE } from "./spec-host.ts";

const READ = 0x28;
const WRITE = 0x2a;
const INQUIRY = (bytes: number) => [0x12, 0, 0, 0, bytes, 0];
const TEST_UNIT_READY = [0, 0, 0, 0, 0, 0];

describe("registers", () => {
  test("come up with the manual's values and keep what may be written", () => {
    const host = new SymSpecHost();
    host.writeb(SYM.ISTAT0, 0x40);
    host.writeb(SYM.ISTAT0, 0);
    for (const name of ["SCNTL0", "MACNTL", "CTEST0", "DMODE", "SIEN0", "SXFER"] as const) {
      const { offset, reset } = SYM_REGISTERS[name];
      expect([name, host.readb(offset)]).toEqual([name, reset]);
    }
    host.writel(SYM.SCRATCHA, 0x12345678);
    expect(host.readl(SYM.SCRATCHA)).toBe(0x12345678);
    expect(host.readb(SYM.SCRATCHA + 2)).toBe(0x34);
  });

  test("the readback test of the sym driver sees a chip: DSTAT to SSTAT2 do not become all ones", () => {
    const host = new SymSpecHost();
    host.writel(SYM.DSTAT, 0xffffffff);
    expect(host.readl(SYM.DSTAT) & 0xffffff7f).toBe(SYM_REGISTERS.SSTAT0.reset | (0x02 << 24));
  });

  test("no serial EEPROM answers: its lines stay high", () => {
    const host = new SymSpecHost();
    host.writeb(SYM.GPCNTL, 0x03);
    host.writeb(SYM.GPREG, 0x00);
    expect(host.readb(SYM.GPREG) & 0x03).toBe(0x03);
    host.writeb(SYM.GPCNTL, 0x02);
    expect(host.readb(SYM.GPREG) & 0x03).toBe(0x02);
  });

  test("a register that the older chip lacks is named", () => {
    const host = new SymSpecHost("53c875");
    host.strict = false;
    host.readb(SYM.PMJAD1);
    expect(host.complaints).toEqual(["driver erred: read of 0xc0: the 53c875 has no such register"]);
  });

  test("on-chip RAM is bytes, by the host and by SCRIPTS", () => {
    const host = new SymSpecHost();
    host.chip.write(SYM_RAM_BAR, 0x100, 4, 0xa1b2c3d4);
    const program = new ScriptAssembler()
      .label("start")
      .load(SYM.SCRATCHA, 4, 0xfe010100)
      .register(SYM.SCRATCHA, "add", 1)
      .store(SYM.SCRATCHA, 4, 0xfe010104)
      .interrupt(9);
    expect(host.run(program)).toBe(9);
    expect(host.chip.read(SYM_RAM_BAR, 0x104, 4)).toBe(0xa1b2c3d5);
  });
});

describe("clock", () => {
  /** What a driver does: code 11 of the general purpose timer, in quarters of a millisecond, SCNTL3 0. */
  function quarters(host: SymSpecHost): number {
    host.writeb(SYM.STIME1, 0);
    host.writeb(SYM.SCNTL3, 0);
    host.readw(SYM.SIST0);
    host.writeb(SYM.STIME1, 11);
    let count = 0;
    while ((host.readw(SYM.SIST0) & 0x0200) === 0 && count++ < 100_000) host.wait(250_000);
    return count;
  }

  test("the general purpose timer shows a 40 MHz clock, and 80 MHz with the doubler on", () => {
    const host = new SymSpecHost("53c875");
    const khz = () => (2 ** 11 * 4340 * 4) / quarters(host);
    expect(khz()).toBeGreaterThan(39_000);
    expect(khz()).toBeLessThan(41_000);
    host.writeb(SYM.STEST1, 0x08);
    host.wait(200_000);
    host.writeb(SYM.STEST1, 0x0c);
    expect(khz()).toBeGreaterThan(78_000);
    expect(khz()).toBeLessThan(82_000);
  });

  test("the quadrupler of the 53C895A says when it has locked", () => {
    const host = new SymSpecHost();
    host.writeb(SYM.STEST1, 0x08);
    expect(host.readb(SYM.STEST4) & 0x20).toBe(0);
    host.wait(400_000);
    expect(host.readb(SYM.STEST4)).toBe(0xe0);
  });
});

describe("SCRIPTS", () => {
  test("a register write starts nothing by itself: the first instruction comes later", () => {
    const host = new SymSpecHost();
    host.memory.write32(SCRIPT, 0x98080000);
    host.chip.write(1, SYM.DSP, 4, SCRIPT);
    expect(host.chip.interruptLine).toBe(false);
    expect(host.chip.read(1, SYM.DSP, 4)).toBe(SCRIPT);
    expect(host.chip.read(1, SYM.ISTAT1, 1) & 0x02).toBe(0x02);
    expect(host.runToInterrupt()).toBe(true);
    expect(host.readl(SYM.DSP)).toBe(SCRIPT + 8);
    expect(host.readb(SYM.DSTAT)).toBe(0x84);
    expect(host.readb(SYM.ISTAT1) & 0x02).toBe(0);
  });

  test("the self test of the sym driver passes: memory to register and back, and DSP behind the interrupt", () => {
    const host = new SymSpecHost();
    host.memory.write32(TABLE + 0x40, 1);
    host.writeb(SYM.CTEST4, 0x08);
    host.writel(SYM.TEMP, 2);
    const program = new ScriptAssembler()
      .label("start")
      .loadTable(SYM.SCRATCHA, 4, 0x40)
      .storeTable(SYM.TEMP, 4, 0x40)
      .loadTable(SYM.TEMP, 4, 0x40)
      .interrupt(99);
    expect(host.run(program)).toBe(99);
    expect(host.readl(SYM.DSP)).toBe(SCRIPT + 32);
    expect([host.memory.read32(TABLE + 0x40), host.readl(SYM.SCRATCHA), host.readl(SYM.TEMP)]).toEqual([2, 1, 2]);
    expect(host.readb(SYM.DSTAT) & 0x61).toBe(0);
  });

  test("arithmetic carries: 32-bit addition, shifts, masks", () => {
    const host = new SymSpecHost();
    host.writel(SYM.SCRATCHA, 0x00fffff0);
    host.writel(SYM.SCRATCHB, 0x81);
    const program = new ScriptAssembler()
      .label("start")
      .register(SYM.SCRATCHA, "add", 0x20)
      .register(SYM.SCRATCHA + 1, "addc", 0)
      .register(SYM.SCRATCHA + 2, "addc", 0)
      .register(SYM.SCRATCHA + 3, "addc", 0)
      .clear(0x400)
      .register(SYM.SCRATCHB, "shl", 0)
      .interrupt(1, carrySet)
      .interrupt(2);
    expect(host.run(program)).toBe(1);
    expect(host.readl(SYM.SCRATCHA)).toBe(0x01000010);
    expect(host.readl(SYM.SCRATCHB)).toBe(0x02);
  });

  test("SFBR comparisons ignore the masked bits", () => {
    const host = new SymSpecHost();
    host.writeb(SYM.SCRATCHA, 0xa5);
    const program = new ScriptAssembler()
      .label("start")
      .toSfbr(SYM.SCRATCHA)
      .interrupt(1, sfbrIs(0x05, 0xff))
      .interrupt(2, unless(sfbrIs(0x05, 0x0f)))
      .interrupt(3, sfbrIs(0xa0, 0xf0));
    expect(host.run(program)).toBe(3);
  });

  test("CALL and RETURN go by TEMP; a relative jump counts from the next instruction", () => {
    const host = new SymSpecHost();
    const program = new ScriptAssembler().label("start").call("sub").interrupt(7).label("sub").return();
    expect(host.run(program)).toBe(7);
    host.readb(SYM.DSTAT);
    host.memory.write32(SCRIPT, 0x80880000);
    host.memory.write32(SCRIPT + 4, 8);
    for (const [at, code] of [
      [8, 1],
      [16, 2],
    ] as const) {
      host.memory.write32(SCRIPT + at, 0x98080000);
      host.memory.write32(SCRIPT + at + 4, code);
    }
    host.writel(SYM.DSP, SCRIPT);
    host.runToInterrupt();
    expect(host.readl(SYM.DSPS)).toBe(2);
  });

  test("a memory move copies between host, on-chip RAM and registers", () => {
    const host = new SymSpecHost();
    host.memory.writeBytes(DATA + 1, Uint8Array.from([1, 2, 3, 4, 5, 6, 7]));
    const program = new ScriptAssembler()
      .label("start")
      .memoryMove(7, DATA + 1, 0xfe010201)
      .memoryMove(4, 0xfe010204, 0xfe000000 + SYM.SCRATCHA)
      .interrupt(5);
    expect(host.run(program)).toBe(5);
    expect(host.readl(SYM.SCRATCHA)).toBe(0x07060504);
  });

  test.each([
    ["a LOAD that crosses a dword", 0xe1350004, /crosses a dword/],
    ["a block move of nothing", 0x08000000, /block move of 0 bytes/],
  ])("%s is an illegal instruction, and the driver's mistake", (_what, word, message) => {
    const host = new SymSpecHost();
    host.strict = false;
    host.memory.write32(SCRIPT, word);
    host.writel(SYM.DSP, SCRIPT);
    expect(host.runToInterrupt()).toBe(true);
    expect(host.readb(SYM.DSTAT) & 0x01).toBe(0x01);
    expect(host.complaints[0]).toMatch(message);
  });

  test("an access beyond memory ends in a bus fault", () => {
    const host = new SymSpecHost();
    host.strict = false;
    host.start(new ScriptAssembler().label("start").load(SYM.SCRATCHA, 4, 0xf0000000).interrupt(1));
    host.runToInterrupt();
    expect(host.readb(SYM.DSTAT) & 0x20).toBe(0x20);
    expect(host.complaints[0]).toMatch(/beyond memory: 0xf0000000/);
  });

  test("a loop without an end is stopped and named", () => {
    const host = new SymSpecHost();
    host.strict = false;
    host.start(new ScriptAssembler().label("start").jump("start"));
    expect(host.runToInterrupt(10_000_000)).toBe(true);
    expect(host.complaints[0]).toContain(`SCRIPTS run away: ${SCRIPTS_RUNAWAY_LIMIT} instructions`);
    expect(host.complaints[0]).toContain("SCRIPTS_RUNAWAY_LIMIT");
  });

  test("instructions take time", () => {
    const host = new SymSpecHost();
    const program = new ScriptAssembler().label("start");
    for (let i = 0; i < 100; i++) program.register(SYM.SCRATCHA, "add", 1);
    const before = host.events.now;
    host.run(program.interrupt(1));
    expect(host.events.now - before).toBeGreaterThan(100 * 300);
  });

  test("INT on the fly tells the host and goes on", () => {
    const host = new SymSpecHost();
    host.start(new ScriptAssembler().label("start").interruptOnTheFly().waitReselect("start"));
    host.runToInterrupt();
    expect(host.readb(SYM.ISTAT0)).toBe(0x04);
    host.writeb(SYM.ISTAT0, 0x04);
    expect(host.chip.interruptLine).toBe(false);
    expect(host.readb(SYM.ISTAT1) & 0x02).toBe(0x02);
  });

  test("SIGP ends a wait for reselection, and CTEST2 takes it back", () => {
    const host = new SymSpecHost();
    const program = new ScriptAssembler()
      .label("start")
      .waitReselect("signalled")
      .interrupt(1)
      .label("signalled")
      .toSfbr(SYM.CTEST2)
      .interrupt(2, sfbrIs(0x40, 0x40))
      .interrupt(3);
    host.start(program);
    host.wait(1e6);
    host.writeb(SYM.ISTAT0, 0x20);
    expect(host.runToInterrupt()).toBe(true);
    expect(host.readl(SYM.DSPS)).toBe(2);
    expect(host.readb(SYM.ISTAT0) & 0x20).toBe(0);
  });

  test("ABRT stops a program that runs", () => {
    const host = new SymSpecHost();
    host.start(new ScriptAssembler().label("start").jump("start"));
    host.wait(10_000);
    host.writeb(SYM.ISTAT0, 0x80);
    host.runToInterrupt();
    expect(host.readb(SYM.DSTAT) & 0x10).toBe(0x10);
  });
});

describe("the SCSI bus", () => {
  test("a bus reset is seen on the lines, interrupts once, and gives the disks a unit attention", () => {
    const host = new SymSpecHost();
    host.writeb(SYM.SCNTL1, 0x08);
    host.wait(200_000);
    expect(host.readb(SYM.SSTAT0) & 0x02).toBe(0x02);
    expect([host.readb(SYM.SBCL), host.readb(SYM.SBDL), host.readb(SYM.SBDL + 1)]).toEqual([0, 0, 0]);
    host.writeb(SYM.SCNTL1, 0);
    expect(host.readb(SYM.SSTAT0) & 0x02).toBe(0);
    expect(host.readw(SYM.SIST0)).toBe(0x0002);
    expect(host.readw(SYM.SIST0)).toBe(0);
    expect(host.command(TEST_UNIT_READY).status).toBe(0x02);
    expect(host.command(TEST_UNIT_READY).status).toBe(0);
  });

  test("nobody at the id: a selection timeout after a quarter of a second, DSP behind the instruction that waits", () => {
    const host = new SymSpecHost();
    const outcome = host.command(TEST_UNIT_READY, { id: 5 });
    expect(outcome.sist).toBe(0x0400);
    expect(outcome.tookNs).toBeGreaterThan(200e6);
    expect(outcome.tookNs).toBeLessThan(300e6);
    expect(host.command(TEST_UNIT_READY).code).toBe(STOP.complete);
  });

  test("INQUIRY without the right to disconnect: one connection, the short answer ends in a phase mismatch jump", () => {
    const host = new SymSpecHost();
    const outcome = host.command(INQUIRY(255), { bytes: 255, message: [0x80] });
    expect(outcome).toMatchObject({ code: STOP.complete, status: 0, disconnects: 0 });
    expect(outcome.data.length).toBe(96);
    expect(String.fromCharCode(...outcome.data.subarray(8, 15))).toBe("DUMPLAB");
  });

  test("data goes out and comes back, with a disconnection for each command that needs the arm", () => {
    const host = new SymSpecHost();
    const bytes = filled(16, 0x5a);
    expect(host.command(extent10(WRITE, 64, 16, 0x08), { out: bytes })).toMatchObject({
      ...{ code: STOP.complete, status: 0, disconnects: 1, savedPointers: 1 },
    });
    expect(host.command(extent10(WRITE, 64, 16), { out: bytes })).toMatchObject({
      ...{ code: STOP.complete, status: 0, disconnects: 0, savedPointers: 0 },
    });
    host.memory.writeBytes(DATA, new Uint8Array(8192));
    const read = host.command(extent10(READ, 64, 16), { bytes: 8192, message: [0xc0, 0x20, 0x11] });
    expect(read).toMatchObject({ code: STOP.complete, status: 0, disconnects: 1 });
    expect(read.data).toEqual(bytes);
    const onDisk = new Uint8Array(8192);
    host.disks.get(0)!.media.store.read(64 * 512, onDisk);
    expect(onDisk).toEqual(bytes);
  });

  test("a long transfer gives the bus away in the middle, and goes on where the saved pointer is", () => {
    const host = new SymSpecHost();
    const bytes = new Uint8Array(256 * 1024).map((_, i) => (i * 7 + (i >> 9)) & 0xff);
    const written = host.command(extent10(WRITE, 7, 512), { out: bytes });
    expect(written).toMatchObject({ code: STOP.complete, status: 0, disconnects: 4, savedPointers: 4 });
    host.memory.writeBytes(DATA, new Uint8Array(bytes.length));
    const read = host.command(extent10(READ, 7, 512), { bytes: bytes.length });
    expect(read).toMatchObject({ code: STOP.complete, disconnects: 4 });
    expect(Buffer.compare(read.data, bytes)).toBe(0);
  });

  test("a write that the disk refuses has no data phase, and REQUEST SENSE tells why", () => {
    const host = new SymSpecHost();
    const refused = host.command(extent10(WRITE, 64 * 2048, 1), { out: filled(1, 1) });
    expect(refused).toMatchObject({ code: STOP.complete, status: 2 });
    expect(refused.data.length).toBe(0);
    const sense = host.command([3, 0, 0, 0, 18, 0], { bytes: 18 }).data;
    expect([sense[2], sense[12], sense[13]]).toEqual([0x05, 0x21, 0x00]);
    // It is told once.
    expect(host.command([3, 0, 0, 0, 18, 0], { bytes: 18 }).data[2]).toBe(0);
  });

  test("wide and synchronous transfers are agreed on, and are faster", () => {
    const host = new SymSpecHost();
    const bytes = 60 * 1024;
    host.command(extent10(READ, 0, 120), { bytes });
    const slow = host.command(extent10(READ, 0, 120), { bytes, message: [0x80] });
    expect(host.command(TEST_UNIT_READY, { message: [0xc0, 1, 2, 3, 1] }).code).toBe(STOP.message);
    const { agreement } = host.targets.get(0)!;
    expect(agreement).toMatchObject({ width: 1, offset: 0 });
    host.writeb(SYM.ISTAT0, 0x40);
    host.writeb(SYM.ISTAT0, 0);
    host.setUp();
    host.writeb(SYM.SCNTL1, 8);
    host.writeb(SYM.SCNTL1, 0);
    host.wait(1000);
    host.readw(SYM.SIST0);
    host.command(TEST_UNIT_READY);
    expect(agreement).toMatchObject({ width: 0, offset: 0 });
    // PPR: 25 ns, offset 31, wide.
    expect(host.command(TEST_UNIT_READY, { message: [0xc0, 1, 6, 4, 0x09, 0, 62, 1, 0] }).code).toBe(STOP.message);
    expect(agreement).toMatchObject({ width: 1, offset: 31, period: 0x0a });
    const fast = new SymSpecHost();
    fast.targets.get(0)!.agreement.negotiate([1, 6, 4, 0x0a, 0, 31, 1, 0]);
    fast.command(extent10(READ, 0, 120), { bytes, scntl3: 0x0b, sxfer: 31 });
    const quick = fast.command(extent10(READ, 0, 120), { bytes, message: [0x80], scntl3: 0x0b, sxfer: 31 });
    expect(quick.tookNs).toBeLessThan(slow.tookNs / 3);
  });

  test("a chip that is not set to what its target has agreed to is the driver's mistake", () => {
    const host = new SymSpecHost();
    host.strict = false;
    host.targets.get(0)!.agreement.negotiate([1, 2, 3, 1]);
    host.command(INQUIRY(36), { bytes: 36 });
    expect(host.complaints[0]).toMatch(/the chip is set to 8 bits, offset 0; the target to 16 bits, offset 0/);
  });

  test("an odd count over a wide bus leaves its pad byte in SWIDE and says IGNORE WIDE RESIDUE", () => {
    const host = new SymSpecHost();
    host.targets.get(0)!.agreement.negotiate([1, 2, 3, 1]);
    const outcome = host.command(INQUIRY(37), { bytes: 37, message: [0x80], scntl3: 0x0b });
    expect(outcome.code).toBe(STOP.message);
    expect(outcome.data.length).toBe(37);
    expect(host.memory.read8(TABLE + 0x100)).toBe(MESSAGE.ignoreWideResidue);
    expect(host.readb(SYM.SCNTL2) & 0x01).toBe(0x01);
  });

  test("ABORT TAG takes a disconnected command back: the target never returns with it", () => {
    const host = new SymSpecHost("53c895a", [0], { timing: { commandOverheadNs: 5e6 } });
    host.prepare(0, extent10(READ, 99, 1), [0xc0, 0x20, 3]);
    host.start(commandScript(false));
    host.wait(1e6);
    expect(host.disks.get(0)!.outstanding).toBe(1);
    host.memory.writeBytes(TABLE + 0x200, Uint8Array.from([0xc0, 0x20, 3, MESSAGE.abortTag]));
    host.memory.write32(TABLE + 8, 4);
    const abort = new ScriptAssembler()
      .label("start")
      .selectTable(0, "start")
      .interrupt(1, unless(when(PHASE.messageOut)))
      .register(SYM.SCNTL2, "and", 0x7f)
      .moveTable(PHASE.messageOut, 8)
      .clear(SCRIPT_ACK | SCRIPT_ATN)
      .waitDisconnect()
      .interrupt(2);
    expect(host.run(abort)).toBe(2);
    host.readb(SYM.DSTAT);
    expect(host.disks.get(0)!.outstanding).toBe(0);
    host.wait(20e6);
    expect(host.chip.bus.reselecting).toBe(false);
  });

  test("a target that goes to bus free unasked is an unexpected disconnect", () => {
    const host = new SymSpecHost();
    const outcome = host.command(TEST_UNIT_READY, { message: [0xc0, MESSAGE.abort] });
    expect(outcome.sist).toBe(0x0004);
  });

  /** A chip whose SCRIPTS stand still while target 0 waits to come back. */
  const wanted = (): SymSpecHost => {
    const host = new SymSpecHost("53c895a", [0, 1]);
    host.prepare(0, extent10(READ, 99, 1), [0xc0]);
    host.start(commandScript(false));
    // The program waits for the reselection no more: it is stopped before the target comes back.
    host.wait(100_000);
    host.writeb(SYM.ISTAT0, 0x80);
    host.writeb(SYM.ISTAT0, 0x00);
    expect(host.readb(SYM.DSTAT) & 0x10).toBe(0x10);
    host.wait(50e6);
    expect(host.chip.bus.reselecting).toBe(true);
    host.prepare(1, TEST_UNIT_READY, [0xc0]);
    return host;
  };

  test("a target that wants the bus first wins: the selection takes its other way", () => {
    const program = new ScriptAssembler()
      .label("start")
      .selectTable(0, "taken")
      .interrupt(1)
      .label("taken")
      .toSfbr(SYM.SSID)
      .interrupt(2, sfbrIs(0x80))
      .interrupt(3);
    expect(wanted().run(program)).toBe(2);
  });

  test("of a selection and a target that wants the bus at about the same time, the one that began first wins", () => {
    const program = new ScriptAssembler().label("start");
    // SCRIPTS are ahead of the calendar when they come to the selection.
    for (let i = 0; i < 20; i++) program.register(SYM.SCRATCHA, "and", 0x7f);
    program.selectTable(0, "taken").interrupt(1).label("taken").interrupt(2);
    /** Target 0 is on its way to wanting the bus; SCRIPTS stand still. */
    const onItsWay = (): SymSpecHost => {
      const host = new SymSpecHost("53c895a", [0, 1]);
      host.prepare(0, extent10(READ, 99, 1), [0xc0]);
      host.start(commandScript(false));
      host.wait(100_000);
      host.writeb(SYM.ISTAT0, 0x80);
      host.writeb(SYM.ISTAT0, 0x00);
      host.readb(SYM.DSTAT);
      host.prepare(1, TEST_UNIT_READY, [0xc0]);
      return host;
    };
    const scout = onItsWay();
    while (!scout.chip.bus.reselecting) scout.events.fireNext();
    const wantsAt = scout.events.now;
    // How long after its start the program arbitrates, when nobody else wants the bus.
    const alone = onItsWay();
    const startedAt = alone.events.now;
    let selectedAt = 0;
    alone.tracing = true;
    alone.trace = (_device, what) => void (what === "select" ? (selectedAt = alone.events.now) : 0);
    expect(alone.run(program)).toBe(1);
    const arbitratesAfter = selectedAt - ARBITRATION_NS - startedAt;
    expect(arbitratesAfter).toBeGreaterThan(0);
    for (let lead = -4000; lead <= 4000; lead += 100) {
      const host = onItsWay();
      host.wait(wantsAt - arbitratesAfter - lead - host.events.now);
      expect([lead, host.run(program)]).toEqual([lead, lead >= 0 ? 1 : 2]);
    }
  });

  test("a WAIT RESELECT after a selection that was lost to a target finds itself reselected, SIGP or not", () => {
    const host = wanted();
    const program = new ScriptAssembler()
      .label("start")
      .selectTable(0, "taken")
      .interrupt(1)
      .label("taken")
      .waitReselect("signalled")
      .interrupt(2)
      .label("signalled")
      .interrupt(3);
    host.writeb(SYM.ISTAT0, 0x20);
    expect(host.run(program)).toBe(2);
  });

  test("a second condition waits behind the first one until that is read", () => {
    const host = new SymSpecHost();
    host.command(TEST_UNIT_READY, { id: 5 });
    host.writeb(SYM.SIEN1, 0);
    host.start(commandScript(false));
    host.prepare(5, TEST_UNIT_READY, [0xc0]);
    host.wait(400e6);
    host.writeb(SYM.SCNTL1, 0x08);
    host.wait(1000);
    expect(host.readw(SYM.SIST0)).toBe(0x0400);
    expect(host.readw(SYM.SIST0)).toBe(0x0002);
    expect(host.readb(SYM.ISTAT0) & 0x03).toBe(0);
  });

  test("the 53C875 interrupts at a phase mismatch and leaves the count in DBC, with empty FIFOs", () => {
    const host = new SymSpecHost("53c875");
    host.strict = false;
    const outcome = host.command(INQUIRY(255), { bytes: 255, message: [0x80] });
    expect(outcome.sist).toBe(0x0080);
    expect(host.readl(SYM.DBC) & 0xffffff).toBe(255 - 96);
    host.writeb(SYM.CTEST5, 0x00);
    expect((host.readb(SYM.DFIFO) - (host.readl(SYM.DBC) & 0x7f)) & 0x7f).toBe(0);
    expect(host.readl(SYM.DNAD)).toBe(DATA + 96);
  });
});
