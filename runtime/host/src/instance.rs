//! One running stage: a store of its own, described, and used batch after batch until it fails.

use crate::contract::{self, Encoding};
use crate::error::{DescribeError, cut};
use crate::frame::{self, InputFrame};
use crate::guest::{Answer, CallError, Function, Guest, Input};
use crate::host::{Clock, HostShared};
use crate::log_lines::{LogLevel, LogLine};
use crate::module::Module;
use crate::output::Output;
use crate::sandbox::Sandbox;
use crate::stage::Shape;
use crate::{Limits, ProcessError, json_lines, wasi};
use arrow_array::{Array, ArrayRef};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{Store, Trap, WasmBacktrace};

/// One instance of a stage, for one lane. Replaced by a new one after any failure but
/// [`ProcessError::Refused`].
pub struct Instance {
    running: Running,
    shape: Arc<Shape>,
    limits: Limits,
    poisoned: bool,
}

/// A guest in its store, without the stage's shape: what `describe` itself runs in.
pub(crate) struct Running {
    store: Store<Sandbox>,
    guest: Guest,
}

impl Running {
    /// Instantiates a module and asks it to describe itself; answers the text of its answer.
    pub(crate) fn describe(
        host: &HostShared,
        module: &Module,
        request: &str,
        limits: &Limits,
    ) -> Result<(Self, String), DescribeError> {
        let mut store = Store::new(&host.engine, Sandbox::new(limits, module.grant().clone()));
        store.limiter(|sandbox| &mut sandbox.limiter);
        store.set_epoch_deadline(Clock::ticks(limits.describe_time_max));
        let guest = Guest::new(module.code(), &mut store).map_err(|error| {
            let error = failure(&mut store, error, limits, limits.describe_time_max);
            DescribeError::stage(format!("module cannot start: {error}"))
        })?;
        let mut running = Self { store, guest };
        let input = Request(request);
        let read = |answer: Answer<'_>| match answer {
            Err(why) => Ok(Err(DescribeError::of_guest(why))),
            Ok(list) => match std::str::from_utf8(list.list()) {
                Ok(text) => Ok(Ok(text.to_owned())),
                Err(_) => Err(ProcessError::BadOutput("text that is not UTF-8".to_owned())),
            },
        };
        let time_max = limits.describe_time_max;
        let described = running.call(Function::Describe, &input, limits, time_max, read);
        log(module.name(), running.store.data_mut().log_lines.take());
        match described {
            Ok(text) => Ok((running, text?)),
            Err(error) => {
                Err(DescribeError::stage(format!("module failed to describe itself: {error}")))
            }
        }
    }

    fn call<T>(
        &mut self,
        function: Function,
        input: &dyn Input,
        limits: &Limits,
        time_max: Duration,
        read: impl FnOnce(Answer<'_>) -> Result<T, ProcessError>,
    ) -> Result<T, ProcessError> {
        self.store.data_mut().begin_call();
        self.store.set_epoch_deadline(Clock::ticks(time_max));
        let value = self.guest.call(&mut self.store, function, input, read);
        let value = value.map_err(|error| match error {
            CallError::Answer(error) => error,
            CallError::Trap(error) => failure(&mut self.store, error, limits, time_max),
        });
        self.store.data_mut().log_lines.end_call();
        value
    }
}

impl Instance {
    pub(crate) fn new(running: Running, shape: Arc<Shape>, limits: Limits) -> Self {
        Self { running, shape, limits, poisoned: false }
    }

    /// Runs one batch: `columns` are those of [`crate::Stage::reads`], in that order, of
    /// `row_count` rows each. Slices are welcome.
    ///
    /// # Panics
    /// If the columns are not those that the stage was described with.
    pub fn process(
        &mut self,
        columns: &[ArrayRef],
        row_count: usize,
    ) -> Result<Output, ProcessError> {
        self.process_within(columns, row_count, self.limits.batch_time_max)
    }

    /// [`Instance::process`] with another limit of time than the stage's.
    pub(crate) fn process_within(
        &mut self,
        columns: &[ArrayRef],
        row_count: usize,
        time_max: Duration,
    ) -> Result<Output, ProcessError> {
        self.shape.check_input(columns);
        if self.poisoned {
            return Err(ProcessError::Poisoned);
        }
        // Those that nobody took.
        self.running.store.data_mut().log_lines.take();
        let output = match self.shape.encoding {
            Encoding::Frame => self.process_frame(columns, row_count, time_max),
            Encoding::Json => self.process_json(columns, row_count, time_max),
        };
        if let Err(error) = &output {
            self.poisoned = !error.leaves_instance_usable();
        }
        output
    }

    /// What the guest logged during the last batch.
    pub fn take_log_lines(&mut self) -> Vec<LogLine> {
        self.running.store.data_mut().log_lines.take()
    }

    /// Linear memory that the guest holds, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.running.store.data().limiter.memory_bytes()
    }

    /// Time spent inside the guest's functions so far; of a component, nothing is measured.
    pub fn guest_time(&self) -> Duration {
        self.running.store.data().guest_time
    }

    fn process_frame(
        &mut self,
        columns: &[ArrayRef],
        row_count: usize,
        time_max: Duration,
    ) -> Result<Output, ProcessError> {
        let input = Frame(InputFrame::new(columns, row_count));
        let shape = &self.shape;
        let limits = &self.limits;
        let expected = frame::Expected {
            columns: &shape.columns,
            array_count: shape.array_count,
            row_count,
            limits,
        };
        call(&mut self.running, &input, limits, time_max, |list| frame::read(list, &expected))
    }

    fn process_json(
        &mut self,
        columns: &[ArrayRef],
        row_count: usize,
        time_max: Duration,
    ) -> Result<Output, ProcessError> {
        let shape = &self.shape;
        let input = Bytes(json_lines::write(&shape.read_fields, columns, row_count));
        let limits = &self.limits;
        call(&mut self.running, &input, limits, time_max, |list| {
            json_lines::read(list.list(), &shape.columns, row_count, limits)
        })
    }
}

/// Calls `process` with an input that fits in the guest's memory.
fn call(
    running: &mut Running,
    input: &dyn Input,
    limits: &Limits,
    time_max: Duration,
    read: impl FnOnce(frame::GuestBytes<'_>) -> Result<Output, ProcessError>,
) -> Result<Output, ProcessError> {
    if input.size() > limits.memory_bytes_max {
        return Err(ProcessError::MemoryLimit { bytes_max: limits.memory_bytes_max });
    }
    running.call(Function::Process, input, limits, time_max, |answer| match answer {
        Ok(list) => read(list),
        Err(why) => Err(ProcessError::Refused(cut(why).to_owned())),
    })
}

/// Lines that belong to no batch.
fn log(module: &str, lines: Vec<LogLine>) {
    for LogLine { level, text, .. } in lines {
        match level {
            LogLevel::Error => tracing::error!(target: "gristmill::stage", module, "{text}"),
            LogLevel::Warn => tracing::warn!(target: "gristmill::stage", module, "{text}"),
            LogLevel::Info => tracing::info!(target: "gristmill::stage", module, "{text}"),
            LogLevel::Debug => tracing::debug!(target: "gristmill::stage", module, "{text}"),
        }
    }
}

/// Which limit or trap an error of Wasmtime is.
fn failure(
    store: &mut Store<Sandbox>,
    error: wasmtime::Error,
    limits: &Limits,
    time_max: Duration,
) -> ProcessError {
    let sandbox = store.data_mut();
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return ProcessError::Timeout { after: time_max };
    }
    if sandbox.limiter.memory_refused() {
        return ProcessError::MemoryLimit { bytes_max: limits.memory_bytes_max };
    }
    let mut text = match (trap, error.downcast_ref::<wasi::Exited>()) {
        (Some(trap), _) => trap.to_string(),
        (None, Some(exited)) => exited.to_string(),
        (None, None) => error.root_cause().to_string(),
    };
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    if let Some(name) = backtrace.and_then(|trace| trace.frames().first()?.func_name()) {
        text.push_str(&format!(" in `{}`", cut(name)));
    }
    if let Some(line) = sandbox.log_lines.last_error_line() {
        text.push_str(&format!("; its last line was: {line}"));
    }
    ProcessError::Trap(cut(&text).to_owned())
}

/// A request of `describe`.
struct Request<'a>(&'a str);

impl Input for Request<'_> {
    fn size(&self) -> usize {
        self.0.len()
    }

    fn align(&self) -> u32 {
        1
    }

    fn write(&self, target: &mut [u8]) {
        target.copy_from_slice(self.0.as_bytes());
    }
}

struct Frame<'a>(InputFrame<'a>);

impl Input for Frame<'_> {
    fn size(&self) -> usize {
        self.0.size()
    }

    fn align(&self) -> u32 {
        64
    }

    fn write(&self, target: &mut [u8]) {
        self.0.write(target);
    }
}

/// A batch in an encoding that is made beforehand.
struct Bytes(Vec<u8>);

impl Input for Bytes {
    fn size(&self) -> usize {
        self.0.len()
    }

    fn align(&self) -> u32 {
        8
    }

    fn write(&self, target: &mut [u8]) {
        target.copy_from_slice(&self.0);
    }
}

impl Shape {
    fn check_input(&self, columns: &[ArrayRef]) {
        assert_eq!(
            columns.len(),
            self.read_fields.len(),
            "a batch with other columns than `reads`"
        );
        for (column, field) in columns.iter().zip(self.read_fields.iter()) {
            assert_eq!(column.data_type(), field.data_type(), "column `{}`", field.name());
        }
    }
}

/// Checks that a fresh instance described itself as the first one did.
pub(crate) fn same_answer(
    text: &str,
    first: &contract::Answer,
    input: &arrow_schema::Schema,
) -> Result<(), DescribeError> {
    let answer = contract::answer(text, input)?;
    if answer == *first {
        return Ok(());
    }
    Err(DescribeError::stage("module describes itself differently from one instance to the next"))
}
