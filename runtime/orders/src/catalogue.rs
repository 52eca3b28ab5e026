//! What the shop sells: 1,345 products at the price points that sporting goods have.

/// Number of products.
pub(crate) const PRODUCTS: u64 = 1_345;

/// In cents, so that subtotals are exact.
const PRICES_CENTS: [u64; 40] = [
    999, 1_450, 1_499, 1_800, 1_999, 2_150, 2_200, 2_400, 2_499, 2_500, 2_800, 2_999, 3_000, 3_099,
    3_199, 3_200, 3_499, 3_900, 3_999, 4_499, 4_999, 5_000, 5_199, 5_497, 5_999, 6_900, 7_999,
    8_999, 9_499, 9_995, 9_999, 10_000, 12_999, 14_999, 16_999, 19_999, 24_999, 29_999, 39_998,
    79_999,
];

pub(crate) struct Product {
    pub(crate) id: u64,
    pub(crate) price_cents: u64,
}

/// The product at `index` (0 to [`PRODUCTS`] - 1); its price is fixed by its id.
pub(crate) fn product(index: u64) -> Product {
    let price = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Product {
        id: index + 1,
        price_cents: PRICES_CENTS[(price % PRICES_CENTS.len() as u64) as usize],
    }
}
