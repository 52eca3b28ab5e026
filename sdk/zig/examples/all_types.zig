//! Columns of every type.

const gristmill = @import("gristmill");
const Decimal = gristmill.Decimal;

pub const AllTypes = struct {
    id: i32,
    flag: ?bool,
    small: ?i32,
    large: ?i64,
    single: ?f32,
    wide: ?f64,
    amount: ?Decimal(10, 2),
    huge: ?Decimal(38, 10),
    text: ?[]const u8,
    bytes: ?gristmill.Bytes,
    day: ?gristmill.Date,
    time: ?gristmill.Timestamp,
    point: ?struct { x: ?i64, label: ?[]const u8, deep: ?struct { y: ?Decimal(5, 1) } },
    longs: ?[]const ?i64,
    flags: ?[]const ?bool,
    names: ?[]const ?[]const ?[]const u8,
    items: ?[]const ?struct { id: i64, tags: ?[]const []const u8 },
    counts: ?gristmill.Map([]const u8, ?i64),
    by_id: ?gristmill.Map(i64, ?struct { at: ?gristmill.Timestamp, raw: ?gristmill.Bytes }),
};
