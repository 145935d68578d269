// Which kernel a scenario boots.
import type { Flavour } from "../../kernel-sim/core/flavour.ts";
import { DEFAULT_LINUX_2_4, linux_2_4_21 } from "../../kernel-sim/flavours/linux-2.4.21.ts";
import { LINUX_2_6_9 } from "../../kernel-sim/flavours/linux-2.6.9.ts";
import type { Scenario } from "../scenario/scenario.ts";

export const flavourOf = ({ kernel, linux24 }: Scenario): Flavour =>
  kernel === "2.4.21" ? linux_2_4_21(linux24 ?? DEFAULT_LINUX_2_4) : LINUX_2_6_9;
