//! The languages that a stage may be written in.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::user_error::UserError;

/// A language whose SDK is inside the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    Rust,
    C,
    #[value(alias = "c++")]
    Cpp,
    #[value(alias = "golang")]
    Go,
    #[value(alias = "js")]
    Javascript,
    #[value(alias = "ts")]
    Typescript,
    #[value(alias = "py")]
    Python,
    Zig,
    #[value(alias = "as")]
    Assemblyscript,
    #[value(alias = "kt")]
    Kotlin,
}

/// What a new stage does with its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Keeps some rows
    Filter,
    /// Makes columns
    Map,
    /// Makes several rows of one
    Flatten,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Filter => "filter",
            Kind::Map => "map",
            Kind::Flatten => "flatten",
        }
    }

    /// The SDKs' example of this kind, which a new stage begins as.
    pub fn example(self) -> &'static str {
        match self {
            Kind::Filter => "keep_city",
            Kind::Map => "with_total",
            Kind::Flatten => "explode_items",
        }
    }
}

impl Language {
    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Language::Rust => "Rust",
            Language::C => "C",
            Language::Cpp => "C++",
            Language::Go => "Go",
            Language::Javascript => "JavaScript",
            Language::Typescript => "TypeScript",
            Language::Python => "Python",
            Language::Zig => "Zig",
            Language::Assemblyscript => "AssemblyScript",
            Language::Kotlin => "Kotlin",
        }
    }

    /// As on the command line.
    pub fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
    }

    /// The stage's own file in a new project.
    pub fn source(self) -> &'static str {
        match self {
            Language::Rust => "src/lib.rs",
            Language::C => "stage.c",
            Language::Cpp => "stage.cpp",
            Language::Go => "main.go",
            Language::Javascript => "stage.js",
            Language::Typescript | Language::Assemblyscript => "stage.ts",
            Language::Python => "stage.py",
            Language::Zig => "stage.zig",
            Language::Kotlin => "stage.kt",
        }
    }

    /// The language of the project in a folder.
    ///
    /// # Errors
    /// The folder holds no project, or sources of several languages.
    pub fn of_project(folder: &Path) -> Result<Language, UserError> {
        if !folder.is_dir() {
            return Err(UserError::new(format!("there is no folder `{}`", folder.display())));
        }
        if let Some(language) = by_manifest(folder) {
            return Ok(language);
        }
        let by_extension = [
            ("zig", Language::Zig),
            ("cpp", Language::Cpp),
            ("cc", Language::Cpp),
            ("c", Language::C),
            ("py", Language::Python),
        ];
        let found = by_extension.iter().find(|(extension, _)| has_file(folder, extension));
        found.map(|(_, language)| *language).ok_or_else(|| {
            UserError::new(format!(
                "`{}` holds no stage: no Cargo.toml, go.mod, package.json or pom.xml, and no file that ends in \
                 .c, .cpp, .zig or .py; `gristmill stage new NAME --lang LANG` makes a project",
                folder.display()
            ))
        })
    }
}

/// By the file of the language's own tool.
fn by_manifest(folder: &Path) -> Option<Language> {
    let has = |name: &str| folder.join(name).is_file();
    if has("Cargo.toml") {
        return Some(Language::Rust);
    }
    if has("go.mod") {
        return Some(Language::Go);
    }
    if has("pom.xml") && has_file(folder, "kt") {
        return Some(Language::Kotlin);
    }
    let package = std::fs::read_to_string(folder.join("package.json")).ok()?;
    if package.contains("\"assemblyscript\"") {
        return Some(Language::Assemblyscript);
    }
    Some(if has_file(folder, "ts") { Language::Typescript } else { Language::Javascript })
}

fn has_file(folder: &Path, extension: &str) -> bool {
    !files(folder, extension).is_empty()
}

/// The files of a folder, not of those below it, that end in `.extension`: sorted, by their names.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|name| name.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// The one file of the stage: `stage.EXTENSION`, or the only one that ends so.
///
/// # Errors
/// There is none, or there are several and none is called `stage`.
pub fn main_file(folder: &Path, extension: &str) -> Result<PathBuf, UserError> {
    let files = files(folder, extension);
    let stage = PathBuf::from(format!("stage.{extension}"));
    match files.as_slice() {
        _ if files.contains(&stage) => Ok(stage),
        [only] => Ok(only.clone()),
        [] => {
            Err(UserError::new(format!("no file in `{}` ends in .{extension}", folder.display())))
        }
        several => {
            let names: Vec<_> = several.iter().map(|file| file.display().to_string()).collect();
            Err(UserError::new(format!(
                "`{}` has {}: which is the stage? Call it stage.{extension}",
                folder.display(),
                names.join(", ")
            )))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn language(files: &[(&str, &str)]) -> Result<Language, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Language::of_project(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_project_is_known_by_its_files() {
        assert_eq!(language(&[("Cargo.toml", "")]), Ok(Language::Rust));
        assert_eq!(language(&[("go.mod", ""), ("main.go", "")]), Ok(Language::Go));
        assert_eq!(language(&[("package.json", "{}"), ("a.js", "")]), Ok(Language::Javascript));
        assert_eq!(language(&[("package.json", "{}"), ("a.ts", "")]), Ok(Language::Typescript));
        let assemblyscript = r#"{"dependencies":{"assemblyscript":"0.28.20"}}"#;
        let files = [("package.json", assemblyscript), ("stage.ts", "")];
        assert_eq!(language(&files), Ok(Language::Assemblyscript));
        assert_eq!(language(&[("pom.xml", ""), ("stage.kt", "")]), Ok(Language::Kotlin));
        assert_eq!(language(&[("keep.cpp", "")]), Ok(Language::Cpp));
        assert_eq!(language(&[("keep.c", "")]), Ok(Language::C));
        assert_eq!(language(&[("keep.py", "")]), Ok(Language::Python));
        assert!(language(&[]).unwrap_err().contains("holds no stage"));
    }

    #[test]
    fn the_stages_file_is_named_or_alone() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(folder.path().join(name), "").unwrap();
        write("keep.py");
        assert_eq!(main_file(folder.path(), "py").unwrap(), Path::new("keep.py"));
        write("other.py");
        assert!(
            main_file(folder.path(), "py").unwrap_err().to_string().contains("keep.py, other.py")
        );
        write("stage.py");
        assert_eq!(main_file(folder.path(), "py").unwrap(), Path::new("stage.py"));
    }
}
