//! The files of docs/deploy: what they start is a command line that we take.

use std::path::Path;

use clap::Parser;

use crate::flags::Flags;

fn read(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/deploy").join(name);
    std::fs::read_to_string(file).expect("a file of docs/deploy")
}

fn accepted<'a>(words: impl IntoIterator<Item = &'a str>) {
    let words: Vec<&str> = std::iter::once("gristmill").chain(words).collect();
    let refused = Flags::try_parse_from(&words).err();
    assert!(
        refused.is_none(),
        "{words:?}: {}",
        refused.map(|it| it.to_string()).unwrap_or_default()
    );
}

/// The words of `[a, "b", c]`.
fn list(text: &str) -> Vec<&str> {
    let inside = text.split_once('[').and_then(|(_, rest)| rest.rsplit_once(']'));
    let inside = inside.expect("a list").0;
    inside.split(',').map(|word| word.trim().trim_matches('"')).collect()
}

#[test]
fn systemd_starts_what_we_take() {
    let unit = read("gristmill.service");
    let mut found = 0;
    for line in unit.lines().filter(|line| line.starts_with("ExecStart")) {
        let (_, command) = line.split_once('=').expect("a setting");
        accepted(command.split_whitespace().skip(1));
        found += 1;
    }
    assert_eq!(found, 2);
}

#[test]
fn the_image_starts_what_we_take() {
    let dockerfile = read("Dockerfile");
    let command = dockerfile.lines().find(|line| line.starts_with("CMD ")).expect("CMD");
    accepted(list(command));
    assert!(dockerfile.contains("USER 65532"), "nobody is root");
}

#[test]
fn the_deployment_starts_what_we_take() {
    let manifest = read("kubernetes.yaml");
    let line = manifest.lines().find(|line| line.trim_start().starts_with("args:")).expect("args");
    accepted(list(line));
    assert!(manifest.contains("runAsNonRoot: true"));
}
