// INQUIRY: who the disk says it is. Standard data and the vital product data pages that Linux reads. [SPC-3 6.4, 7.6]

export interface DiskIdentity {
  /** Up to 8 ASCII characters. */
  readonly vendor: string;
  /** Up to 16. */
  readonly product: string;
  /** Up to 4. */
  readonly revision: string;
  readonly serial: string;
  /** ANSI version byte: 2 = SCSI-2, 3 = SPC, 4 = SPC-2, 5 = SPC-3. */
  readonly version: number;
  /** A parallel bus announces wide, synchronous and DT transfers, which domain validation looks at. */
  readonly transport: "parallel" | "serial";
  /** NAA 5 identifier, 16 hexadecimal digits. */
  readonly worldWideName: string;
}

export const DEFAULT_IDENTITY: DiskIdentity = {
  vendor: "DUMPLAB",
  product: "VIRTUAL-36G-10K",
  revision: "0001",
  serial: "DL00000001",
  version: 3,
  transport: "parallel",
  worldWideName: "5000c50000000001",
};

/** Length of our standard data: reaches past byte 56, where SPI clocking is announced. */
export const STANDARD_INQUIRY_LENGTH = 96;
/** A logical unit number at which there is nothing: qualifier 3, type 1F. */
const NO_LOGICAL_UNIT = 0x7f;

function putText(into: Uint8Array, at: number, length: number, text: string): void {
  for (let i = 0; i < length; i++) into[at + i] = i < text.length ? text.charCodeAt(i) & 0x7f : 0x20;
}

/** Fills standard INQUIRY data, returns its length. */
export function standardInquiry(into: Uint8Array, identity: DiskIdentity, lunExists: boolean): number {
  into.fill(0, 0, STANDARD_INQUIRY_LENGTH);
  into[0] = lunExists ? 0x00 : NO_LOGICAL_UNIT;
  into[2] = identity.version;
  into[3] = 0x02;
  into[4] = STANDARD_INQUIRY_LENGTH - 5;
  const parallel = identity.transport === "parallel";
  into[7] = 0x02 | (parallel ? 0x30 : 0);
  putText(into, 8, 8, identity.vendor);
  putText(into, 16, 16, identity.product);
  putText(into, 32, 4, identity.revision);
  // Bytes 36-55 are vendor specific; drives put the serial number there.
  putText(into, 36, 8, identity.serial);
  // Byte 56: CLOCKING = 11b (ST and DT), QAS, IUS as the fact "SPI DV looks at byte 7 and byte 56".
  if (parallel && identity.version >= 3) into[56] = 0x0c | 0x02 | 0x01;
  return STANDARD_INQUIRY_LENGTH;
}

const PAGES = [0x00, 0x80, 0x83, 0xb0, 0xb1] as const;

/** Fills a vital product data page, returns its length or 0 when we have no such page. */
export function vitalProductData(into: Uint8Array, page: number, identity: DiskIdentity, rpm: number): number {
  into.fill(0, 0, 64);
  into[1] = page;
  let length = 0;
  switch (page) {
    case 0x00:
      PAGES.forEach((known, i) => (into[4 + i] = known));
      length = PAGES.length;
      break;
    case 0x80:
      length = identity.serial.length;
      putText(into, 4, length, identity.serial);
      break;
    case 0x83: {
      // One NAA designator (binary), one T10 vendor identification (ASCII): vendor and serial number.
      into.set([0x01, 0x03, 0x00, 0x08], 4);
      for (let i = 0; i < 8; i++) into[8 + i] = parseInt(identity.worldWideName.slice(i * 2, i * 2 + 2), 16);
      const serialLength = Math.min(identity.serial.length, 32);
      into.set([0x02, 0x01, 0x00, 8 + serialLength], 16);
      putText(into, 20, 8, identity.vendor);
      putText(into, 28, serialLength, identity.serial);
      length = 12 + 4 + 8 + serialLength;
      break;
    }
    case 0xb0:
      // Block limits: none of them is limited. [SBC-3 6.5.3]
      length = 0x3c;
      break;
    case 0xb1:
      // Block device characteristics: medium rotation rate. [SBC-3 6.5.2]
      length = 0x3c;
      into[4] = (rpm >> 8) & 0xff;
      into[5] = rpm & 0xff;
      break;
    default:
      return 0;
  }
  into[2] = length >> 8;
  into[3] = length & 0xff;
  return 4 + length;
}
