// A core of any kind becomes an LKCD dump.
import { pagesIn, type PageRange } from "../format/bitmap.ts";
import { StructBytes } from "../format/struct-bytes.ts";
import { layoutOf } from "../../kernel-sim/abi/types.ts";
import { dumpingCpu } from "../userspace/core-notes.ts";
import type { CoreSink } from "../userspace/core-sink.ts";
import { UsageError } from "../userspace/errors.ts";
import { Appender } from "./appender.ts";
import type { CoreProgress, CoreReader } from "./core.ts";
import {
  DP,
  dump_header,
  dump_header_v9,
  DUMP_PAGE_BYTES,
  FIRST_PAGE_AT,
  LKCD_ASM_MAGIC,
  LKCD_COMPRESS,
  LKCD_LEVEL,
  LKCD_MAGIC,
  lkcdArch,
  ptRegsOf,
  type LkcdArch,
  type LkcdCompression,
} from "./lkcd-header.ts";
import { feedPages } from "./page-feed.ts";
import { encodeRuns } from "./run-lengths.ts";
import { deflatePage } from "./zlib-page.ts";

export interface LkcdOptions {
  readonly version: 8 | 9;
  readonly compress: LkcdCompression;
  /** The pages to write; default: all that are saved. */
  readonly keep?: readonly PageRange[];
  readonly onProgress?: (progress: CoreProgress) => void;
}

const PACKERS: Readonly<Record<LkcdCompression, (page: Uint8Array) => Uint8Array | undefined>> = {
  none: () => undefined,
  rle: encodeRuns,
  gzip: deflatePage,
};

function headerOf(core: CoreReader, keep: readonly PageRange[], { version, compress }: LkcdOptions): StructBytes {
  const { facts } = core;
  const { model, pageSize, systemName: name } = facts;
  const header = new StructBytes(version === 9 ? dump_header_v9 : dump_header, model);
  header.setBig("dh_magic_number", LKCD_MAGIC);
  header.set("dh_version", version);
  header.set("dh_header_size", header.bytes.length);
  const everything = LKCD_LEVEL.HEADER | LKCD_LEVEL.KERN | LKCD_LEVEL.USED | LKCD_LEVEL.ALL;
  header.set("dh_dump_level", pagesIn(keep) === pagesIn(facts.ram) ? everything : LKCD_LEVEL.HEADER | LKCD_LEVEL.KERN);
  header.set("dh_page_size", pageSize);
  header.set("dh_memory_size", facts.maxMapnr);
  header.set("dh_memory_start", facts.ram[0]!.first * pageSize);
  header.set("dh_memory_end", facts.maxMapnr * pageSize);
  header.set("dh_num_pages", pagesIn(keep));
  header.setText("dh_panic_string", facts.panicText);
  header.set("dh_time_sec", facts.timestampSeconds);
  header.set("dh_time_usec", Math.floor(facts.timestampNs / 1000));
  header.setText("dh_utsname_sysname", name.sysname);
  header.setText("dh_utsname_nodename", name.nodename);
  header.setText("dh_utsname_release", name.release);
  header.setText("dh_utsname_version", name.version);
  header.setText("dh_utsname_machine", name.machine);
  header.setText("dh_utsname_domainname", name.domainname);
  header.setBig("dh_current_task", dumpingCpu(facts)?.task ?? 0n);
  header.set("dh_dump_compress", LKCD_COMPRESS[compress]);
  if (version === 9) header.set("dh_dump_buffer_size", FIRST_PAGE_AT);
  return header;
}

function machineOf(core: CoreReader, arch: LkcdArch): Uint8Array {
  const { facts } = core;
  const { model, cpus, currentCpu } = facts;
  const out = new StructBytes(arch.header(cpus.length), model);
  out.setBig("dha_magic_number", LKCD_ASM_MAGIC);
  out.set("dha_version", arch.version);
  out.set("dha_header_size", out.bytes.length);
  out.set("dha_smp_num_cpus", cpus.length);
  out.set("dha_dumping_cpu", currentCpu ?? -1);
  const regsBytes = layoutOf(arch.pt_regs, model).size;
  cpus.forEach(({ task, registers }, cpu) => {
    out.setBig("dha_smp_current_task", task, cpu);
    if (!registers) return;
    const regs = ptRegsOf(arch, model, registers);
    out.bytes.set(regs, out.offsetOf("dha_smp_regs") + cpu * regsBytes);
    if (cpu !== currentCpu) return;
    out.bytes.set(regs, out.offsetOf("dha_regs"));
    if (model.name === "i386") {
      const view = out.inner("dha_regs");
      out.setBig("dha_esp", view.getBig("esp"));
      out.setBig("dha_eip", view.getBig("eip"));
    }
  });
  return out.bytes;
}

/** Throws a UsageError for a machine whose LKCD header is not known. */
export function writeLkcdCore(core: CoreReader, sink: CoreSink, options: LkcdOptions): void {
  const { facts } = core;
  const { model, pageSize } = facts;
  const arch = lkcdArch(model);
  if (!arch)
    throw new UsageError(`${core.name}: LKCD files of ${model.name} are not written; x86_64, i386 and ia64 are`);
  const keep = options.keep ?? core.saved;
  const header = headerOf(core, keep, options);
  sink.begin(FIRST_PAGE_AT + (pagesIn(keep) + 1) * (pageSize + DUMP_PAGE_BYTES));
  sink.bytes(0, Buffer.concat([header.bytes, machineOf(core, arch)]));

  const out = new Appender(sink, FIRST_PAGE_AT);
  const pack = PACKERS[options.compress];
  const pageHeader = new Uint8Array(DUMP_PAGE_BYTES);
  const view = new DataView(pageHeader.buffer);
  /** One dump_page; only little-endian machines have an LKCD. */
  const describe = (address: number, size: number, flags: number): void => {
    view.setBigUint64(0, BigInt(address), true);
    view.setUint32(8, size, true);
    view.setUint32(12, flags, true);
    out.append(pageHeader);
  };
  const zeroes = new Uint8Array(pageSize);
  const packedZeroes = pack(zeroes)?.slice();
  feedPages(
    core,
    keep,
    (pfn, contents) => {
      const packed = contents ? pack(contents) : packedZeroes;
      const bytes = packed ?? contents ?? zeroes;
      describe(pfn * pageSize, bytes.length, packed ? DP.COMPRESSED : DP.RAW);
      out.append(bytes);
    },
    options.onProgress,
  );
  // A dump that broke off has no end, as on the disk of a machine that LKCD did not get to the end of.
  if (core.shortcomings.length === 0) describe(0, 0, DP.END);
  out.flush();
  sink.end(out.offset);
}
