// Goal: what netpoll writes and reads of UDP agrees with the network's own codec, bit for bit.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeDatagram, ipBytes } from "../../emulator/net/udp.ts";
import { M } from "../abi/ram.ts";
import { bootTestMachine } from "../core/testing.ts";
import { ETH_HLEN, checkedUdp } from "./headers.ts";
import { ipNumber } from "./netpoll.ts";
import { SkBuff } from "./skbuff.ts";

const k = bootTestMachine({ ramMiB: 32, flatMiB: 16 });
const [HEAD, SKB] = [k.bootmem(4096), k.bootmem(4096)];

/** A packet with these bytes in it, its Ethernet header seen to. */
function packet(frame: Uint8Array): SkBuff {
  k.enter();
  const skb = new SkBuff(SKB, HEAD, 2048);
  M.u8.set(frame, skb.put(frame.length));
  skb.pull(ETH_HLEN);
  return skb;
}

const address = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((bytes) => bytes.join("."));
const datagram = fc.record({
  sourceIp: address,
  targetIp: address,
  sourcePort: fc.nat(65535),
  targetPort: fc.nat(65535),
  payload: fc.uint8Array({ maxLength: 1024 }),
});
const frameOf = (values: {
  sourceIp: string;
  targetIp: string;
  sourcePort: number;
  targetPort: number;
  payload: Uint8Array;
}) => encodeDatagram({ sourceMac: new Uint8Array(6), targetMac: new Uint8Array(6), ...values });

describe("a datagram in a packet", () => {
  test("is found with its addresses, ports and payload, whatever stands behind it", () => {
    fc.assert(
      fc.property(datagram, fc.nat(40), (values, padding) => {
        const frame = frameOf(values);
        const padded = new Uint8Array(frame.length + padding).fill(0xa5);
        padded.set(frame);
        const found = checkedUdp(packet(padded))!;
        expect(found).toMatchObject({
          ...{ sourceIp: ipNumber(ipBytes(values.sourceIp)), targetIp: ipNumber(ipBytes(values.targetIp)) },
          ...{ sourcePort: values.sourcePort, targetPort: values.targetPort },
        });
        expect(M.u8.slice(found.payload, found.payload + found.bytes)).toEqual(values.payload);
      }),
    );
  });

  test("is not found with one bit changed behind its Ethernet header", () => {
    const frame = frameOf({
      ...{ sourceIp: "10.1.2.3", targetIp: "10.1.2.4", sourcePort: 6666, targetPort: 6666 },
      payload: Uint8Array.from({ length: 24 }, (_, i) => i),
    });
    for (let bit = ETH_HLEN * 8; bit < frame.length * 8; bit++) {
      const damaged = frame.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(checkedUdp(packet(damaged)), `bit ${bit}`).toBeUndefined();
    }
  });
});
