// The guest's whole user land: busybox, the modules under test, and a shell that does what the serial line says.
import { readFileSync } from "node:fs";
import { cpioArchive, type ArchiveEntry } from "./cpio.ts";
import { frameProgram } from "./frame-program.ts";
import { ioctlProgram } from "./ioctl-program.ts";
import type { ModuleTree } from "./modules.ts";

/** Printed by the guest when it waits for commands. */
export const READY = "guest is ready";
/** Follows a command's output; then come its exit status and a line end. */
export const DONE_MARK = "@done@";

const APPLETS =
  "awk cat cmp cp cut date dd dmesg echo find grep head hexdump insmod ls md5sum mkdir mknod mount od printf ps rm rmmod " +
  "sed seq sh sha256sum sleep sort stty sync tail tr true uname wc xargs";

// Each command runs in a shell of its own, so that nothing it does ends the loop. /preload names what is in before that.
const INIT = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
stty -echo -onlcr < /dev/ttyS0
dmesg -n 1
exec < /dev/ttyS0 > /dev/ttyS0 2>&1
load $(cat /preload)
echo '${READY}'
while read -r line; do
  ( eval "$line" )
  echo "${DONE_MARK}$?"
done
`;

const LOAD = `#!/bin/sh
# load MODULE...: inserts each one that is not in yet, and stops at the first that cannot be.
for module; do
  grep -q "^$module " /proc/modules || insmod "/modules/$module.ko" || exit 1
done
`;

/**
 * The archive with these modules (names as insmod's "depends=" has them) under /modules; `preloaded` ones are inserted
 * before the guest is ready.
 */
export function initramfs(
  busyboxFile: string,
  tree: ModuleTree,
  modules: readonly string[],
  preloaded: readonly string[],
): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const folders = ["bin", "dev", "modules", "proc", "sys", "tmp"];
  const entries: ArchiveEntry[] = folders.map((path) => ({ path, kind: "folder" }));
  entries.push(
    { path: "dev/console", kind: "character device", mode: 0o600, major: 5, minor: 1 },
    { path: "dev/ttyS0", kind: "character device", mode: 0o600, major: 4, minor: 64 },
    { path: "init", kind: "file", data: encoder.encode(INIT) },
    { path: "bin/busybox", kind: "file", data: readFileSync(busyboxFile) },
    { path: "preload", kind: "file", data: encoder.encode(preloaded.join(" ")) },
    { path: "bin/load", kind: "file", data: encoder.encode(LOAD) },
    { path: "bin/ioctl", kind: "file", data: ioctlProgram() },
    { path: "bin/frames", kind: "file", data: frameProgram() },
  );
  for (const applet of APPLETS.split(" ")) {
    entries.push({ path: `bin/${applet}`, kind: "link", mode: 0o777, data: encoder.encode("busybox") });
  }
  for (const name of modules) {
    entries.push({ path: `modules/${name}.ko`, kind: "file", mode: 0o644, data: tree.read(name) });
  }
  return cpioArchive(entries);
}
