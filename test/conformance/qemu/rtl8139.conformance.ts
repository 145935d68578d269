// Goal: our 8139too is right about the hardware, not only about our own model of it. Method: the driver as it is runs on QEMU's rtl8139;
// its frames come to another station of our Ethernet through FIFOs of QEMU's, and QEMU's own capture is held against what was meant.
import { createHash } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { RX_BUF_LEN, private_of } from "../../../hba/rtl8139/driver-board.ts";
import { RTL, TSD_BITS } from "../../../hba/rtl8139/registers.ts";
import { OWN_ADDRESS } from "../../../hba/rtl8139/spec-host.ts";
import { MAX_PAYLOAD_BYTES } from "../../../emulator/net/udp.ts";
import { M } from "../../../kernel-sim/abi/ram.ts";
import { disable_irq_nosync, enable_irq } from "../../../kernel-sim/core/irq.ts";
import { K } from "../../../kernel-sim/core/kernel.ts";
import { local_irq_restore, local_irq_save } from "../../../kernel-sim/core/spinlock.ts";
import { delayNs, msleep } from "../../../kernel-sim/core/timer.ts";
import { netpoll_poll, netpoll_send_udp, netpoll_setup } from "../../../kernel-sim/net/netpoll.ts";
import { conformanceCell } from "../cell.ts";
import type { Mischief } from "./qemu-function.ts";
import { QEMU_PACKAGE, qemuInstalled } from "./qtest.ts";
import { startQemuNic, type QemuNic } from "./rtl8139.ts";

/** A payload that tells its number and the place of each byte in it. */
const payloadOf = (number: number, bytes: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, i) => (i < 2 ? number >> (8 * i) : i * 13 + number * 7 + (i >> 8)) & 0xff);
/** Sizes from the smallest to the largest, no two of them neighbours in the ring with the same remainder. */
const sizeOf = (number: number): number => (number % 5 === 0 ? MAX_PAYLOAD_BYTES : 2 + ((number * 97) % 1400));
/** Number, length and digest: what a failure can print. */
const nameOf = (payload: Uint8Array): string =>
  `${payload[0]! | (payload[1]! << 8)}: ${payload.length} bytes ${createHash("md5").update(payload).digest("hex")}`;

describe("our driver on QEMU's rtl8139", () => {
  const cell = conformanceCell("rtl8139", "qemu");
  const runs = qemuInstalled();
  const started: QemuNic[] = [];
  let rig: QemuNic;
  let buffer: number;

  const start = async (): Promise<QemuNic> => {
    const nic = await startQemuNic();
    started.push(nic);
    nic.run(function* () {
      expect(yield* netpoll_setup(nic.np)).toBe(0);
    });
    return nic;
  };
  const log = ({ kernel }: QemuNic): string[] => kernel.console.lines.map(({ text }) => text);
  /** Sends datagrams of these sizes by netpoll, with interrupts off. Returns what the other station got of them. */
  const send = (nic: QemuNic, sizes: readonly number[]): string[] => {
    nic.sent.length = 0;
    nic.run(function* () {
      const flags = local_irq_save();
      for (const [number, bytes] of sizes.entries()) {
        M.u8.set(payloadOf(number, bytes), buffer);
        yield* netpoll_send_udp(nic.np, buffer, bytes);
      }
      yield* local_irq_restore(flags);
      yield* msleep(10);
    });
    return nic.sent.map(({ payload }) => nameOf(payload));
  };
  /** Lets the other station send datagrams of these sizes, a few at a time. Returns what arrived. */
  const receive = (nic: QemuNic, sizes: readonly number[]): string[] => {
    nic.received.length = 0;
    nic.run(function* () {
      for (const [number, bytes] of sizes.entries()) {
        nic.fromPeer(payloadOf(number, bytes));
        if (number % 4 === 3) yield* msleep(2);
      }
      yield* msleep(5);
    });
    return nic.received.map((payload) => nameOf(payload));
  };
  const wanted = (sizes: readonly number[]): string[] => sizes.map((bytes, number) => nameOf(payloadOf(number, bytes)));

  beforeAll(async () => {
    if (!runs) return;
    rig = await start();
    buffer = K.bootmem(2048);
  });
  beforeEach((context) => {
    if (!runs) cell.skip(context, `QEMU is missing; "apt-get install -y ${QEMU_PACKAGE}" lets this run`);
  });
  afterAll(async () => {
    for (const { card } of started) await card.stop().finally(() => card.remove());
  });

  test("finds the board, reads its address from the EEPROM bit by bit, resets it, and sees the link", () => {
    expect([...rig.device.address]).toEqual([...OWN_ADDRESS]);
    expect(log(rig).filter((line) => line.startsWith("eth0") || line.startsWith("test"))).toEqual([
      expect.stringMatching(/^eth0: RealTek RTL8139 at 0xfe0[0-9a-f]+, 00:e0:4c:12:34:56, IRQ 18$/),
      "test: device eth0 not up yet, forcing it",
      expect.stringMatching(/^eth0: link up, 100Mbps, full-duplex, lpa 0x[0-9A-F]{4}$/),
    ]);
    cell.exercised("probe, EEPROM, reset, link");
  });

  test("sends datagrams of all sizes through its four descriptors, in order and whole", () => {
    const sizes = Array.from({ length: 60 }, (_, number) => sizeOf(number));
    expect(send(rig, sizes)).toEqual(wanted(sizes));
    cell.exercised(`${sizes.length} frames sent`);
  });

  test("receives by interrupt and softirq while the ring goes round many times", () => {
    const sizes = Array.from({ length: 400 }, (_, number) => sizeOf(number));
    const interrupts = rig.fn.interrupts;
    expect(receive(rig, sizes)).toEqual(wanted(sizes));
    const rounds = Math.floor(private_of(rig.device).s.cur_rx / RX_BUF_LEN);
    expect(rounds).toBeGreaterThan(6);
    expect(rig.fn.interrupts).toBeGreaterThan(interrupts + 50);
    expect(rig.fn.interruptLine).toBe(false);
    cell.exercised(`${sizes.length} frames received by interrupt, ${rounds} times round the ring`);
  });

  test("sends and receives by netpoll's polling alone, with interrupts off", () => {
    const COUNT = 60;
    rig.received.length = rig.sent.length = 0;
    rig.run(function* () {
      const flags = local_irq_save();
      // No other CPU is to take it, either.
      yield* disable_irq_nosync(rig.irq);
      for (let number = 0; number < COUNT; number++) {
        rig.fromPeer(payloadOf(number, sizeOf(number)));
        M.u8.set(payloadOf(number, 100), buffer);
        yield* netpoll_send_udp(rig.np, buffer, 100);
        for (let i = 0; i < 200 && rig.received.length <= number; i++) {
          yield* netpoll_poll(rig.np);
          yield* delayNs(50_000);
        }
      }
      yield* delayNs(1e6);
      expect(rig.received.map(nameOf)).toEqual(wanted(Array.from({ length: COUNT }, (_, number) => sizeOf(number))));
      expect(rig.sent.map(({ payload }) => nameOf(payload))).toEqual(wanted(new Array<number>(COUNT).fill(100)));
      yield* enable_irq(rig.irq);
      yield* local_irq_restore(flags);
    });
    cell.exercised(`${COUNT} frames each way by netpoll's polling`);
  });

  test("goes on after the ring was full, and takes it for an error", () => {
    rig.received.length = 0;
    const overflows = (): number => private_of(rig.device).s.stats.rx_errors;
    const before = overflows();
    rig.run(function* () {
      yield* disable_irq_nosync(rig.irq);
      // 60 frames of 1514 bytes for a ring of 32 KiB, and nobody looks.
      for (let number = 0; number < 60; number++) rig.fromPeer(payloadOf(number, MAX_PAYLOAD_BYTES));
      yield* msleep(20);
      yield* enable_irq(rig.irq);
      yield* msleep(20);
    });
    // QEMU says RXOVW and keeps what does not fit until there is room; the real chip and ours lose it.
    expect(rig.received.map(nameOf)).toEqual(wanted(new Array<number>(60).fill(MAX_PAYLOAD_BYTES)));
    expect(overflows()).toBeGreaterThan(before);
    const sizes = Array.from({ length: 40 }, (_, number) => sizeOf(number));
    expect(receive(rig, sizes)).toEqual(wanted(sizes));
    cell.exercised("a full ring");
  });

  test("what QEMU's own capture holds is what went over our Ethernet, in both directions", async () => {
    const nic = await start();
    buffer = K.bootmem(2048);
    const frames: string[] = [];
    nic.segment.tap = (frame) => frames.push(Buffer.from(frame).toString("hex"));
    const sizes = Array.from({ length: 24 }, (_, number) => sizeOf(number));
    expect(send(nic, sizes)).toEqual(wanted(sizes));
    expect(receive(nic, sizes)).toEqual(wanted(sizes));
    await nic.card.stop();
    expect(nic.card.wire.captured().map((frame) => frame.toString("hex"))).toEqual(frames);
    expect(frames).toHaveLength(48);
    cell.exercised("bytes as QEMU's capture has them");
  });

  describe("a mistake between driver and chip is noticed:", () => {
    const at = (register: number, change: (value: number) => number | null): Mischief => ({
      beforeWrite: (_bar, offset, value) => (offset === register ? change(value) : value),
    });
    const SIZES = [100, 200, 300, 400, 500, 600, 700, 800];
    test.each<[string, "sent" | "received", Mischief, "goes on" | "stays"]>([
      ["a length one too small", "sent", at(RTL.TSD0, (value) => value - 1), "goes on"],
      ["a descriptor that is not handed over", "sent", at(RTL.TSD0, (value) => value | TSD_BITS.OWN), "stays"],
      ["a read pointer that moves by a word too much", "received", at(RTL.CAPR, (value) => value + 4), "goes on"],
      ["a read pointer that is not told", "received", at(RTL.CAPR, () => null), "goes on"],
      ["interrupts that are not let through again", "received", at(RTL.IMR, () => 0), "stays"],
      ["an interrupt that gets lost", "received", { interrupt: () => false }, "stays"],
    ])("%s", async (_what, way, mischief, after) => {
      const nic = await start();
      buffer = K.bootmem(2048);
      const go = way === "sent" ? send : receive;
      expect(go(nic, SIZES)).toEqual(wanted(SIZES));
      nic.fn.mischief = mischief;
      nic.fn.patienceMs = 100;
      const got = go(nic, SIZES);
      expect({ got, errors: private_of(nic.device).s.stats.rx_errors }).not.toEqual({ got: wanted(SIZES), errors: 0 });
      nic.fn.mischief = {};
      // The driver starts a receiver anew whose ring makes no sense; the others nobody repairs.
      if (after === "goes on") expect(go(nic, SIZES)).toEqual(wanted(SIZES));
      cell.exercised("mistakes on the way noticed");
    });
  });
});
