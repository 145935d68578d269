// Requests of the server, from netpoll's hook to the loop that answers them: a list in RAM, in memory from the slab.
import { cpu, step, type Running } from "../../../../emulator/cpu/cpu.ts";
import { M } from "../../../../kernel-sim/abi/ram.ts";
import { K } from "../../../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../../../kernel-sim/core/kfunc.ts";
import { list_add_tail, list_del } from "../../../../kernel-sim/core/list.ts";
import { printk } from "../../../../kernel-sim/core/printk.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "../../../../kernel-sim/core/spinlock.ts";
import { GFP_ATOMIC } from "../../../../kernel-sim/mm/page-alloc.ts";
import { kfree, kmalloc } from "../../../../kernel-sim/mm/slab.ts";
import { REQUEST_BYTES, decodeRequest } from "../protocol.ts";
import type { Netdump, NetdumpRequestView } from "./netdump.ts";
import { netdump_req } from "./structs.ts";

const kfunc = moduleFunctions("netdump");

/** A datagram of the server. Only looked at while the machine dumps. Context: any; the interface's rx_lock is held. */
export const netdump_rx = kfunc("netdump_rx", function* (nd: Netdump, data: number, bytes: number) {
  if (!nd.mode || bytes < REQUEST_BYTES) return;
  const heard = decodeRequest(M.u8.subarray(data, data + bytes))!;
  if (nd.options.checksMagic && heard.magic !== nd.options.magic) {
    nd.record.refusedRequests++;
    return;
  }
  const addr = yield* kmalloc(K.sizeOf(netdump_req), GFP_ATOMIC);
  if (addr === 0) {
    yield* printk("no more RAM to allocate request - dropping it.\n", 4);
    return;
  }
  const s = K.view(netdump_req, addr);
  s.nr = heard.nr;
  s.command = heard.command;
  s.from = heard.from;
  s.to = heard.to;
  const flags = yield* spin_lock_irqsave(nd.reqLock);
  list_add_tail(addr + K.offsetOf(netdump_req, "list"), nd.requestsHead);
  nd.requests.push({ s, addr });
  nd.bss.nr_req = nd.requests.length;
  yield* spin_unlock_irqrestore(nd.reqLock, flags);
});

/** Moves jiffies on by the time that has passed: nobody else does, with interrupts off. */
function update_jiffies(nd: Netdump): void {
  const { time } = K;
  const ticks = Math.floor((cpu.clock - nd.bss.prev_tick) / time.tickNs);
  if (ticks <= 0) return;
  nd.bss.prev_tick = nd.bss.prev_tick + ticks * time.tickNs;
  time.setJiffies(time.jiffies + ticks);
}

/** Takes the oldest request; undefined when there is none. The caller frees it. */
export const get_new_req = kfunc("get_new_req", function* (nd: Netdump) {
  update_jiffies(nd);
  const flags = yield* spin_lock_irqsave(nd.reqLock);
  const req = nd.requests.shift();
  if (req) {
    list_del(req.addr + K.offsetOf(netdump_req, "list"));
    nd.bss.nr_req = nd.requests.length;
  }
  yield* spin_unlock_irqrestore(nd.reqLock, flags);
  return req;
});

export function free_req(req: NetdumpRequestView): Running {
  step(2);
  return kfree(req.addr);
}
