//! with_total at the level of columns.

const std = @import("std");
const gristmill = @import("gristmill");

pub const name = "with_total";
pub const version = "0.1.0";
pub const Config = struct { currency: []const u8 };
pub const Reads = struct { order_id: ?i64, price: ?f64, quantity: ?i32 };
const Makes = struct { total: ?f64, label: []const u8 };

pub fn batch(in: gristmill.Batch(Reads), config: Config, out: *gristmill.Output(Makes)) !void {
    const prices = in.column("price");
    const quantities = in.column("quantity");
    for (prices.numbers(), quantities.numbers(), 0..) |price, quantity, row| {
        const is_null = prices.isNull(row) or quantities.isNull(row);
        out.push("total", if (is_null) null else price * @as(f64, @floatFromInt(quantity)));
    }
    const ids = in.column("order_id");
    var text: [256]u8 = undefined;
    for (0..in.row_count) |row| {
        const id = ids.get(row) orelse {
            out.push("label", "order ?");
            continue;
        };
        out.push("label", try std.fmt.bufPrint(&text, "order {d} in {s}", .{ id, config.currency }));
    }
}

comptime {
    gristmill.exportStage(@This());
}
