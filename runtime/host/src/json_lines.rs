use crate::*;
use arrow_array::ArrayRef;
use arrow_schema::{FieldRef, Fields};
pub(crate) fn write(_f: &Fields, _c: &[ArrayRef], _n: usize) -> Vec<u8> {
    Vec::new()
}
pub(crate) fn read(
    _b: &[u8],
    _c: &[FieldRef],
    _n: usize,
    _l: &Limits,
) -> Result<Output, ProcessError> {
    Err(ProcessError::Poisoned)
}
