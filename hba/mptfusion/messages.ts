// MPI 1.x messages as the host and the controller share them: byte offsets per message, function and status codes.
// Every field is little endian and naturally aligned. Message and field names are those of the MPI headers.
// Source: facts hba/mptfusion.md sections 4-6 (offsets computed from the MPI headers by a compiler).

export const MPI_FUNCTION_SCSI_IO_REQUEST = 0x00;
export const MPI_FUNCTION_SCSI_TASK_MGMT = 0x01;
export const MPI_FUNCTION_IOC_INIT = 0x02;
export const MPI_FUNCTION_IOC_FACTS = 0x03;
export const MPI_FUNCTION_CONFIG = 0x04;
export const MPI_FUNCTION_PORT_FACTS = 0x05;
export const MPI_FUNCTION_PORT_ENABLE = 0x06;
export const MPI_FUNCTION_EVENT_NOTIFICATION = 0x07;
export const MPI_FUNCTION_EVENT_ACK = 0x08;

export const MPI_WHOINIT_NO_ONE = 0x00;
export const MPI_WHOINIT_HOST_DRIVER = 0x04;

export const MPI_IOCSTATUS_MASK = 0x7fff;
export const MPI_IOCSTATUS_FLAG_LOG_INFO_AVAILABLE = 0x8000;
export const MPI_IOCSTATUS_SUCCESS = 0x00;
export const MPI_IOCSTATUS_INVALID_FUNCTION = 0x01;
export const MPI_IOCSTATUS_BUSY = 0x02;
export const MPI_IOCSTATUS_INVALID_SGL = 0x03;
export const MPI_IOCSTATUS_INTERNAL_ERROR = 0x04;
export const MPI_IOCSTATUS_INSUFFICIENT_RESOURCES = 0x06;
export const MPI_IOCSTATUS_INVALID_FIELD = 0x07;
export const MPI_IOCSTATUS_INVALID_STATE = 0x08;
export const MPI_IOCSTATUS_CONFIG_INVALID_ACTION = 0x20;
export const MPI_IOCSTATUS_CONFIG_INVALID_TYPE = 0x21;
export const MPI_IOCSTATUS_CONFIG_INVALID_PAGE = 0x22;
export const MPI_IOCSTATUS_CONFIG_INVALID_DATA = 0x23;
export const MPI_IOCSTATUS_CONFIG_NO_DEFAULTS = 0x24;
export const MPI_IOCSTATUS_CONFIG_CANT_COMMIT = 0x25;
export const MPI_IOCSTATUS_SCSI_RECOVERED_ERROR = 0x40;
export const MPI_IOCSTATUS_SCSI_INVALID_BUS = 0x41;
export const MPI_IOCSTATUS_SCSI_INVALID_TARGETID = 0x42;
export const MPI_IOCSTATUS_SCSI_DEVICE_NOT_THERE = 0x43;
export const MPI_IOCSTATUS_SCSI_DATA_OVERRUN = 0x44;
export const MPI_IOCSTATUS_SCSI_DATA_UNDERRUN = 0x45;
export const MPI_IOCSTATUS_SCSI_IO_DATA_ERROR = 0x46;
export const MPI_IOCSTATUS_SCSI_PROTOCOL_ERROR = 0x47;
export const MPI_IOCSTATUS_SCSI_TASK_TERMINATED = 0x48;
export const MPI_IOCSTATUS_SCSI_RESIDUAL_MISMATCH = 0x49;
export const MPI_IOCSTATUS_SCSI_TASK_MGMT_FAILED = 0x4a;
export const MPI_IOCSTATUS_SCSI_IOC_TERMINATED = 0x4b;
export const MPI_IOCSTATUS_SCSI_EXT_TERMINATED = 0x4c;

/** The reply is one of several to its request: the request frame stays the IOC's. */
export const MPI_MSGFLAGS_CONTINUATION_REPLY = 0x80;

export const IOCInit = {
  WhoInit: 0x00,
  ChainOffset: 0x02,
  Function: 0x03,
  Flags: 0x04,
  MaxDevices: 0x05,
  MaxBuses: 0x06,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  ReplyFrameSize: 0x0c,
  HostMfaHighAddr: 0x10,
  SenseBufferHighAddr: 0x14,
  ReplyFifoHostSignalingAddr: 0x18,
  HostPageBufferSGE: 0x1c,
  MsgVersion: 0x28,
  HeaderVersion: 0x2a,
  /** Bytes of the message as of MPI 1.2; 1.0 and 1.1 end at 0x18. */
  bytes: 0x2c,
} as const;

export const IOCFacts = { ChainOffset: 0x02, Function: 0x03, MsgFlags: 0x07, MsgContext: 0x08, bytes: 0x0c } as const;

export const IOCFactsReply = {
  MsgVersion: 0x00,
  MsgLength: 0x02,
  Function: 0x03,
  HeaderVersion: 0x04,
  IOCNumber: 0x06,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  IOCExceptions: 0x0c,
  IOCStatus: 0x0e,
  IOCLogInfo: 0x10,
  MaxChainDepth: 0x14,
  WhoInit: 0x15,
  BlockSize: 0x16,
  Flags: 0x17,
  ReplyQueueDepth: 0x18,
  /** Dwords. */
  RequestFrameSize: 0x1a,
  ProductID: 0x1e,
  CurrentHostMfaHighAddr: 0x20,
  GlobalCredits: 0x24,
  NumberOfPorts: 0x26,
  EventState: 0x27,
  CurrentSenseBufferHighAddr: 0x28,
  CurReplyFrameSize: 0x2c,
  MaxDevices: 0x2e,
  MaxBuses: 0x2f,
  FWImageSize: 0x30,
  IOCCapabilities: 0x34,
  FWVersion: 0x38,
  HighPriorityQueueDepth: 0x3c,
  HostPageBufferSGE: 0x40,
  ReplyFifoHostSignalingAddr: 0x4c,
  bytes: 0x50,
} as const;
export const MPI_IOCFACTS_CAPABILITY_HIGH_PRI_Q = 0x01;

export const PortFacts = {
  ChainOffset: 0x02,
  Function: 0x03,
  PortNumber: 0x06,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  bytes: 0x0c,
} as const;

export const PortFactsReply = {
  MsgLength: 0x02,
  Function: 0x03,
  PortNumber: 0x06,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  IOCStatus: 0x0e,
  IOCLogInfo: 0x10,
  PortType: 0x15,
  MaxDevices: 0x16,
  PortSCSIID: 0x18,
  ProtocolFlags: 0x1a,
  MaxPostedCmdBuffers: 0x1c,
  MaxPersistentIDs: 0x1e,
  MaxLanBuckets: 0x20,
  MaxInitiators: 0x22,
  bytes: 0x28,
} as const;
export const MPI_PORTFACTS_PORTTYPE_INACTIVE = 0x00;
export const MPI_PORTFACTS_PORTTYPE_SCSI = 0x01;
export const MPI_PORTFACTS_PORTTYPE_FC = 0x10;
export const MPI_PORTFACTS_PORTTYPE_SAS = 0x30;
export const MPI_PORTFACTS_PROTOCOL_INITIATOR = 0x08;

export const PortEnable = PortFacts;
export const PortEnableReply = {
  MsgLength: 0x02,
  Function: 0x03,
  PortNumber: 0x06,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  IOCStatus: 0x0e,
  IOCLogInfo: 0x10,
  bytes: 0x14,
} as const;

export const MPIDefaultReply = {
  MsgLength: 0x02,
  Function: 0x03,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  IOCStatus: 0x0e,
  IOCLogInfo: 0x10,
  bytes: 0x14,
} as const;

export const Config = {
  Action: 0x00,
  ChainOffset: 0x02,
  Function: 0x03,
  ExtPageLength: 0x04,
  ExtPageType: 0x06,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  PageVersion: 0x14,
  PageLength: 0x15,
  PageNumber: 0x16,
  PageType: 0x17,
  PageAddress: 0x18,
  PageBufferSGE: 0x1c,
  bytes: 0x28,
} as const;

export const ConfigReply = {
  Action: 0x00,
  MsgLength: 0x02,
  Function: 0x03,
  ExtPageLength: 0x04,
  ExtPageType: 0x06,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  IOCStatus: 0x0e,
  IOCLogInfo: 0x10,
  PageVersion: 0x14,
  PageLength: 0x15,
  PageNumber: 0x16,
  PageType: 0x17,
  bytes: 0x18,
} as const;
export const MPI_CONFIG_ACTION_PAGE_HEADER = 0;
export const MPI_CONFIG_ACTION_PAGE_READ_CURRENT = 1;
export const MPI_CONFIG_ACTION_PAGE_WRITE_CURRENT = 2;
export const MPI_CONFIG_ACTION_PAGE_DEFAULT = 3;
export const MPI_CONFIG_ACTION_PAGE_WRITE_NVRAM = 4;
export const MPI_CONFIG_ACTION_PAGE_READ_DEFAULT = 5;
export const MPI_CONFIG_ACTION_PAGE_READ_NVRAM = 6;

export const MPI_CONFIG_PAGETYPE_IO_UNIT = 0x00;
export const MPI_CONFIG_PAGETYPE_IOC = 0x01;
export const MPI_CONFIG_PAGETYPE_SCSI_PORT = 0x03;
export const MPI_CONFIG_PAGETYPE_SCSI_DEVICE = 0x04;
export const MPI_CONFIG_PAGETYPE_MANUFACTURING = 0x09;
export const MPI_CONFIG_PAGETYPE_EXTENDED = 0x0f;
export const MPI_CONFIG_PAGETYPE_MASK = 0x0f;
export const MPI_CONFIG_PAGEATTR_READ_ONLY = 0x00;
export const MPI_CONFIG_PAGEATTR_CHANGEABLE = 0x10;
export const MPI_CONFIG_PAGEATTR_PERSISTENT = 0x20;
export const MPI_CONFIG_PAGEATTR_RO_PERSISTENT = 0x30;
export const MPI_CONFIG_EXTPAGETYPE_SAS_IO_UNIT = 0x10;
export const MPI_CONFIG_EXTPAGETYPE_SAS_EXPANDER = 0x11;
export const MPI_CONFIG_EXTPAGETYPE_SAS_DEVICE = 0x12;
export const MPI_CONFIG_EXTPAGETYPE_SAS_PHY = 0x13;
export const MPI_CONFIG_EXTPAGETYPE_ENCLOSURE = 0x15;

export const SCSIIORequest = {
  TargetID: 0x00,
  Bus: 0x01,
  ChainOffset: 0x02,
  Function: 0x03,
  CDBLength: 0x04,
  SenseBufferLength: 0x05,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  LUN: 0x0c,
  Control: 0x14,
  CDB: 0x18,
  DataLength: 0x28,
  SenseBufferLowAddr: 0x2c,
  SGL: 0x30,
  /** Bytes with one 64-bit simple element. */
  bytes: 0x3c,
} as const;
export const MPI_SCSIIO_MSGFLGS_SENSE_WIDTH_64 = 0x01;
export const MPI_SCSIIO_CONTROL_DATADIRECTION_MASK = 0x03000000;
export const MPI_SCSIIO_CONTROL_NODATATRANSFER = 0x00000000;
export const MPI_SCSIIO_CONTROL_WRITE = 0x01000000;
export const MPI_SCSIIO_CONTROL_READ = 0x02000000;
export const MPI_SCSIIO_CONTROL_ADDCDBLEN_MASK = 0xfc000000;
export const MPI_SCSIIO_CONTROL_TASKATTRIBUTE_MASK = 0x700;
export const MPI_SCSIIO_CONTROL_SIMPLEQ = 0x000;
export const MPI_SCSIIO_CONTROL_HEADOFQ = 0x100;
export const MPI_SCSIIO_CONTROL_ORDEREDQ = 0x200;
export const MPI_SCSIIO_CONTROL_UNTAGGED = 0x500;

export const SCSIIOReply = {
  TargetID: 0x00,
  Bus: 0x01,
  MsgLength: 0x02,
  Function: 0x03,
  CDBLength: 0x04,
  SenseBufferLength: 0x05,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  SCSIStatus: 0x0c,
  SCSIState: 0x0d,
  IOCStatus: 0x0e,
  IOCLogInfo: 0x10,
  TransferCount: 0x14,
  SenseCount: 0x18,
  ResponseInfo: 0x1c,
  TaskTag: 0x20,
  bytes: 0x24,
} as const;
export const MPI_SCSI_STATE_AUTOSENSE_VALID = 0x01;
export const MPI_SCSI_STATE_AUTOSENSE_FAILED = 0x02;
export const MPI_SCSI_STATE_NO_SCSI_STATUS = 0x04;
export const MPI_SCSI_STATE_TERMINATED = 0x08;
export const MPI_SCSI_STATE_RESPONSE_INFO_VALID = 0x10;
export const MPI_SCSI_STATE_QUEUE_TAG_REJECTED = 0x20;

export const SCSITaskMgmt = {
  TargetID: 0x00,
  Bus: 0x01,
  ChainOffset: 0x02,
  Function: 0x03,
  TaskType: 0x05,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  LUN: 0x0c,
  TaskMsgContext: 0x30,
  bytes: 0x34,
} as const;
export const MPI_SCSITASKMGMT_TASKTYPE_ABORT_TASK = 1;
export const MPI_SCSITASKMGMT_TASKTYPE_ABRT_TASK_SET = 2;
export const MPI_SCSITASKMGMT_TASKTYPE_TARGET_RESET = 3;
export const MPI_SCSITASKMGMT_TASKTYPE_RESET_BUS = 4;
export const MPI_SCSITASKMGMT_TASKTYPE_LOGICAL_UNIT_RESET = 5;
export const MPI_SCSITASKMGMT_TASKTYPE_CLEAR_TASK_SET = 6;

export const SCSITaskMgmtReply = {
  TargetID: 0x00,
  Bus: 0x01,
  MsgLength: 0x02,
  Function: 0x03,
  ResponseCode: 0x04,
  TaskType: 0x05,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  IOCStatus: 0x0e,
  IOCLogInfo: 0x10,
  TerminationCount: 0x14,
  bytes: 0x18,
} as const;
export const MPI_SCSITASKMGMT_RSP_TM_COMPLETE = 0x00;
export const MPI_SCSITASKMGMT_RSP_TM_NOT_SUPPORTED = 0x04;
export const MPI_SCSITASKMGMT_RSP_TM_FAILED = 0x05;
export const MPI_SCSITASKMGMT_RSP_TM_SUCCEEDED = 0x08;

export const EventNotification = {
  Switch: 0x00,
  ChainOffset: 0x02,
  Function: 0x03,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  bytes: 0x0c,
} as const;

export const EventNotificationReply = {
  /** Dwords of Data. */
  EventDataLength: 0x00,
  MsgLength: 0x02,
  Function: 0x03,
  AckRequired: 0x06,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  IOCStatus: 0x0e,
  IOCLogInfo: 0x10,
  Event: 0x14,
  EventContext: 0x18,
  Data: 0x1c,
  bytes: 0x20,
} as const;

export const EventAck = {
  ChainOffset: 0x02,
  Function: 0x03,
  MsgFlags: 0x07,
  MsgContext: 0x08,
  Event: 0x0c,
  EventContext: 0x10,
  bytes: 0x14,
} as const;
export const MPI_EVENT_IOC_BUS_RESET = 0x04;
export const MPI_EVENT_EXT_BUS_RESET = 0x05;
export const MPI_EVENT_EVENT_CHANGE = 0x0a;
export const MPI_EVENT_ON_BUS_TIMER_EXPIRED = 0x0d;
export const MPI_EVENT_QUEUE_FULL = 0x0e;
export const MPI_EVENT_SAS_DEVICE_STATUS_CHANGE = 0x0f;
export const MPI_EVENT_SAS_DEV_STAT_RC_ADDED = 0x03;
export const MPI_EVENT_SAS_DEV_STAT_RC_NOT_RESPONDING = 0x04;

// Scatter-gather elements: Flags << 24 | Length; a chain element has Length u16 and NextChainOffset u8 (dwords) below Flags.
export const MPI_SGE_LENGTH_MASK = 0x00ffffff;
export const MPI_SGE_FLAGS_LAST_ELEMENT = 0x80000000;
export const MPI_SGE_FLAGS_END_OF_BUFFER = 0x40000000;
export const MPI_SGE_FLAGS_ELEMENT_TYPE_MASK = 0x30000000;
export const MPI_SGE_FLAGS_TRANSACTION_ELEMENT = 0x00000000;
export const MPI_SGE_FLAGS_SIMPLE_ELEMENT = 0x10000000;
export const MPI_SGE_FLAGS_CHAIN_ELEMENT = 0x30000000;
export const MPI_SGE_FLAGS_LOCAL_ADDRESS = 0x08000000;
export const MPI_SGE_FLAGS_HOST_TO_IOC = 0x04000000;
export const MPI_SGE_FLAGS_64_BIT_ADDRESSING = 0x02000000;
export const MPI_SGE_FLAGS_END_OF_LIST = 0x01000000;
export const MPI_SGE_CHAIN_LENGTH_MASK = 0x0000ffff;
export const MPI_SGE_CHAIN_OFFSET_MASK = 0x00ff0000;
export const MPI_SGE_CHAIN_OFFSET_SHIFT = 16;
