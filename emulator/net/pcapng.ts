// A capture of Ethernet frames as pcapng, which Wireshark and tshark read. [IETF draft-ietf-opsawg-pcapng, sections 4.1 to 4.3]
const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const LINKTYPE_ETHERNET = 1;
const OPTION_END = 0;
const OPTION_NAME = 2;
const OPTION_RESOLUTION = 9;
/** if_tsresol: times count 10^-9 s. */
const NANOSECONDS = 9;
const UNKNOWN_LENGTH = 0xffffffff;

const padded = (bytes: number): number => Math.ceil(bytes / 4) * 4;

/** Type, length, body padded to 32 bits, length again; little endian throughout. */
function block(type: number, body: Uint8Array): Uint8Array {
  const length = 12 + padded(body.length);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  bytes.set(body, 8);
  view.setUint32(length - 4, length, true);
  return bytes;
}

function option(code: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + padded(value.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, value.length, true);
  bytes.set(value, 4);
  return bytes;
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((total, { length }) => total + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

export class PcapngCapture {
  private readonly blocks: Uint8Array[] = [];
  /** Frames so far. */
  frames = 0;

  /** @param interfaceName ASCII, as Wireshark shows it: "eth0" */
  constructor(interfaceName: string) {
    const section = new DataView(new ArrayBuffer(16));
    section.setUint32(0, BYTE_ORDER_MAGIC, true);
    section.setUint16(4, 1, true);
    section.setUint32(8, UNKNOWN_LENGTH, true);
    section.setUint32(12, UNKNOWN_LENGTH, true);
    const link = new DataView(new ArrayBuffer(8));
    link.setUint16(0, LINKTYPE_ETHERNET, true);
    const name = Uint8Array.from(interfaceName, (character) => character.charCodeAt(0) & 0x7f);
    this.blocks.push(
      block(SECTION_HEADER, new Uint8Array(section.buffer)),
      block(
        INTERFACE_DESCRIPTION,
        join([
          new Uint8Array(link.buffer),
          option(OPTION_NAME, name),
          option(OPTION_RESOLUTION, Uint8Array.of(NANOSECONDS)),
          option(OPTION_END, new Uint8Array()),
        ]),
      ),
    );
  }

  /** A frame without check sequence at `ns` nanoseconds; the bytes are copied. */
  add(frame: Uint8Array, ns: number): void {
    const body = new Uint8Array(20 + frame.length);
    const view = new DataView(body.buffer);
    view.setUint32(4, Math.floor(ns / 2 ** 32), true);
    view.setUint32(8, ns % 2 ** 32, true);
    view.setUint32(12, frame.length, true);
    view.setUint32(16, frame.length, true);
    body.set(frame, 20);
    this.blocks.push(block(ENHANCED_PACKET, body));
    this.frames++;
  }

  /** The file as it stands now. */
  bytes(): Uint8Array {
    return join(this.blocks);
  }
}
