//! Calls into one guest: the two functions of stage.wit, in a core module by hand and in a
//! component through Wasmtime. Nothing here knows what the bytes mean.

use crate::ProcessError;
use crate::frame::GuestBytes;
use crate::module::Code;
use crate::sandbox::Sandbox;
use std::time::Instant;
use wasmtime::{Memory, Store, TypedFunc, component};

/// The functions of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Describe,
    Process,
}

/// An input that is written where the guest wants it.
pub(crate) trait Input {
    fn size(&self) -> usize;
    /// Alignment that a core module is asked for; a power of two.
    fn align(&self) -> u32;
    /// `target` has [`Input::size`] bytes.
    fn write(&self, target: &mut [u8]);
}

/// What a guest answered: the list of `ok`, or the text of `err`.
pub(crate) type Answer<'a> = Result<GuestBytes<'a>, &'a str>;

/// One instance of the guest's code, without its store.
pub(crate) enum Guest {
    Core(Box<CoreGuest>),
    Component(ComponentGuest),
}

/// A core module by the canonical lowering (frame.md, Core modules).
pub(crate) struct CoreGuest {
    memory: Memory,
    realloc: TypedFunc<(u32, u32, u32, u32), u32>,
    functions: [TypedFunc<(u32, u32), u32>; 2],
    post: [Option<TypedFunc<u32, ()>>; 2],
}

type ListFunction = component::TypedFunc<(Vec<u8>,), (Result<Vec<u8>, String>,)>;
type TextFunction = component::TypedFunc<(String,), (Result<String, String>,)>;

pub(crate) struct ComponentGuest {
    describe: TextFunction,
    process: ListFunction,
}

impl Guest {
    /// Instantiates the code and runs what it runs first; the caller has set the deadline.
    pub(crate) fn new(code: &Code, store: &mut Store<Sandbox>) -> wasmtime::Result<Self> {
        match code {
            Code::Core(pre) => {
                let instance = pre.instantiate(&mut *store)?;
                CoreGuest::new(&instance, store).map(|guest| Self::Core(Box::new(guest)))
            }
            Code::Component(pre) => {
                let instance = pre.instantiate(&mut *store)?;
                let describe = instance.get_typed_func(&mut *store, "describe")?;
                let process = instance.get_typed_func(&mut *store, "process")?;
                Ok(Self::Component(ComponentGuest { describe, process }))
            }
        }
    }

    /// Calls a function and hands the answer, still in the guest's memory, to `read`.
    pub(crate) fn call<T>(
        &mut self,
        store: &mut Store<Sandbox>,
        function: Function,
        input: &dyn Input,
        read: impl FnOnce(Answer<'_>) -> Result<T, ProcessError>,
    ) -> Result<T, CallError> {
        match self {
            Self::Core(guest) => guest.call(store, function, input, read),
            Self::Component(guest) => guest.call(store, function, input, read),
        }
    }
}

/// Why a call gave nothing: the guest's fault in running, or in what it answered.
pub(crate) enum CallError {
    Trap(wasmtime::Error),
    Answer(ProcessError),
}

impl From<wasmtime::Error> for CallError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl From<ProcessError> for CallError {
    fn from(error: ProcessError) -> Self {
        Self::Answer(error)
    }
}

/// Bytes of the `result` that a function returns a pointer to: tag, padding, address, size.
const RESULT_SIZE: u32 = 12;
/// Alignment of an input that the host insists on (frame.md).
const INPUT_ALIGN_MIN: u32 = 8;

impl CoreGuest {
    fn new(instance: &wasmtime::Instance, store: &mut Store<Sandbox>) -> wasmtime::Result<Self> {
        // Reactors of wasip1 tool chains set up their runtime here.
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut *store, "_initialize") {
            initialize.call(&mut *store, ())?;
        }
        let memory = instance.get_memory(&mut *store, "memory");
        let memory = memory.ok_or_else(|| wasmtime::Error::msg("no memory is exported"))?;
        Ok(Self {
            memory,
            realloc: instance.get_typed_func(&mut *store, "cabi_realloc")?,
            functions: [
                instance.get_typed_func(&mut *store, "describe")?,
                instance.get_typed_func(&mut *store, "process")?,
            ],
            post: [
                instance.get_typed_func(&mut *store, "cabi_post_describe").ok(),
                instance.get_typed_func(&mut *store, "cabi_post_process").ok(),
            ],
        })
    }

    fn call<T>(
        &mut self,
        store: &mut Store<Sandbox>,
        function: Function,
        input: &dyn Input,
        read: impl FnOnce(Answer<'_>) -> Result<T, ProcessError>,
    ) -> Result<T, CallError> {
        let (at, size) = self.place(store, input)?;
        let began = Instant::now();
        let result = self.functions[function as usize].call(&mut *store, (at, size));
        store.data_mut().guest_time += began.elapsed();
        let result = result?;
        let value = read(answer(self.memory.data(&*store), result)?)?;
        if let Some(post) = &self.post[function as usize] {
            post.call(&mut *store, result)?;
        }
        Ok(value)
    }

    /// Has the guest allocate a place for the input and writes it there.
    fn place(
        &self,
        store: &mut Store<Sandbox>,
        input: &dyn Input,
    ) -> Result<(u32, u32), CallError> {
        let size = u32::try_from(input.size()).map_err(|_| bad("an input of more than 4 GiB"))?;
        let align = input.align();
        let at = self.realloc.call(&mut *store, (0, 0, align, size))?;
        if at % align.min(INPUT_ALIGN_MIN) != 0 {
            return Err(bad(format!("`cabi_realloc` answered {at}, which is not aligned")).into());
        }
        let memory = self.memory.data_mut(&mut *store);
        let place = memory.get_mut(at as usize..).and_then(|rest| rest.get_mut(..size as usize));
        let place = place.ok_or_else(|| {
            bad(format!("`cabi_realloc` answered {at}, {size} bytes are out of bounds there"))
        })?;
        input.write(place);
        Ok((at, size))
    }
}

fn answer(memory: &[u8], result: u32) -> Result<Answer<'_>, ProcessError> {
    let result = GuestBytes::of_memory(memory, result, RESULT_SIZE)?.list();
    let word = |at: usize| {
        u32::from_le_bytes([result[at], result[at + 1], result[at + 2], result[at + 3]])
    };
    let list = GuestBytes::of_memory(memory, word(4), word(8))?;
    match result[0] {
        0 => Ok(Ok(list)),
        1 => text(list.list()).map(Err),
        tag => Err(bad(format!("a result that is neither ok nor err, but {tag}"))),
    }
}

fn text(bytes: &[u8]) -> Result<&str, ProcessError> {
    // Only the beginning of a text is ever shown; a megabyte of it is enough to check.
    const TEXT_BYTES_MAX: usize = 1 << 20;
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(bad(format!("an error text of {} bytes", bytes.len())));
    }
    std::str::from_utf8(bytes).map_err(|_| bad("an error text that is not UTF-8"))
}

fn bad(what: impl Into<String>) -> ProcessError {
    ProcessError::BadOutput(what.into())
}

impl ComponentGuest {
    fn call<T>(
        &mut self,
        store: &mut Store<Sandbox>,
        function: Function,
        input: &dyn Input,
        read: impl FnOnce(Answer<'_>) -> Result<T, ProcessError>,
    ) -> Result<T, CallError> {
        let mut bytes = vec![0; input.size()];
        input.write(&mut bytes);
        // Lists are taken as owned ones: Wasmtime calls the guest's post-return before it gives
        // back a list that is still in guest memory, and an allocator writes into what it frees.
        let answer = match function {
            Function::Process => self.process.call(&mut *store, (bytes,))?.0,
            Function::Describe => {
                let request = String::from_utf8(bytes).map_err(|_| bad("a request not UTF-8"))?;
                self.describe.call(&mut *store, (request,))?.0.map(String::into_bytes)
            }
        };
        Ok(match &answer {
            Ok(list) => read(Ok(GuestBytes::of_list(list)?)),
            Err(why) => read(Err(why)),
        }?)
    }
}
