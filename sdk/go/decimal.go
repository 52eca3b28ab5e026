package gristmill

import "math/big"

// Decimal is a number of up to 38 digits: the digits without the point, and how many of them stand
// behind it. 1.50 of decimal(10,2) has the digits 150.
type Decimal struct {
	// The digits as a two's complement number of 128 bits.
	High int64
	Low  uint64
	// Digits behind the point.
	Scale int
}

// NewDecimal makes a decimal of its digits: NewDecimal(150, 2) is 1.50.
func NewDecimal(digits int64, scale int) Decimal {
	return Decimal{High: digits >> 63, Low: uint64(digits), Scale: scale}
}

// DecimalOf makes a decimal of its digits; those beyond 128 bits are lost.
func DecimalOf(digits *big.Int, scale int) Decimal {
	wrapped := new(big.Int).And(digits, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1)))
	low := new(big.Int).And(wrapped, new(big.Int).SetUint64(^uint64(0))).Uint64()
	return Decimal{High: int64(new(big.Int).Rsh(wrapped, 64).Uint64()), Low: low, Scale: scale}
}

// Digits is the number without its point.
func (d Decimal) Digits() *big.Int {
	digits := new(big.Int).Lsh(big.NewInt(d.High), 64)
	return digits.Or(digits, new(big.Int).SetUint64(d.Low))
}

// Rat is the exact value, to calculate with.
func (d Decimal) Rat() *big.Rat {
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.Scale)), nil)
	return new(big.Rat).SetFrac(d.Digits(), power)
}

// String is the number with all digits of its scale, as in "1.50".
func (d Decimal) String() string { return d.Rat().FloatString(d.Scale) }
