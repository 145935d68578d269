import { describe, expect, it } from "vitest";
import { IOCFactsReply, MPIDefaultReply, MPI_FUNCTION_PORT_FACTS, PortFacts, PortFactsReply } from "./messages.ts";
import {
  MPI,
  MPI_DIAG_DISABLE_ARM,
  MPI_DIAG_DRWE,
  MPI_DIAG_RESET_ADAPTER,
  MPI_DIAG_RESET_HISTORY,
  MPI_DOORBELL_ACTIVE,
  MPI_HIS_DOORBELL_INTERRUPT,
  MPI_HIS_IOP_DOORBELL_STATUS,
  MPI_HIS_REPLY_MESSAGE_INTERRUPT,
  MPI_WRSEQ_KEYS,
  MPT_REGISTERS,
} from "./registers.ts";
import { FakeTarget, MS, REPLIES, SpecHost } from "./spec-host.ts";

const portFacts = (host: SpecHost, port: number): DataView =>
  host.handshake(PortFacts.bytes, (m) => {
    m.setUint8(PortFacts.Function, MPI_FUNCTION_PORT_FACTS);
    m.setUint8(PortFacts.PortNumber, port);
    m.setUint32(PortFacts.MsgContext, 0x11223344, true);
  });

describe("the register table", () => {
  it("has the offsets that drivers use by name", () => {
    for (const [name, offset] of Object.entries(MPI)) {
      expect(MPT_REGISTERS[name as keyof typeof MPI].offset).toBe(offset);
    }
  });

  it("is the same window behind the I/O and the memory BAR", () => {
    const { chip } = new SpecHost({ variant: "53c1030" });
    expect(chip.read(0, MPI.Doorbell, 4)).toBe(0x10000000);
    expect(chip.read(1, MPI.Doorbell, 4)).toBe(0x10000000);
  });

  it("answers an unknown register, a narrow access and an unmodelled register loudly", () => {
    const host = new SpecHost({ variant: "53c1030" });
    host.machine.strict = false;
    host.chip.read(1, 0x20, 4);
    host.chip.read(1, MPI.Doorbell, 2);
    host.chip.write(1, MPI.DiagRwData, 4, 0);
    host.chip.read(1, MPI.RequestFifo, 4);
    host.chip.read(2, 0, 4);
    expect(host.machine.complaints.map((line) => line.replace(/:.*BAR/, ": BAR"))).toEqual([
      "driver erred: BAR 1 + 0x20: no such register",
      "driver erred: BAR 1 + 0x0: registers are 32 bits wide",
      "not modelled: BAR 1 + 0x10: DiagRwData",
      "driver erred: BAR 1 + 0x40: RequestFifo does not take a read",
      "not modelled: BAR 2 + 0x0: diagnostic memory",
    ]);
  });

  it("traces register accesses by name, and only when tracing is on", () => {
    const host = new SpecHost({ variant: "53c1030" });
    host.writel(MPI.IntMask, 1);
    host.machine.tracing = true;
    host.readl(MPI.IntStatus);
    expect(host.machine.traces).toEqual(["read IntStatus"]);
  });
});

describe.each(["53c1030", "sas1068"] as const)("bring-up of a %s by registers only", (variant) => {
  it("powers on READY, tells its facts by handshake, and becomes OPERATIONAL with the host as WhoInit", () => {
    const host = new SpecHost({ variant });
    expect(host.readl(MPI.Doorbell)).toBe(0x10000000);

    const facts = host.iocFacts();
    expect(facts.byteLength).toBe(IOCFactsReply.bytes);
    expect(facts.getUint16(IOCFactsReply.MsgVersion, true)).toBe(0x0105);
    expect(facts.getUint16(IOCFactsReply.RequestFrameSize, true)).toBe(0x20);
    expect(facts.getUint16(IOCFactsReply.GlobalCredits, true)).toBe(128);
    expect(facts.getUint16(IOCFactsReply.ReplyQueueDepth, true)).toBe(128);
    expect(facts.getUint16(IOCFactsReply.ProductID, true)).toBe(variant === "53c1030" ? 0x0104 : 0x2102);
    expect(facts.getUint8(IOCFactsReply.MaxChainDepth)).toBe(0x22);
    expect(facts.getUint8(IOCFactsReply.NumberOfPorts)).toBe(1);
    expect(facts.getUint8(IOCFactsReply.EventState)).toBe(0);
    expect(facts.getUint32(IOCFactsReply.HostPageBufferSGE, true)).toBe(0);

    const port = portFacts(host, 0);
    expect(port.getUint32(PortFactsReply.MsgContext, true)).toBe(0x11223344);
    expect(port.getUint8(PortFactsReply.PortType)).toBe(variant === "53c1030" ? 0x01 : 0x30);
    expect(port.getUint16(PortFactsReply.PortSCSIID, true)).toBe(variant === "53c1030" ? 7 : 8);
    expect(port.getUint16(PortFactsReply.ProtocolFlags, true)).toBe(8);

    host.postReplyFrames(16);
    expect(host.iocInit().getUint16(MPIDefaultReply.IOCStatus, true)).toBe(0);
    const before = host.now;
    expect(host.portEnable().getUint16(MPIDefaultReply.IOCStatus, true)).toBe(0);
    expect(host.now - before).toBeGreaterThan(900 * MS);
    expect(host.readl(MPI.Doorbell)).toBe(0x24000000);
    expect(host.iocFacts().getUint8(IOCFactsReply.WhoInit)).toBe(4);
    expect(host.readl(MPI.ReplyFifo)).toBe(0xffffffff);
  });

  it("refuses IOCInit twice, an unknown port and a reply frame too small for any reply", () => {
    const host = new SpecHost({ variant });
    expect(portFacts(host, 1).getUint16(PortFactsReply.IOCStatus, true)).toBe(7);
    const small = host.handshake(0x18, (m) => {
      m.setUint8(0, 4);
      m.setUint8(3, 2);
      m.setUint16(0x0c, 8, true);
    });
    expect(small.getUint16(MPIDefaultReply.IOCStatus, true)).toBe(7);
    expect(host.iocInit().getUint16(MPIDefaultReply.IOCStatus, true)).toBe(0);
    expect(host.iocInit().getUint16(MPIDefaultReply.IOCStatus, true)).toBe(8);
  });
});

describe("the doorbell handshake", () => {
  it("takes each dword in its own time, holds IOP_DOORBELL_STATUS till then, and shows itself active throughout", () => {
    const host = new SpecHost({ variant: "53c1030" });
    host.writel(MPI.Doorbell, 0x42030000);
    expect(host.readl(MPI.IntStatus)).toBe(MPI_HIS_IOP_DOORBELL_STATUS);
    expect(host.readl(MPI.Doorbell) & MPI_DOORBELL_ACTIVE).toBe(0);
    host.advance(3000);
    expect(host.readl(MPI.IntStatus)).toBe(MPI_HIS_DOORBELL_INTERRUPT);
    expect(host.readl(MPI.Doorbell) & MPI_DOORBELL_ACTIVE).not.toBe(0);
    host.writel(MPI.IntStatus, 0xffffffff);
    expect(host.readl(MPI.IntStatus)).toBe(0);
    for (const word of [0x03000000, 0, 0]) {
      host.writel(MPI.Doorbell, word);
      expect(host.readl(MPI.IntStatus)).toBe(MPI_HIS_IOP_DOORBELL_STATUS);
      host.advance(3000);
    }
    const facts = host.receiveByDoorbell();
    expect(facts.getUint8(IOCFactsReply.Function)).toBe(3);
    expect(host.readl(MPI.IntStatus)).toBe(0);
    expect(host.readl(MPI.Doorbell)).toBe(0x10000000);
  });

  it("presents a word as often as it is read, and the next one only after the acknowledgement", () => {
    const host = new SpecHost({ variant: "53c1030" });
    host.sendByDoorbell(new Int32Array([0x03000000, 0, 0]));
    host.waitDoorbellInt();
    const word = host.readl(MPI.Doorbell) & 0xffff;
    host.advance(MS);
    expect(host.readl(MPI.Doorbell) & 0xffff).toBe(word);
    host.writel(MPI.IntStatus, 0);
    host.waitDoorbellInt();
    expect(host.readl(MPI.Doorbell) & 0xffff).toBe(0x0314);
  });

  it("interrupts for each word when the doorbell interrupt is unmasked", () => {
    const host = new SpecHost({ variant: "53c1030" });
    host.writel(MPI.IntMask, 8);
    host.writel(MPI.Doorbell, 0x42030000);
    host.advance(3000);
    expect(host.chip.interruptLine).toBe(true);
    host.writel(MPI.IntStatus, 0);
    expect(host.chip.interruptLine).toBe(false);
  });

  it("complains of a dword written before the one before was taken, and of a word acknowledged unread", () => {
    const host = new SpecHost({ variant: "53c1030" });
    host.machine.strict = false;
    host.sendByDoorbell(new Int32Array([0x03000000, 0, 0]));
    host.waitDoorbellInt();
    host.writel(MPI.IntStatus, 0);
    expect(host.machine.complaints).toEqual(["driver erred: handshake: a reply word was acknowledged but never read"]);
    host.writel(MPI.Doorbell, 0x40000000);
    host.writel(MPI.Doorbell, 0x40000000);
    expect(host.machine.complaints[1]).toMatch(/before the IOC took the value before/);
  });

  it.each([
    ["no dwords", 0x42000000],
    ["more dwords than a frame has", 0x42210000],
  ])("faults on a handshake of %s", (_what, value) => {
    const host = new SpecHost({ variant: "53c1030" });
    host.machine.strict = false;
    host.writel(MPI.Doorbell, value);
    host.advance(3000);
    expect(host.readl(MPI.Doorbell)).toBe(0x40000007);
    expect(host.machine.complaints).toHaveLength(1);
  });

  it("answers a truncated message and an unknown function with a default reply", () => {
    const host = new SpecHost({ variant: "53c1030" });
    host.machine.strict = false;
    const short = host.handshake(8, (m) => m.setUint8(3, 3));
    expect(short.getUint16(MPIDefaultReply.IOCStatus, true)).toBe(7);
    expect(host.machine.complaints).toHaveLength(1);
    const unknown = host.handshake(12, (m) => m.setUint8(3, 0x1b));
    expect([unknown.getUint8(3), unknown.getUint16(MPIDefaultReply.IOCStatus, true)]).toEqual([0x1b, 1]);
  });

  it("is abandoned by a message unit reset, which is acknowledged and ends READY", () => {
    const host = new SpecHost({ variant: "53c1030" });
    host.sendByDoorbell(new Int32Array([0x03000000, 0, 0]));
    host.waitDoorbellInt();
    host.writel(MPI.Doorbell, 0x40000000);
    host.waitDoorbellAck();
    expect(host.state).toBe(0);
    host.waitFor("READY", 15_000, () => host.state === 1);
    expect(host.readl(MPI.Doorbell)).toBe(0x10000000);
    expect(host.iocFacts().byteLength).toBe(IOCFactsReply.bytes);
  });
});

describe("resets", () => {
  const keys = (host: SpecHost, values: readonly number[]): boolean => {
    for (const value of values) host.writel(MPI.WriteSequence, value);
    return (host.readl(MPI.Diagnostic) & MPI_DIAG_DRWE) !== 0;
  };

  it("open the diagnostic register to the five keys in order, of which only the low nibble counts", () => {
    const host = new SpecHost({ variant: "53c1030" });
    expect(keys(host, [0x04, 0x0b, 0x02, 0x0d, 0x07])).toBe(false);
    expect(keys(host, [0xff, ...MPI_WRSEQ_KEYS])).toBe(true);
    expect(keys(host, [0xff])).toBe(false);
    expect(keys(host, [0x14, 0x2b, 0x32, 0x47, 0x5d])).toBe(true);
    expect(keys(host, [0x04])).toBe(false);
    host.machine.strict = false;
    host.writel(MPI.Diagnostic, MPI_DIAG_RESET_ADAPTER);
    host.advance(MS);
    expect([host.state, host.machine.complaints.length]).toEqual([1, 1]);
  });

  it("by the diagnostic register: RESET until READY, self-clearing bits, RESET_HISTORY until the host clears it", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    const target = new FakeTarget(host.machine.events);
    host.chip.attach(0, target);
    keys(host, [0xff, ...MPI_WRSEQ_KEYS]);
    host.writel(MPI.Diagnostic, MPI_DIAG_DRWE | MPI_DIAG_DISABLE_ARM);
    host.advance(MS);
    host.writel(MPI.Diagnostic, MPI_DIAG_DRWE | MPI_DIAG_RESET_ADAPTER | MPI_DIAG_DISABLE_ARM);
    host.advance(MS);
    expect(host.readl(MPI.Doorbell)).toBe(0);
    expect(host.readl(MPI.Diagnostic)).toBe(MPI_DIAG_RESET_ADAPTER | MPI_DIAG_DISABLE_ARM);
    expect(target.resets).toEqual(["bus"]);
    const before = host.now;
    host.waitFor("READY", 60_000, () => host.state === 1, MS);
    expect(host.now - before).toBeGreaterThan(400 * MS);
    expect(host.readl(MPI.Doorbell)).toBe(0x10000000);
    expect(host.readl(MPI.Diagnostic)).toBe(MPI_DIAG_RESET_HISTORY);
    expect(host.readl(MPI.IntMask)).toBe(9);
    expect(keys(host, MPI_WRSEQ_KEYS)).toBe(true);
    host.writel(MPI.Diagnostic, host.readl(MPI.Diagnostic) & ~MPI_DIAG_RESET_HISTORY);
    host.writel(MPI.WriteSequence, 0xff);
    expect(host.readl(MPI.Diagnostic)).toBe(0);
  });

  it("forget reply frames, events and IOCInit; the same bring-up works again", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    host.chip.attach(0, new FakeTarget(host.machine.events));
    host.enableEvents();
    host.next();
    expect(host.iocFacts().getUint8(IOCFactsReply.EventState)).toBe(1);
    host.diagnosticReset();
    const facts = host.iocFacts();
    expect([facts.getUint8(IOCFactsReply.EventState), facts.getUint8(IOCFactsReply.WhoInit)]).toEqual([0, 0]);
    // 128 frames fit again, so none of the old ones is left.
    host.postReplyFrames(128);
    host.iocInit();
    host.portEnable();
    host.postIo(3);
    expect(host.next()).toBe(3);
  });

  it("of the message unit leave targets and the interrupt mask alone, those of the I/O unit reset the bus", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    const target = new FakeTarget(host.machine.events);
    host.chip.attach(0, target);
    const reset = (func: number): void => {
      host.writel(MPI.Doorbell, func << 24);
      host.waitDoorbellAck();
      host.waitFor("READY", 15_000, () => host.state === 1);
    };
    reset(0x40);
    expect([target.resets, host.readl(MPI.IntMask)]).toEqual([[], 1]);
    reset(0x41);
    expect(target.resets).toEqual(["bus"]);
  });

  it("complain of writes to doorbell and FIFOs while the IOC is in RESET", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    host.writel(MPI.Doorbell, 0x40000000);
    host.waitDoorbellAck();
    host.machine.strict = false;
    host.writel(MPI.Doorbell, 0x42030000);
    host.writel(MPI.RequestFifo, 0x10000);
    host.writel(MPI.ReplyFifo, REPLIES);
    expect(host.machine.complaints).toHaveLength(3);
    host.waitFor("READY", 15_000, () => host.state === 1);
    expect(host.readl(MPI.IntStatus)).toBe(0);
  });
});

describe("FAULT", () => {
  it("comes from a request FIFO overflow and is left by a reset only", () => {
    // Firmware that fetches slowly, so that the host can outrun it.
    const host = new SpecHost({ variant: "53c1030", latencies: { requestFetchNs: 100 * MS } }).bringUp();
    host.chip.attach(0, new FakeTarget(host.machine.events));
    for (let i = 0; i < 128; i++) host.postIo(i);
    expect(host.state).toBe(2);
    host.machine.strict = false;
    host.postIo(128);
    expect(host.readl(MPI.Doorbell)).toBe(0x44000006);
    host.advance(1000 * MS);
    expect(host.drain()).toEqual([]);
    host.writel(MPI.Doorbell, 0x42030000);
    host.advance(10 * MS);
    expect(host.readl(MPI.IntStatus) & MPI_HIS_IOP_DOORBELL_STATUS).not.toBe(0);
    host.diagnosticReset();
    expect(host.readl(MPI.Doorbell)).toBe(0x10000000);
  });

  it("comes from one free reply frame too many", () => {
    const host = new SpecHost({ variant: "53c1030" });
    host.postReplyFrames(128);
    expect(host.state).toBe(1);
    host.machine.strict = false;
    host.writel(MPI.ReplyFifo, REPLIES);
    expect(host.readl(MPI.Doorbell)).toBe(0x40000006);
  });

  it("comes from a request before IOCInit", () => {
    const host = new SpecHost({ variant: "53c1030" });
    host.machine.strict = false;
    host.postIo(0);
    host.advance(5000);
    expect(host.readl(MPI.Doorbell)).toBe(0x40000008);
  });

  it("comes from DMA while bus mastering is off", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    host.chip.config.setUint16(0x04, 0x0002, true);
    host.machine.strict = false;
    host.postIo(0);
    host.advance(5000);
    expect(host.state).toBe(4);
    expect(host.machine.complaints).toEqual(["driver erred: request frame: DMA while bus mastering is off"]);
  });

  it("can be injected with any code", () => {
    const host = new SpecHost({ variant: "sas1068" }).bringUp();
    host.chip.injectFault(0x1234);
    expect(host.readl(MPI.Doorbell)).toBe(0x44001234);
  });
});

describe("the interrupt line", () => {
  it("follows IntStatus and IntMask; bit 3 shows a reply even when masked, and falls when the FIFO was read empty", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    host.chip.attach(0, new FakeTarget(host.machine.events));
    host.writel(MPI.IntMask, 0xffffffff);
    host.postIo(5);
    host.advance(MS);
    expect(host.readl(MPI.IntStatus)).toBe(MPI_HIS_REPLY_MESSAGE_INTERRUPT);
    expect(host.chip.interruptLine).toBe(false);
    host.writel(MPI.IntMask, 1);
    expect(host.chip.interruptLine).toBe(true);
    host.writel(MPI.IntStatus, 0);
    expect(host.chip.interruptLine).toBe(true);
    expect(host.readl(MPI.ReplyFifo)).toBe(5);
    expect(host.chip.interruptLine).toBe(true);
    expect(host.readl(MPI.ReplyFifo)).toBe(0xffffffff);
    expect(host.chip.interruptLine).toBe(false);
    expect(host.readl(MPI.IntStatus)).toBe(0);
  });

  it("is raised again by a reply that comes after the draining read", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    host.chip.attach(0, new FakeTarget(host.machine.events));
    host.postIo(1);
    host.advance(30_000);
    host.postIo(2);
    host.waitFor("interrupt", 10, () => host.chip.interruptLine, 1000);
    expect(host.drain()).toEqual([1]);
    expect(host.chip.interruptLine).toBe(false);
    host.waitFor("interrupt", 10, () => host.chip.interruptLine, 1000);
    expect(host.drain()).toEqual([2]);
  });
});
