//! Columns that grow; their memory is kept from batch to batch.

const std = @import("std");
const types = @import("types.zig");
const Raw = @import("column.zig").Raw;

pub const gpa = std.heap.wasm_allocator;

/// A column without its type: every function is told the type of the column.
pub const Builder = struct {
    length: u32 = 0,
    null_count: u32 = 0,
    /// Empty until the first null.
    validity: std.ArrayList(u8) = .empty,
    offsets: std.ArrayList(i32) = .empty,
    values: std.ArrayList(u8) = .empty,
    children: []Builder = &.{},

    pub fn init(comptime T: type) Builder {
        const Children = comptime types.Children(T);
        var builder: Builder = .{ .children = gpa.alloc(Builder, Children.len) catch oom() };
        inline for (Children, 0..) |Child, index| builder.children[index] = init(types.Plain(Child));
        builder.clear(T);
        return builder;
    }

    pub fn clear(self: *Builder, comptime T: type) void {
        self.length = 0;
        self.null_count = 0;
        self.validity.clearRetainingCapacity();
        self.offsets.clearRetainingCapacity();
        self.values.clearRetainingCapacity();
        if (comptime types.kindOf(T).hasOffsets()) self.offsets.append(gpa, 0) catch oom();
        inline for (comptime types.Children(T), 0..) |Child, index| self.children[index].clear(types.Plain(Child));
    }

    pub fn push(self: *Builder, comptime T: type, value: T) void {
        if (comptime types.isOptional(T)) {
            return if (value) |there| self.push(types.Plain(T), there) else self.pushNull(types.Plain(T));
        }
        switch (comptime types.kindOf(T)) {
            .boolean => pushBit(&self.values, self.length, value),
            .integer, .long, .float, .double => self.append(std.mem.asBytes(&value)),
            .date => self.append(std.mem.asBytes(&value.days)),
            .timestamp => self.append(std.mem.asBytes(&value.micros)),
            .decimal => self.append(std.mem.asBytes(&value.digits)),
            .string => self.pushBytes(value),
            .binary => self.pushBytes(value.value),
            .@"struct" => self.pushMembers(T, value),
            .array => {
                const Element = std.meta.Elem(T);
                for (value) |element| self.children[0].push(Element, element);
                self.pushEnd(self.children[0].length);
            },
            .map => {
                for (value.entries) |entry| self.pushMembers(T.Entry, entry);
                self.pushEnd(self.children[0].length);
            },
        }
        self.count(true);
    }

    fn pushMembers(self: *Builder, comptime T: type, value: T) void {
        const info = @typeInfo(T).@"struct";
        inline for (info.field_names, info.field_types, 0..) |name, Field, child| {
            self.children[child].push(Field, @field(value, name));
        }
    }

    /// A null; of a struct, its members become null, too.
    pub fn pushNull(self: *Builder, comptime T: type) void {
        const kind = comptime types.kindOf(T);
        if (kind == .boolean) pushBit(&self.values, self.length, false);
        if (comptime kind.hasOffsets()) self.offsets.append(gpa, self.offsets.items[self.length]) catch oom();
        if (comptime kind.valueBytes() > 0) self.append(&@as([kind.valueBytes()]u8, @splat(0)));
        if (kind == .@"struct") {
            inline for (comptime types.Children(T), 0..) |Child, child| self.children[child].pushNull(types.Plain(Child));
        }
        self.count(false);
    }

    fn append(self: *Builder, bytes: []const u8) void {
        self.values.appendSlice(gpa, bytes) catch oom();
    }

    fn pushBytes(self: *Builder, bytes: []const u8) void {
        self.append(bytes);
        self.pushEnd(self.values.items.len);
    }

    fn pushEnd(self: *Builder, end: usize) void {
        self.offsets.append(gpa, @intCast(end)) catch oom();
    }

    fn count(self: *Builder, valid: bool) void {
        if (!valid) {
            if (self.null_count == 0) {
                self.validity.clearRetainingCapacity();
                for (0..self.length) |index| pushBit(&self.validity, index, true);
            }
            self.null_count += 1;
        }
        if (self.null_count > 0) pushBit(&self.validity, self.length, valid);
        self.length += 1;
    }

    /// Back to `length` elements.
    pub fn truncate(self: *Builder, comptime T: type, length: u32) void {
        if (self.length <= length) return;
        if (self.null_count > 0) {
            for (length..self.length) |index| {
                if (self.validity.items[index / 8] >> @intCast(index % 8) & 1 == 0) self.null_count -= 1;
            }
            truncateBits(&self.validity, length);
        }
        self.length = length;
        const kind = comptime types.kindOf(T);
        var end: usize = length;
        if (comptime kind.hasOffsets()) {
            self.offsets.shrinkRetainingCapacity(length + 1);
            end = @intCast(self.offsets.items[length]);
        }
        switch (kind) {
            .boolean => truncateBits(&self.values, length),
            .string, .binary => self.values.shrinkRetainingCapacity(end),
            else => self.values.shrinkRetainingCapacity(length * comptime kind.valueBytes()),
        }
        inline for (comptime types.Children(T), 0..) |Child, child| {
            self.children[child].truncate(types.Plain(Child), @intCast(end));
        }
    }

    /// The column so far; `children` of it lie in the arena.
    pub fn view(self: *const Builder, arena: std.mem.Allocator) Raw {
        const children = arena.alloc(Raw, self.children.len) catch oom();
        for (self.children, children) |*child, *raw| raw.* = child.view(arena);
        return .{
            .length = self.length,
            .null_count = self.null_count,
            .validity = if (self.null_count > 0) self.validity.items else &.{},
            .offsets = self.offsets.items,
            .values = self.values.items,
            .children = children,
        };
    }
};

fn pushBit(bits: *std.ArrayList(u8), index: usize, value: bool) void {
    if (index % 8 == 0) bits.append(gpa, 0) catch oom();
    if (value) bits.items[index / 8] |= @as(u8, 1) << @intCast(index % 8);
}

fn truncateBits(bits: *std.ArrayList(u8), length: usize) void {
    bits.shrinkRetainingCapacity((length + 7) / 8);
    if (length % 8 != 0) bits.items[length / 8] &= (@as(u8, 1) << @intCast(length % 8)) - 1;
}

pub fn oom() noreturn {
    @panic("out of memory");
}
