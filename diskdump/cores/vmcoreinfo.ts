// VMCOREINFO: what a kernel tells about itself in lines of KEY=value (Documentation/admin-guide/kdump/vmcoreinfo.rst).

/** The lines as a map; empty when there are none. */
export function parseVmcoreinfo(bytes: Uint8Array | undefined): ReadonlyMap<string, string> {
  const lines = Buffer.from(bytes ?? new Uint8Array())
    .toString("latin1")
    .split("\n");
  return new Map(
    lines.flatMap((line): [string, string][] => {
      const at = line.indexOf("=");
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1).replace(/\0+$/, "")]] : [];
    }),
  );
}
