// Writes the archive from which Linux fills its first root: cpio in the "newc" format.
// Source: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.

export interface ArchiveEntry {
  /** Without a leading slash. */
  readonly path: string;
  readonly kind: "file" | "folder" | "link" | "character device";
  readonly mode?: number;
  /** Contents of a file, target of a link. */
  readonly data?: Uint8Array;
  /** Of a character device. */
  readonly major?: number;
  readonly minor?: number;
}

const TYPE_BITS = { file: 0o100000, folder: 0o040000, link: 0o120000, "character device": 0o020000 } as const;
const HEADER_BYTES = 110;
const pad4 = (bytes: number): number => (bytes + 3) & ~3;

function header(inode: number, entry: ArchiveEntry, nameBytes: number, dataBytes: number): string {
  const mode = TYPE_BITS[entry.kind] | (entry.mode ?? 0o755);
  const fields = [inode, mode, 0, 0, 1, 0, dataBytes, 0, 0, entry.major ?? 0, entry.minor ?? 0, nameBytes, 0];
  return "070701" + fields.map((field) => field.toString(16).padStart(8, "0")).join("");
}

/** The archive; the same entries always give the same bytes. */
export function cpioArchive(entries: readonly ArchiveEntry[]): Uint8Array<ArrayBuffer> {
  const trailer: ArchiveEntry = { path: "TRAILER!!!", kind: "file", mode: 0 };
  const encoder = new TextEncoder();
  const parts = [...entries, trailer].map((entry, i) => {
    const name = encoder.encode(`${entry.path}\0`);
    const data = entry.data ?? new Uint8Array(0);
    const dataAt = pad4(HEADER_BYTES + name.length);
    const bytes = new Uint8Array(dataAt + pad4(data.length));
    bytes.set(encoder.encode(header(entry === trailer ? 0 : i + 1, entry, name.length, data.length)));
    bytes.set(name, HEADER_BYTES);
    bytes.set(data, dataAt);
    return bytes;
  });
  const archive = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    archive.set(part, at);
    at += part.length;
  }
  return archive;
}
