// What a stage at the level of rows needs: the exports of the contract, the columns of a batch, and
// an output of row numbers and failures. Frames are drawn in sdk/contract/frame.md.

/** Bytes that may be read behind an input, and the alignment that the host asks for. */
const READ_AHEAD: u32 = 64;
const ALIGNMENT: u32 = 64;
const HEADER_BYTES: u32 = 64;
const MAGIC: u32 = 0x31464d47;

/** Answers the JSON of `describe`; null: `mistake` says what is wrong. */
export type Describe = (request: string) => string | null;
/** Keeps (true) or drops (false) a row, or refuses it by `fail`. */
export type RowFunction = (row: Row) => bool;

let describeStage: Describe = (_request: string): string | null => null;
let runRow: RowFunction = (_row: Row): bool => false;
/** What is wrong with the configuration or the input. */
let mistake: string = "no stage is registered";
let reason: string | null = null;

export function register(describe: Describe, row: RowFunction): void {
  describeStage = describe;
  runRow = row;
}

/** In the describing function: refuses the configuration or the input. */
export function refuse(why: string): string | null {
  mistake = why;
  return null;
}

/** In the row function: refuses the row with a reason. */
export function fail(why: string): bool {
  reason = why;
  return false;
}

/** One row of a batch; columns are counted as in `reads`, and none of them is nested. */
export class Row {
  constructor(private frame: usize, public index: u32) {}

  private descriptor(column: u32): usize {
    return this.frame + load<u16>(this.frame, 4) + column * <u32>load<u16>(this.frame, 6);
  }

  isNull(column: u32): bool {
    const at = this.descriptor(column);
    if (load<u32>(at, 4) == 0) return false;
    const bits = load<u8>(this.frame + load<u32>(at, 8) + (this.index >> 3));
    return ((bits >> <u8>(this.index & 7)) & 1) == 0;
  }

  /** A long, or the microseconds of a timestamp. */
  long(column: u32): i64 {
    return load<i64>(this.frame + load<u32>(this.descriptor(column), 24) + 8 * this.index);
  }

  /** An int, or the days of a date. */
  integer(column: u32): i32 {
    return load<i32>(this.frame + load<u32>(this.descriptor(column), 24) + 4 * this.index);
  }

  double(column: u32): f64 {
    return load<f64>(this.frame + load<u32>(this.descriptor(column), 24) + 8 * this.index);
  }

  text(column: u32): string {
    const at = this.descriptor(column);
    const offsets = this.frame + load<u32>(at, 16) + 4 * this.index;
    const start = load<i32>(offsets);
    return String.UTF8.decodeUnsafe(this.frame + load<u32>(at, 24) + start, load<i32>(offsets, 4) - start);
  }
}

/** Memory that the collector does not move or free: where the host writes its input. */
let area: usize = 0;
let areaSize: u32 = 0;
/** The bytes of the last answer, and result<list<u8>, string>: 0 or 1, address, length. */
let answer: StaticArray<u8> = new StaticArray<u8>(0);
const returned: usize = memory.data(12, 4);

export function cabi_realloc(old: usize, oldSize: u32, align: u32, size: u32): usize {
  const needed = size + READ_AHEAD + ALIGNMENT;
  if (align > ALIGNMENT) unreachable();
  if (needed > areaSize) {
    const grown = heap.alloc(needed + needed / 4);
    if (old != 0) memory.copy(aligned(grown), old, min(oldSize, size));
    if (area != 0) heap.free(area);
    area = grown;
    areaSize = needed + needed / 4;
  }
  return aligned(area);
}

function aligned(at: usize): usize {
  return (at + ALIGNMENT - 1) & ~(<usize>ALIGNMENT - 1);
}

function give(isErr: u32): usize {
  store<u32>(returned, isErr);
  store<u32>(returned, <u32>changetype<usize>(answer), 4);
  store<u32>(returned, <u32>answer.length, 8);
  return returned;
}

function giveText(isErr: u32, text: string): usize {
  const bytes = String.UTF8.encode(text);
  answer = new StaticArray<u8>(bytes.byteLength);
  memory.copy(changetype<usize>(answer), changetype<usize>(bytes), bytes.byteLength);
  return give(isErr);
}

export function describe(request: usize, size: u32): usize {
  const described = describeStage(String.UTF8.decodeUnsafe(request, size));
  return described === null ? giveText(1, mistake) : giveText(0, described);
}

export function process(frame: usize, size: u32): usize {
  if (size < HEADER_BYTES || load<u32>(frame) != MAGIC) return giveText(1, "no frame");
  const rowCount = load<u32>(frame, 12);
  const kept = new StaticArray<u32>(rowCount);
  const failed = new StaticArray<u32>(rowCount);
  const reasons: ArrayBuffer[] = [];
  let keptCount: u32 = 0;
  for (let index: u32 = 0; index < rowCount; index++) {
    reason = null;
    const keep = runRow(new Row(frame, index));
    const why = reason;
    if (why !== null) {
      failed[reasons.length] = index;
      reasons.push(String.UTF8.encode(why));
    } else if (keep) {
      kept[keptCount++] = index;
    }
  }
  write(kept, keptCount, failed, reasons);
  return give(0);
}

/** Row numbers and failures, one behind the other in one buffer. */
function write(kept: StaticArray<u32>, keptCount: u32, failed: StaticArray<u32>, reasons: ArrayBuffer[]): void {
  const failedCount: u32 = reasons.length;
  const rowsAt = HEADER_BYTES, failedAt = rowsAt + 4 * keptCount, offsetsAt = failedAt + 4 * failedCount;
  const reasonsAt = offsetsAt + 4 * (failedCount + 1);
  let end = reasonsAt;
  for (let i = 0; i < reasons.length; i++) end += reasons[i].byteLength;
  answer = new StaticArray<u8>(end);
  const out = changetype<usize>(answer);
  store<u32>(out, MAGIC);
  store<u16>(out, <u16>HEADER_BYTES, 4);
  store<u16>(out, 32, 6);
  store<u32>(out, end, 8);
  store<u32>(out, keptCount, 12);
  store<u32>(out, 1, 20);
  place(out, 24, rowsAt, 4 * keptCount);
  memory.copy(out + rowsAt, changetype<usize>(kept), 4 * keptCount);
  if (failedCount == 0) return;
  store<u32>(out, failedCount, 32);
  place(out, 36, failedAt, 4 * failedCount);
  place(out, 44, offsetsAt, 4 * (failedCount + 1));
  place(out, 52, reasonsAt, end - reasonsAt);
  memory.copy(out + failedAt, changetype<usize>(failed), 4 * failedCount);
  let at: u32 = 0;
  for (let i = 0; i < reasons.length; i++) {
    memory.copy(out + reasonsAt + at, changetype<usize>(reasons[i]), reasons[i].byteLength);
    at += reasons[i].byteLength;
    store<u32>(out + offsetsAt + 4 * (i + 1), at);
  }
}

function place(out: usize, at: u32, offset: u32, size: u32): void {
  store<u32>(out + at, offset);
  store<u32>(out + at, size, 4);
}
