// Asynchronous events: EventNotification switches them on, each comes as an address reply, some want an EventAck.
// Source: facts hba/mptfusion.md sections 3 (step 10) and 6.
import type { MessageUnit } from "./chip-message-unit.ts";
import {
  EventNotificationReply,
  MPI_FUNCTION_EVENT_NOTIFICATION,
  MPI_MSGFLAGS_CONTINUATION_REPLY,
} from "./messages.ts";

const DATA_WORD = EventNotificationReply.Data / 4;
const REPLY_DWORDS = 20;

export class EventReporter {
  /** 1 once the host asked for events; IOCFacts shows it. */
  enabled = false;
  private readonly unit: MessageUnit;
  private context = 0;
  private nextEventContext = 1;
  /** Events that wait for the host's EventAck: EventContext -> event. */
  private readonly unacknowledged = new Map<number, number>();
  private readonly reply = new Int32Array(REPLY_DWORDS);

  constructor(unit: MessageUnit) {
    this.unit = unit;
  }

  clear(): void {
    this.enabled = false;
    this.unacknowledged.clear();
  }

  /** The host's request; later events come as further replies to it. */
  switchTo(enabled: boolean, context: number): void {
    this.enabled = enabled;
    this.context = context;
  }

  /** Reports an event unless the host has not asked for any. */
  report(event: number, data: readonly number[], ackRequired = false): void {
    if (!this.enabled) return;
    const { reply } = this;
    const dwords = Math.min(DATA_WORD + data.length, REPLY_DWORDS);
    const eventContext = this.nextEventContext++;
    if (ackRequired) this.unacknowledged.set(eventContext, event);
    reply[0] = data.length | (dwords << 16) | (MPI_FUNCTION_EVENT_NOTIFICATION << 24);
    reply[1] = ((ackRequired ? 1 : 0) << 16) | (MPI_MSGFLAGS_CONTINUATION_REPLY << 24);
    reply[2] = this.context;
    reply[3] = 0;
    reply[4] = 0;
    reply[5] = event;
    reply[6] = eventContext;
    for (let i = DATA_WORD; i < dwords; i++) reply[i] = data[i - DATA_WORD]!;
    this.unit.postReply(reply, dwords);
  }

  /** True when that event waited for an acknowledgement. */
  acknowledge(event: number, eventContext: number): boolean {
    if (this.unacknowledged.get(eventContext) !== event) return false;
    return this.unacknowledged.delete(eventContext);
  }
}
