#!/usr/bin/env node
// The command: runs the bundle that `npm run build` makes.
import { existsSync } from "node:fs";

const bundle = new URL("../dist/dumplab.mjs", import.meta.url);
if (existsSync(bundle)) {
  process.setSourceMapsEnabled?.(true);
  await import(bundle.href);
} else {
  process.stderr.write("dumplab is not built yet: run `npm run build` in its folder (or `npm start`)\n");
  process.exitCode = 2;
}
