// Goal: a disk behind a SCSI bus says, phase by phase, what the standard has it say; and it is the same disk as at command level.
// Method: an initiator that plays the bus by hand, without any adapter.
import { describe, expect, test } from "vitest";
import { EventQueue } from "../time/events.ts";
import { PhysicalMemory } from "../memory/memory.ts";
import { PagePool } from "../memory/pool.ts";
import { PhaseTarget } from "./phase-target.ts";
import { ScsiBus, type BusInitiator } from "./scsi-bus.ts";
import { ScsiDisk, type ScsiDiskOptions } from "./scsi-disk.ts";
import { isDataInPhase, MESSAGE, PHASE } from "./scsi-phases.ts";
import { extent10, filled } from "./test-initiator.ts";
import { ULTRA2_WIDE, ULTRA160_WIDE, type TransferLimits } from "./transfer-agreement.ts";

const MIB = 2 ** 20;

class HandInitiator implements BusInitiator {
  readonly busId = 7;
  readonly events = new EventQueue();
  readonly pool = new PagePool(MIB, 32 * MIB);
  readonly memory = new PhysicalMemory(this.pool, [{ start: 0, end: 4 * MIB, type: "ram" }]);
  readonly bus = new ScsiBus(this.events, this);
  frees = 0;

  busChanged(): void {}
  busFree(): void {
    this.frees++;
  }

  disk(
    id: number,
    options: Partial<ScsiDiskOptions> = {},
    limits?: TransferLimits,
  ): { disk: ScsiDisk; target: PhaseTarget } {
    const disk = new ScsiDisk(this.events, this.pool, { name: `disk${id}`, sizeBytes: 16 * MIB, ...options });
    disk.takeAttention();
    return { disk, target: new PhaseTarget(this.bus, this.pool, id, disk, limits) };
  }

  /** Selects with ATN and sends messages; ATN goes before the last byte. */
  select(id: number, messages: readonly number[]): void {
    expect(this.bus.select(id, true)).toBe(true);
    this.send(messages);
  }
  /** Answers with a message: ATN before ACK of the byte on the bus. */
  send(messages: readonly number[]): void {
    for (const [i, byte] of messages.entries()) {
      expect(this.bus.phase).toBe(PHASE.messageOut);
      if (i === messages.length - 1) this.bus.attention = false;
      this.bus.connected!.take(byte);
    }
  }
  descriptor(cdb: readonly number[]): void {
    for (const byte of cdb) {
      expect(this.bus.phase).toBe(PHASE.command);
      this.bus.connected!.take(byte);
    }
  }
  /** Takes all message bytes until another phase comes, or the bus is free. */
  messages(): number[] {
    const taken: number[] = [];
    while (this.bus.connected && this.bus.phase === PHASE.messageIn) {
      taken.push(this.bus.connected.byte);
      this.bus.connected.acknowledge();
    }
    return taken;
  }
  /** Lets time pass until the connected target asks for something. */
  awaitRequest(): void {
    for (let i = 0; this.bus.requestAt === Infinity; i++) {
      expect(i).toBeLessThan(100);
      this.events.fireNext();
    }
  }
  /** Lets time pass until a target wants the bus, and lets it. */
  reselected(): number {
    while (!this.bus.reselecting && this.events.nextAt < Infinity) this.events.fireNext();
    expect(this.bus.reselecting).toBe(true);
    return this.bus.acceptReselection();
  }
  dataIn(): Uint8Array {
    const parts: number[] = [];
    while (this.bus.connected && isDataInPhase(this.bus.phase)) {
      const target = this.bus.connected!;
      const into = new Uint8Array(target.dataWanted);
      target.dataBuffer.readBytes(target.dataOffset, into);
      parts.push(...into);
      target.dataMoved(into.length);
    }
    return Uint8Array.from(parts);
  }
  dataOut(bytes: Uint8Array): number {
    let sent = 0;
    while (this.bus.connected && (this.bus.phase & 3) === PHASE.dataOut && this.bus.requestAt < Infinity) {
      const target = this.bus.connected;
      const size = target.dataWanted;
      target.dataBuffer.writeBytes(target.dataOffset, bytes.subarray(sent, sent + size));
      sent += size;
      target.dataMoved(size);
    }
    return sent;
  }
  status(): number {
    expect(this.bus.phase).toBe(PHASE.status);
    const status = this.bus.connected!.byte;
    this.bus.connected!.acknowledge();
    return status;
  }
}

const IDENTIFY = MESSAGE.identify;
const MAY_DISCONNECT = 0xc0;
/** WRITE(10): past the cache. */
const FUA = 0x08;

describe("one command", () => {
  test("without the right to disconnect keeps the bus until it is over", () => {
    const host = new HandInitiator();
    host.disk(3);
    host.select(3, [IDENTIFY]);
    host.descriptor([0x12, 0, 0, 0, 36, 0]);
    expect(host.bus.requestAt).toBe(Infinity);
    host.awaitRequest();
    expect(host.dataIn().length).toBe(36);
    expect(host.status()).toBe(0);
    expect(host.messages()).toEqual([MESSAGE.commandComplete]);
    expect(host.bus.free).toBe(true);
  });

  test("tagged: disconnects, and comes back with IDENTIFY and its tag", () => {
    const host = new HandInitiator();
    host.disk(3);
    host.select(3, [MAY_DISCONNECT, MESSAGE.simpleQueueTag, 0x42]);
    host.descriptor(extent10(0x28, 10, 2));
    expect(host.messages()).toEqual([MESSAGE.disconnect]);
    expect(host.bus.free).toBe(true);
    expect(host.reselected()).toBe(3);
    expect(host.messages()).toEqual([IDENTIFY, MESSAGE.simpleQueueTag, 0x42]);
    expect(host.dataIn().length).toBe(1024);
    expect(host.status()).toBe(0);
    expect(host.messages()).toEqual([MESSAGE.commandComplete]);
  });

  test("with data out for the platters: the data, SAVE DATA POINTER and DISCONNECT, then status; and the bytes are on the media", () => {
    const host = new HandInitiator();
    const { disk } = host.disk(0);
    host.select(0, [MAY_DISCONNECT]);
    host.descriptor(extent10(0x2a, 5, 3, FUA));
    expect(host.dataOut(filled(3, 0x77))).toBe(3 * 512);
    expect(host.messages()).toEqual([MESSAGE.saveDataPointer, MESSAGE.disconnect]);
    host.reselected();
    expect(host.messages()).toEqual([IDENTIFY]);
    expect(host.status()).toBe(0);
    expect(host.messages()).toEqual([MESSAGE.commandComplete]);
    const onDisk = new Uint8Array(3 * 512);
    disk.media.store.read(5 * 512, onDisk);
    expect(onDisk).toEqual(filled(3, 0x77));
  });

  test("with data out for the cache: the target stays until the status, which is nearer than a way back", () => {
    const host = new HandInitiator();
    const { disk } = host.disk(0);
    host.select(0, [MAY_DISCONNECT, MESSAGE.simpleQueueTag, 9]);
    host.descriptor(extent10(0x2a, 5, 3));
    expect(host.dataOut(filled(3, 0x77))).toBe(3 * 512);
    expect([host.bus.connected !== undefined, host.bus.requestAt]).toEqual([true, Infinity]);
    host.awaitRequest();
    // The data's time has passed on the bus: the disk adds what its controller takes.
    expect(host.events.now).toBe(disk.timing.commandOverheadNs);
    expect(host.status()).toBe(0);
    expect(host.messages()).toEqual([MESSAGE.commandComplete]);
  });

  test("that takes longer than the bus inactivity limit of mode page 02 disconnects, with or without the arm", () => {
    const host = new HandInitiator();
    const { disk } = host.disk(0, { timing: { commandOverheadNs: 150_000 } });
    const testUnitReady = (): void => {
      host.select(0, [MAY_DISCONNECT]);
      host.descriptor([0, 0, 0, 0, 0, 0]);
    };
    testUnitReady();
    host.awaitRequest();
    expect(host.status()).toBe(0);
    host.messages();
    const limited = [0, 0, 0, 0, 0x02, 0x0e, 0x80, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    expect(disk.modes.select(Uint8Array.of(0x15, 0x10, 0, 0, 20, 0), Uint8Array.from(limited), 20)).toBe(0);
    expect(disk.busInactivityLimitNs).toBe(100_000);
    testUnitReady();
    expect(host.messages()).toEqual([MESSAGE.disconnect]);
    host.reselected();
    expect(host.messages()).toEqual([IDENTIFY]);
    expect(host.status()).toBe(0);
    host.messages();
    // 0: no limit. What waits for the arm disconnects all the same: the target does not know for how long.
    limited[9] = 0;
    disk.modes.select(Uint8Array.of(0x15, 0x10, 0, 0, 20, 0), Uint8Array.from(limited), 20);
    expect(disk.busInactivityLimitNs).toBe(Infinity);
    host.select(0, [MAY_DISCONNECT]);
    host.descriptor(extent10(0x28, 5, 1));
    expect(host.messages()).toEqual([MESSAGE.disconnect]);
  });

  test("whose answer gets lost does not keep the bus for ever", () => {
    const host = new HandInitiator();
    const { disk } = host.disk(0);
    disk.faults.lay({ kind: "lost completion", count: 1 });
    host.select(0, [MAY_DISCONNECT]);
    host.descriptor([0, 0, 0, 0, 0, 0]);
    expect(host.messages()).toEqual([MESSAGE.disconnect]);
    expect(host.bus.free).toBe(true);
  });

  test("that is refused goes to STATUS at once, without a data phase", () => {
    const host = new HandInitiator();
    host.disk(0, { writeProtected: true });
    host.select(0, [IDENTIFY]);
    host.descriptor(extent10(0x2a, 5, 1));
    host.awaitRequest();
    expect(host.status()).toBe(0x02);
  });

  test("whose DISCONNECT is rejected stays", () => {
    const host = new HandInitiator();
    host.disk(0);
    host.select(0, [MAY_DISCONNECT]);
    host.descriptor(extent10(0x28, 10, 2));
    expect(host.bus.connected!.byte).toBe(MESSAGE.disconnect);
    host.bus.attention = true;
    host.bus.connected!.acknowledge();
    host.send([MESSAGE.reject]);
    expect(host.bus.connected).toBeDefined();
    host.awaitRequest();
    expect(host.dataIn().length).toBe(1024);
    expect(host.status()).toBe(0);
  });

  test("to a logical unit that is not there is answered by the disk, not by the bus", () => {
    const host = new HandInitiator();
    host.disk(0);
    host.select(0, [IDENTIFY | 3]);
    host.descriptor([0, 0, 0, 0, 0, 0]);
    host.awaitRequest();
    expect(host.status()).toBe(0x02);
  });
});

describe("negotiation", () => {
  test.each([
    ["SDTR is answered with what both can", [1, 3, 1, 0x08, 62], [1, 3, 1, 0x0a, 31]],
    ["WDTR is answered with 16 bits", [1, 2, 3, 1], [1, 2, 3, 1]],
    ["PPR is answered with DT at 160 MB/s", [1, 6, 4, 0x08, 0, 127, 1, 7], [1, 6, 4, 0x09, 0, 62, 1, 2]],
    ["PPR that does not ask for DT gets none", [1, 6, 4, 0x09, 0, 62, 1, 0], [1, 6, 4, 0x0a, 0, 31, 1, 0]],
    ["PPR for a narrow bus gets no DT", [1, 6, 4, 0x09, 0, 62, 0, 2], [1, 6, 4, 0x0a, 0, 31, 0, 0]],
    ["an unknown extended message is rejected", [1, 2, 0x55, 0], [MESSAGE.reject]],
    ["a message nobody knows is rejected", [0x13], [MESSAGE.reject]],
  ])("%s", (_what, message, answer) => {
    const host = new HandInitiator();
    host.disk(0);
    host.select(0, [MAY_DISCONNECT, ...message]);
    expect(host.messages()).toEqual(answer);
    expect(host.bus.phase).toBe(PHASE.command);
  });

  const PPR_DT = [1, 6, 4, 0x09, 0, 31, 1, 2];

  test("with DT agreed on, data phases are DT ones, both ways; all the rest is as it was", () => {
    const host = new HandInitiator();
    const { target } = host.disk(0);
    host.select(0, [IDENTIFY, ...PPR_DT]);
    expect(host.messages()).toEqual([1, 6, 4, 0x09, 0, 31, 1, 2]);
    expect(target.agreement).toMatchObject({ width: 1, period: 9, offset: 31, doubleTransition: true });
    expect(target.agreement.nsPerByte).toBe(6.25);
    host.descriptor(extent10(0x2a, 40, 2));
    expect(host.bus.phase).toBe(PHASE.dtDataOut);
    expect(host.dataOut(filled(2, 3))).toBe(1024);
    host.awaitRequest();
    expect(host.status()).toBe(0);
    expect(host.messages()).toEqual([MESSAGE.commandComplete]);
    host.select(0, [IDENTIFY]);
    host.descriptor(extent10(0x28, 40, 2));
    host.awaitRequest();
    expect(host.bus.phase).toBe(PHASE.dtDataIn);
    expect(Buffer.compare(host.dataIn(), filled(2, 3))).toBe(0);
    expect(host.status()).toBe(0);
  });

  test("a disk of the generation before declines DT, and one before that does not know the message", () => {
    const host = new HandInitiator();
    host.disk(0, {}, ULTRA2_WIDE);
    host.disk(1, {}, { ...ULTRA160_WIDE, protocolRequest: false });
    host.select(0, [IDENTIFY, ...PPR_DT]);
    expect(host.messages()).toEqual([1, 6, 4, 0x0a, 0, 31, 1, 0]);
    host.bus.reset();
    host.bus.resetHeld = false;
    host.select(1, [IDENTIFY, ...PPR_DT]);
    expect(host.messages()).toEqual([MESSAGE.reject]);
  });

  test.each([
    ["SDTR", [1, 3, 1, 0x0a, 31], { width: 1, offset: 31, period: 0x0a }],
    ["WDTR", [1, 2, 3, 1], { width: 1, offset: 0 }],
    ["BUS DEVICE RESET", [MESSAGE.busDeviceReset], { width: 0, offset: 0 }],
    ["a bus reset", [], { width: 0, offset: 0 }],
  ])("%s puts an end to DT", (_what, message, left) => {
    const host = new HandInitiator();
    const { target } = host.disk(0);
    target.agreement.negotiate(PPR_DT);
    if (message.length > 0) host.select(0, [IDENTIFY, ...message]);
    else host.bus.reset();
    expect(target.agreement).toMatchObject({ ...left, doubleTransition: false });
  });

  test("a bus reset puts an end to the agreement, the commands and the connection", () => {
    const host = new HandInitiator();
    const { disk, target } = host.disk(0);
    host.select(0, [MAY_DISCONNECT, MESSAGE.simpleQueueTag, 1, 1, 2, 3, 1]);
    host.messages();
    host.descriptor(extent10(0x28, 10, 2));
    host.messages();
    expect([target.agreement.width, disk.outstanding]).toEqual([1, 1]);
    host.bus.reset();
    host.bus.resetHeld = false;
    expect([target.agreement.width, disk.outstanding]).toEqual([0, 0]);
    while (host.events.nextAt < Infinity) host.events.fireNext();
    expect(host.bus.reselecting).toBe(false);
  });
});

describe("several commands", () => {
  test("the target with the higher priority comes back first: 7 down to 0, then 15 down to 8", () => {
    const host = new HandInitiator();
    for (const id of [8, 2, 15, 5]) {
      host.disk(id);
      host.select(id, [MAY_DISCONNECT]);
      host.descriptor(extent10(0x28, 10, 1));
      host.messages();
    }
    while (host.events.nextAt < Infinity) host.events.fireNext();
    const order: number[] = [];
    while (host.bus.reselecting) {
      order.push(host.bus.acceptReselection());
      host.messages();
      host.dataIn();
      host.status();
      host.messages();
    }
    expect(order).toEqual([5, 2, 15, 8]);
  });

  test("ABORT TAG ends one, BUS DEVICE RESET all of them, with bus free and without status", () => {
    const host = new HandInitiator();
    const { disk, target } = host.disk(0);
    target.agreement.negotiate([1, 2, 3, 1]);
    for (const tag of [1, 2, 3]) {
      host.select(0, [MAY_DISCONNECT, MESSAGE.simpleQueueTag, tag]);
      host.descriptor(extent10(0x28, 100 * tag, 1));
      host.messages();
    }
    host.select(0, [MAY_DISCONNECT, MESSAGE.simpleQueueTag, 2, MESSAGE.abortTag]);
    expect(host.bus.free).toBe(true);
    expect(disk.outstanding).toBe(2);
    host.select(0, [MAY_DISCONNECT, MESSAGE.busDeviceReset]);
    expect([disk.outstanding, target.agreement.width, host.bus.free]).toEqual([0, 0, true]);
    // The next command finds the unit attention of the reset.
    host.select(0, [IDENTIFY]);
    host.descriptor([0, 0, 0, 0, 0, 0]);
    host.awaitRequest();
    expect(host.status()).toBe(0x02);
  });

  test("an untagged REQUEST SENSE may come beside tagged commands after a CHECK CONDITION; another untagged command ends them", () => {
    const host = new HandInitiator();
    const { disk } = host.disk(0, { timing: { commandOverheadNs: 2_000_000 } });
    const tagged = (tag: number, lba: number): void => {
      host.select(0, [MAY_DISCONNECT, MESSAGE.simpleQueueTag, tag]);
      host.descriptor(extent10(0x28, lba, 1));
      host.messages();
    };
    tagged(1, 16 * 2048);
    tagged(2, 5000);
    expect(host.reselected()).toBe(0);
    expect(host.messages().at(-1)).toBe(1);
    expect(host.status()).toBe(2);
    host.messages();
    host.select(0, [IDENTIFY]);
    host.descriptor([3, 0, 0, 0, 18, 0]);
    host.awaitRequest();
    expect(host.dataIn()[12]).toBe(0x21);
    host.status();
    host.messages();
    expect(disk.outstanding + Number(host.bus.reselecting)).toBe(1);
    if (!host.bus.reselecting) {
      host.select(0, [IDENTIFY]);
      host.descriptor([0, 0, 0, 0, 0, 0]);
      host.awaitRequest();
      expect(host.status()).toBe(2);
      host.messages();
      while (host.events.nextAt < Infinity) host.events.fireNext();
      expect(host.bus.reselecting).toBe(false);
    }
  });

  test("device gone: nothing answers; a hung bus answers again after its reset", () => {
    const host = new HandInitiator();
    const { disk } = host.disk(0);
    const gone = disk.faults.lay({ kind: "device gone" });
    expect(host.bus.select(0, true)).toBe(false);
    disk.faults.lift(gone);
    disk.faults.lay({ kind: "bus hang", count: 1 });
    host.select(0, [MAY_DISCONNECT]);
    host.descriptor([0, 0, 0, 0, 0, 0]);
    expect(host.messages()).toEqual([MESSAGE.disconnect]);
    while (host.events.nextAt < Infinity) host.events.fireNext();
    expect(host.bus.reselecting).toBe(false);
    host.bus.reset();
    host.bus.resetHeld = false;
    host.select(0, [IDENTIFY]);
    host.descriptor([0, 0, 0, 0, 0, 0]);
    host.awaitRequest();
    expect(host.status()).toBe(2);
  });
});
