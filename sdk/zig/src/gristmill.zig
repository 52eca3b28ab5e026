//! Write a Gristmill stage in Zig: a transformation of rows that runs as a WebAssembly module inside
//! a pipeline.
//!
//!     const gristmill = @import("gristmill");
//!
//!     pub const name = "keep_city";
//!     pub const version = "0.1.0";
//!     pub const Config = struct { city: []const u8 };
//!     pub const Reads = struct { city: ?[]const u8 };
//!
//!     pub fn row(in: Reads, config: Config, out: *gristmill.Output(struct {})) !void {
//!         const city = in.city orelse return;
//!         if (std.mem.eql(u8, city, config.city)) out.keep(.{});
//!     }
//!
//!     comptime { gristmill.exportStage(@This()); }
//!
//! A stage has `row`, the level of rows, or `batch`, the level of columns. Its columns are the fields
//! of structs: `Reads` are those that are read, the parameter of `Output` those that are made;
//! `drops` lists input columns that end at the stage. Columns that may be null are optional.
//!
//! | type of a column | in Zig |
//! |---|---|
//! | boolean, integer, long, float, double | bool, i32, i64, f32, f64 |
//! | string, binary | []const u8, Bytes |
//! | date, timestamp | Date, Timestamp |
//! | decimal(p,s) | Decimal(p, s) |
//! | struct, array | a struct, a slice |
//! | map | Map(K, V) |
//!
//! An error of `row` refuses the row with its name as the reason; `Output.fail` gives a text. Texts
//! and slices of a row are valid until the function over it returns. A stage keeps no state from
//! batch to batch: a batch may be replayed.

const types = @import("types.zig");
const column = @import("column.zig");
const output = @import("output.zig");

pub const Bytes = types.Bytes;
pub const Date = types.Date;
pub const Timestamp = types.Timestamp;
pub const Decimal = types.Decimal;
pub const Map = types.Map;
pub const Column = column.Column;
pub const Batch = column.Batch;
pub const Output = output.Output;
pub const exportStage = @import("export.zig").exportStage;
