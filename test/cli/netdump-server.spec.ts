// The server as a real program: real UDP on loopback, a client that answers as a dying kernel does, a core on the disk.
import { createSocket, type Socket } from "node:dgram";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { TestClient, PAGE_BYTES } from "../../diskdump/peers/netdump/test-client.ts";
import { registers, somePages } from "../../diskdump/peers/netdump/test-rig.ts";
import { openCore } from "../../diskdump/cores/open-core.ts";
import { FileStore } from "../../diskdump/userspace/file-store.ts";
import { main } from "../../tools/cli/main.ts";
import { runTrial } from "../../tools/trial/run.ts";
import { dumplab } from "./dumplab.ts";

const folder = mkdtempSync(join(tmpdir(), "netdump-server-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Starts the command on a free port; calls `listening` with it. */
async function serve(
  args: readonly string[],
  listening: (port: number) => void,
): Promise<{ code: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const terminal = {
    out: { write: (text: string) => (out += text) },
    err: {
      write: (text: string) => {
        const found = /listens on 127\.0\.0\.1:(\d+)/.exec(text);
        if (found) listening(Number(found[1]));
        return (err += text);
      },
    },
    interrupted: () => undefined,
  };
  const all = ["netdump-server", "--port", "0", "--directory", folder, "--dumps", "1", ...args];
  const code = await main(all, terminal, { runTrial, workerFile: "" });
  return { code, out, err };
}

it("a client on loopback leaves its memory, every page as it was, and its log", async () => {
  const pages = somePages(64);
  let socket: Socket | undefined;
  let client: TestClient | undefined;
  const { code, out, err } = await serve(["--secure", "--magic", "127.0.0.1=0x0123456789abcdef"], (port) => {
    const made = (socket = createSocket("udp4"));
    const dying = (client = new TestClient(pages, registers, (reply) => made.send(reply, port, "127.0.0.1")));
    made.on("message", (datagram) => dying.hear(datagram));
    made.bind(0, "127.0.0.1", () => {
      dying.log(0, "Kernel panic - not syncing: loopback\n");
      dying.announce();
    });
  });
  socket?.close();
  expect(err).toContain("dump ended: complete, 44 pages");
  expect(code).toBe(0);
  expect(client?.rebooting).toBe(true);
  const path = out.trimEnd();
  expect(path).toMatch(/\/127\.0\.0\.1-\d{4}-\d\d-\d\d-\d\d:\d\d\/vmcore$/);
  expect(readFileSync(join(dirname(path), "log"), "latin1")).toBe("Kernel panic - not syncing: loopback\n");
  const core = openCore(FileStore.open(path));
  const page = new Uint8Array(PAGE_BYTES);
  let saved = 0;
  for (const { first, count } of core.saved) {
    for (let pfn = first; pfn < first + count; pfn++) {
      core.readPages(pfn, 1, page);
      expect(Buffer.compare(page, pages[pfn]!), `page ${pfn}`).toBe(0);
      saved++;
    }
  }
  expect(saved).toBe(44);
});

it("what cannot be served is said, with exit code 2", async () => {
  const run = (...args: string[]) => dumplab("netdump-server", "--port", "0", ...args);
  expect(await run("--directory", join(folder, "none"))).toMatchObject({ code: 2 });
  const address = await run("--directory", folder, "--address", "localhost");
  expect(address).toMatchObject({ code: 2, err: "dumplab: --address localhost: expected an IPv4 address\n" });
  const magic = await run("--directory", folder, "--magic", "127.0.0.1=7");
  expect(magic.code).toBe(2);
  expect(magic.err).toContain('"127.0.0.1=7": expected <ip>=0x<magic number');
  const foreign = await run("--directory", folder, "--address", "192.0.2.1");
  expect(foreign.code).toBe(2);
  expect(foreign.err).toContain("192.0.2.1:0: cannot be listened on");
});
