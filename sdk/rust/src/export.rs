//! The exports of a core module (frame.md, "Core modules"): `describe`, `process`, `cabi_realloc`
//! and `cabi_post_*`.
//!
//! A module has one thread and one instance. Everything that crosses the boundary lies in one
//! [`Slot`]: the area that the host writes its input to, the instance, and the answer. All of it is
//! reused, so memory stays flat however many batches pass.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::UnsafeCell;

use crate::frame::{Placement, READ_AHEAD_BYTES};
use crate::instance::Instance;
use crate::stage::Stage;

/// The input area grows in steps of this many bytes (a page of linear memory).
const AREA_STEP_BYTES: usize = 64 * 1024;

/// Alignment of the input area: what the host asks for, and enough for every type.
const AREA_ALIGNMENT_BYTES: usize = 64;

/// Exports a [`Stage`] as the module's stage. Once per crate, which is a `cdylib`.
/// On other targets than wasm32 it makes nothing, so that tests link any number of stages.
///
/// ```text
/// gristmill::export!(Filter);
/// ```
#[macro_export]
macro_rules! export {
    ($stage:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            static SLOT: $crate::export::Slot<$stage> = $crate::export::Slot::new();

            #[unsafe(no_mangle)]
            extern "C" fn cabi_realloc(
                old: *mut u8,
                old_bytes: usize,
                align: usize,
                bytes: usize,
            ) -> *mut u8 {
                unsafe { SLOT.reallocate(old, old_bytes, align, bytes) }
            }

            #[unsafe(no_mangle)]
            extern "C" fn describe(request: *const u8, bytes: usize) -> *const u8 {
                unsafe { SLOT.describe(request, bytes) }
            }

            #[unsafe(no_mangle)]
            extern "C" fn process(frame: *const u8, bytes: usize) -> *const u8 {
                unsafe { SLOT.process(frame, bytes) }
            }

            #[unsafe(no_mangle)]
            extern "C" fn cabi_post_describe(_answer: *const u8) {
                unsafe { SLOT.forget_answer() }
            }

            #[unsafe(no_mangle)]
            extern "C" fn cabi_post_process(_answer: *const u8) {
                unsafe { SLOT.forget_answer() }
            }
        };
    };
}

/// `result<list<u8>, string>` in memory: a byte that is 0 for ok and 1 for err, padding, address,
/// length.
#[repr(C)]
struct Answer {
    is_err: u8,
    address: *const u8,
    bytes: usize,
}

struct State<S> {
    /// Where the host writes its input. `capacity` counts what may be read ahead.
    area: *mut u8,
    area_capacity: usize,
    instance: Option<Instance<S>>,
    /// The text of the last answer: the JSON of `describe`, or an error.
    text: String,
    answer: Answer,
}

/// The state of a module, in a `static`.
pub struct Slot<S>(UnsafeCell<State<S>>);

// SAFETY: a core module without shared memory has one thread; the host makes one call at a time.
unsafe impl<S> Sync for Slot<S> {}

impl<S> Slot<S> {
    pub const fn new() -> Slot<S> {
        Slot(UnsafeCell::new(State {
            area: std::ptr::null_mut(),
            area_capacity: 0,
            instance: None,
            text: String::new(),
            answer: Answer { is_err: 0, address: std::ptr::null(), bytes: 0 },
        }))
    }
}

impl<S> Default for Slot<S> {
    fn default() -> Slot<S> {
        Slot::new()
    }
}

impl<S: Stage> Slot<S> {
    /// The area for the next input, 64-byte aligned, with [`READ_AHEAD_BYTES`] readable bytes
    /// behind. A call with an `old` address grows that area and keeps its contents. An area that
    /// was handed out before is no longer valid.
    ///
    /// # Safety
    /// Only from the module's own export.
    pub unsafe fn reallocate(
        &self,
        old: *mut u8,
        old_bytes: usize,
        align: usize,
        bytes: usize,
    ) -> *mut u8 {
        // SAFETY: one thread, one call at a time; no reference outlives a call.
        let state = unsafe { &mut *self.0.get() };
        if align > AREA_ALIGNMENT_BYTES || old_bytes > bytes && !old.is_null() {
            return std::ptr::null_mut();
        }
        let Some(needed) = bytes.checked_add(READ_AHEAD_BYTES) else {
            return std::ptr::null_mut();
        };
        if needed > state.area_capacity {
            let kept = if old == state.area { old_bytes } else { 0 };
            unsafe { state.grow(needed, kept) };
        }
        state.area
    }

    /// # Safety
    /// `request` is an area from `reallocate` that holds `bytes` bytes.
    pub unsafe fn describe(&self, request: *const u8, bytes: usize) -> *const u8 {
        let state = unsafe { &mut *self.0.get() };
        let request = unsafe { input(request, bytes) };
        let described = match std::str::from_utf8(request) {
            Ok(request) => Instance::describe(request),
            Err(_) => Err(crate::Error::new("the request of describe is not UTF-8")),
        };
        match described {
            Ok((instance, answer)) => {
                state.instance = Some(instance);
                state.answer_text(0, answer)
            }
            Err(error) => state.answer_text(1, error.to_string()),
        }
    }

    /// # Safety
    /// `frame` is an area from `reallocate` that holds `bytes` bytes.
    pub unsafe fn process(&self, frame: *const u8, bytes: usize) -> *const u8 {
        let state = unsafe { &mut *self.0.get() };
        let frame = unsafe { input(frame, bytes) };
        let Some(instance) = &mut state.instance else {
            return state.answer_text(1, "process was called before describe".to_owned());
        };
        match instance.process_frame(frame, Placement::InPlace) {
            Ok(output) => {
                state.answer = Answer { is_err: 0, address: output.as_ptr(), bytes: output.len() };
                (&raw const state.answer).cast()
            }
            Err(error) => state.answer_text(1, error.to_string()),
        }
    }

    /// Called when the host has copied an answer. Frames keep their memory for the next batch.
    ///
    /// # Safety
    /// Only from the module's own export.
    pub unsafe fn forget_answer(&self) {
        let state = unsafe { &mut *self.0.get() };
        state.text = String::new();
    }
}

impl<S> State<S> {
    fn answer_text(&mut self, is_err: u8, text: String) -> *const u8 {
        self.text = text;
        self.answer = Answer { is_err, address: self.text.as_ptr(), bytes: self.text.len() };
        (&raw const self.answer).cast()
    }

    /// A larger area with the first `kept` bytes of the old one, with a quarter to spare.
    unsafe fn grow(&mut self, needed: usize, kept: usize) {
        let capacity = needed.saturating_add(needed / 4).next_multiple_of(AREA_STEP_BYTES);
        let layout = |bytes| Layout::from_size_align(bytes, AREA_ALIGNMENT_BYTES);
        let Ok(new_layout) = layout(capacity) else { return self.give_up(needed) };
        if kept == 0 {
            unsafe { self.free_area() };
        }
        let area = unsafe { alloc(new_layout) };
        if area.is_null() {
            return self.give_up(needed);
        }
        unsafe {
            std::ptr::copy_nonoverlapping(self.area, area, kept);
            self.free_area();
        }
        (self.area, self.area_capacity) = (area, capacity);
    }

    /// No memory: a trap, which the host reports as such.
    fn give_up(&self, bytes: usize) {
        panic!("no memory for an input of {bytes} bytes")
    }

    unsafe fn free_area(&mut self) {
        if let Ok(layout) = Layout::from_size_align(self.area_capacity, AREA_ALIGNMENT_BYTES)
            && !self.area.is_null()
        {
            unsafe { dealloc(self.area, layout) };
        }
        (self.area, self.area_capacity) = (std::ptr::null_mut(), 0);
    }
}

unsafe fn input<'a>(address: *const u8, bytes: usize) -> &'a [u8] {
    match bytes {
        0 => &[],
        _ => unsafe { std::slice::from_raw_parts(address, bytes) },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Batch, Column, DataType, Description, Error, Output, Schema};

    /// Keeps all rows.
    struct All;

    impl Stage for All {
        type Config = serde_json::Value;
        fn describe(_: serde_json::Value, _: &Schema) -> Result<(All, Description), Error> {
            Ok((All, Description::new("all", "1").reads(["l"])))
        }
        fn process<'a>(&'a mut self, _: &Batch<'a>, _: &mut Output<'a>) -> Result<(), Error> {
            Ok(())
        }
    }

    /// Hands `input` over and calls as the host does: is it an error, and the bytes of the answer.
    fn call(
        slot: &Slot<All>,
        input: &[u8],
        function: unsafe fn(&Slot<All>, *const u8, usize) -> *const u8,
    ) -> (bool, Vec<u8>) {
        unsafe {
            let area = slot.reallocate(std::ptr::null_mut(), 0, 64, input.len());
            assert!(area.addr().is_multiple_of(64));
            std::ptr::copy_nonoverlapping(input.as_ptr(), area, input.len());
            let answer = &*function(slot, area, input.len()).cast::<Answer>();
            let bytes = std::slice::from_raw_parts(answer.address, answer.bytes).to_vec();
            (answer.is_err == 1, bytes)
        }
    }

    fn text((is_err, bytes): (bool, Vec<u8>)) -> (bool, String) {
        (is_err, String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_module_is_described_and_processes_frames() {
        let slot = Slot::new();
        let early = text(call(&slot, b"x", Slot::process));
        assert_eq!(early, (true, "process was called before describe".to_owned()));
        let refused = text(call(&slot, b"{\"contract\":\"2.0\",\"input\":[]}", Slot::describe));
        let message = "the host speaks contract 2.0, this module 1.0".to_owned();
        assert_eq!(refused, (true, message));
        let malformed = text(call(&slot, b"{", Slot::describe));
        assert!(malformed.0 && malformed.1.starts_with("the request of describe is malformed: "));
        let request = br#"{"contract":"1.7","input":[{"name":"l","type":"long","new":1}],"new":2}"#;
        let (is_err, answer) = text(call(&slot, request, Slot::describe));
        assert!(!is_err && answer.contains("\"contract\":\"1.0\""), "{answer}");
        let mut column = Column::new(&DataType::Long);
        (0..10_000).for_each(|value| column.push_long(value));
        let frame = crate::frame::write_batch(10_000, &[column.view()]).unwrap();
        let (is_err, answer) = call(&slot, frame.bytes(), Slot::process);
        assert!(!is_err && answer.starts_with(b"GMF1"));
        let (is_err, _) = call(&slot, &frame.bytes()[..100], Slot::process);
        assert!(is_err);
        unsafe { slot.forget_answer() };
    }

    #[test]
    fn the_input_area_is_reused_and_grows_with_its_contents() {
        let slot: Slot<All> = Slot::new();
        unsafe {
            let first = slot.reallocate(std::ptr::null_mut(), 0, 64, 1000);
            for bytes in [1, 1000, 60_000] {
                assert_eq!(slot.reallocate(std::ptr::null_mut(), 0, 8, bytes), first);
            }
            std::ptr::write_bytes(first, 7, 1000);
            let grown = slot.reallocate(first, 1000, 64, 1_000_000);
            assert_eq!(std::slice::from_raw_parts(grown, 1000), [7; 1000]);
            std::ptr::write_bytes(grown, 1, 1_000_000 + READ_AHEAD_BYTES);
            assert!(slot.reallocate(std::ptr::null_mut(), 0, 128, 1).is_null());
            assert!(slot.reallocate(std::ptr::null_mut(), 0, 64, usize::MAX).is_null());
        }
    }
}
