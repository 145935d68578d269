// The I/O schedulers by name.
import type { Elevator } from "./elevator.ts";
import { DeadlineElevator } from "./elevator-deadline.ts";
import { LinusElevator } from "./elevator-linus.ts";
import { NoopElevator } from "./elevator-noop.ts";
import type { RequestQueue } from "./queue.ts";

export type ElevatorName = "noop" | "deadline" | "linus";

/** @param data elevator_data: zeroed memory for struct deadline_data */
export function makeElevator(name: ElevatorName, q: RequestQueue, data: number): Elevator {
  if (name === "noop") return new NoopElevator(q, data);
  return name === "linus" ? new LinusElevator(q, data) : new DeadlineElevator(q, data);
}
