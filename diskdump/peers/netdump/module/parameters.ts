// What the netdump module is told when it is loaded: its parameters (modinfo netdump), and how it differs between releases.
import { NETDUMP_PORT } from "../protocol.ts";

export interface NetdumpOptions {
  /** The interface. */
  readonly device: string;
  /** "192.168.0.7"; six bytes; ports. */
  readonly localIp: string;
  readonly remoteIp: string;
  readonly remoteMac: Uint8Array;
  readonly localPort: number;
  readonly remotePort: number;
  /** magic1 | magic2 << 32: what client and server have exchanged beforehand. */
  readonly magic: bigint;
  /**
   * Whether requests with another magic number are dropped. LKCD's network dump does so; RHEL 3's netconsole.c and RHEL 4's
   * netdump.c look at commands only.
   */
  readonly checksMagic: boolean;
  /** Whether what printk says is sent to the server as it is said, as RHEL 3's netconsole does. */
  readonly netconsole: boolean;
  /** How the other CPUs are stopped. */
  readonly freeze: "ipi" | "nmi";
}

export const DEFAULT_NETDUMP: Omit<NetdumpOptions, "localIp" | "remoteIp" | "remoteMac"> = {
  ...{ device: "eth0", localPort: NETDUMP_PORT, remotePort: NETDUMP_PORT },
  ...{ magic: 0n, checksMagic: false, netconsole: true, freeze: "ipi" },
};
