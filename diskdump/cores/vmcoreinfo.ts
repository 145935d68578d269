// VMCOREINFO: what a kernel tells about itself in lines of KEY=value (Documentation/admin-guide/kdump/vmcoreinfo.rst).
//
// A 2.6.9 kernel tells nothing; "makedumpfile -g" makes it from a vmlinux, and so does this. It is all or nothing: makedumpfile
// asks a core that has it for all that it wants.
import { PG_lru, PG_private, PG_slab } from "../../kernel-sim/mm/page.ts";
import type { CoreFacts } from "./core.ts";
import type { KernelImage } from "./kernel-image.ts";
import { PG_swapcache } from "./page-filter.ts";

/** The text in a note or a piece of a KDUMP file. */
export const vmcoreinfoText = (bytes: Uint8Array | undefined): string =>
  Buffer.from(bytes ?? new Uint8Array())
    .toString("latin1")
    .replace(/\0+$/, "");

/** The lines as a map; empty when there are none. */
export function parseVmcoreinfo(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split("\n").flatMap((line): [string, string][] => {
      const at = line.indexOf("=");
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1)]] : [];
    }),
  );
}

/** What makedumpfile and crash --log ask for of a kernel whose mem_map is one array. */
const SYMBOLS =
  "mem_map contig_page_data system_utsname _stext init_level4_pgt swapper_pg_dir log_buf log_buf_len log_end".split(
    " ",
  );
const FIELDS: Readonly<Record<string, string>> = {
  page: "flags _count mapping lru _mapcount private",
  pglist_data: "node_zones nr_zones node_start_pfn node_spanned_pages",
  zone: "free_pages free_area spanned_pages",
  free_area: "free_list",
  list_head: "next prev",
};
const FLAGS = { PG_lru, PG_private, PG_swapcache, PG_slab };

/** The kernel's VMCOREINFO. What it has not is left out. */
export function kernelVmcoreinfo(
  image: KernelImage,
  release: string,
  { pageSize, timestampSeconds }: Pick<CoreFacts, "pageSize" | "timestampSeconds">,
): string {
  const lines = [`OSRELEASE=${release}`, `PAGESIZE=${pageSize}`];
  for (const name of SYMBOLS) {
    const at = image.symbol(name);
    if (at !== undefined) lines.push(`SYMBOL(${name})=${at.toString(16)}`);
  }
  for (const [name, fields] of Object.entries(FIELDS)) {
    const shape = image.struct(name);
    if (!shape) continue;
    lines.push(`SIZE(${name})=${shape.size}`);
    for (const field of fields.split(" ")) {
      const offset = shape.offsets.get(field);
      if (offset !== undefined) lines.push(`OFFSET(${name}.${field})=${offset}`);
    }
  }
  const orders = image.struct("zone")?.lengths.get("free_area");
  if (orders !== undefined) lines.push(`LENGTH(zone.free_area)=${orders}`);
  for (const [name, bit] of Object.entries(FLAGS)) lines.push(`NUMBER(${name})=${31 - Math.clz32(bit)}`);
  if (timestampSeconds > 0) lines.push(`CRASHTIME=${timestampSeconds}`);
  return `${lines.join("\n")}\n`;
}
