//! Gives every column back without a copy.

const gristmill = @import("gristmill");

pub const name = "every_type";
pub const version = "0.1.0";
pub const Config = struct {};
pub const Reads = @import("all_types.zig").AllTypes;

pub fn batch(in: gristmill.Batch(Reads), _: Config, out: *gristmill.Output(Reads)) !void {
    inline for (@typeInfo(Reads).@"struct".field_names) |column| out.give(column, in.column(column));
}

comptime {
    gristmill.exportStage(@This());
}
