//! Between Zig's types and the types of columns, at compile time.

const std = @import("std");

pub const Bytes = struct { value: []const u8 };

/// Days since 1970-01-01.
pub const Date = struct { days: i32 };

/// Microseconds since 1970-01-01 in UTC.
pub const Timestamp = struct { micros: i64 };

/// The digits without the point: 1.50 of Decimal(10, 2) is 150.
pub fn Decimal(comptime precision_: u8, comptime scale_: u8) type {
    return struct {
        digits: i128,
        pub const precision = precision_;
        pub const scale = scale_;
    };
}

pub fn Map(comptime K: type, comptime V: type) type {
    return struct {
        entries: []const Entry,
        pub const Entry = struct { key: K, value: V };
    };
}

pub const Kind = enum {
    boolean,
    integer,
    long,
    float,
    double,
    date,
    timestamp,
    decimal,
    string,
    binary,
    @"struct",
    array,
    map,

    /// Bytes of one value; 0 if they are not fixed.
    pub fn valueBytes(kind: Kind) u32 {
        return switch (kind) {
            .integer, .float, .date => 4,
            .long, .double, .timestamp => 8,
            .decimal => 16,
            else => 0,
        };
    }

    pub fn hasOffsets(kind: Kind) bool {
        return switch (kind) {
            .string, .binary, .array, .map => true,
            else => false,
        };
    }
};

pub fn isOptional(comptime T: type) bool {
    return @typeInfo(T) == .optional;
}

/// The type without its `?`.
pub fn Plain(comptime T: type) type {
    return if (isOptional(T)) @typeInfo(T).optional.child else T;
}

pub fn kindOf(comptime T: type) Kind {
    return switch (T) {
        bool => .boolean,
        i32 => .integer,
        i64 => .long,
        f32 => .float,
        f64 => .double,
        []const u8 => .string,
        Bytes => .binary,
        Date => .date,
        Timestamp => .timestamp,
        else => switch (@typeInfo(T)) {
            .@"struct" => if (@hasDecl(T, "precision")) .decimal else if (@hasDecl(T, "Entry")) .map else .@"struct",
            .pointer => .array,
            else => @compileError("a column cannot be of type " ++ @typeName(T)),
        },
    };
}

/// The columns within a column: members, the element, key and value.
pub fn Children(comptime T: type) []const type {
    return switch (kindOf(T)) {
        .@"struct" => @typeInfo(T).@"struct".field_types,
        .array => &.{std.meta.Elem(T)},
        .map => @typeInfo(T.Entry).@"struct".field_types,
        else => &.{},
    };
}

/// Arrays that a column has in a frame; a map has one more, for its entries.
pub fn arrayCount(comptime T: type) usize {
    comptime {
        var count: usize = if (kindOf(T) == .map) 2 else 1;
        for (Children(T)) |Child| count += arrayCount(Plain(Child));
        return count;
    }
}

fn flag(comptime T: type) []const u8 {
    return if (isOptional(T)) "true" else "false";
}

/// The type as describe.md has it.
pub fn json(comptime T: type) []const u8 {
    return comptime switch (kindOf(T)) {
        .decimal => std.fmt.comptimePrint("\"decimal({d},{d})\"", .{ T.precision, T.scale }),
        .@"struct" => "{\"type\":\"struct\",\"fields\":" ++ fieldsJson(T) ++ "}",
        .array => "{\"type\":\"array\",\"elementType\":" ++ json(Plain(Children(T)[0])) ++
            ",\"containsNull\":" ++ flag(Children(T)[0]) ++ "}",
        .map => "{\"type\":\"map\",\"keyType\":" ++ json(Children(T)[0]) ++ ",\"valueType\":" ++
            json(Plain(Children(T)[1])) ++ ",\"valueContainsNull\":" ++ flag(Children(T)[1]) ++ "}",
        else => |kind| "\"" ++ @tagName(kind) ++ "\"",
    };
}

/// The fields of a struct, as describe.md has them.
pub fn fieldsJson(comptime T: type) []const u8 {
    comptime {
        const info = @typeInfo(T).@"struct";
        var list: []const u8 = "[";
        for (info.field_names, info.field_types, 0..) |name, Field, index| {
            list = list ++ (if (index > 0) "," else "") ++ "{\"name\":\"" ++ name ++ "\",\"type\":" ++
                json(Plain(Field)) ++ ",\"nullable\":" ++ flag(Field) ++ "}";
        }
        return list ++ "]";
    }
}

/// Whether a type of describe's request is this one. What may be null there must be optional here.
pub fn fits(comptime T: type, value: std.json.Value) bool {
    switch (value) {
        .string => |name| return std.mem.eql(u8, name, comptime std.mem.trim(u8, json(T), "\"")),
        .object => {},
        else => return false,
    }
    const kind = text(value, "type") orelse return false;
    if (!std.mem.eql(u8, kind, @tagName(kindOf(T)))) return false;
    const children = comptime Children(T);
    return switch (comptime kindOf(T)) {
        .array => childFits(children[0], value, "elementType", "containsNull"),
        .map => childFits(children[0], value, "keyType", "") and
            childFits(children[1], value, "valueType", "valueContainsNull"),
        .@"struct" => membersFit(T, value),
        else => false,
    };
}

fn membersFit(comptime T: type, value: std.json.Value) bool {
    const info = @typeInfo(T).@"struct";
    const members = value.object.get("fields") orelse return false;
    if (members != .array or members.array.items.len != info.field_names.len) return false;
    inline for (info.field_names, info.field_types, 0..) |name, Field, index| {
        const member = members.array.items[index];
        const found = text(member, "name") orelse return false;
        if (!std.mem.eql(u8, found, name) or !childFits(Field, member, "type", "nullable")) return false;
    }
    return true;
}

/// Whether the child under `member` is of this type; `nullable` names the flag beside it.
pub fn childFits(comptime T: type, value: std.json.Value, member: []const u8, nullable: []const u8) bool {
    const child = value.object.get(member) orelse return false;
    const may_be_null = nullable.len > 0 and switch (value.object.get(nullable) orelse std.json.Value{ .bool = true }) {
        .bool => |may| may,
        else => true,
    };
    return (isOptional(T) or !may_be_null) and fits(Plain(T), child);
}

/// A member that is a text.
pub fn text(value: std.json.Value, member: []const u8) ?[]const u8 {
    if (value != .object) return null;
    return switch (value.object.get(member) orelse return null) {
        .string => |found| found,
        else => null,
    };
}
