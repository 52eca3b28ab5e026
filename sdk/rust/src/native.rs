//! A stage as plain native code: for unit tests and benchmarks of stages, with no module and no
//! host.

use crate::batch::{Batch, Output};
use crate::column::Column;
use crate::error::Error;
use crate::frame::Placement;
use crate::instance::Instance;
use crate::schema::{DataType, Field, Schema};
use crate::stage::{Description, Stage};

/// A described stage.
#[derive(Debug)]
pub struct NativeStage<S> {
    instance: Instance<S>,
}

impl<S: Stage> NativeStage<S> {
    /// Describes the stage for a configuration in JSON and the columns that arrive.
    pub fn new(config_json: &str, input: Schema) -> Result<NativeStage<S>, Error> {
        let config = serde_json::from_str(config_json)
            .map_err(|why| Error::new(format!("the configuration is not JSON: {why}")))?;
        Ok(NativeStage { instance: Instance::new(&config, input)? })
    }

    pub fn description(&self) -> &Description {
        self.instance.description()
    }

    /// The columns that a batch must hold, in this order.
    pub fn reads(&self) -> &[Field] {
        self.instance.reads()
    }

    /// One batch of views; `use_output` sees the output while its columns are lent.
    pub fn process<T>(
        &mut self,
        batch: &Batch<'_>,
        use_output: impl FnOnce(&Output<'_>) -> T,
    ) -> Result<T, Error> {
        self.instance.process(batch, use_output)
    }

    /// One frame in, one frame out, as a module does it but with all buffers within the frame.
    pub fn process_frame(&mut self, frame: &[u8]) -> Result<&[u8], Error> {
        self.instance.process_frame(frame, Placement::Contiguous)
    }
}

/// A column of strings, for tests.
pub fn string_column<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> Column {
    let mut column = Column::new(&DataType::String);
    for value in values {
        match value {
            Some(value) => column.push_str(value),
            None => column.push_null(),
        }
    }
    column
}

/// A column of binaries, for tests.
pub fn binary_column<'a>(values: impl IntoIterator<Item = Option<&'a [u8]>>) -> Column {
    let mut column = Column::new(&DataType::Binary);
    for value in values {
        match value {
            Some(value) => column.push_bytes(value),
            None => column.push_null(),
        }
    }
    column
}

/// A column of longs, for tests.
pub fn long_column(values: impl IntoIterator<Item = Option<i64>>) -> Column {
    let mut column = Column::new(&DataType::Long);
    for value in values {
        match value {
            Some(value) => column.push_long(value),
            None => column.push_null(),
        }
    }
    column
}
