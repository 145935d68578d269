// Where a sparse file has data. Node has no lseek(SEEK_DATA), and reading a hole through the page cache costs as much as
// reading data, so the map is taken from GNU tar: its sparse format 1.0 begins with it. Without tar nothing breaks, holes are read.
import { spawnSync } from "node:child_process";
import { basename, dirname } from "node:path";

/** Ascending, disjoint: [start0, end0, start1, end1, ...] in bytes. */
export type DataExtents = Float64Array;

const TAR_BLOCK = 512;
/** Bytes of tar's output that must hold the map: about 25 for each extent. */
const MAP_LIMITS = [4 << 20, 64 << 20];

/** The data extents of the file at `path`, or undefined when they cannot be told. */
export function readDataExtents(path: string, sizeBytes: number): DataExtents | undefined {
  for (const maxBuffer of MAP_LIMITS) {
    const tar = spawnSync(
      "tar",
      [
        ...["--sparse", "--hole-detection=seek", "--format=posix", "--sparse-version=1.0", "--absolute-names"],
        ...["--create", "--file=-", `--directory=${dirname(path)}`, `./${basename(path)}`],
      ],
      // tar is killed when the buffer is full: the data that follow the map are not wanted.
      { maxBuffer, stdio: ["ignore", "pipe", "ignore"], killSignal: "SIGKILL" },
    );
    if (!Buffer.isBuffer(tar.stdout)) return undefined;
    const extents = parseSparseMap(tar.stdout, sizeBytes);
    if (extents !== "short") return extents;
  }
  return undefined;
}

/** Reads the map at the head of a GNU sparse 1.0 archive member; "short" when the bytes end within it. */
export function parseSparseMap(archive: Buffer, sizeBytes: number): DataExtents | "short" | undefined {
  if (archive.length < 2 * TAR_BLOCK) return undefined;
  if (archive.toString("latin1", 156, 157) !== "x") return undefined;
  const paxBytes = parseInt(archive.toString("latin1", 124, 136), 8);
  if (!archive.toString("latin1", TAR_BLOCK, TAR_BLOCK + paxBytes).includes("GNU.sparse.major=1\n")) return undefined;
  let at = TAR_BLOCK + Math.ceil(paxBytes / TAR_BLOCK) * TAR_BLOCK + TAR_BLOCK;
  const nextNumber = (): number => {
    const end = archive.indexOf(10, at);
    if (end < 0) return NaN;
    const value = Number(archive.toString("latin1", at, end));
    at = end + 1;
    return value;
  };
  const count = nextNumber();
  if (Number.isNaN(count)) return "short";
  const extents = new Float64Array(2 * count);
  let used = 0;
  for (let i = 0; i < count; i++) {
    const start = nextNumber();
    const length = nextNumber();
    if (Number.isNaN(length)) return "short";
    if (start < (used > 0 ? extents[used - 1]! : 0) || start + length > sizeBytes) return undefined;
    if (length === 0) continue; // tar closes a file that ends in a hole with an empty extent
    extents[used++] = start;
    extents[used++] = start + length;
  }
  return extents.slice(0, used);
}
