// Configuration pages (mpt_config and its users, mptbase.c of 2.6.9). They sleep, so they are read at bring-up only.
import { M } from "../../kernel-sim/abi/ram.ts";
import { semaphore, wait_queue_head_t } from "../../kernel-sim/abi/structs/base.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { pci_alloc_consistent } from "../../kernel-sim/core/pci-dma.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { Semaphore, WaitQueue, down, up, wait_event_timeout, wake_up } from "../../kernel-sim/core/wait.ts";
import {
  MPT_BASE_CTX,
  clearFrame,
  get16le,
  get32le,
  mpt_get_msg_frame,
  mpt_put_msg_frame,
  put32le,
  put8,
  type MPT_ADAPTER,
} from "./driver-ioc.ts";
import {
  Config,
  ConfigReply,
  MPI_CONFIG_ACTION_PAGE_HEADER,
  MPI_CONFIG_ACTION_PAGE_READ_CURRENT,
  MPI_CONFIG_ACTION_PAGE_READ_NVRAM,
  MPI_CONFIG_PAGETYPE_IOC,
  MPI_CONFIG_PAGETYPE_SCSI_DEVICE,
  MPI_CONFIG_PAGETYPE_SCSI_PORT,
  MPI_FUNCTION_CONFIG,
  MPI_IOCSTATUS_MASK,
  MPI_SGE_FLAGS_64_BIT_ADDRESSING,
  MPI_SGE_FLAGS_END_OF_BUFFER,
  MPI_SGE_FLAGS_END_OF_LIST,
  MPI_SGE_FLAGS_LAST_ELEMENT,
  MPI_SGE_FLAGS_SIMPLE_ELEMENT,
} from "./messages.ts";

const kfunc = moduleFunctions("mptbase");
const CONFIG_TIMEOUT_SECONDS = 15;
const PAGE_BYTES = 512;

/** One config request at a time per adapter: who waits, for which frame, and what came back. */
class ConfigChannel {
  readonly mutex: Semaphore;
  readonly wait: WaitQueue;
  readonly page: number;
  frame = 0;
  status = -1;
  /** Version, length, number, type of the page, from the reply. */
  readonly header = { version: 0, length: 0 };
  constructor(ioc: MPT_ADAPTER) {
    this.mutex = new Semaphore(K.bootmem(K.sizeOf(semaphore)), `${ioc.name}.config`, 1);
    this.wait = new WaitQueue(K.bootmem(K.sizeOf(wait_queue_head_t)), `${ioc.name}.config_wait`);
    this.page = pci_alloc_consistent(ioc.pcidev, PAGE_BYTES);
  }
}
const channels = new WeakMap<MPT_ADAPTER, ConfigChannel>();
const channelOf = (ioc: MPT_ADAPTER): ConfigChannel => {
  let channel = channels.get(ioc);
  if (!channel) channels.set(ioc, (channel = new ConfigChannel(ioc)));
  return channel;
};

/** A config reply came. Context: hardirq. */
export const configDone = kfunc("mpt_config_done", function* (ioc: MPT_ADAPTER, mf: number, mr: number) {
  const channel = channelOf(ioc);
  if (channel.frame !== mf) return;
  channel.frame = 0;
  channel.status = get16le(mr + ConfigReply.IOCStatus) & MPI_IOCSTATUS_MASK;
  channel.header.version = M.u8[mr + ConfigReply.PageVersion]!;
  channel.header.length = M.u8[mr + ConfigReply.PageLength]!;
  yield* wake_up(channel.wait);
});

/**
 * One config request. Returns: IOCStatus, or -1 without a frame or an answer in 15 s. Context: process (sleeps).
 * Must not: be called in dump mode.
 */
const mpt_config = kfunc(
  "mpt_config",
  function* (ioc: MPT_ADAPTER, action: number, type: number, page: number, address: number) {
    const channel = channelOf(ioc);
    const mf = yield* mpt_get_msg_frame(MPT_BASE_CTX, ioc);
    if (mf === 0) return -1;
    const reading = action !== MPI_CONFIG_ACTION_PAGE_HEADER;
    clearFrame(mf, 64);
    put8(mf + Config.Action, action);
    put8(mf + Config.Function, MPI_FUNCTION_CONFIG);
    put8(mf + Config.PageVersion, reading ? channel.header.version : 0);
    put8(mf + Config.PageLength, reading ? channel.header.length : 0);
    put8(mf + Config.PageNumber, page);
    put8(mf + Config.PageType, type);
    put32le(mf + Config.PageAddress, address);
    const flags =
      MPI_SGE_FLAGS_LAST_ELEMENT |
      MPI_SGE_FLAGS_END_OF_BUFFER |
      MPI_SGE_FLAGS_SIMPLE_ELEMENT |
      MPI_SGE_FLAGS_END_OF_LIST;
    const wide = ioc.wideAddresses ? MPI_SGE_FLAGS_64_BIT_ADDRESSING : 0;
    const bytes = reading ? channel.header.length * 4 : 0;
    put32le(mf + Config.PageBufferSGE, flags | wide | bytes);
    put32le(mf + Config.PageBufferSGE + 4, reading ? channel.page : 0xffffffff);
    if (ioc.wideAddresses) put32le(mf + Config.PageBufferSGE + 8, reading ? 0 : 0xffffffff);
    channel.frame = mf;
    channel.status = -1;
    mpt_put_msg_frame(ioc, mf);
    yield* wait_event_timeout(channel.wait, () => channel.frame === 0, CONFIG_TIMEOUT_SECONDS * K.hz);
    return channel.status;
  },
);

/** Header, then contents into the channel's buffer. Returns: the buffer's address, or 0. */
const readPage = kfunc(
  "mpt_config_read_page",
  function* (ioc: MPT_ADAPTER, type: number, page: number, address: number, action: number) {
    const channel = channelOf(ioc);
    if ((yield* mpt_config(ioc, MPI_CONFIG_ACTION_PAGE_HEADER, type, page, address)) !== 0) return 0;
    if (channel.header.length === 0 || channel.header.length * 4 > PAGE_BYTES) return 0;
    if ((yield* mpt_config(ioc, action, type, page, address)) !== 0) return 0;
    return channel.page;
  },
);

/** What the bus and its devices can do: SCSI_PORT pages 0 and 2 into ioc.spi_data. Returns 0. Context: process. */
export const mpt_GetScsiPortSettings = kfunc("mpt_GetScsiPortSettings", function* (ioc: MPT_ADAPTER) {
  const { mutex } = channelOf(ioc);
  const spi = ioc.s.spi_data;
  yield* down(mutex);
  const { READ_CURRENT, READ_NVRAM } = {
    READ_CURRENT: MPI_CONFIG_ACTION_PAGE_READ_CURRENT,
    READ_NVRAM: MPI_CONFIG_ACTION_PAGE_READ_NVRAM,
  };
  let page = yield* readPage(ioc, MPI_CONFIG_PAGETYPE_SCSI_PORT, 0, 0, READ_CURRENT);
  if (page !== 0) {
    const capabilities = get32le(page + 4);
    spi.maxBusWidth = (capabilities & 0x20000000) !== 0 ? 1 : 0;
    spi.maxSyncOffset = (capabilities >>> 16) & 0xff;
    spi.minSyncFactor = spi.maxSyncOffset !== 0 ? (capabilities >>> 8) & 0xff : 0xff;
    spi.busType = get32le(page + 8) & 3;
  } else yield* printk(`mptbase: ${ioc.name}: no SCSI port page 0\n`, 4);
  page = yield* readPage(ioc, MPI_CONFIG_PAGETYPE_SCSI_PORT, 2, 0, READ_NVRAM);
  if (page !== 0) {
    spi.PortFlags = get32le(page + 4);
    for (let id = 0; id < 16; id++) M.view.setUint32(spi.nvram + id * 4, get32le(page + 0x0c + id * 4), M.little);
  }
  yield* up(mutex);
  return 0;
});

/** Versions and lengths of SCSI_DEVICE pages 1 and 0. Length 0 of page 0: no negotiation is to be done. */
export const mpt_readScsiDevicePageHeaders = kfunc("mpt_readScsiDevicePageHeaders", function* (ioc: MPT_ADAPTER) {
  const channel = channelOf(ioc);
  const spi = ioc.s.spi_data;
  yield* down(channel.mutex);
  const type = MPI_CONFIG_PAGETYPE_SCSI_DEVICE;
  if ((yield* mpt_config(ioc, MPI_CONFIG_ACTION_PAGE_HEADER, type, 1, 0)) === 0) {
    spi.sdp1version = channel.header.version;
    spi.sdp1length = channel.header.length;
  }
  if ((yield* mpt_config(ioc, MPI_CONFIG_ACTION_PAGE_HEADER, type, 0, 0)) === 0) {
    spi.sdp0version = channel.header.version;
    spi.sdp0length = channel.header.length;
  }
  yield* up(channel.mutex);
  return 0;
});

/** IOC page 1: interrupt coalescing. It is left as it is found. Returns 0. */
export const mpt_read_ioc_pg_1 = kfunc("mpt_read_ioc_pg_1", function* (ioc: MPT_ADAPTER) {
  const { mutex } = channelOf(ioc);
  yield* down(mutex);
  yield* readPage(ioc, MPI_CONFIG_PAGETYPE_IOC, 1, 0, MPI_CONFIG_ACTION_PAGE_READ_CURRENT);
  yield* up(mutex);
  return 0;
});
