// The variables of dump_netdev (drivers/dump/dump_netdev.c).
import { array, char, int, struct, u64, uint } from "../../../../kernel-sim/abi/types.ts";
import { CHUNK_BYTES, REPLY_HEADER_BYTES } from "../../netdump/protocol.ts";

export const dump_netdev_bss = struct("dump_netdev_bss", {
  startup_handshake: int,
  /** Never counted up; the server can ask for it. */
  page_counter: int,
  netdump_in_progress: int,
  flags_global: int,
  /** Drawn when the module is loaded; the server asks for it. Its bytes are what goes over the wire. */
  dump_magic: u64,
  /** One request: the next one that comes takes its place. */
  new_req: int,
  req_nr: uint,
  req_command: uint,
  req_from: uint,
  req_to: uint,
  netdump_membuf: array(char, CHUNK_BYTES + REPLY_HEADER_BYTES + 1),
});
