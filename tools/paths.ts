// Where this package lives on the host: found once from this file, which may be the source or a bundle in dist/.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

function findRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const manifest = join(folder, "package.json");
    if (existsSync(manifest) && (JSON.parse(readFileSync(manifest, "utf8")) as { name?: string }).name === "dumplab") {
      return folder;
    }
    if (folder === dirname(folder)) throw new Error("dumplab's own package.json was not found above this file");
  }
}

export const packageRoot = findRoot();
export const scenarioFolder = join(packageRoot, "tools", "scenarios");
/** The bundles that tools/setup/build.mjs makes. */
export const bundleFolder = join(packageRoot, "dist");
