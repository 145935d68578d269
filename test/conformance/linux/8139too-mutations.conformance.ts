// Goal: a chip that is wrong does not pass. Method: our RTL8139 is broken on purpose, each time in one place, and Linux's own driver must
// notice, loudly. The same steps pass on the chip as it is (8139too suite).
import { expect, vi } from "vitest";
import { Rtl8139Chip } from "../../../hba/rtl8139/chip.ts";
import { Receiver } from "../../../hba/rtl8139/chip-receiver.ts";
import { brokenSuite } from "./mutations.ts";
import { NicLab } from "./nic-lab.ts";

/** What the mutations reach into. */
interface PrivateReceiver {
  write(packet: Uint8Array): void;
}
interface PrivateChip {
  updateLine(): void;
}

/** Changes the header that the chip writes before each packet: status and length, 16 bits each. */
function changeHeaders(change: (header: DataView) => void): void {
  const prototype = Receiver.prototype as unknown as PrivateReceiver;
  const { write } = prototype;
  vi.spyOn(prototype, "write").mockImplementation(function (this: PrivateReceiver, packet) {
    change(new DataView(packet.buffer, packet.byteOffset, 4));
    write.call(this, packet);
  });
}

const ping = (lab: NicLab): string => lab.run("busybox ping -c 5 -i 0.2 -W 2 192.168.7.1").output;
const NOTHING_BACK = "5 packets transmitted, 0 packets received, 100% packet loss";

brokenSuite({ adapter: "rtl8139", module: "8139too" }, (linux) => NicLab.make(linux), [
  {
    title: "counts errors and receives nothing when status and length change places",
    noticed: "a swapped header word",
    judge(lab) {
      lab.probeAndUp();
      expect(lab.counter("rx_errors")).toBe(0);
      changeHeaders((header) => header.setUint32(0, (header.getUint32(0) << 16) | (header.getUint32(0) >>> 16)));
      expect(ping(lab)).toContain(NOTHING_BACK);
      // No answer to ARP gets through; each of them makes the driver start its receiver anew.
      expect(lab.counter("rx_errors")).toBeGreaterThan(1);
      expect(lab.counter("rx_packets")).toBe(0);
    },
  },
  {
    title: "calls the transmitter hung when no cause raises the interrupt line",
    noticed: "a missing interrupt",
    judge(lab) {
      lab.probeAndUp();
      vi.spyOn(Rtl8139Chip.prototype as unknown as PrivateChip, "updateLine").mockImplementation(() => {});
      lab.messages();
      const before = lab.counter("tx_packets");
      expect(ping(lab)).toContain(NOTHING_BACK);
      lab.expect("sleep 20");
      expect(lab.messages()).toMatch(/eth0: NETDEV WATCHDOG: .*transmit queue 0 timed out/);
      expect(lab.counter("tx_packets")).toBe(before);
    },
  },
  {
    title: "throws packets away as truncated when the length is one too small",
    noticed: "a length off by one",
    judge(lab) {
      lab.probeAndUp();
      const truncated = (): number => {
        const [names, values] = lab.expect("grep ^IpExt /proc/net/netstat").split("\n");
        return Number(values!.split(" ")[names!.split(" ").indexOf("InTruncatedPkts")]);
      };
      expect(lab.run("busybox ping -c 5 -i 0.2 192.168.7.1").output).toContain("5 packets received, 0% packet loss");
      expect(truncated()).toBe(0);
      changeHeaders((header) => header.setUint16(2, header.getUint16(2, true) - 1, true));
      expect(ping(lab)).toContain(NOTHING_BACK);
      expect(truncated()).toBe(5);
    },
  },
]);
