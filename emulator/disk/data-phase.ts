// Moving the data of one command between its scatter-gather list and a small buffer of the disk.
import type { ScsiCommand } from "./scsi-command.ts";

/** Sends an answer: as much as the allocation length and the initiator's room allow. */
export function sendReply(command: ScsiCommand, reply: Uint8Array, length: number, allocation: number): void {
  const total = Math.min(length, allocation, command.dataLength);
  let sent = 0;
  for (let i = 0; i < command.segmentCount && sent < total; i++) {
    const segment = command.segments[i]!;
    const size = Math.min(segment.length, total - sent);
    command.memory.writeBytes(segment.address, reply.subarray(sent, sent + size));
    sent += size;
  }
  command.transferred = sent;
}

/** Fetches a parameter list of at most `length` bytes; returns how many the initiator had. */
export function receiveParameters(command: ScsiCommand, into: Uint8Array, length: number): number {
  const total = Math.min(length, command.dataLength, into.length);
  let received = 0;
  for (let i = 0; i < command.segmentCount && received < total; i++) {
    const segment = command.segments[i]!;
    const size = Math.min(segment.length, total - received);
    command.memory.readBytes(segment.address, into.subarray(received, received + size));
    received += size;
  }
  command.transferred = received;
  return received;
}
