//! A filter: keeps the rows whose city is the one of the configuration.

const std = @import("std");
const gristmill = @import("gristmill");

pub const name = "keep_city";
pub const version = "0.1.0";
pub const Config = struct { city: []const u8 };
pub const Reads = struct { city: ?[]const u8 };

pub fn row(in: Reads, config: Config, out: *gristmill.Output(struct {})) !void {
    const city = in.city orelse return;
    if (std.mem.eql(u8, city, config.city)) out.keep(.{});
}

comptime {
    gristmill.exportStage(@This());
}
