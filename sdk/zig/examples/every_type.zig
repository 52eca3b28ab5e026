//! Reads columns of every type and makes them anew, value by value.

const gristmill = @import("gristmill");

pub const name = "every_type";
pub const version = "0.1.0";
pub const Config = struct {};
pub const Reads = @import("all_types.zig").AllTypes;

pub fn row(in: Reads, _: Config, out: *gristmill.Output(Reads)) !void {
    out.keep(in);
}

comptime {
    gristmill.exportStage(@This());
}
