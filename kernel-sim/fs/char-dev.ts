// Character devices (fs/char_dev.c, drivers/char/mem.c, tty_io.c of 2.6.9): registered numbers, and the few devices that a
// machine without users opens: /dev/null and /dev/console.
import { peekPtr, pokePtr } from "../abi/ram.ts";
import { MAX_PROBE_HASH, cdev, char_device_struct } from "../abi/structs/devices.ts";
import { array, ptr } from "../abi/types.ts";
import { MAJOR, MINOR, MKDEV } from "../block/majors.ts";
import { pokeString } from "../core/c-string.ts";
import { kernelString } from "../core/irq.ts";
import { K, type Kernel } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { INIT_LIST_HEAD } from "../core/list.ts";
import { printk } from "../core/printk.ts";
import { makeFileOperations } from "./file-operations.ts";

export const MEM_MAJOR = 1;
export const NULL_MINOR = 3;
export const TTYAUX_MAJOR = 5;
export const CONSOLE_MINOR = 1;

/** Nothing is there to be read. Context: process. */
const read_null = kfunc("read_null", function* () {
  return 0;
});
/** Takes everything. Returns: the bytes. Context: process. */
const write_null = kfunc("write_null", function* (bytes: number) {
  return bytes;
});
/** Text of a process for the console. Returns: its length. Context: process; takes the console. */
const tty_write = kfunc("tty_write", function* (text: string) {
  yield* printk(text, 6);
  return text.length;
});
const tty_open = kfunc("tty_open", function* () {
  return 0;
});

/** Makes chrdevs[] and registers the devices that are always there. Boot. */
export function chrdev_init(k: Kernel): void {
  k.static(
    "chrdevs",
    array(
      ptr(() => char_device_struct),
      MAX_PROBE_HASH,
    ),
  );
  const memory = makeFileOperations(k, "memory_fops", { read: read_null, write: write_null });
  const console = makeFileOperations(k, "console_fops", { open: tty_open, write: tty_write });
  register_chrdev(MKDEV(MEM_MAJOR, 0), 256, "mem", memory);
  register_chrdev(MKDEV(TTYAUX_MAJOR, CONSOLE_MINOR), 1, "/dev/console", console);
}

/** Takes `count` numbers from `dev` on for a device whose files have the operations at `fops`. Context: process or boot. */
export function register_chrdev(dev: number, count: number, name: string, fops: number): void {
  const device = K.view(cdev, K.bootmem(K.sizeOf(cdev)));
  const { kobj } = device;
  pokeString(kobj.addr + K.offsetOf(cdev.fields.kobj, "name"), name.replace(/\//g, "!"), 20);
  kobj.k_name = kobj.addr + K.offsetOf(cdev.fields.kobj, "name");
  kobj.kref.refcount.counter = 1;
  INIT_LIST_HEAD(device.list.addr);
  device.ops = fops;
  device.dev = dev;
  device.count = count;
  const entry = K.view(char_device_struct, K.bootmem(K.sizeOf(char_device_struct)));
  entry.major = MAJOR(dev);
  entry.baseminor = MINOR(dev);
  entry.minorct = count;
  entry.name = kernelString(name);
  entry.fops = fops;
  entry.cdev = device.addr;
  let link = K.symbol("chrdevs") + (MAJOR(dev) % MAX_PROBE_HASH) * K.map.model.wordBytes;
  for (let at = peekPtr(link); at !== 0; at = peekPtr(link)) link = at;
  pokePtr(link, entry.addr);
}

/** The struct cdev that answers for a device number, 0 when there is none. */
export function cdev_of(dev: number): number {
  let at = peekPtr(K.symbol("chrdevs") + (MAJOR(dev) % MAX_PROBE_HASH) * K.map.model.wordBytes);
  for (; at !== 0; at = peekPtr(at)) {
    const { major, baseminor, minorct, cdev: device } = K.view(char_device_struct, at);
    const minor = MINOR(dev);
    if (major === MAJOR(dev) && minor >= baseminor && minor < baseminor + minorct) return device;
  }
  return 0;
}
