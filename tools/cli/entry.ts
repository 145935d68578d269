// The bundle's entry: hands the command line to main and its answer to the shell.
import { join } from "node:path";
import { bundleFolder } from "../paths.ts";
import { runTrial } from "../trial/run.ts";
import { main } from "./main.ts";

// A reader that has seen enough (`dumplab bench --json | head`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

process.exitCode = await main(
  process.argv.slice(2),
  { out: process.stdout, err: process.stderr, interrupted: (listener) => process.once("SIGINT", listener) },
  { runTrial, workerFile: join(bundleFolder, "worker.mjs") },
);
