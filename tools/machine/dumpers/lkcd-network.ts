// LKCD's network method on a trial's machine: DUMPDEV=eth0, TARGET_HOST, ETH_ADDRESS.
import type { Running } from "../../../emulator/cpu/cpu.ts";
import { dump_net_open } from "../../../diskdump/peers/lkcd/net/netdev.ts";
import { UsageError } from "../../../diskdump/userspace/errors.ts";
import type { Lab } from "../lab.ts";
import { CLIENT_IP, SERVER_IP, SERVER_MAC } from "../network.ts";
import type { OpenDevice } from "./lkcd.ts";
import { bring_up_nic } from "./netdump.ts";

/** Brings the interface up. Returns: what opens it for the dump. */
export function* lkcd_network_of(lab: Lab): Running<OpenDevice> {
  if (!lab.hardware.network) throw new UsageError("LKCD: the machine is on no network");
  yield* bring_up_nic(lab);
  const addresses = { device: "eth0", localIp: CLIENT_IP, remoteIp: SERVER_IP, remoteMac: SERVER_MAC };
  return () => dump_net_open(addresses);
}
