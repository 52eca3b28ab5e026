//! What a stage makes of a batch.

const std = @import("std");
const types = @import("types.zig");
const column = @import("column.zig");
const builder = @import("builder.zig");
const gpa = builder.gpa;
const oom = builder.oom;

/// The longest reason of a failure, in bytes; the rest is cut.
const reason_bytes_max = 4096;

/// The output of a stage that makes the columns that are the fields of `Makes`.
pub fn Output(comptime Makes: type) type {
    const info = @typeInfo(Makes).@"struct";
    const count = info.field_names.len;
    return struct {
        input_row_count: u32 = 0,
        /// The input row at hand, and the output rows before it.
        row: u32 = 0,
        mark: u32 = 0,
        rows_given: bool = false,
        failed: bool = false,
        rows: std.ArrayList(u32) = .empty,
        failure_rows: std.ArrayList(u32) = .empty,
        reason_offsets: std.ArrayList(i32) = .empty,
        reasons: std.ArrayList(u8) = .empty,
        builders: [count]builder.Builder = undefined,
        given: [count]?column.Raw = @splat(null),

        const Self = @This();
        pub const Made = Makes;

        pub fn init() Self {
            var self: Self = .{};
            inline for (info.field_types, 0..) |Field, index| self.builders[index] = .init(types.Plain(Field));
            return self;
        }

        pub fn begin(self: *Self, input_row_count: u32) void {
            self.input_row_count = input_row_count;
            self.rows_given = false;
            self.rows.clearRetainingCapacity();
            self.failure_rows.clearRetainingCapacity();
            self.reason_offsets.clearRetainingCapacity();
            self.reason_offsets.append(gpa, 0) catch oom();
            self.reasons.clearRetainingCapacity();
            self.given = @splat(null);
            inline for (info.field_types, 0..) |Field, index| self.builders[index].clear(types.Plain(Field));
        }

        pub fn beginRow(self: *Self, row: u32) void {
            self.rows_given = true;
            self.row = row;
            self.mark = @intCast(self.rows.items.len);
            self.failed = false;
        }

        /// Rows: one more output row of the row at hand. A row that is not kept is dropped.
        pub fn keep(self: *Self, made: Makes) void {
            if (self.failed) return;
            inline for (info.field_names, info.field_types, 0..) |name, Field, index| {
                self.builders[index].push(Field, @field(made, name));
            }
            self.rows.append(gpa, self.row) catch oom();
        }

        /// Rows: refuses the row at hand with a reason; what was kept of it is taken back.
        pub fn fail(self: *Self, comptime format: []const u8, arguments: anytype) void {
            if (self.failed) return;
            self.rows.shrinkRetainingCapacity(self.mark);
            inline for (info.field_types, 0..) |Field, index| {
                self.builders[index].truncate(types.Plain(Field), self.mark);
            }
            self.failRow(self.row, format, arguments);
            self.failed = true;
        }

        /// Columns: refuses an input row; in ascending order, each once, none of them kept.
        pub fn failRow(self: *Self, row: u32, comptime format: []const u8, arguments: anytype) void {
            const start = self.reasons.items.len;
            self.reasons.print(gpa, format, arguments) catch oom();
            if (self.reasons.items.len - start > reason_bytes_max) {
                var end = start + reason_bytes_max;
                // Not in the middle of a character.
                while (end > start and self.reasons.items[end] & 0xc0 == 0x80) end -= 1;
                self.reasons.shrinkRetainingCapacity(end);
            }
            self.failure_rows.append(gpa, row) catch oom();
            self.reason_offsets.append(gpa, @intCast(self.reasons.items.len)) catch oom();
        }

        /// Columns: one more output row of any input row; no call at all keeps every row in place.
        pub fn keepRow(self: *Self, row: u32) void {
            self.rows_given = true;
            self.rows.append(gpa, row) catch oom();
        }

        /// Columns: no row is kept but those of `keepRow`.
        pub fn keepNone(self: *Self) void {
            self.rows_given = true;
        }

        /// Columns: appends to the made column of this name; one value per output row.
        pub fn push(self: *Self, comptime name: []const u8, value: @FieldType(Makes, name)) void {
            self.builders[comptime column.indexOf(Makes, name)].push(@FieldType(Makes, name), value);
        }

        /// Columns: a made column that lies anywhere, such as one of the batch, without a copy.
        pub fn give(self: *Self, comptime name: []const u8, from: column.Column(@FieldType(Makes, name))) void {
            self.given[comptime column.indexOf(Makes, name)] = from.raw.*;
        }

        pub fn rowCount(self: *const Self) u32 {
            return if (self.rows_given) @intCast(self.rows.items.len) else self.input_row_count;
        }

        /// Whether the rows need no numbers.
        pub fn everyRowOnce(self: *const Self) bool {
            if (!self.rows_given) return true;
            if (self.rowCount() != self.input_row_count or self.failure_rows.items.len > 0) return false;
            for (self.rows.items, 0..) |row, index| {
                if (row != index) return false;
            }
            return true;
        }

        /// The column at this place, as it is answered.
        pub fn answered(self: *const Self, index: usize, arena: std.mem.Allocator) column.Raw {
            return self.given[index] orelse self.builders[index].view(arena);
        }
    };
}
