// LKCD's dialect of the netdump protocol (include/linux/dump_netdev.h): the same datagrams, written the other way round. The dying
// kernel pushes its dump page by page: it says at which offset of the file it stands, the server asks for the page (SEND_MEM, as
// often as need be), and lets it go on (START_WRITE_NETDUMP_ACK).
import { COMM, REPLY } from "../../netdump/protocol.ts";

/** Both ends, unless told otherwise. */
export const LKCD_PORT = 6688;
/** NETCONSOLE_VERSION: the first byte of what the client says. */
export const LKCD_NET_VERSION = 3;

/** Server to client. REBOOT and GET_REGS have numbers there, and nobody who answers them. */
export const LKCD_COMM = {
  ...{ NONE: COMM.NONE, SEND_MEM: COMM.SEND_MEM, EXIT: COMM.EXIT, HELLO: COMM.HELLO },
  ...{ GET_NR_PAGES: COMM.GET_NR_PAGES, GET_PAGE_SIZE: COMM.GET_PAGE_SIZE },
  ...{ START_NETDUMP_ACK: COMM.START_NETDUMP_ACK, GET_MAGIC: 9, START_WRITE_NETDUMP_ACK: 10 },
} as const;

/** Client to server. */
export const LKCD_REPLY = {
  ...{ ERROR: REPLY.ERROR, MEM: REPLY.MEM, HELLO: REPLY.HELLO, NR_PAGES: REPLY.NR_PAGES },
  ...{ PAGE_SIZE: REPLY.PAGE_SIZE, START_NETDUMP: REPLY.START_NETDUMP, END_NETDUMP: REPLY.END_NETDUMP },
  ...{ MAGIC: REPLY.MAGIC, START_WRITE_NETDUMP: 12 },
} as const;
