// The netdump protocol: what a server asks and a dying kernel answers, over UDP (drivers/net/netdump.h of RHEL 3 and 4; the
// names of the codes are Wireshark's, too). Every number is in network byte order.

/** Both ends, unless told otherwise. */
export const NETDUMP_PORT = 6666;
/** The newest version of the protocol that this end speaks. */
export const NETDUMP_VERSION = 4;

export const COMM = {
  NONE: 0,
  SEND_MEM: 1,
  EXIT: 2,
  REBOOT: 3,
  HELLO: 4,
  GET_NR_PAGES: 5,
  GET_PAGE_SIZE: 6,
  START_NETDUMP_ACK: 7,
  GET_REGS: 8,
  SHOW_STATE: 9,
} as const;

export const REPLY = {
  NONE: 0,
  ERROR: 1,
  LOG: 2,
  MEM: 3,
  RESERVED: 4,
  HELLO: 5,
  NR_PAGES: 6,
  PAGE_SIZE: 7,
  START_NETDUMP: 8,
  END_NETDUMP: 9,
  REGS: 10,
  MAGIC: 11,
  SHOW_STATE: 12,
} as const;

/** magic, nr, command, from, to. */
export const REQUEST_BYTES = 24;
/** version, nr, code, info; the last three lie at odd addresses. */
export const REPLY_HEADER_BYTES = 13;
/** A page goes over in pieces of this size. */
export const CHUNK_BYTES = 1024;

/** Server to client. */
export interface NetdumpRequest {
  /** What client and server have agreed on: magic1 | magic2 << 32. */
  readonly magic: bigint;
  /** Comes back in the reply: which request it answers. */
  readonly nr: number;
  readonly command: number;
  /** SEND_MEM: the page frame. START_NETDUMP_ACK: the server's version. */
  readonly from: number;
  readonly to: number;
}

/** Client to server. */
export interface NetdumpReply {
  readonly version: number;
  /** START_NETDUMP: the ELF machine number. Otherwise the request's nr. */
  readonly nr: number;
  readonly code: number;
  /** MEM and LOG: offset. RESERVED: next page frame that is RAM. The number asked for elsewhere. */
  readonly info: number;
  /** At most CHUNK_BYTES. */
  readonly payload: Uint8Array;
}

export function encodeRequest(request: NetdumpRequest): Uint8Array {
  const bytes = new Uint8Array(REQUEST_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, request.magic);
  view.setUint32(8, request.nr);
  view.setUint32(12, request.command);
  view.setUint32(16, request.from);
  view.setUint32(20, request.to);
  return bytes;
}

/** undefined when the datagram is too short for a request. */
export function decodeRequest(bytes: Uint8Array): NetdumpRequest | undefined {
  if (bytes.length < REQUEST_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    magic: view.getBigUint64(0),
    ...{ nr: view.getUint32(8), command: view.getUint32(12), from: view.getUint32(16), to: view.getUint32(20) },
  };
}

/** Throws a RangeError for a payload that the protocol does not carry. */
export function encodeReply(reply: NetdumpReply): Uint8Array {
  if (reply.payload.length > CHUNK_BYTES) {
    throw new RangeError(`netdump: a reply of ${reply.payload.length} bytes; expected at most ${CHUNK_BYTES}`);
  }
  const bytes = new Uint8Array(REPLY_HEADER_BYTES + reply.payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, reply.version);
  view.setUint32(1, reply.nr);
  view.setUint32(5, reply.code);
  view.setUint32(9, reply.info);
  bytes.set(reply.payload, REPLY_HEADER_BYTES);
  return bytes;
}

/** undefined when the datagram is too short or too long for a reply. */
export function decodeReply(bytes: Uint8Array): NetdumpReply | undefined {
  if (bytes.length < REPLY_HEADER_BYTES || bytes.length > REPLY_HEADER_BYTES + CHUNK_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    ...{ version: view.getUint8(0), nr: view.getUint32(1), code: view.getUint32(5), info: view.getUint32(9) },
    payload: bytes.slice(REPLY_HEADER_BYTES),
  };
}

/** What a client says of itself when it starts. */
export interface StartText {
  /** Virtual address of the task that ran. */
  readonly task: bigint;
  readonly pageOffset: bigint;
  readonly magic: bigint;
}

export const startText = ({ task, pageOffset, magic }: StartText): string =>
  `task_struct:0x${task.toString(16)} page_offset:0x${pageOffset.toString(16)} netdump_magic:0x${magic.toString(16)}\n`;

/** undefined when a number lacks or is none. */
export function parseStartText(text: string): StartText | undefined {
  const number = (key: string): bigint | undefined => {
    const found = new RegExp(`(?:^|\\s)${key}:0x([0-9a-f]{1,16})(?=\\s|$)`, "i").exec(text);
    return found ? BigInt(`0x${found[1]!}`) : undefined;
  };
  const [task, pageOffset, magic] = [number("task_struct"), number("page_offset"), number("netdump_magic")];
  if (task === undefined || pageOffset === undefined || magic === undefined) return undefined;
  return { task, pageOffset, magic };
}
