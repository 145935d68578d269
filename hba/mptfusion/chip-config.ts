// The Config message: header, read and write of configuration pages, and the errors that belong to them.
// Source: facts hba/mptfusion.md section 4.
import type { MessageUnit } from "./chip-message-unit.ts";
import { type PageContents, type PageFamily, SPI_PARAMETER_BITS, SPI_PORT_CAPABILITIES } from "./config-pages.ts";
import {
  Config,
  ConfigReply,
  MPI_CONFIG_ACTION_PAGE_DEFAULT,
  MPI_CONFIG_ACTION_PAGE_HEADER,
  MPI_CONFIG_ACTION_PAGE_READ_CURRENT,
  MPI_CONFIG_ACTION_PAGE_READ_DEFAULT,
  MPI_CONFIG_ACTION_PAGE_READ_NVRAM,
  MPI_CONFIG_ACTION_PAGE_WRITE_CURRENT,
  MPI_CONFIG_ACTION_PAGE_WRITE_NVRAM,
  MPI_CONFIG_PAGEATTR_CHANGEABLE,
  MPI_CONFIG_PAGEATTR_PERSISTENT,
  MPI_CONFIG_PAGETYPE_EXTENDED,
  MPI_CONFIG_PAGETYPE_IOC,
  MPI_CONFIG_PAGETYPE_MASK,
  MPI_CONFIG_PAGETYPE_SCSI_DEVICE,
  MPI_FUNCTION_CONFIG,
  MPI_IOCSTATUS_CONFIG_CANT_COMMIT,
  MPI_IOCSTATUS_CONFIG_INVALID_ACTION,
  MPI_IOCSTATUS_CONFIG_INVALID_DATA,
  MPI_IOCSTATUS_CONFIG_INVALID_PAGE,
  MPI_IOCSTATUS_CONFIG_INVALID_TYPE,
  MPI_IOCSTATUS_INVALID_SGL,
  MPI_IOCSTATUS_SUCCESS,
  MPI_SGE_FLAGS_64_BIT_ADDRESSING,
  MPI_SGE_FLAGS_ELEMENT_TYPE_MASK,
  MPI_SGE_FLAGS_SIMPLE_ELEMENT,
  MPI_SGE_LENGTH_MASK,
} from "./messages.ts";

const U32 = 4294967296;
const SGE_WORD = Config.PageBufferSGE / 4;
export const CONFIG_REPLY_WORDS = ConfigReply.bytes / 4;

const CAPABILITY_PERIOD = 0x0000ff00;
const CAPABILITY_OFFSET = 0x00ff0000;
const CAPABILITY_WIDE_AIP = 0xa0000000;
const NEGOTIATED = 0x01;

/** What adapter and target settle on: the features both name, the slower period factor, the smaller offset. */
const negotiate = (requested: number): number =>
  ((requested & SPI_PORT_CAPABILITIES & (SPI_PARAMETER_BITS | CAPABILITY_WIDE_AIP)) |
    Math.max(requested & CAPABILITY_PERIOD, SPI_PORT_CAPABILITIES & CAPABILITY_PERIOD) |
    Math.min(requested & CAPABILITY_OFFSET, SPI_PORT_CAPABILITIES & CAPABILITY_OFFSET)) >>>
  0;

export class ConfigHandler {
  private readonly unit: MessageUnit;
  private readonly families: readonly PageFamily[];

  constructor(unit: MessageUnit, families: readonly PageFamily[]) {
    this.unit = unit;
    this.families = families;
  }

  /** Carries out the request in `words` and fills `reply` (CONFIG_REPLY_WORDS). */
  execute(words: Int32Array, reply: Int32Array): void {
    const action = words[0]! & 0xff;
    const header = words[5]!;
    const type = (header >>> 24) & MPI_CONFIG_PAGETYPE_MASK;
    const number = (header >>> 16) & 0xff;
    const extType = type === MPI_CONFIG_PAGETYPE_EXTENDED ? (words[1]! >>> 16) & 0xff : 0;
    const sameType = this.families.filter((family) => family.type === type && family.extType === extType);
    const family = sameType.find((candidate) => candidate.number === number);
    let status: number;
    if (action > MPI_CONFIG_ACTION_PAGE_READ_NVRAM) status = MPI_IOCSTATUS_CONFIG_INVALID_ACTION;
    else if (sameType.length === 0) status = MPI_IOCSTATUS_CONFIG_INVALID_TYPE;
    else if (!family) status = MPI_IOCSTATUS_CONFIG_INVALID_PAGE;
    else if (action === MPI_CONFIG_ACTION_PAGE_HEADER) status = MPI_IOCSTATUS_SUCCESS;
    else {
      const page = family.at(words[6]! >>> 0);
      status = page ? this.act(action, family, page, words) : MPI_IOCSTATUS_CONFIG_INVALID_PAGE;
    }
    const extended = extType !== 0;
    reply[0] = action | (CONFIG_REPLY_WORDS << 16) | (MPI_FUNCTION_CONFIG << 24);
    reply[1] = (extended && family ? family.dwords : 0) | (extType << 16) | (words[1]! & 0xff000000);
    reply[2] = words[2]!;
    reply[3] = status << 16;
    reply[4] = 0;
    reply[5] = family
      ? family.version | ((extended ? 0 : family.dwords) << 8) | (number << 16) | ((type | family.attribute) << 24)
      : header;
  }

  private act(action: number, family: PageFamily, page: PageContents, words: Int32Array): number {
    const writable =
      family.attribute === MPI_CONFIG_PAGEATTR_CHANGEABLE || family.attribute === MPI_CONFIG_PAGEATTR_PERSISTENT;
    switch (action) {
      case MPI_CONFIG_ACTION_PAGE_READ_CURRENT:
        return this.move(page.current, words, false);
      case MPI_CONFIG_ACTION_PAGE_READ_DEFAULT:
        return this.move(page.defaults, words, false);
      case MPI_CONFIG_ACTION_PAGE_READ_NVRAM:
        return this.move(page.nvram, words, false);
      case MPI_CONFIG_ACTION_PAGE_DEFAULT:
        if (!writable) return MPI_IOCSTATUS_CONFIG_CANT_COMMIT;
        page.current.set(page.defaults);
        return MPI_IOCSTATUS_SUCCESS;
      case MPI_CONFIG_ACTION_PAGE_WRITE_CURRENT: {
        if (!writable) return MPI_IOCSTATUS_CONFIG_CANT_COMMIT;
        const status = this.move(page.current, words, true);
        if (status === MPI_IOCSTATUS_SUCCESS) this.written(family, page, words[6]! >>> 0);
        return status;
      }
      case MPI_CONFIG_ACTION_PAGE_WRITE_NVRAM:
        if (family.attribute !== MPI_CONFIG_PAGEATTR_PERSISTENT) return MPI_IOCSTATUS_CONFIG_CANT_COMMIT;
        return this.move(page.nvram, words, true);
      default:
        return MPI_IOCSTATUS_CONFIG_INVALID_ACTION;
    }
  }

  /** DMA between the page and the host's buffer, as long as the shorter of the two. */
  private move(page: Uint8Array, words: Int32Array, fromHost: boolean): number {
    const element = words[SGE_WORD]!;
    if ((element & MPI_SGE_FLAGS_ELEMENT_TYPE_MASK) !== MPI_SGE_FLAGS_SIMPLE_ELEMENT) return MPI_IOCSTATUS_INVALID_SGL;
    const length = Math.min(element & MPI_SGE_LENGTH_MASK, page.length);
    if (length === 0) return fromHost ? MPI_IOCSTATUS_CONFIG_INVALID_DATA : MPI_IOCSTATUS_SUCCESS;
    const high = (element & MPI_SGE_FLAGS_64_BIT_ADDRESSING) !== 0 ? words[SGE_WORD + 2]! >>> 0 : 0;
    const address = (words[SGE_WORD + 1]! >>> 0) + high * U32;
    if (!this.unit.allowDma(address, length, "config page buffer")) return MPI_IOCSTATUS_INVALID_SGL;
    const { memory } = this.unit.device.host;
    if (!fromHost) memory.writeBytes(address, page.subarray(0, length));
    else {
      // The header stays ours whatever the host sends.
      const body = new Uint8Array(length);
      memory.readBytes(address, body);
      if (length > 4) page.set(body.subarray(4), 4);
    }
    return MPI_IOCSTATUS_SUCCESS;
  }

  /** What a new current page sets off. */
  private written(family: PageFamily, page: PageContents, pageAddress: number): void {
    const view = new DataView(page.current.buffer);
    if (family.type === MPI_CONFIG_PAGETYPE_IOC && family.number === 1 && (view.getUint32(0x04, true) & 1) !== 0) {
      this.unit.complain("not modelled", "IOC page 1: interrupt coalescing");
    }
    if (family.type === MPI_CONFIG_PAGETYPE_SCSI_DEVICE && family.number === 1) {
      // The firmware negotiates with the next command; the outcome is known at once.
      const device0 = this.families.find((other) => other.type === family.type && other.number === 0)?.at(pageAddress);
      if (device0 && device0.current.length >= 12) {
        const target = new DataView(device0.current.buffer);
        target.setUint32(0x04, negotiate(view.getUint32(0x04, true)), true);
        target.setUint32(0x08, NEGOTIATED, true);
      }
    }
  }
}
