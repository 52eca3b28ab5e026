//! Frames (frame.md in the contract). Every number of an input is checked before it is used.

const std = @import("std");
const types = @import("types.zig");
const Raw = @import("column.zig").Raw;
const builder = @import("builder.zig");

const header_bytes = 64;
const descriptor_bytes = 32;
const flag_rows = 1;

pub const Error = error{ NotAFrame, MalformedHeader, ArraysAreMissing, BufferOutside, OffsetsDescend, WrongLength };

const Reader = struct {
    frame: []const u8,
    header: usize,
    stride: usize,
    left: usize,
    next: usize,
    arena: std.mem.Allocator,

    fn word(self: *const Reader, at: usize) u32 {
        return std.mem.readInt(u32, self.frame[at..][0..4], .little);
    }

    /// The buffer whose offset and size stand at `at`, cut to the bytes that are needed.
    fn buffer(self: *const Reader, at: usize, needed: u64) Error![]const u8 {
        if (needed == 0) return &.{};
        const offset: u64 = self.word(at);
        const size = self.word(at + 4);
        if (size < needed or offset + size > self.frame.len) return error.BufferOutside;
        return self.frame[@intCast(offset)..][0..@intCast(needed)];
    }

    fn descriptor(self: *Reader) Error!usize {
        if (self.left == 0) return error.ArraysAreMissing;
        self.left -= 1;
        defer self.next += self.stride;
        return self.next;
    }

    fn offsets(self: *const Reader, at: usize, length: u64) Error![]const i32 {
        if (length == 0) return &.{0};
        const bytes: []align(4) const u8 = @alignCast(try self.buffer(at, 4 * (length + 1)));
        const found = std.mem.bytesAsSlice(i32, bytes);
        var previous: i32 = 0;
        for (found) |offset| {
            if (offset < previous) return error.OffsetsDescend;
            previous = offset;
        }
        return found;
    }

    /// The next column; its parent asks for `wanted` elements, or for at least as many.
    fn column(self: *Reader, comptime T: type, wanted: u32, exactly: bool) Error!Raw {
        const kind = comptime types.kindOf(T);
        const at = try self.descriptor();
        const length: u64 = self.word(at);
        if (length < wanted or exactly and length != wanted) return error.WrongLength;
        var raw: Raw = .{ .length = @intCast(length), .null_count = self.word(at + 4) };
        const bitmap = (length + 7) / 8;
        if (raw.null_count > 0) raw.validity = try self.buffer(at + 8, bitmap);
        var end: u32 = raw.length;
        if (comptime kind.hasOffsets()) {
            raw.offsets = try self.offsets(at + 16, length);
            end = @intCast(raw.offsets[raw.length]);
        }
        raw.values = try self.buffer(at + 24, switch (kind) {
            .boolean => bitmap,
            .string, .binary => end,
            else => length * comptime kind.valueBytes(),
        });
        if (kind == .map) {
            const entries = self.word(try self.descriptor());
            if (entries < end) return error.WrongLength;
            end = entries;
        }
        const Children = comptime types.Children(T);
        raw.children = self.arena.alloc(Raw, Children.len) catch builder.oom();
        inline for (Children, 0..) |Child, index| {
            raw.children[index] = try self.column(types.Plain(Child), end, kind != .array);
        }
        return raw;
    }
};

/// The number of rows, and the columns that are the fields of `Reads`.
pub fn read(comptime Reads: type, frame: []const u8, arena: std.mem.Allocator) Error!struct { u32, []Raw } {
    if (frame.len < header_bytes or !std.mem.eql(u8, frame[0..4], "GMF1")) return error.NotAFrame;
    var reader: Reader = .{ .frame = frame, .header = 0, .stride = 0, .left = 0, .next = 0, .arena = arena };
    const size = reader.word(8);
    reader.header = std.mem.readInt(u16, frame[4..6], .little);
    reader.stride = std.mem.readInt(u16, frame[6..8], .little);
    reader.left = reader.word(16);
    reader.next = reader.header;
    const table_end = reader.header + @as(u64, reader.stride) * reader.left;
    const known = reader.header >= header_bytes and reader.stride >= descriptor_bytes;
    if (!known or size > frame.len or table_end > size) return error.MalformedHeader;
    reader.frame = frame[0..size];
    const row_count = reader.word(12);
    const Fields = @typeInfo(Reads).@"struct".field_types;
    const columns = arena.alloc(Raw, Fields.len) catch builder.oom();
    inline for (Fields, 0..) |Field, index| {
        columns[index] = try reader.column(types.Plain(Field), row_count, true);
    }
    return .{ row_count, columns };
}

const Writer = struct {
    frame: []u8,
    at: usize = header_bytes,

    fn put(self: Writer, at: usize, value: u32) void {
        std.mem.writeInt(u32, self.frame[at..][0..4], value, .little);
    }

    /// Where a buffer lies: its distance from the frame, modulo 2^32.
    fn place(self: Writer, at: usize, bytes: []const u8) void {
        if (bytes.len == 0) return;
        self.put(at, @truncate(@intFromPtr(bytes.ptr) -% @intFromPtr(self.frame.ptr)));
        self.put(at + 4, @intCast(bytes.len));
    }

    fn column(self: *Writer, comptime T: type, raw: *const Raw) void {
        const kind = comptime types.kindOf(T);
        const at = self.at;
        self.put(at, raw.length);
        self.put(at + 4, raw.null_count);
        if (raw.null_count > 0) self.place(at + 8, raw.validity);
        if (raw.length > 0) self.place(at + 16, std.mem.sliceAsBytes(raw.offsets));
        self.place(at + 24, raw.values);
        self.at += descriptor_bytes;
        if (kind == .map) {
            self.put(self.at, raw.children[0].length);
            self.at += descriptor_bytes;
        }
        inline for (comptime types.Children(T), 0..) |Child, index| {
            self.column(types.Plain(Child), &raw.children[index]);
        }
    }
};

/// Writes an output over `buffer`; the columns stay where they are.
pub fn write(buffer: *std.ArrayList(u8), output: anytype, arena: std.mem.Allocator) void {
    const Fields = @typeInfo(@TypeOf(output.*).Made).@"struct".field_types;
    comptime var arrays: usize = 0;
    inline for (Fields) |Field| arrays += comptime types.arrayCount(types.Plain(Field));
    const size = header_bytes + descriptor_bytes * arrays;
    buffer.resize(builder.gpa, size) catch builder.oom();
    @memset(buffer.items, 0);
    var writer: Writer = .{ .frame = buffer.items };
    @memcpy(buffer.items[0..4], "GMF1");
    writer.put(4, header_bytes | descriptor_bytes << 16);
    writer.put(8, size);
    writer.put(12, output.rowCount());
    writer.put(16, arrays);
    if (!output.everyRowOnce()) {
        writer.put(20, flag_rows);
        writer.place(24, std.mem.sliceAsBytes(output.rows.items));
    }
    if (output.failure_rows.items.len > 0) {
        writer.put(32, @intCast(output.failure_rows.items.len));
        writer.place(36, std.mem.sliceAsBytes(output.failure_rows.items));
        writer.place(44, std.mem.sliceAsBytes(output.reason_offsets.items));
        writer.place(52, output.reasons.items);
    }
    inline for (Fields, 0..) |Field, index| {
        const raw = output.answered(index, arena);
        writer.column(types.Plain(Field), &raw);
    }
}
