//! Columns of a batch, and values out of them.

const std = @import("std");
const types = @import("types.zig");
const Allocator = std.mem.Allocator;

/// One column as it lies in a frame.
pub const Raw = struct {
    length: u32,
    null_count: u32,
    /// Bits, least significant first, 1 = not null; empty: nothing is null.
    validity: []const u8 = &.{},
    /// length + 1, or nothing.
    offsets: []const i32 = &.{},
    values: []const u8 = &.{},
    children: []Raw = &.{},

    pub fn isNull(raw: *const Raw, index: usize) bool {
        return raw.null_count > 0 and raw.validity[index / 8] >> @intCast(index % 8) & 1 == 0;
    }

    fn bytes(raw: *const Raw, index: usize) []const u8 {
        return raw.values[@intCast(raw.offsets[index])..@intCast(raw.offsets[index + 1])];
    }

    fn number(raw: *const Raw, comptime T: type, index: usize) T {
        const size = @sizeOf(T);
        return @bitCast(raw.values[index * size ..][0..size].*);
    }
};

/// A value; slices of arrays and maps are made in the arena.
pub fn read(comptime T: type, raw: *const Raw, index: usize, arena: Allocator) T {
    if (comptime types.isOptional(T)) {
        return if (raw.isNull(index)) null else read(types.Plain(T), raw, index, arena);
    }
    return switch (comptime types.kindOf(T)) {
        .boolean => raw.values[index / 8] >> @intCast(index % 8) & 1 == 1,
        .integer, .long, .float, .double => raw.number(T, index),
        .date => .{ .days = raw.number(i32, index) },
        .timestamp => .{ .micros = raw.number(i64, index) },
        .decimal => .{ .digits = raw.number(i128, index) },
        .string => raw.bytes(index),
        .binary => .{ .value = raw.bytes(index) },
        .@"struct" => readStruct(T, raw, index, arena),
        .array => readArray(T, raw, index, arena),
        .map => .{ .entries = readEntries(T, raw, index, arena) },
    };
}

pub fn readStruct(comptime T: type, raw: *const Raw, index: usize, arena: Allocator) T {
    var value: T = undefined;
    const info = @typeInfo(T).@"struct";
    inline for (info.field_names, info.field_types, 0..) |name, Field, child| {
        @field(value, name) = read(Field, &raw.children[child], index, arena);
    }
    return value;
}

fn readArray(comptime T: type, raw: *const Raw, index: usize, arena: Allocator) T {
    const Element = std.meta.Elem(T);
    const start: usize = @intCast(raw.offsets[index]);
    const end: usize = @intCast(raw.offsets[index + 1]);
    const elements = arena.alloc(Element, end - start) catch @panic("out of memory");
    for (elements, start..) |*element, at| element.* = read(Element, &raw.children[0], at, arena);
    return elements;
}

fn readEntries(comptime T: type, raw: *const Raw, index: usize, arena: Allocator) []const T.Entry {
    const start: usize = @intCast(raw.offsets[index]);
    const end: usize = @intCast(raw.offsets[index + 1]);
    const entries = arena.alloc(T.Entry, end - start) catch @panic("out of memory");
    for (entries, start..) |*entry, at| entry.* = readStruct(T.Entry, raw, at, arena);
    return entries;
}

/// A column of values of a type.
pub fn Column(comptime T: type) type {
    return struct {
        raw: *const Raw,
        arena: Allocator,

        const Self = @This();

        pub fn isNull(self: Self, index: usize) bool {
            return self.raw.isNull(index);
        }

        pub fn get(self: Self, index: usize) T {
            return read(T, self.raw, index, self.arena);
        }

        /// The numbers of a column of numbers; those of nulls are any.
        pub fn numbers(self: Self) []const types.Plain(T) {
            const Number = types.Plain(T);
            const values: []align(@alignOf(Number)) const u8 = @alignCast(self.raw.values);
            return std.mem.bytesAsSlice(Number, values)[0..self.raw.length];
        }
    };
}

/// The rows that arrive, as columns; `Reads` names them.
pub fn Batch(comptime Reads: type) type {
    return struct {
        row_count: u32,
        columns: []Raw,
        arena: Allocator,

        pub fn column(self: @This(), comptime name: []const u8) Column(@FieldType(Reads, name)) {
            return .{ .raw = &self.columns[comptime indexOf(Reads, name)], .arena = self.arena };
        }
    };
}

/// Where a field stands in its struct.
pub fn indexOf(comptime T: type, comptime name: []const u8) usize {
    comptime {
        for (@typeInfo(T).@"struct".field_names, 0..) |field, index| {
            if (std.mem.eql(u8, field, name)) return index;
        }
        @compileError("no column " ++ name);
    }
}
