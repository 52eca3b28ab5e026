//! The stages inside the binary, built by `build.rs` from `plugins/`.

// `pub static SHIPPED: &[(&str, &[u8])]`: the stage's name, its WebAssembly module.
include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// Names of the shipped stages, as a pipeline file's `module` may give them.
pub fn names() -> Vec<&'static str> {
    SHIPPED.iter().map(|(name, _)| *name).collect()
}

/// The module of the shipped stage `name`.
pub fn module(name: &str) -> Option<&'static [u8]> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_stage_is_a_module() {
        assert_eq!(names(), ["parse-json", "flatten", "filter", "cast"]);
        for (name, bytes) in SHIPPED {
            assert!(bytes.starts_with(b"\0asm"), "{name}");
        }
        assert_eq!(module("no-such-stage"), None);
    }
}
