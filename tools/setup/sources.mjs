// Which state the sources are in: the same text means that dist/ need not be built again.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** Folders whose files go into the bundles. */
export const SOURCE_FOLDERS = ["emulator", "kernel-sim", "hba", "diskdump", "tools", "test/bench"];

/** Places, sizes and times of all sources, and the commit that they belong to, as one digest. */
export function sourcesState(root) {
  const digest = createHash("sha256");
  for (const file of sourceFiles(root)) {
    const { size, mtimeMs } = statSync(join(root, file));
    digest.update(`${file} ${size} ${mtimeMs}\n`);
  }
  return digest.update(`${git(root, "rev-parse", "HEAD")} ${process.versions.node}`).digest("hex");
}

/** Paths relative to the root, sorted. Specs, scenarios and prose are not bundled. */
export function sourceFiles(root) {
  const files = ["package.json", "package-lock.json"];
  for (const folder of SOURCE_FOLDERS) collect(root, folder, files);
  return files.sort();
}

function collect(root, folder, files) {
  for (const entry of entriesOf(join(root, folder))) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) collect(root, path, files);
    else if (/\.(ts|mjs|json)$/.test(entry.name) && !entry.name.endsWith(".spec.ts")) files.push(path);
  }
}

function entriesOf(folder) {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
}

/** What git prints, or "" where there is no git or no repository: a tarball builds too. */
export function git(root, ...args) {
  const { status, stdout } = spawnSync("git", args, { cwd: root, encoding: "utf8" });
  return status === 0 ? stdout.trim() : "";
}
