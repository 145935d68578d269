// Loading the netdump module (init_netdump of drivers/net/netdump.c).
import { pokeWord } from "../../../../kernel-sim/core/words.ts";
import { K } from "../../../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../../../kernel-sim/core/kfunc.ts";
import { printk } from "../../../../kernel-sim/core/printk.ts";
import { poke32 } from "../../../../kernel-sim/abi/ram.ts";
import { netpoll_setup } from "../../../../kernel-sim/net/netpoll.ts";
import { write_netconsole_msg } from "./netconsole.ts";
import { Netdump, netdumpOf, setNetdump } from "./netdump.ts";
import type { NetdumpOptions } from "./parameters.ts";
import { netdump_rx } from "./requests.ts";
import { netpoll_start_netdump } from "./start-netdump.ts";
import { netdump_bss } from "./structs.ts";

const kfunc = moduleFunctions("netdump");

/** modprobe netdump. Returns: the module's state, or undefined when its interface cannot be had. Context: process. */
export const init_netdump = kfunc("init_netdump", function* (options: NetdumpOptions) {
  const known = netdumpOf(K);
  if (known) return known;
  const module = K.modules.load("netdump", { data: 64, bss: netdump_bss });
  const nd: Netdump = new Netdump(K, module, options, (_np, _source, data, bytes) => netdump_rx(nd, data, bytes));
  if ((yield* netpoll_setup(nd.np)) !== 0) return undefined;
  const at = module.bssAt + K.offsetOf(netdump_bss, "netdump_magic");
  if (K.map.model.wordBytes === 8) pokeWord(at, options.magic);
  else {
    poke32(at, Number(options.magic & 0xffffffffn));
    poke32(at + 4, Number(options.magic >> 32n));
  }
  setNetdump(K, nd);
  K.crashdump.netdump = (regs) => netpoll_start_netdump(nd, regs);
  if (options.netconsole) K.console.drivers.push(() => write_netconsole_msg(nd));
  yield* printk("netdump: network crash dump enabled\n", 6);
  return nd;
});
