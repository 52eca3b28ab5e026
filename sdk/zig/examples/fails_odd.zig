//! Failures: refuses rows with a reason; the pipeline decides what becomes of them.

const gristmill = @import("gristmill");

pub const name = "fails_odd";
pub const version = "0.1.0";
pub const Config = struct {};
pub const Reads = struct { order_id: ?i64 };

pub fn row(in: Reads, _: Config, out: *gristmill.Output(struct {})) !void {
    const id = in.order_id orelse return out.fail("no order_id", .{});
    if (@rem(id, 2) != 0) return out.fail("order_id {d} is odd", .{id});
    out.keep(.{});
}

comptime {
    gristmill.exportStage(@This());
}
