// The I/O schedulers by name.
import type { Elevator } from "./elevator.ts";
import { DeadlineElevator } from "./elevator-deadline.ts";
import { NoopElevator } from "./elevator-noop.ts";
import type { RequestQueue } from "./queue.ts";

export type ElevatorName = "noop" | "deadline";

/** @param data elevator_data: zeroed memory for struct deadline_data */
export const makeElevator = (name: ElevatorName, q: RequestQueue, data: number): Elevator =>
  name === "noop" ? new NoopElevator(q, data) : new DeadlineElevator(q, data);
