// Where a server puts a client's dump.
import type { NetdumpHost } from "./server.ts";

/** A directory that is not there yet: <dump directory>/<ip>-<date>-<time>, with a number behind it from the second one on. */
export function newDumpDirectory(host: NetdumpHost, dumpDirectory: string, ip: string): string {
  const time = new Date(host.wallSeconds() * 1000).toISOString();
  const base = `${dumpDirectory}/${ip}-${time.slice(0, 10)}-${time.slice(11, 16)}`;
  let directory = base;
  for (let n = 2; host.files.exists(directory); n++) directory = `${base}.${n}`;
  return directory;
}
