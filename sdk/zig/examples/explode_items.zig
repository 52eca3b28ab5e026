//! A flatten: one row per item.

const gristmill = @import("gristmill");

pub const name = "explode_items";
pub const version = "0.1.0";
pub const Config = struct {};
pub const Reads = struct { items: ?[]const ?Item };
pub const drops: []const []const u8 = &.{"items"};
const Item = struct { item_id: ?i64, name: ?[]const u8 };

pub fn row(in: Reads, _: Config, out: *gristmill.Output(Item)) !void {
    for (in.items orelse return) |item| {
        if (item) |there| out.keep(there);
    }
}

comptime {
    gristmill.exportStage(@This());
}
