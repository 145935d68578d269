// Structs that 2.4 has and 2.6.9 has not. What both have is in the layout of 2.6.9.
import { funcPtr, struct, ulong, voidPtr } from "../types.ts";
import { listHead } from "./base.ts";

export const tq_struct = struct(
  "tq_struct",
  { list: listHead, sync: ulong, routine: funcPtr, data: voidPtr },
  { doc: "a function to be called once, later (include/linux/tqueue.h of 2.4)" },
);
