// One guest with our RTL8139 on an Ethernet of ours, and another host there.
import { EthernetSegment } from "../../../emulator/net/ethernet-segment.ts";
import { RandomSource } from "../../../emulator/time/random.ts";
import { Rtl8139Chip } from "../../../hba/rtl8139/chip.ts";
import { makeEvent, type TimerEvent } from "../../../emulator/time/events.ts";
import { Guest } from "./guest.ts";
import { GuestLab, SLOT } from "./guest-lab.ts";
import { GUEST_IP, LanPeer } from "./lan-peer.ts";
import type { BootedLinux } from "./snapshot.ts";

export const GUEST_ADDRESS = Uint8Array.of(0x00, 0xe0, 0x4c, 0x12, 0x34, 0x56);
/** The program has opened its socket by then. */
const PROGRAM_STARTS_NS = 300_000_000;

export class NicLab extends GuestLab {
  readonly chip: Rtl8139Chip;
  readonly segment: EthernetSegment;
  readonly peer: LanPeer;

  private constructor(guest: Guest) {
    super(guest);
    const { host } = guest;
    this.segment = new EthernetSegment(host.events, new RandomSource(1), "net");
    this.chip = new Rtl8139Chip(host, "eth0", this.segment, GUEST_ADDRESS.slice());
    guest.bus.plug(this.chip, SLOT);
    this.peer = new LanPeer(this.segment);
  }

  /** A guest fresh from boot, the card in its slot, no driver yet. */
  static async make(linux: BootedLinux): Promise<NicLab> {
    return new NicLab(await Guest.restore(linux.files, linux.snapshot));
  }

  /** Lets Linux find the card and loads the driver, with module parameters where `parameters` has any. */
  probe(parameters = ""): void {
    this.expect("echo 1 > /sys/bus/pci/rescan");
    this.expect(`load mii && insmod /modules/8139too.ko ${parameters}`);
  }

  /** ifconfig up. */
  up(): void {
    this.expect(`busybox ifconfig eth0 ${GUEST_IP} netmask 255.255.255.0 up`);
  }

  probeAndUp(): void {
    this.probe();
    this.up();
  }

  /** Runs the program `frames` while the other host feeds it, `window` frames at a time. What it received is kept. */
  exchange(frames: readonly Uint8Array[], window: number): void {
    this.runFrames(makeEvent("lan-peer.feed", () => this.peer.feed(frames, window)));
  }

  /** Runs the program `frames`; `begin` comes when it listens. */
  runFrames(begin: TimerEvent): void {
    const { host, clock } = this.guest;
    host.events.arm(begin, clock.nowNs() + PROGRAM_STARTS_NS);
    this.expect("frames > /tmp/received", 60);
  }

  /** What the program received last. */
  received(): Uint8Array[] {
    const bytes = Buffer.from(this.expect("hexdump -v -e '1/1 \"%02x\"' /tmp/received"), "hex");
    const frames: Uint8Array[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = at + 4 + bytes.readUInt32LE(at);
      frames.push(bytes.subarray(at + 4, end));
      at = end;
    }
    return frames;
  }

  /** Of the program's output; compare with asRecords(). */
  receivedDigest(): string {
    return this.expect("md5sum < /tmp/received").slice(0, 32);
  }

  /** A counter of the interface: "rx_packets", "tx_errors" ... */
  counter(name: string): number {
    return Number(this.expect(`cat /sys/class/net/eth0/statistics/${name}`));
  }
}

/** Frames as the program writes them. */
export function asRecords(frames: readonly Uint8Array[]): Uint8Array {
  const length = (bytes: number): Buffer => Buffer.from(Uint32Array.of(bytes).buffer);
  return Buffer.concat(frames.flatMap((frame) => [length(frame.length), frame]));
}
