import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventQueue } from "../time/events.ts";
import { RandomSource } from "../time/random.ts";
import { EthernetSegment, type SegmentOptions, type Station } from "./ethernet-segment.ts";
import { decodeDatagram, encodeDatagram, ipBytes, type Datagram } from "./udp.ts";

const mac = (last: number): Uint8Array => Uint8Array.of(0x02, 0, 0, 0, 0, last);

function segmentOf(options: Partial<SegmentOptions>) {
  const events = new EventQueue();
  const segment = new EthernetSegment(events, new RandomSource(1), "net", options);
  const heard: { station: number; first: number; ns: number }[] = [];
  const stations = [1, 2, 3].map((number): Station => {
    const station: Station = {
      address: mac(number),
      receive: (frame, ns) => heard.push({ station: number, first: frame[14]!, ns }),
    };
    segment.attach(station);
    return station;
  });
  const frame = (target: Uint8Array, mark: number, bytes = 60): Uint8Array => {
    const made = new Uint8Array(bytes);
    made.set(target, 0);
    made[14] = mark;
    return made;
  };
  const run = (): void => {
    while (events.nextAt < Infinity) events.fireNext();
  };
  return { segment, stations, heard, frame, run };
}

describe("an Ethernet segment", () => {
  it("delivers to the addressee after the time that the bits and the way take, and a broadcast to all others", () => {
    const { segment, stations, heard, frame, run } = segmentOf({ latencyNs: 1000, bitsPerSecond: 100e6 });
    segment.transmit(stations[0]!, frame(mac(2), 1));
    segment.transmit(stations[1]!, frame(Uint8Array.of(255, 255, 255, 255, 255, 255), 2));
    run();
    // 60 bytes, preamble, check sequence and gap: 84 bytes of 80 ns.
    expect(heard).toEqual([
      { station: 2, first: 1, ns: 84 * 80 + 1000 },
      { station: 1, first: 2, ns: 84 * 80 + 1000 },
      { station: 3, first: 2, ns: 84 * 80 + 1000 },
    ]);
  });

  it("a station's frames leave one after the other", () => {
    const { segment, stations, heard, frame, run } = segmentOf({ latencyNs: 0 });
    expect(segment.transmit(stations[0]!, frame(mac(2), 1))).toBe(6720);
    expect(segment.transmit(stations[0]!, frame(mac(2), 2, 1514))).toBe(6720 + (1514 + 24) * 80);
    run();
    expect(heard.map(({ ns }) => ns)).toEqual([6720, 6720 + 1538 * 80]);
  });

  it("loses, delays and doubles the shares that it is told to, and other rates do not move the victims", () => {
    const lostOf = (options: Partial<SegmentOptions>): Set<number> => {
      const { segment, stations, heard, frame, run } = segmentOf(options);
      for (let i = 0; i < 200; i++) segment.transmit(stations[0]!, frame(mac(2), i));
      run();
      const heardMarks = new Set(heard.map(({ first }) => first));
      return new Set(Array.from({ length: 200 }, (_, i) => i).filter((i) => !heardMarks.has(i)));
    };
    const lost = lostOf({ lossRate: 0.1 });
    expect(lost.size).toBeGreaterThan(8);
    expect(lost.size).toBeLessThan(36);
    expect(lostOf({ lossRate: 0.1, reorderRate: 0.3, duplicateRate: 0.3 })).toEqual(lost);
    const { segment, stations, heard, frame, run } = segmentOf({ reorderRate: 0.2, duplicateRate: 0.1 });
    for (let i = 0; i < 200; i++) segment.transmit(stations[0]!, frame(mac(2), i));
    run();
    expect(heard).toHaveLength(200 + segment.counts.duplicated);
    expect(segment.counts.duplicated).toBeGreaterThan(5);
    expect(heard.some(({ first }, i) => i > 0 && first < heard[i - 1]!.first)).toBe(true);
  });

  it("refuses what no Ethernet carries", () => {
    const { segment, stations } = segmentOf({});
    expect(() => segment.transmit(stations[0]!, new Uint8Array(1515))).toThrow("a frame of 1515 bytes");
    expect(() => segmentOf({ lossRate: 1.5 })).toThrow("a rate of 1.5; expected 0 to 1");
  });
});

describe("UDP", () => {
  const datagram = (payload: Uint8Array): Datagram => ({
    ...{ sourceMac: mac(1), targetMac: mac(2), sourceIp: "10.0.0.1", targetIp: "10.0.0.2" },
    ...{ sourcePort: 6666, targetPort: 514, payload },
  });

  it("comes back as it went, padding left out", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1472 }), (payload) => {
        const frame = encodeDatagram(datagram(payload));
        const padded = new Uint8Array(Math.max(60, frame.length));
        padded.set(frame);
        expect(decodeDatagram(padded)).toEqual(datagram(payload));
      }),
    );
  });

  it("a frame with one bit changed behind the Ethernet header is not taken for another datagram", () => {
    const frame = encodeDatagram(datagram(Uint8Array.from({ length: 33 }, (_, i) => i)));
    for (let bit = 14 * 8; bit < frame.length * 8; bit++) {
      const damaged = frame.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(decodeDatagram(damaged), `bit ${bit}`).toBeUndefined();
    }
  });

  it("knows an address when it sees one", () => {
    expect([...ipBytes("192.168.0.255")]).toEqual([192, 168, 0, 255]);
    for (const text of ["1.2.3", "1.2.3.256", "a.b.c.d", ""]) expect(() => ipBytes(text)).toThrow("is no IPv4 address");
  });
});
