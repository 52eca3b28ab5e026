//! `describe`: the configuration, what is read and what is made.

const std = @import("std");
const types = @import("types.zig");
const Allocator = std.mem.Allocator;
const Value = std.json.Value;

pub const Error = error{ Refused, OutOfMemory };

/// What was described, or what is wrong with it.
pub fn Described(comptime Config: type) type {
    return struct { config: Config, answer: []const u8 };
}

pub const Mistake = struct {
    arena: Allocator,
    text: []const u8 = "",

    fn refuse(self: *Mistake, comptime format: []const u8, arguments: anytype) Error {
        self.text = try std.fmt.allocPrint(self.arena, format, arguments);
        return error.Refused;
    }
};

/// Reads a request; the configuration and the answer live in the arena of `mistake`.
pub fn describe(
    comptime Stage: type,
    comptime Config: type,
    comptime Makes: type,
    text: []const u8,
    mistake: *Mistake,
) Error!Described(Config) {
    const request = std.json.parseFromSliceLeaky(Value, mistake.arena, text, .{ .allocate = .alloc_always }) catch
        return mistake.refuse("the request of describe is malformed", .{});
    const contract = types.text(request, "contract") orelse "";
    if (!std.mem.startsWith(u8, contract, "1.")) {
        return mistake.refuse("the host speaks contract {s}, this module 1.0", .{contract});
    }
    const input = request.object.get("input") orelse return mistake.refuse("the request has no input", .{});
    if (input != .array) return mistake.refuse("the request has no input", .{});
    const config = try readConfig(Config, request.object.get("config"), mistake);
    try checkInput(Stage.Reads, input.array.items, mistake);
    return .{ .config = config, .answer = comptime answer(Stage, Config, Makes) };
}

fn readConfig(comptime Config: type, given: ?Value, mistake: *Mistake) Error!Config {
    const info = @typeInfo(Config).@"struct";
    const empty: std.json.ObjectMap = .empty;
    const object = if (given) |value| (if (value == .object) value.object else empty) else empty;
    var config: Config = undefined;
    inline for (info.field_names, info.field_types, info.field_attrs) |name, Field, attributes| {
        if (object.get(name)) |value| {
            @field(config, name) = std.json.parseFromValueLeaky(Field, mistake.arena, value, .{}) catch
                return mistake.refuse("config." ++ name ++ ": expected a value of type " ++ @typeName(Field), .{});
        } else {
            const fallback = comptime attributes.defaultValue(Field);
            @field(config, name) = fallback orelse return mistake.refuse("config." ++ name ++ ": this key is required", .{});
        }
    }
    var keys = object.iterator();
    while (keys.next()) |entry| {
        var known = false;
        inline for (info.field_names) |name| known = known or std.mem.eql(u8, name, entry.key_ptr.*);
        if (!known) return mistake.refuse("config.{s}: unknown key", .{entry.key_ptr.*});
    }
    return config;
}

fn checkInput(comptime Reads: type, input: []const Value, mistake: *Mistake) Error!void {
    const info = @typeInfo(Reads).@"struct";
    inline for (info.field_names, info.field_types) |name, Field| {
        const wanted = for (input) |column| {
            if (std.mem.eql(u8, types.text(column, "name") orelse "", name)) break column;
        } else return mistake.refuse("the stage reads `" ++ name ++ "`, and there is no such column", .{});
        if (!types.childFits(Field, wanted, "type", "nullable")) {
            const asked = comptime types.json(types.Plain(Field)) ++ (if (types.isOptional(Field)) "" else ", never null");
            return mistake.refuse("the stage reads column `" ++ name ++ "` as {s}, and it is of another type", .{asked});
        }
    }
}

fn list(comptime names: []const []const u8) []const u8 {
    comptime {
        var text: []const u8 = "[";
        for (names, 0..) |name, index| text = text ++ (if (index > 0) "," else "") ++ "\"" ++ name ++ "\"";
        return text ++ "]";
    }
}

/// The answer depends on types alone.
fn answer(comptime Stage: type, comptime Config: type, comptime Makes: type) []const u8 {
    comptime {
        @setEvalBranchQuota(100_000);
        var reads: []const []const u8 = &.{};
        for (@typeInfo(Stage.Reads).@"struct".field_names) |name| reads = reads ++ .{name};
        const drops: []const []const u8 = if (@hasDecl(Stage, "drops")) Stage.drops else &.{};
        return "{\"contract\":\"1.0\",\"encoding\":\"frame\",\"name\":\"" ++ Stage.name ++ "\",\"version\":\"" ++
            Stage.version ++ "\",\"reads\":" ++ list(reads) ++ ",\"drops\":" ++ list(drops) ++
            ",\"columns\":" ++ types.fieldsJson(Makes) ++ ",\"config_schema\":" ++ configSchema(Config) ++ "}";
    }
}

/// The JSON Schema of the configuration, for editors.
fn configSchema(comptime Config: type) []const u8 {
    comptime {
        const info = @typeInfo(Config).@"struct";
        var properties: []const u8 = "";
        var required: []const []const u8 = &.{};
        for (info.field_names, info.field_types, info.field_attrs) |name, Field, attributes| {
            if (properties.len > 0) properties = properties ++ ",";
            properties = properties ++ "\"" ++ name ++ "\":" ++ schemaOf(types.Plain(Field));
            if (attributes.defaultValue(Field) == null) required = required ++ .{name};
        }
        return "{\"type\":\"object\",\"properties\":{" ++ properties ++ "},\"required\":" ++ list(required) ++
            ",\"additionalProperties\":false}";
    }
}

fn schemaOf(comptime T: type) []const u8 {
    if (T == []const u8) return "{\"type\":\"string\"}";
    return switch (@typeInfo(T)) {
        .bool => "{\"type\":\"boolean\"}",
        .int => "{\"type\":\"integer\"}",
        .float => "{\"type\":\"number\"}",
        .pointer, .array => "{\"type\":\"array\"}",
        .@"struct" => "{\"type\":\"object\"}",
        else => "{}",
    };
}
