//! A map: makes two columns and keeps every row.

const std = @import("std");
const gristmill = @import("gristmill");

pub const name = "with_total";
pub const version = "0.1.0";
pub const Config = struct { currency: []const u8 };
pub const Reads = struct { order_id: ?i64, price: ?f64, quantity: ?i32 };
const Makes = struct { total: ?f64, label: []const u8 };

pub fn row(in: Reads, config: Config, out: *gristmill.Output(Makes)) !void {
    var text: [256]u8 = undefined;
    out.keep(.{
        .total = total(in),
        .label = if (in.order_id) |id| try std.fmt.bufPrint(&text, "order {d} in {s}", .{ id, config.currency }) else "order ?",
    });
}

fn total(in: Reads) ?f64 {
    const price = in.price orelse return null;
    const quantity = in.quantity orelse return null;
    return price * @as(f64, @floatFromInt(quantity));
}

comptime {
    gristmill.exportStage(@This());
}
