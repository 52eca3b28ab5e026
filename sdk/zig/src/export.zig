//! The exports of the module: the canonical lowering of stage.wit in the contract. One thread, one
//! call at a time; all memory is used again, so that it stays flat however many batches pass.

const std = @import("std");
const builder = @import("builder.zig");
const column = @import("column.zig");
const describing = @import("describe.zig");
const frame = @import("frame.zig");
const gpa = builder.gpa;

/// Alignment that the host asks for, and bytes that may be read behind an input.
const alignment = 64;
const read_ahead = 64;

/// Exports the stage that a file is, once per module.
pub fn exportStage(comptime Stage: type) void {
    const Exports = ExportsOf(Stage);
    @export(&Exports.realloc, .{ .name = "cabi_realloc" });
    @export(&Exports.describe, .{ .name = "describe" });
    @export(&Exports.process, .{ .name = "process" });
}

/// The third parameter of `row` or `batch` is a pointer to the output.
fn OutputOf(comptime Stage: type) type {
    const function = if (@hasDecl(Stage, "row")) Stage.row else Stage.batch;
    return @typeInfo(@typeInfo(@TypeOf(function)).@"fn".param_types[2].?).pointer.child;
}

fn ExportsOf(comptime Stage: type) type {
    const Output = OutputOf(Stage);
    const Config = if (@hasDecl(Stage, "Config")) Stage.Config else struct {};
    return struct {
        /// Where the host writes its input.
        var area: []align(alignment) u8 = &.{};
        /// result<list<u8>, string>: 0 for ok and 1 for err, address, length.
        var returned: [3]u32 = @splat(0);
        /// What lives as long as the description, and as long as a batch.
        var description: std.heap.ArenaAllocator = .init(gpa);
        var scratch: std.heap.ArenaAllocator = .init(gpa);
        var output: Output = undefined;
        var config: ?Config = null;
        var answer: std.ArrayList(u8) = .empty;

        fn realloc(old: ?[*]u8, old_size: usize, align_: usize, size: usize) callconv(.c) [*]u8 {
            if (align_ > alignment) @panic("an alignment that the contract does not have");
            const needed = size + read_ahead;
            if (needed > area.len) {
                const grown = gpa.alignedAlloc(u8, .fromByteUnits(alignment), needed + needed / 4) catch builder.oom();
                if (old) |from| @memcpy(grown[0..@min(old_size, size)], from[0..@min(old_size, size)]);
                gpa.free(area);
                area = grown;
            }
            return area.ptr;
        }

        fn give(is_err: u32, bytes: []const u8) *const [3]u32 {
            returned = .{ is_err, @intCast(@intFromPtr(bytes.ptr)), @intCast(bytes.len) };
            return &returned;
        }

        fn describe(request: [*]const u8, size: usize) callconv(.c) *const [3]u32 {
            var mistake: describing.Mistake = .{ .arena = description.allocator() };
            const described = describing.describe(Stage, Config, Output.Made, request[0..size], &mistake) catch |err| {
                return give(1, if (err == error.Refused) mistake.text else "out of memory");
            };
            config = described.config;
            output = .init();
            return give(0, described.answer);
        }

        fn process(bytes: [*]const u8, size: usize) callconv(.c) *const [3]u32 {
            const with = config orelse return give(1, "process was called before describe");
            _ = scratch.reset(.retain_capacity);
            const arena = scratch.allocator();
            const row_count, const columns = frame.read(Stage.Reads, bytes[0..size], arena) catch |err|
                return give(1, @errorName(err));
            output.begin(row_count);
            if (@hasDecl(Stage, "row")) {
                rows(row_count, columns, with);
            } else {
                const batch: column.Batch(Stage.Reads) = .{ .row_count = row_count, .columns = columns, .arena = arena };
                Stage.batch(batch, with, &output) catch |err| return give(1, @errorName(err));
            }
            frame.write(&answer, &output, arena);
            return give(0, answer.items);
        }

        fn rows(row_count: u32, columns: []column.Raw, with: Config) void {
            const all: column.Raw = .{ .length = row_count, .null_count = 0, .children = columns };
            var each: std.heap.ArenaAllocator = .init(scratch.allocator());
            output.keepNone();
            for (0..row_count) |index| {
                output.beginRow(@intCast(index));
                const in = column.readStruct(Stage.Reads, &all, index, each.allocator());
                Stage.row(in, with, &output) catch |err| output.fail("{s}", .{@errorName(err)});
                _ = each.reset(.retain_capacity);
            }
        }
    };
}
