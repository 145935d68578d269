// netdump's own C structs and variables in RAM (drivers/net/netdump.h and netdump.c of RHEL 4).
import { listHead, spinlock_t } from "../../../../kernel-sim/abi/structs/base.ts";
import { array, char, int, struct, u32, u64, u8, uint, voidPtr } from "../../../../kernel-sim/abi/types.ts";
import { NR_CPUS } from "../../../format/structs.ts";
import { CHUNK_BYTES, REPLY_HEADER_BYTES } from "../protocol.ts";

export const netdump_req = struct(
  "netdump_req",
  { magic: u64, nr: u32, command: u32, from: u32, to: u32, list: listHead },
  { doc: "a request of the server, waiting its turn (req_t of drivers/net/netdump.h)" },
);

/** The module's variables. A section shown as one struct. */
export const netdump_bss = struct("netdump_bss", {
  netdump_magic: u64,
  req_lock: spinlock_t,
  nr_req: int,
  request_list: listHead,
  netdump_mode: int,
  effective_version: int,
  log_offset: uint,
  log_sent: uint,
  prev_tick: u64,
  netdump_stack: voidPtr,
  cpus_frozen: array(u8, NR_CPUS),
  netpoll_msg: array(u8, REPLY_HEADER_BYTES + CHUNK_BYTES + 3),
  command_tmp: array(char, CHUNK_BYTES),
});
