// The serial EEPROM 93C46 beside the chip: 64 words of 16 bits, clocked bit by bit. [93C46 data sheet: READ is 110 and six
// address bits; the answer begins with a zero bit]

const WORDS = 64;
const COMMAND_BITS = 9;
const READ = 0b110;

/** Where the RTL8139 keeps what. [RTL8139C(L) data sheet, chapter 7] */
const SIGNATURE = 0x8129;
const ADDRESS_WORD = 7;

export class Eeprom93c46 {
  readonly words = new Uint16Array(WORDS);
  private selected = false;
  private clock = false;
  private command = 0;
  private bits = 0;
  /** What is still to be shifted out, most significant bit first; -1 when nothing is. */
  private left = -1;
  private data = 0;
  /** The level of its output. */
  output = true;

  /** @param address the station's six bytes */
  constructor(address: Uint8Array) {
    this.words[0] = SIGNATURE;
    for (let i = 0; i < 3; i++) this.words[ADDRESS_WORD + i] = address[2 * i]! | (address[2 * i + 1]! << 8);
  }

  /** The three inputs as the host drives them now; it acts on a rising clock. */
  drive(select: boolean, clock: boolean, input: boolean): void {
    const rising = select && clock && !this.clock;
    if (!select || !this.selected) {
      this.command = this.bits = 0;
      this.left = -1;
      this.output = true;
    }
    this.selected = select;
    this.clock = clock;
    if (rising) this.shift(input);
  }

  private shift(input: boolean): void {
    if (this.left >= 0) {
      this.output = this.left > 0 && ((this.data >>> (this.left - 1)) & 1) !== 0;
      this.left--;
      return;
    }
    // Zeroes before the start bit count for nothing.
    if (this.bits === 0 && !input) return;
    this.command = (this.command << 1) | (input ? 1 : 0);
    if (++this.bits < COMMAND_BITS) return;
    this.bits = 0;
    const isRead = this.command >> 6 === READ;
    this.data = isRead ? this.words[this.command & 0x3f]! : 0xffff;
    this.command = 0;
    // The zero bit goes out with the last address bit.
    this.output = !isRead;
    this.left = isRead ? 16 : -1;
  }
}
