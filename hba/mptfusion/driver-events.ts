// Events, and mptbase's own requests (mpt_base_reply, ProcessEventNotification; mptbase.c of 2.6.9).
import { M } from "../../kernel-sim/abi/ram.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { configDone } from "./driver-config.ts";
import {
  MPT_BASE_CTX,
  clearFrame,
  get32le,
  mpt_get_msg_frame,
  mpt_put_msg_frame,
  put32le,
  put8,
  type MPT_ADAPTER,
} from "./driver-ioc.ts";
import {
  EventAck,
  EventNotification,
  EventNotificationReply,
  MPIDefaultReply,
  MPI_EVENT_EVENT_CHANGE,
  MPI_EVENT_EXT_BUS_RESET,
  MPI_EVENT_IOC_BUS_RESET,
  MPI_EVENT_QUEUE_FULL,
  MPI_EVENT_SAS_DEVICE_STATUS_CHANGE,
  MPI_FUNCTION_CONFIG,
  MPI_FUNCTION_EVENT_ACK,
  MPI_FUNCTION_EVENT_NOTIFICATION,
  MPI_MSGFLAGS_CONTINUATION_REPLY,
} from "./messages.ts";

const kfunc = moduleFunctions("mptbase");

/** Switches event reports on or off; the answer comes like any reply. Returns 0, or -1 without a free frame. */
export const SendEventNotification = kfunc("SendEventNotification", function* (ioc: MPT_ADAPTER, on: number) {
  const mf = yield* mpt_get_msg_frame(MPT_BASE_CTX, ioc);
  if (mf === 0) return -1;
  clearFrame(mf, 16);
  put8(mf + EventNotification.Function, MPI_FUNCTION_EVENT_NOTIFICATION);
  put8(mf + EventNotification.Switch, on);
  mpt_put_msg_frame(ioc, mf);
  return 0;
});

const SendEventAck = kfunc("SendEventAck", function* (ioc: MPT_ADAPTER, event: number, context: number) {
  const mf = yield* mpt_get_msg_frame(MPT_BASE_CTX, ioc);
  if (mf === 0) return -1;
  clearFrame(mf, EventAck.bytes + 4);
  put8(mf + EventAck.Function, MPI_FUNCTION_EVENT_ACK);
  put32le(mf + EventAck.Event, event);
  put32le(mf + EventAck.EventContext, context);
  mpt_put_msg_frame(ioc, mf);
  return 0;
});

const EVENT_NAMES: Readonly<Record<number, string>> = {
  [MPI_EVENT_IOC_BUS_RESET]: "IOC Bus Reset",
  [MPI_EVENT_EXT_BUS_RESET]: "External Bus Reset",
  [MPI_EVENT_QUEUE_FULL]: "Queue Full",
  [MPI_EVENT_SAS_DEVICE_STATUS_CHANGE]: "SAS Device Status Change",
};

/** Notes and reports an event; acknowledges it if it asks for that. Context: hardirq or poll. */
const ProcessEventNotification = kfunc("ProcessEventNotification", function* (ioc: MPT_ADAPTER, mr: number) {
  const event = get32le(mr + EventNotificationReply.Event) & 0xff;
  ioc.s.eventContext = get32le(mr + EventNotificationReply.EventContext);
  if (event === MPI_EVENT_EVENT_CHANGE) ioc.s.eventTypes = M.u8[mr + EventNotificationReply.Data]! & 1;
  else {
    const name = EVENT_NAMES[event] ?? `event ${event.toString(16)}h`;
    yield* printk(`mptbase: ${ioc.name}: ${name}\n`, 6);
  }
  if (M.u8[mr + EventNotificationReply.AckRequired]! !== 0) {
    yield* SendEventAck(ioc, get32le(mr + EventNotificationReply.Event), ioc.s.eventContext);
  }
});

/** The end of mptbase's own requests: events, acknowledgements, config pages. Returns: 1 to free the frame. */
export const mpt_base_reply = kfunc("mpt_base_reply", function* (ioc: MPT_ADAPTER, mf: number, mr: number) {
  if (mr === 0) return 1;
  switch (M.u8[mr + MPIDefaultReply.Function]) {
    case MPI_FUNCTION_EVENT_NOTIFICATION:
      yield* ProcessEventNotification(ioc, mr);
      // More is to come for the same request.
      return (M.u8[mr + MPIDefaultReply.MsgFlags]! & MPI_MSGFLAGS_CONTINUATION_REPLY) !== 0 ? 0 : 1;
    case MPI_FUNCTION_CONFIG:
      yield* configDone(ioc, mf, mr);
      return 1;
    default:
      return 1;
  }
});
