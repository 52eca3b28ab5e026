// Decimals are texts with all digits of their scale, as in "12.50": JavaScript has no exact type for
// them. Within a column they are 128-bit numbers, the digits without the point.

/** The digits without the point, as a bigint: unscaled("12.50", 2) is 1250n. */
export function unscaled(value, scale) {
  if (typeof value === "bigint") return value * 10n ** BigInt(scale);
  const match = /^(-?)(\d+)(?:\.(\d*))?$/.exec(String(value));
  if (!match) throw new TypeError(`${value} is not a decimal`);
  const [, sign, whole, fraction = ""] = match;
  if (/[^0]/.test(fraction.slice(scale))) {
    throw new RangeError(`${value} has more than ${scale} digits behind the point`);
  }
  const digits = BigInt(whole + fraction.slice(0, scale).padEnd(scale, "0"));
  return sign ? -digits : digits;
}

/** The text of a number of digits without the point: decimalText(1250n, 2) is "12.50". */
export function decimalText(digits, scale) {
  if (scale === 0) return digits.toString();
  const negative = digits < 0n;
  const text = (negative ? -digits : digits).toString().padStart(scale + 1, "0");
  const point = text.length - scale;
  return `${negative ? "-" : ""}${text.slice(0, point)}.${text.slice(point)}`;
}
