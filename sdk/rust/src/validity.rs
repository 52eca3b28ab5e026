//! Which elements are null, as a bitmap that exists only once there is a null.

/// Bit i is 1 if element i is valid, least significant bit first. While nothing is null there are
/// no bits, and a valid element never writes one: bits that are missing at the end are valid.
#[derive(Clone, Debug, Default)]
pub(crate) struct Validity {
    bits: Vec<u8>,
    null_count: usize,
}

impl Validity {
    pub(crate) fn null_count(&self) -> usize {
        self.null_count
    }

    /// The bitmap over `length` elements; empty if nothing is null. Call [`Validity::seal`] first.
    pub(crate) fn bits(&self, length: usize) -> &[u8] {
        if self.null_count == 0 { &[] } else { &self.bits[..length.div_ceil(8)] }
    }

    /// Element `index`, the last so far, becomes null.
    #[cold]
    #[inline(never)]
    pub(crate) fn set_null(&mut self, index: usize) {
        if self.bits.len() <= index / 8 {
            self.bits.resize(index / 8 + 1, 0xff);
        }
        let mask = 1 << (index % 8);
        self.null_count += usize::from(self.bits[index / 8] & mask != 0);
        self.bits[index / 8] &= !mask;
    }

    pub(crate) fn is_null(&self, index: usize) -> bool {
        self.bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 0)
    }

    /// Makes the bitmap cover `length` elements, if there is a null at all.
    pub(crate) fn seal(&mut self, length: usize) {
        if self.null_count > 0 && self.bits.len() < length.div_ceil(8) {
            self.bits.resize(length.div_ceil(8), 0xff);
        }
    }

    /// Forgets the elements from `length` on.
    pub(crate) fn truncate(&mut self, length: usize) {
        if self.null_count == 0 {
            return;
        }
        self.bits.truncate(length.div_ceil(8));
        if let (Some(last), 1..) = (self.bits.get_mut(length / 8), length % 8) {
            *last |= 0xffu8 << (length % 8);
        }
        self.null_count = self.bits.iter().map(|byte| byte.count_zeros() as usize).sum();
    }

    /// Forgets everything and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bits.clear();
        self.null_count = 0;
    }
}
