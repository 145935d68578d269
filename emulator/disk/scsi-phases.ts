// The phases and messages of a parallel SCSI bus, as data. [SPI-3 11 and 16; SCSI-2 6.2 and 6.6]

/** A phase as the lines MSG, C/D and I/O say it (4, 2, 1). */
export const PHASE = {
  dataOut: 0,
  dataIn: 1,
  command: 2,
  status: 3,
  /** Data phases in which both edges of REQ and ACK clock data. [SPI-3 11] */
  dtDataOut: 4,
  dtDataIn: 5,
  messageOut: 6,
  messageIn: 7,
} as const;

export const PHASE_NAMES: readonly string[] = [
  "DATA OUT",
  "DATA IN",
  "COMMAND",
  "STATUS",
  "DT DATA OUT",
  "DT DATA IN",
  "MESSAGE OUT",
  "MESSAGE IN",
];

/** ST and DT alike: C/D is off in data phases only. */
export const isDataPhase = (phase: number): boolean => (phase & 2) === 0;
export const isDataInPhase = (phase: number): boolean => (phase & 3) === 1;

export const MESSAGE = {
  commandComplete: 0x00,
  extended: 0x01,
  saveDataPointer: 0x02,
  restorePointers: 0x03,
  disconnect: 0x04,
  initiatorDetectedError: 0x05,
  abort: 0x06,
  reject: 0x07,
  noOperation: 0x08,
  parityError: 0x09,
  busDeviceReset: 0x0c,
  abortTag: 0x0d,
  clearQueue: 0x0e,
  simpleQueueTag: 0x20,
  headOfQueueTag: 0x21,
  orderedQueueTag: 0x22,
  ignoreWideResidue: 0x23,
  identify: 0x80,
} as const;

export const IDENTIFY_DISCONNECT = 0x40;
const IDENTIFY_LUN = 0x3f;

export const lunOfIdentify = (message: number): number => message & IDENTIFY_LUN;

/** Third byte of an extended message. */
export const EXTENDED = { synchronous: 0x01, wide: 0x03, parallelProtocol: 0x04 } as const;

/** Protocol options of PARALLEL PROTOCOL REQUEST: DT clocking. The others (QAS, information units) are nobody's here. */
export const PPR_DT = 0x02;

/** Bytes of the message that begins with these; 0 while that cannot be told yet. [SPI-3 16.2] */
export function messageLength(first: number, second: number | undefined): number {
  if (first === MESSAGE.extended) return second === undefined ? 0 : 2 + (second === 0 ? 256 : second);
  return first >= 0x20 && first <= 0x2f ? 2 : 1;
}

/** Bytes of a command descriptor block, by its group code; groups 3, 6 and 7 are not ours to know: 10 as most drives do. */
export function descriptorLength(opcode: number): number {
  switch (opcode >> 5) {
    case 0:
      return 6;
    case 4:
      return 16;
    case 5:
      return 12;
    default:
      return 10;
  }
}
