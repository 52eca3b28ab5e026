//! A stage that leaks: it keeps memory for every row. This costs its instance now and then, and the host nothing.

const std = @import("std");
const gristmill = @import("gristmill");

pub const name = "leaks";
pub const version = "0.1.0";
pub const Config = struct {};
pub const Reads = struct { city: ?[]const u8 };

pub fn row(in: Reads, _: Config, out: *gristmill.Output(struct {})) !void {
    const kept = std.heap.wasm_allocator.alloc(u8, 64) catch @panic("no memory");
    @as(*volatile u8, &kept[0]).* = if (in.city) |city| @truncate(city.len) else 0;
    out.keep(.{});
}

comptime {
    gristmill.exportStage(@This());
}
