// The system interface registers of an LSI Fusion-MPT controller (MPI 1.x), as data. Names are the manual's.
import { defineRegisters, namesByOffset } from "../../emulator/bus/registers.ts";

/** Bus addresses of the window: I/O BAR and the first memory BAR show the same registers. */
export const MPT_IO_BAR = 0;
export const MPT_MEMORY_BAR = 1;
export const MPT_DIAGNOSTIC_BAR = 2;

// Doorbell, read: [31:28] IOC state, [27] handshake active, [26:24] WhoInit, [15:0] handshake word or fault code.
export const MPI_IOC_STATE_MASK = 0xf0000000;
export const MPI_IOC_STATE_SHIFT = 28;
export const MPI_IOC_STATE_RESET = 0x00000000;
export const MPI_IOC_STATE_READY = 0x10000000;
export const MPI_IOC_STATE_OPERATIONAL = 0x20000000;
export const MPI_IOC_STATE_FAULT = 0x40000000;
export const MPI_DOORBELL_ACTIVE = 0x08000000;
export const MPI_DOORBELL_WHO_INIT_MASK = 0x07000000;
export const MPI_DOORBELL_WHO_INIT_SHIFT = 24;
export const MPI_DOORBELL_DATA_MASK = 0x0000ffff;
// Doorbell, write: [31:24] function, [23:16] dwords that follow, [15:12] host page buffer operation.
export const MPI_DOORBELL_FUNCTION_SHIFT = 24;
export const MPI_DOORBELL_ADD_DWORDS_MASK = 0x00ff0000;
export const MPI_DOORBELL_ADD_DWORDS_SHIFT = 16;
export const MPI_FUNCTION_IOC_MESSAGE_UNIT_RESET = 0x40;
export const MPI_FUNCTION_IO_UNIT_RESET = 0x41;
export const MPI_FUNCTION_HANDSHAKE = 0x42;
export const MPI_FUNCTION_REPLY_FRAME_REMOVAL = 0x43;
export const MPI_FUNCTION_HOST_PAGEBUF_ACCESS_CONTROL = 0x44;

/** Written in this order (only the low nibble counts) they open the diagnostic register; FF first flushes the machine. */
export const MPI_WRSEQ_KEYS = [0x04, 0x0b, 0x02, 0x07, 0x0d] as const;
export const MPI_WRSEQ_FLUSH = 0xff;

export const MPI_DIAG_CLEAR_FLASH_BAD_SIG = 0x400;
export const MPI_DIAG_PREVENT_IOC_BOOT = 0x200;
export const MPI_DIAG_DRWE = 0x80;
export const MPI_DIAG_FLASH_BAD_SIG = 0x40;
export const MPI_DIAG_RESET_HISTORY = 0x20;
export const MPI_DIAG_RW_ENABLE = 0x10;
export const MPI_DIAG_RESET_ADAPTER = 0x04;
export const MPI_DIAG_DISABLE_ARM = 0x02;
export const MPI_DIAG_MEM_ENABLE = 0x01;

/** The IOC has not yet taken the host's last doorbell write. */
export const MPI_HIS_IOP_DOORBELL_STATUS = 0x80000000;
export const MPI_HIS_REPLY_MESSAGE_INTERRUPT = 0x08;
export const MPI_HIS_DOORBELL_INTERRUPT = 0x01;
export const MPI_HIM_RIM = 0x08;
export const MPI_HIM_DIM = 0x01;

/** Reply descriptors: all ones = none; bit 31 = address of a reply frame, shifted right by one; else a context. */
export const MPI_REPLY_EMPTY = 0xffffffff;
export const MPI_ADDRESS_REPLY_A_BIT = 0x80000000;
export const MPI_CONTEXT_REPLY_TYPE_MASK = 0x60000000;

const facts = "facts hba/mptfusion.md section 2 (MPI 1.x, Linux mpi.h)";

export const MPT_REGISTERS = defineRegisters("mptfusion", {
  Doorbell: {
    offset: 0x00,
    size: 4,
    reset: MPI_IOC_STATE_READY,
    writable: 0,
    bits: {
      IOC_STATE: MPI_IOC_STATE_MASK,
      ACTIVE: MPI_DOORBELL_ACTIVE,
      WHO_INIT: MPI_DOORBELL_WHO_INIT_MASK,
      DATA: MPI_DOORBELL_DATA_MASK,
    },
    source: facts,
  },
  WriteSequence: { offset: 0x04, size: 4, reset: 0, writable: 0, bits: { KEY: 0x0f }, source: facts },
  Diagnostic: {
    offset: 0x08,
    size: 4,
    reset: 0,
    writable: 0x437,
    bits: {
      CLEAR_FLASH_BAD_SIG: MPI_DIAG_CLEAR_FLASH_BAD_SIG,
      PREVENT_IOC_BOOT: MPI_DIAG_PREVENT_IOC_BOOT,
      DRWE: MPI_DIAG_DRWE,
      FLASH_BAD_SIG: MPI_DIAG_FLASH_BAD_SIG,
      RESET_HISTORY: MPI_DIAG_RESET_HISTORY,
      DIAG_RW_ENABLE: MPI_DIAG_RW_ENABLE,
      RESET_ADAPTER: MPI_DIAG_RESET_ADAPTER,
      DISABLE_ARM: MPI_DIAG_DISABLE_ARM,
      MEM_ENABLE: MPI_DIAG_MEM_ENABLE,
    },
    source: facts,
  },
  TestBase: { offset: 0x0c, size: 4, reset: 0, writable: 0, source: `${facts}; unused by drivers, not modelled` },
  DiagRwData: { offset: 0x10, size: 4, reset: 0, writable: 0, source: `${facts}; firmware download, not modelled` },
  DiagRwAddress: { offset: 0x14, size: 4, reset: 0, writable: 0, source: `${facts}; firmware download, not modelled` },
  /** Any write clears bit 0 (and nothing else); bit 3 falls when a read of ReplyFifo found it empty. */
  IntStatus: {
    offset: 0x30,
    size: 4,
    reset: 0,
    writable: 0,
    bits: {
      IOP_DOORBELL_STATUS: MPI_HIS_IOP_DOORBELL_STATUS,
      REPLY_MESSAGE_INTERRUPT: MPI_HIS_REPLY_MESSAGE_INTERRUPT,
      DOORBELL_INTERRUPT: MPI_HIS_DOORBELL_INTERRUPT,
    },
    source: facts,
  },
  IntMask: {
    offset: 0x34,
    size: 4,
    reset: 0x9,
    writable: 0x9,
    bits: { RIM: MPI_HIM_RIM, DIM: MPI_HIM_DIM },
    source: facts,
  },
  /** Write only: bus address of a request frame; the low three bits are a size hint. */
  RequestFifo: { offset: 0x40, size: 4, reset: 0, writable: 0, source: facts },
  /** Write: a free reply frame. Read (with side effect): takes the next reply descriptor, FFFFFFFF when there is none. */
  ReplyFifo: { offset: 0x44, size: 4, reset: MPI_REPLY_EMPTY, writable: 0, source: facts },
  /** Write only, and only when IOCFacts announces the capability. */
  RequestHiPriFifo: { offset: 0x48, size: 4, reset: 0, writable: 0, source: facts },
});

/** Offsets by name: `readl(MPI.IntStatus)`. */
export const MPI = {
  Doorbell: 0x00,
  WriteSequence: 0x04,
  Diagnostic: 0x08,
  TestBase: 0x0c,
  DiagRwData: 0x10,
  DiagRwAddress: 0x14,
  IntStatus: 0x30,
  IntMask: 0x34,
  RequestFifo: 0x40,
  ReplyFifo: 0x44,
  RequestHiPriFifo: 0x48,
} as const satisfies { [Name in keyof typeof MPT_REGISTERS]: number };

export const MPT_REGISTER_NAMES: ReadonlyMap<number, string> = namesByOffset(MPT_REGISTERS);
