// Goal: 8139too sends and receives through the chip - by interrupt, and by polling alone. Method: a booted kernel, the chip on a
// segment, and another station that sends and listens.
import { describe, expect, test } from "vitest";
import { M } from "../../kernel-sim/abi/ram.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { local_irq_restore, local_irq_save, spin_lock } from "../../kernel-sim/core/spinlock.ts";
import { delayNs, msleep } from "../../kernel-sim/core/timer.ts";
import { netpoll_poll, netpoll_send_udp, netpoll_setup } from "../../kernel-sim/net/netpoll.ts";
import { nicRig, type NicRig } from "./driver-testing.ts";
import { OWN_ADDRESS } from "./spec-host.ts";

const lines = ({ kernel }: NicRig): string[] => kernel.console.lines.map(({ text }) => text);

/** RAM with text in it that tells `mark`. */
function message(mark: number, bytes = 100): number {
  const at = K.bootmem(2048);
  for (let i = 0; i < bytes; i++) M.u8[at + i] = (i * 13 + mark) & 0xff;
  return at;
}

const setUp = (rig: NicRig): void =>
  rig.run(function* () {
    expect(yield* netpoll_setup(rig.np)).toBe(0);
  });

describe("8139too", () => {
  test("finds the board, reads its address from the EEPROM, and sees the link", () => {
    const rig = nicRig();
    expect([...rig.device.address]).toEqual([...OWN_ADDRESS]);
    setUp(rig);
    expect(lines(rig).filter((line) => line.startsWith("eth0") || line.startsWith("test"))).toEqual([
      expect.stringMatching(/^eth0: RealTek RTL8139 at 0xfe0[0-9a-f]+, 00:e0:4c:12:34:56, IRQ 20$/),
      "test: device eth0 not up yet, forcing it",
      "eth0: link up, 100Mbps, full-duplex, lpa 0x45E1",
    ]);
    expect(rig.device.running).toBe(true);
  });

  test("sends what netpoll gives it, more than it has descriptors, in order and whole; the checksums are right", () => {
    const rig = nicRig();
    setUp(rig);
    rig.run(function* () {
      const flags = local_irq_save();
      for (let i = 0; i < 20; i++) yield* netpoll_send_udp(rig.np, message(i), 100);
      yield* local_irq_restore(flags);
      yield* msleep(2);
    });
    // decodeDatagram() takes none whose checksums are wrong.
    expect(rig.sent.map(({ payload }) => payload[0])).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(
      rig.sent.every(({ payload }) => payload.length === 100 && payload[99] === ((99 * 13 + payload[0]!) & 0xff)),
    ).toBe(true);
    expect(rig.sent[0]).toMatchObject({ sourceIp: "192.168.7.2", targetIp: "192.168.7.1", sourcePort: 6666 });
  });

  test("receives by interrupt and softirq", () => {
    const rig = nicRig();
    setUp(rig);
    rig.run(function* () {
      for (let i = 0; i < 5; i++) rig.fromPeer(Uint8Array.of(i, 7));
      yield* msleep(5);
    });
    expect(rig.received.map(([first]) => first)).toEqual([0, 1, 2, 3, 4]);
    expect(rig.chip.interruptLine).toBe(false);
  });

  test("receives with interrupts off, by polling alone, and takes only what is addressed to its client", () => {
    const rig = nicRig();
    setUp(rig);
    rig.run(function* () {
      const flags = local_irq_save();
      rig.fromPeer(Uint8Array.of(1));
      rig.fromPeer(Uint8Array.of(2), { targetPort: 514 });
      rig.fromPeer(Uint8Array.of(3), { sourceIp: "192.168.7.9" });
      rig.fromPeer(Uint8Array.of(4));
      for (let i = 0; i < 20; i++) {
        yield* delayNs(50_000);
        yield* netpoll_poll(rig.np);
      }
      expect(rig.received.map(([first]) => first)).toEqual([1, 4]);
      yield* local_irq_restore(flags);
    });
  });

  test("says that the link is down and up again, as often as the cable is pulled and plugged in", () => {
    const rig = nicRig();
    setUp(rig);
    rig.run(function* () {
      for (const up of [false, true, false, true]) {
        rig.chip.linkUp = up;
        yield* msleep(2);
      }
      rig.fromPeer(Uint8Array.of(9));
      yield* msleep(2);
    });
    expect(lines(rig).filter((line) => line.includes("eth0: link"))).toEqual([
      ...["up", "down", "up", "down", "up"].map((state): unknown => expect.stringContaining(`eth0: link ${state}`)),
    ]);
    expect(rig.received).toHaveLength(1);
  });

  test("as in 2.6.9 it leaves interrupts on, whoever called; later versions leave them as they were", () => {
    for (const manners of ["enable", "restore"] as const) {
      const rig = nicRig({ manners });
      setUp(rig);
      let enabled: boolean | undefined;
      rig.run(function* () {
        const flags = local_irq_save();
        yield* netpoll_send_udp(rig.np, message(1), 10);
        enabled = local_irq_save() !== 0;
        yield* local_irq_restore(flags);
      });
      expect([manners, enabled]).toEqual([manners, manners === "enable"]);
    }
  });

  test("what the slab gave for packets goes back to it", () => {
    const rig = nicRig();
    setUp(rig);
    const busy = (): number => {
      const cache = K.net.skbCache;
      return K.machine.cpus.reduce((free, c) => free + cache.arrays[c.id]!.avail, cache.lists.free_objects);
    };
    const before = busy();
    rig.run(function* () {
      for (let i = 0; i < 50; i++) {
        rig.fromPeer(Uint8Array.of(i));
        yield* netpoll_send_udp(rig.np, message(i), 10);
        yield* msleep(1);
      }
    });
    expect([rig.sent.length, rig.received.length]).toEqual([50, 50]);
    expect(busy()).toBe(before);
  });

  test("a board's lock that a stopped CPU holds stops netpoll, too: nobody opens it", () => {
    const rig = nicRig();
    setUp(rig);
    let deadlock = "";
    K.machine.onDeadlock = ({ chain }) => {
      deadlock = chain[0]!.waitsFor;
      K.machine.stopReason = "deadlock";
    };
    const lock = K.locks.get("eth0.lock")!;
    const attempt = (): void =>
      rig.run(function* () {
        local_irq_save();
        yield* spin_lock(lock);
        yield* printk("now\n", 6);
        yield* netpoll_poll(rig.np);
      }, 5);
    expect(attempt).toThrow("deadlock");
    expect(deadlock).toBe("eth0.lock");
  });
});
