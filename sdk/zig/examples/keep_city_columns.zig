//! keep_city at the level of columns.

const std = @import("std");
const gristmill = @import("gristmill");

pub const name = "keep_city";
pub const version = "0.1.0";
pub const Config = struct { city: []const u8 };
pub const Reads = struct { city: ?[]const u8 };

pub fn batch(in: gristmill.Batch(Reads), config: Config, out: *gristmill.Output(struct {})) !void {
    const cities = in.column("city");
    out.keepNone();
    for (0..in.row_count) |row| {
        const city = cities.get(row) orelse continue;
        if (std.mem.eql(u8, city, config.city)) out.keepRow(@intCast(row));
    }
}

comptime {
    gristmill.exportStage(@This());
}
