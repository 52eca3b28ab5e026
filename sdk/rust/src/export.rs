//! The exports of a core module (frame.md, "Core modules"): `describe`, `process`, `cabi_realloc` and `cabi_post_*`.
//!
//! A module has one thread and one instance. Everything that crosses the boundary lies in one [`Slot`]: the area that the
//! host writes its input to, the instance, and the answer. All of it is reused, so memory stays flat however many
//! batches pass.

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

/// `result<list<u8>, string>` in memory: a byte that is 0 for ok and 1 for err, padding, address, length.
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
    /// The area for the next input, 64-byte aligned, with [`READ_AHEAD_BYTES`] readable bytes behind.
    /// A call with an `old` address grows that area and keeps its contents. An area that was handed out before
    /// is no longer valid.
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
