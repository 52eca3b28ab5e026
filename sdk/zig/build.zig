//! The module `gristmill`, and the example stages: `zig build` puts them into `zig-out`, `zig build
//! --prefix FOLDER` elsewhere.

const std = @import("std");

const stages = [_][]const u8{
    "keep_city",         "with_total",         "explode_items",      "fails_odd", "every_type",
    "keep_city_columns", "with_total_columns", "every_type_columns",
};

pub fn build(b: *std.Build) void {
    const gristmill = b.addModule("gristmill", .{ .root_source_file = b.path("src/gristmill.zig") });
    for (stages) |name| addStage(b, gristmill, name);
}

/// A stage is a module without an entry, that exports what it says.
fn addStage(b: *std.Build, gristmill: *std.Build.Module, name: []const u8) void {
    const stage = b.addExecutable(.{
        .name = name,
        .root_module = b.createModule(.{
            .root_source_file = b.path(b.fmt("examples/{s}.zig", .{name})),
            .target = b.resolveTargetQuery(.{
                .cpu_arch = .wasm32,
                .os_tag = .freestanding,
                .cpu_features_add = std.Target.wasm.featureSet(&.{ .simd128, .bulk_memory }),
            }),
            .optimize = .fast,
            .strip = true,
            .imports = &.{.{ .name = "gristmill", .module = gristmill }},
        }),
    });
    stage.entry = .disabled;
    stage.rdynamic = true;
    b.getInstallStep().dependOn(&b.addInstallArtifact(stage, .{ .dest_dir = .{ .override = .prefix } }).step);
}
