// SCSI task management: which commands a request ends, what reaches the targets, and the reply.
// Source: facts hba/mptfusion.md section 6. Victims are answered before the task management reply.
import type { ScsiTarget } from "../../emulator/disk/scsi-command.ts";
import type { EventReporter } from "./chip-events.ts";
import type { FusionProfile } from "./chip-profile.ts";
import type { ScsiIo } from "./chip-scsi-io.ts";
import {
  MPI_EVENT_IOC_BUS_RESET,
  MPI_FUNCTION_SCSI_TASK_MGMT,
  MPI_IOCSTATUS_SCSI_DEVICE_NOT_THERE,
  MPI_IOCSTATUS_SCSI_INVALID_BUS,
  MPI_IOCSTATUS_SCSI_INVALID_TARGETID,
  MPI_IOCSTATUS_SCSI_IOC_TERMINATED,
  MPI_IOCSTATUS_SCSI_TASK_TERMINATED,
  MPI_IOCSTATUS_SUCCESS,
  MPI_SCSITASKMGMT_RSP_TM_COMPLETE,
  MPI_SCSITASKMGMT_RSP_TM_FAILED,
  MPI_SCSITASKMGMT_RSP_TM_NOT_SUPPORTED,
  MPI_SCSITASKMGMT_TASKTYPE_ABORT_TASK,
  MPI_SCSITASKMGMT_TASKTYPE_ABRT_TASK_SET,
  MPI_SCSITASKMGMT_TASKTYPE_CLEAR_TASK_SET,
  MPI_SCSITASKMGMT_TASKTYPE_LOGICAL_UNIT_RESET,
  MPI_SCSITASKMGMT_TASKTYPE_RESET_BUS,
  MPI_SCSITASKMGMT_TASKTYPE_TARGET_RESET,
  SCSITaskMgmt,
  SCSITaskMgmtReply,
} from "./messages.ts";

export const TASK_REPLY_WORDS = SCSITaskMgmtReply.bytes / 4;
const VICTIM_WORD = SCSITaskMgmt.TaskMsgContext / 4;

export class TaskManager {
  private readonly profile: FusionProfile;
  private readonly io: ScsiIo;
  private readonly events: EventReporter;
  private readonly targets: readonly (ScsiTarget | undefined)[];

  constructor(profile: FusionProfile, io: ScsiIo, events: EventReporter, targets: readonly (ScsiTarget | undefined)[]) {
    this.profile = profile;
    this.io = io;
    this.events = events;
    this.targets = targets;
  }

  /** Carries out the request in `words` and fills `reply`. */
  execute(words: Int32Array, reply: Int32Array): void {
    const header = words[0]!;
    const taskType = (words[1]! >>> 8) & 0xff;
    const target = header & 0xff;
    let iocStatus = MPI_IOCSTATUS_SUCCESS;
    let response = MPI_SCSITASKMGMT_RSP_TM_COMPLETE;
    let terminated = 0;
    const wholeBus = taskType === MPI_SCSITASKMGMT_TASKTYPE_RESET_BUS;
    const device = this.targets[target];
    if ((header & 0xff00) !== 0) iocStatus = MPI_IOCSTATUS_SCSI_INVALID_BUS;
    else if (!wholeBus && target >= this.profile.maxTargets) iocStatus = MPI_IOCSTATUS_SCSI_INVALID_TARGETID;
    else if (wholeBus) terminated = this.resetBus();
    else if (taskType === MPI_SCSITASKMGMT_TASKTYPE_ABORT_TASK) {
      const victim = words[VICTIM_WORD]!;
      terminated = this.io.terminate((slot) => slot.context === victim, MPI_IOCSTATUS_SCSI_TASK_TERMINATED);
    } else if (device === undefined || !device.present) iocStatus = MPI_IOCSTATUS_SCSI_DEVICE_NOT_THERE;
    else {
      const lunWord = words[3]!;
      const lun = ((lunWord & 0x3f) << 8) | ((lunWord >>> 8) & 0xff);
      switch (taskType) {
        case MPI_SCSITASKMGMT_TASKTYPE_TARGET_RESET:
          terminated = this.io.terminate((slot) => slot.target === target, MPI_IOCSTATUS_SCSI_TASK_TERMINATED);
          device.reset("target");
          break;
        case MPI_SCSITASKMGMT_TASKTYPE_ABRT_TASK_SET:
        case MPI_SCSITASKMGMT_TASKTYPE_CLEAR_TASK_SET:
        case MPI_SCSITASKMGMT_TASKTYPE_LOGICAL_UNIT_RESET:
          // One initiator per target: aborting its task set and clearing the whole set end the same commands.
          terminated = this.io.terminate(
            (slot) => slot.target === target && slot.lun === lun,
            MPI_IOCSTATUS_SCSI_TASK_TERMINATED,
          );
          if (taskType === MPI_SCSITASKMGMT_TASKTYPE_LOGICAL_UNIT_RESET) device.reset("lun");
          break;
        default:
          response = MPI_SCSITASKMGMT_RSP_TM_NOT_SUPPORTED;
      }
    }
    if (iocStatus !== MPI_IOCSTATUS_SUCCESS) response = MPI_SCSITASKMGMT_RSP_TM_FAILED;
    reply[0] = (header & 0xffff) | (TASK_REPLY_WORDS << 16) | (MPI_FUNCTION_SCSI_TASK_MGMT << 24);
    reply[1] = response | (taskType << 8);
    reply[2] = words[2]!;
    reply[3] = iocStatus << 16;
    reply[4] = 0;
    reply[5] = terminated;
  }

  /** Resets every target, SPI by the RESET signal, SAS one by one; commands under way end as "IOC terminated". */
  private resetBus(): number {
    const terminated = this.io.terminate(() => true, MPI_IOCSTATUS_SCSI_IOC_TERMINATED);
    this.resetTargets();
    this.events.report(MPI_EVENT_IOC_BUS_RESET, [0]);
    return terminated;
  }

  resetTargets(): void {
    for (const target of this.targets)
      if (target?.present) target.reset(this.profile.transport === "spi" ? "bus" : "target");
  }
}
