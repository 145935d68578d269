// Goal: Linux's own driver takes our RTL8139 for the real one. Method: a booted guest loads the unmodified 8139too; another host on our
// Ethernet pings with it and sends frames that a program in the guest sends back; both sides compare every byte.
import { afterEach, beforeAll, describe, expect, test, vi, type TestContext } from "vitest";
import { makeEvent } from "../../../emulator/time/events.ts";
import { conformanceCell } from "../cell.ts";
import { ISR_BITS } from "../../../hba/rtl8139/registers.ts";
import { HEADER_BYTES } from "./frame-program.ts";
import { numberedFrame, returned } from "./lan-peer.ts";
import { md5 } from "./lab.ts";
import { GUEST_ADDRESS, NicLab, asRecords } from "./nic-lab.ts";
import { linuxOrReason } from "./suite.ts";
import type { BootedLinux } from "./snapshot.ts";

const RING_BYTES = 32768;
const LARGEST = 1514;
const BROADCAST = new Uint8Array(6).fill(0xff);
/** All hosts, which every interface with IPv6 listens to [RFC 4291 2.7.1], and a group that nobody has joined. */
const ALL_NODES = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);
const NO_GROUP = Uint8Array.of(0x33, 0x33, 0x12, 0x34, 0x56, 0x78);
const STRANGER = Uint8Array.of(0x02, 0, 0, 0, 0, 0x77);

const hex = (frame: Uint8Array): string => Buffer.from(frame).toString("hex");

/** Numbered frames of these sizes for the guest; the last one ends the program. */
const train = (sizes: readonly number[]): Uint8Array[] =>
  sizes.map((bytes, number) => numberedFrame(GUEST_ADDRESS, number, bytes, number === sizes.length - 1));

/** Bytes of the ring that these frames take: header and check sequence, in whole words. */
const inRing = (frames: readonly Uint8Array[]): number =>
  frames.reduce((sum, { length }) => sum + ((length + 8 + 3) & ~3), 0);

/** Sends the frames, and expects all of them in the guest, and back again, whole and in order. */
function thereAndBack(lab: NicLab, frames: readonly Uint8Array[], window = 8): void {
  lab.exchange(frames, window);
  expect(lab.receivedDigest()).toBe(md5(asRecords(frames)));
  expect(lab.peer.echoed.map(hex)).toEqual(frames.slice(0, -1).map((frame) => hex(returned(frame))));
}

/** A ping with so many bytes, `count` times; all of it must come back. */
function pings(lab: NicLab, bytes: number, count: number): void {
  const said = lab.expect(`busybox ping -c ${count} -i 0.05 -s ${bytes} 192.168.7.1`);
  expect(said).toContain(`${count} packets transmitted, ${count} packets received, 0% packet loss`);
}

describe("Linux's 8139too on our RTL8139", () => {
  const cell = conformanceCell("rtl8139", "linux");
  let linux: BootedLinux | string;
  let made: NicLab | undefined;
  beforeAll(async () => {
    linux = await linuxOrReason();
    if (typeof linux !== "string") made = await NicLab.make(linux);
  });
  const lab = (context: TestContext): NicLab => made ?? cell.skip(context, linux as string);
  afterEach(() => {
    // Whatever our chip found wrong with the real driver is a mistake of our chip.
    expect(made?.guest.host.complaints ?? []).toEqual([]);
  });

  test("finds the card, reads its address from the EEPROM, and has a link at 100 Mbit/s, full duplex", (context) => {
    const l = lab(context);
    l.messages();
    l.probeAndUp();
    const messages = l.messages();
    expect(messages).toMatch(/eth0: RealTek RTL8139 at 0x[0-9a-f]+, 00:e0:4c:12:34:56, IRQ \d+/);
    expect(messages).toMatch(/eth0: link up, 100Mbps, full-duplex, lpa 0x45E1/);
    const facts = ["address", "carrier", "speed", "duplex"].map((name) => `/sys/class/net/eth0/${name}`).join(" ");
    expect(l.expect(`cat ${facts}`).split("\n")).toEqual(["00:e0:4c:12:34:56", "1", "100", "full"]);
    cell.exercised("probe, EEPROM, link by MII");
  });

  test("pings another host: the smallest packets, the largest, and some that take six frames", (context) => {
    const l = lab(context);
    for (const bytes of [0, 1, 56, 1472, 8000]) pings(l, bytes, 10);
    cell.exercised("ARP and ping up to 8000 bytes");
  });

  test("takes frames of every size around the word's and sends them back", (context) => {
    const sizes = [...[60, 61, 62, 63, 64, 65, 66, 67], ...[1510, 1511, 1512, 1513, LARGEST], 60];
    thereAndBack(lab(context), train(sizes));
    cell.exercised("every remainder of a word");
  });

  test("takes 600 frames and sends them back while the ring goes round many times", (context) => {
    const l = lab(context);
    const sizes = Array.from({ length: 600 }, (_, i) => (i % 3 === 0 ? LARGEST : 60 + ((i * 197) % 1455)));
    const frames = train(sizes);
    const interrupts = Number(l.expect("awk '/eth0/ { print $2 }' /proc/interrupts"));
    const errors = ["rx_errors", "rx_dropped", "rx_missed_errors", "tx_errors", "tx_dropped"];
    const before = errors.map((name) => l.counter(name));
    thereAndBack(l, frames);
    const rounds = Math.floor(inRing(frames) / RING_BYTES);
    expect(rounds).toBeGreaterThan(15);
    expect(errors.map((name) => l.counter(name))).toEqual(before);
    const taken = Number(l.expect("awk '/eth0/ { print $2 }' /proc/interrupts")) - interrupts;
    expect(taken).toBeGreaterThan(50);
    cell.exercised(`${frames.length} frames each way, ${rounds} times round the ring, ${taken} interrupts`);
  });

  test("hears broadcasts and the groups that it has joined, and nothing else until it is told to", (context) => {
    const l = lab(context);
    const to = (target: Uint8Array, number: number): Uint8Array => numberedFrame(target, number, 100);
    const others = [BROADCAST, ALL_NODES, NO_GROUP, STRANGER].map((target, i) => to(target, i));
    /** What the guest hears of frames to those four, and to itself. */
    const heard = (): number[] => {
      // A switch would not let the fourth through: it comes to the chip directly, as on a hub.
      l.segment.tap = (frame, ns) => {
        if (frame[HEADER_BYTES] === 2) l.chip.receive(others[3]!, ns);
      };
      const last = numberedFrame(GUEST_ADDRESS, 0, 100, true);
      l.exchange([...others.slice(0, 3), last], 4);
      const numbers = l.received().map((frame) => frame[HEADER_BYTES]!);
      l.segment.tap = undefined;
      return numbers.sort((one, other) => one - other);
    };
    expect(heard()).toEqual([0, 1, 0xff]);
    l.expect("busybox ifconfig eth0 allmulti");
    expect(heard()).toEqual([0, 1, 2, 0xff]);
    l.expect("busybox ifconfig eth0 promisc");
    expect(heard()).toEqual([0, 1, 2, 3, 0xff]);
    l.expect("busybox ifconfig eth0 -promisc -allmulti");
    expect(heard()).toEqual([0, 1, 0xff]);
    cell.exercised("address filter: broadcast, multicast hash, all multicast, promiscuous");
  });

  test("another address that Linux gives it counts from then on", (context) => {
    const l = lab(context);
    l.expect("busybox ifconfig eth0 down hw ether 02:00:00:00:00:42");
    l.up();
    const target = Uint8Array.of(2, 0, 0, 0, 0, 0x42);
    const number = (frame: Uint8Array): number => frame[HEADER_BYTES]!;
    l.exchange([numberedFrame(target, 1, 80), numberedFrame(target, 2, 80, true)], 2);
    expect(l.received().map(number)).toEqual([1, 255]);
    l.expect("busybox ifconfig eth0 down hw ether 00:e0:4c:12:34:56");
    l.up();
    thereAndBack(l, train([100, 200]));
    cell.exercised("a new station address");
  });

  test("notices that the cable is pulled, and that it is plugged in again", (context) => {
    const l = lab(context);
    const carrier = (): string => l.expect("sleep 1; cat /sys/class/net/eth0/carrier");
    l.messages();
    l.chip.linkUp = false;
    expect(carrier()).toBe("0");
    expect(l.messages()).toBe("8139too 0000:00:03.0 eth0: link down");
    l.chip.linkUp = true;
    expect(carrier()).toBe("1");
    expect(l.messages()).toBe("8139too 0000:00:03.0 eth0: link up, 100Mbps, full-duplex, lpa 0x45E1");
    thereAndBack(l, train([100, 200]));
    cell.exercised("link down and up");
  });

  test.for([
    // Faster than the chip brings a frame to memory: no cable does that.
    { place: "FIFO", everyNs: 5000, cause: ISR_BITS.FOVW, otherCause: ISR_BITS.RXOVW, late: false },
    // The interrupt comes when it is too late.
    { place: "ring", everyNs: 130_000, cause: ISR_BITS.RXOVW, otherCause: ISR_BITS.FOVW, late: true },
  ])(
    "counts what its $place has no room for; what it takes is whole",
    ({ place, everyNs, cause, otherCause, late }, context) => {
      const l = lab(context);
      const COUNT = 60;
      const frames = Array.from({ length: COUNT }, (_, i) => numberedFrame(GUEST_ADDRESS, i, LARGEST));
      const raise = vi.spyOn(l.chip, "raise");
      const line = l.chip as unknown as { updateLine(): void };
      const taken = (): number => l.counter("rx_packets");
      const missed = (): number => l.counter("rx_missed_errors");
      const before = [taken(), missed()] as const;
      let sent = 0;
      const burst = makeEvent("burst", ({ at }) => {
        if (sent === 0 && late) vi.spyOn(line, "updateLine").mockImplementation(() => {});
        if (sent < COUNT) l.chip.receive(frames[sent++]!, at);
        else {
          if (late) vi.mocked(line.updateLine).mockRestore();
          l.chip.raise(0);
          l.peer.feed([numberedFrame(GUEST_ADDRESS, 0, 60, true)], 1);
          return;
        }
        l.guest.host.events.arm(burst, at + (sent < COUNT ? everyNs : 10_000_000));
      });
      l.runFrames(burst);
      const causes = new Set(raise.mock.calls.map(([bit]) => bit));
      raise.mockRestore();
      expect([causes.has(cause), causes.has(otherCause)]).toEqual([true, false]);
      // Linux has counted each frame, here or there.
      const lost = missed() - before[1];
      expect(taken() - before[0]).toBe(COUNT + 1 - lost);
      expect(lost).toBeGreaterThan(20);
      const received = l.received().slice(0, -1);
      expect(received).toHaveLength(COUNT - lost);
      expect(received.map(hex)).toEqual(received.map((frame) => hex(frames[frame[HEADER_BYTES]!]!)));
      thereAndBack(l, train([100, 200]));
      cell.exercised(`${place} overflow: ${lost} of ${COUNT} frames missed, each counted`);
    },
  );

  test("works through its ports as through its memory", (context) => {
    const l = lab(context);
    l.expect("rmmod 8139too");
    l.probe("use_io=1");
    l.up();
    const before = l.guest.log.count;
    thereAndBack(l, train(Array.from({ length: 40 }, (_, i) => 60 + ((i * 211) % 1455))));
    pings(l, 1472, 5);
    expect(l.guest.log.count).toBeGreaterThan(before + 200);
    expect(l.guest.log.tail().join("\n")).toMatch(/BAR0\+0x3e 2 /);
    cell.exercised("by ports");
  });

  test("does the same register accesses at the same instants in two runs", async (context) => {
    lab(context);
    const runs: NicLab[] = [];
    for (let i = 0; i < 2; i++) {
      const run = await NicLab.make(linux as BootedLinux);
      run.probeAndUp();
      thereAndBack(run, train(Array.from({ length: 60 }, (_, n) => 60 + ((n * 197) % 1455))));
      pings(run, 1472, 5);
      runs.push(run);
    }
    expect(runs[0]!.guest.log.count).toBeGreaterThan(1000);
    expect(runs[1]!.registerDigest()).toBe(runs[0]!.registerDigest());
    cell.exercised(`${runs[0]!.guest.log.count} register accesses twice the same`);
  });
});
