// Between the contract's dates and times and JavaScript's. A `Date` has milliseconds only, so that
// stages are given the exact numbers.

/** Days since 1970-01-01 of a `Date`, in UTC. */
export const dateToDays = (date) => Math.floor(date.getTime() / 86_400_000);
export const daysToDate = (days) => new Date(days * 86_400_000);

/** Microseconds since 1970-01-01 of a `Date`. */
export const dateToMicros = (date) => BigInt(date.getTime()) * 1000n;
/** The `Date` of a timestamp; what is finer than a millisecond is cut off. */
export function microsToDate(micros) {
  const millis = micros / 1000n;
  return new Date(Number(micros < millis * 1000n ? millis - 1n : millis));
}
