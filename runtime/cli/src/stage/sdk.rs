//! The SDKs and the skeletons of projects inside the binary, put there by `build.rs` from `sdk/`.

// `static SDK: &[(&str, &str)]`: the path of a file under `sdk/`, its text.
include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// The text of a file, by its path under `sdk/`.
pub fn text(path: &str) -> Option<&'static str> {
    SDK.iter().find(|(name, _)| *name == path).map(|(_, text)| *text)
}

/// The files below a folder of `sdk/`, each by its path from there.
pub fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    SDK.iter().filter_map(move |(name, text)| {
        let rest = name.strip_prefix(folder)?.strip_prefix('/')?;
        Some((rest, *text))
    })
}
