// Bundles the command line, the campaign worker and the benchmarks into dist/, each one file with its dependencies.
// `node tools/setup/build.mjs --readable` leaves names and lines as they are, for a profiler.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { git, SOURCE_FOLDERS, sourceFiles } from "./sources.mjs";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const dist = join(root, "dist");
const scratch = join(root, `dist/.new-${process.pid}`);

const entryPoints = {
  dumplab: "tools/cli/entry.ts",
  worker: "tools/campaign/worker.ts",
  bench: "test/bench/main.ts",
};
const present = Object.entries(entryPoints).filter(([, file]) => existsSync(join(root, file)));

mkdirSync(scratch, { recursive: true });
try {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: Object.fromEntries(present),
    outdir: scratch,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    sourcemap: "linked",
    // Node parses a bundle and its map in each process and each worker: half the bytes, half the time. A profile wants the names.
    minify: !process.argv.includes("--readable"),
    sourcesContent: false,
    // The dependencies that are CommonJS call require() for Node's own modules.
    banner: {
      js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
    },
    define: { DUMPLAB_VERSION: JSON.stringify(versionText()) },
    metafile: true,
    logLevel: "warning",
  });
  // A name in dist/ is complete or absent, also when this is interrupted.
  for (const file of Object.keys(metafile.outputs)) {
    renameSync(join(root, file), join(dist, basename(file)));
  }
} catch (error) {
  // esbuild has said what is wrong where; a stack trace of its own adds nothing.
  if (!Array.isArray(error.errors)) throw error;
  process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

/** "0.1.0+g<commit>", with a digest of the sources when they are not the commit's. */
function versionText() {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const commit = git(root, "rev-parse", "--short=10", "HEAD");
  const changed = git(root, "status", "--porcelain", "--", "package-lock.json", ...SOURCE_FOLDERS);
  if (commit !== "" && changed === "") return `${version}+g${commit}`;
  const digest = createHash("sha256");
  for (const file of sourceFiles(root)) digest.update(file).update(readFileSync(join(root, file)));
  return `${version}+${commit === "" ? "" : `g${commit}.`}dirty.${digest.digest("hex").slice(0, 8)}`;
}
