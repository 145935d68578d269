// Fields of a C struct read from and written to plain bytes, in a data model's layout and byte order.
import { layoutOf, sizeOf, type CType, type DataModel, type StructType } from "../../kernel-sim/abi/types.ts";

export class StructBytes {
  readonly type: StructType;
  readonly model: DataModel;
  readonly bytes: Uint8Array;
  private readonly view: DataView;

  /** `bytes` must hold the whole struct, from its first byte on. */
  constructor(type: StructType, model: DataModel, bytes: Uint8Array = new Uint8Array(layoutOf(type, model).size)) {
    this.type = type;
    this.model = model;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  private field(name: string): { offset: number; type: CType; size: number } {
    const field = layoutOf(this.type, this.model).fields.get(name);
    if (!field) throw new Error(`struct ${this.type.name} has no field ${name}`);
    return field;
  }

  /** Where a field begins, in bytes from the struct's beginning. */
  offsetOf(name: string): number {
    return this.field(name).offset;
  }

  /** A field that is itself a struct. */
  inner(name: string): StructBytes {
    const { offset, type, size } = this.field(name);
    if (type.kind !== "struct") throw new Error(`struct ${this.type.name}: ${name} is not a struct`);
    return new StructBytes(type, this.model, this.bytes.subarray(offset, offset + size));
  }

  /** Element `index` of an array of integers or pointers, or the field itself. */
  private place(name: string, index: number): { offset: number; size: number; signed: boolean } {
    const { offset, type, size } = this.field(name);
    if (type.kind !== "array") return { offset, size, signed: type.kind === "scalar" && type.signed };
    if (index < 0 || index >= type.length) throw new RangeError(`${name}[${index}]: there are ${type.length}`);
    const element = sizeOf(type.of, this.model);
    return { offset: offset + index * element, size: element, signed: type.of.kind === "scalar" && type.of.signed };
  }

  /** An integer or pointer of any size. */
  getBig(name: string, index = 0): bigint {
    const { offset, size, signed } = this.place(name, index);
    const little = this.model.littleEndian;
    if (size === 8) return signed ? this.view.getBigInt64(offset, little) : this.view.getBigUint64(offset, little);
    if (size === 4) return BigInt(signed ? this.view.getInt32(offset, little) : this.view.getUint32(offset, little));
    return BigInt(this.bytes[offset]!);
  }

  setBig(name: string, value: bigint, index = 0): void {
    const { offset, size } = this.place(name, index);
    const little = this.model.littleEndian;
    if (size === 8) this.view.setBigUint64(offset, BigInt.asUintN(64, value), little);
    else if (size === 4) this.view.setUint32(offset, Number(BigInt.asUintN(32, value)), little);
    else this.bytes[offset] = Number(BigInt.asUintN(8, value));
  }

  get(name: string, index = 0): number {
    return Number(this.getBig(name, index));
  }

  set(name: string, value: number, index = 0): void {
    this.setBig(name, BigInt(value), index);
  }

  /** A char array up to its NUL, as Latin-1. */
  getText(name: string): string {
    const { offset, size } = this.field(name);
    const raw = Buffer.from(this.bytes.buffer, this.bytes.byteOffset + offset, size);
    const end = raw.indexOf(0);
    return raw.toString("latin1", 0, end < 0 ? size : end);
  }

  /** Writes a NUL-terminated string, cut to fit. */
  setText(name: string, value: string, terminated = true): void {
    const { offset, size } = this.field(name);
    const raw = Buffer.from(value, "latin1").subarray(0, terminated ? size - 1 : size);
    this.bytes.fill(0, offset, offset + size);
    this.bytes.set(raw, offset);
  }
}
