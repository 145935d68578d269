// The netdump server: a state machine without a socket or a clock of its own, so that the same code serves a simulated
// segment and a real network (man netdump-server, RHEL 3).
//
//   <dump directory>/<ip>-<date>/log, vmcore-incomplete, renamed to vmcore when it is whole
//   <dump directory>/scripts/netdump-start <ip>, netdump-crash, netdump-nospace and netdump-reboot <ip> <directory>
import { systemReason, UsageError } from "../../userspace/errors.ts";
import type { HostFile, HostFiles } from "../../userspace/host-files.ts";
import { newDumpDirectory } from "./dump-directory.ts";
import { NetdumpCore } from "./core.ts";
import { COMM, NETDUMP_VERSION, REPLY, decodeReply, encodeRequest, type NetdumpReply } from "./protocol.ts";
import { DEFAULT_TIMES, NetdumpSession, type SessionOutcome, type SessionTimes } from "./session.ts";

export interface NetdumpServerOptions {
  readonly dumpDirectory: string;
  /** Dumps at a time; a client beyond that is told to reboot. */
  readonly concurrent: number;
  /** Magic numbers by client, as exchanged beforehand. A client in this list that shows another one is not served. */
  readonly magics: ReadonlyMap<string, bigint>;
  /** Serve only clients in `magics`. */
  readonly secure: boolean;
  readonly times: SessionTimes;
}

export const DEFAULT_SERVER: NetdumpServerOptions = {
  dumpDirectory: "/var/crash",
  concurrent: 4,
  magics: new Map(),
  secure: false,
  times: DEFAULT_TIMES,
};

/** What the server needs of the world. */
export interface NetdumpHost {
  readonly files: HostFiles;
  send(ip: string, port: number, datagram: Uint8Array): void;
  /** Seconds since 1970, for directory names. */
  wallSeconds(): number;
  onMessage(line: string): void;
}

/** A dump that has ended. */
export interface EndedDump {
  readonly ip: string;
  readonly outcome: SessionOutcome;
  readonly detail: string;
  /** The directory, and the core in it. */
  readonly directory: string;
  readonly core: string;
  readonly pagesSaved: number;
  readonly requestsRepeated: number;
}

interface Client {
  readonly ip: string;
  readonly port: number;
  readonly directory: string;
  readonly session: NetdumpSession;
  readonly log: HostFile;
  logOpen: boolean;
}

/** What a client may say before its dump begins; more is dropped. */
const EARLY_LOG_BYTES = 1 << 17;
/** Clients whose early log is kept. */
const EARLY_LOGS = 64;

export class NetdumpServer {
  readonly options: NetdumpServerOptions;
  /** The dumps that are over, oldest first. */
  readonly ended: EndedDump[] = [];
  private readonly host: NetdumpHost;
  private readonly clients = new Map<string, Client>();
  private readonly earlyLogs = new Map<string, Uint8Array>();

  constructor(host: NetdumpHost, options: Partial<NetdumpServerOptions> = {}) {
    this.host = host;
    this.options = { ...DEFAULT_SERVER, ...options };
  }

  /** Dumps that are not over. */
  get active(): number {
    return [...this.clients.values()].filter(({ session }) => session.outcome === undefined).length;
  }

  /** True while somebody is owed a request: tick() is due. */
  get busy(): boolean {
    return this.clients.size > 0;
  }

  /** A datagram from a client. `now`: nanoseconds on any clock that only goes forward. */
  receive(ip: string, port: number, datagram: Uint8Array, now: number): void {
    const reply = decodeReply(datagram);
    if (!reply) return;
    const client = this.clients.get(ip);
    if (reply.code === REPLY.START_NETDUMP) {
      // After the end it is the next crash of a client that has rebooted, or the last one's echo: tick() tells them apart.
      if (!client) this.begin(ip, port, reply, now);
      else if (client.port === port && client.session.outcome === undefined) {
        client.session.heardAt = now;
        client.session.acknowledge();
      }
    } else if (reply.code === REPLY.LOG) this.keepLog(ip, client, reply);
    // An answer from another port is not this client's.
    else if (client?.port === port) client.session.hear(reply, now);
    if (client) this.tickClient(client, now);
  }

  /** Repeats what got lost. Call it every `times.retryNs` or more often while `busy`. */
  tick(now: number): void {
    for (const client of [...this.clients.values()]) this.tickClient(client, now);
  }

  private tickClient(client: Client, now: number): void {
    if (!client.session.tick(now)) this.clients.delete(client.ip);
  }

  private say(line: string): void {
    this.host.onMessage(line);
  }

  private begin(ip: string, port: number, reply: NetdumpReply, now: number): void {
    const known = NetdumpSession.understand(reply);
    if (typeof known === "string") {
      this.say(`${ip}: not served: ${known}`);
      return;
    }
    const expected = this.options.magics.get(ip);
    if (expected === undefined ? this.options.secure : expected !== known.start.magic) {
      this.say(`${ip}: not served: ${expected === undefined ? "no magic number was exchanged" : "wrong magic number"}`);
      return;
    }
    const { magic } = known.start;
    const send = (nr: number, command: number, from: number): void =>
      this.host.send(ip, port, encodeRequest({ magic, nr, command, from, to: 0 }));
    if (this.active >= this.options.concurrent) {
      this.say(`${ip}: too many dumps (${this.options.concurrent}): it is told to reboot`);
      send(0, COMM.START_NETDUMP_ACK, NETDUMP_VERSION);
      send(0, COMM.REBOOT, 0);
      return;
    }
    const opened = this.open(ip);
    if (typeof opened === "string") {
      this.say(`${ip}: not served: ${opened}`);
      return;
    }
    const { directory, log, vmcore } = opened;
    this.script("netdump-start", ip);
    this.say(`${ip}: dump begins in ${directory}`);
    const core = new NetdumpCore(vmcore, `${directory}/vmcore-incomplete`, () => this.makeRoom(ip, directory));
    const session = NetdumpSession.begin(
      known,
      core,
      this.options.times,
      { send, ended: (outcome, detail) => this.end(ip, outcome, detail) },
      now,
    );
    const client = { ip, port, directory, session, log, logOpen: true };
    this.clients.set(ip, client);
    const early = this.earlyLogs.get(ip);
    this.earlyLogs.delete(ip);
    if (early) this.writeLog(client, 0, early);
  }

  /** Makes the directory and the files. Returns a string when it cannot; nothing is left half-made then. */
  private open(ip: string): { directory: string; log: HostFile; vmcore: HostFile } | string {
    const { files } = this.host;
    const directory = newDumpDirectory(this.host, this.options.dumpDirectory, ip);
    let log: HostFile | undefined;
    try {
      files.makeDirectory(directory);
      log = files.create(`${directory}/log`);
      return { directory, log, vmcore: files.create(`${directory}/vmcore-incomplete`) };
    } catch (error) {
      if (log) {
        log.close();
        files.remove(`${directory}/log`);
      }
      files.removeEmptyDirectory(directory);
      return `${directory}: ${error instanceof Error ? systemReason(error) : String(error)}`;
    }
  }

  private script(name: string, ...args: readonly string[]): number | undefined {
    const path = `${this.options.dumpDirectory}/scripts/${name}`;
    return this.host.files.exists(path) ? this.host.files.run(path, args) : undefined;
  }

  /** netdump-nospace asks for another try with an exit code that is not zero. */
  private makeRoom(ip: string, directory: string): boolean {
    const code = this.script("netdump-nospace", ip, directory);
    return code !== undefined && code !== 0;
  }

  private keepLog(ip: string, client: Client | undefined, { info, payload }: NetdumpReply): void {
    if (client) {
      this.writeLog(client, info, payload);
      return;
    }
    const before = this.earlyLogs.get(ip) ?? new Uint8Array();
    const end = info + payload.length;
    if (end > EARLY_LOG_BYTES || (before.length === 0 && this.earlyLogs.size >= EARLY_LOGS)) return;
    const after = new Uint8Array(Math.max(before.length, end));
    after.set(before);
    after.set(payload, info);
    this.earlyLogs.set(ip, after);
  }

  private writeLog(client: Client, offset: number, bytes: Uint8Array): void {
    if (!client.logOpen) return;
    try {
      client.log.write(offset, bytes);
    } catch (error) {
      this.say(`${client.directory}/log: ${error instanceof Error ? systemReason(error) : String(error)}`);
      this.closeLog(client);
    }
  }

  private closeLog(client: Client): void {
    if (client.logOpen) client.log.close();
    client.logOpen = false;
  }

  private end(ip: string, outcome: SessionOutcome, detail: string): void {
    const client = this.clients.get(ip)!;
    const { directory, session } = client;
    const { files } = this.host;
    this.closeLog(client);
    let core = `${directory}/vmcore-incomplete`;
    if (outcome === "complete") {
      files.rename(core, `${directory}/vmcore`);
      core = `${directory}/vmcore`;
    }
    const { pagesSaved, requestsRepeated } = session;
    this.ended.push({ ip, outcome, detail, directory, core, pagesSaved, requestsRepeated });
    this.say(`${ip}: dump ended: ${outcome}, ${detail} (${core})`);
    this.script("netdump-crash", ip, directory);
    this.script("netdump-reboot", ip, directory);
  }
}

/** "10.0.0.7=0x0123456789abcdef". Throws a UsageError for anything else. */
export function parseMagic(text: string): readonly [string, bigint] {
  const [, ip, magic] = /^(\d+\.\d+\.\d+\.\d+)=0x([0-9a-f]{1,16})$/i.exec(text) ?? [];
  if (ip === undefined) throw new UsageError(`"${text}": expected <ip>=0x<magic number, at most 16 digits>`);
  return [ip, BigInt(`0x${magic!}`)];
}
