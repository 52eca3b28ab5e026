//! The files of a new project.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::language::{Kind, Language};
use super::sdk;
use crate::user_error::UserError;

/// Longest name of a stage, in characters.
const NAME_CHARS_MAX: usize = 64;

/// Words of Rust and Python: the name of the stage becomes the name of a function.
const WORDS: &[&str] = &[
    "abstract", "and", "as", "assert", "async", "await", "become", "box", "break", "class",
    "const", "continue", "crate", "def", "del", "do", "dyn", "elif", "else", "enum", "except",
    "extern", "false", "final", "finally", "fn", "for", "from", "gen", "global", "if", "impl",
    "import", "in", "is", "lambda", "let", "loop", "macro", "match", "mod", "move", "mut",
    "nonlocal", "not", "or", "override", "pass", "priv", "pub", "raise", "ref", "return", "self",
    "static", "struct", "super", "trait", "true", "try", "type", "typeof", "union", "unsafe",
    "unsized", "use", "virtual", "where", "while", "with", "yield",
];

/// A project that is not yet written.
pub struct Project {
    pub name: String,
    pub language: Language,
    pub kind: Kind,
}

impl Project {
    /// # Errors
    /// The name is not made of letters, digits, `-` and `_`, or is taken by the languages.
    pub fn new(name: &str, language: Language, kind: Kind) -> Result<Project, UserError> {
        let mut letters = name.chars();
        let begins = letters.next().is_some_and(|first| first.is_ascii_alphabetic());
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        if !begins || !letters.all(is_name) || name.len() > NAME_CHARS_MAX {
            return Err(UserError::new(format!(
                "`{name}` is no name for a stage: a letter, then letters, digits, `-` and `_`, at most \
                 {NAME_CHARS_MAX}; the folder that it is made in is given by --dir"
            )));
        }
        let name = name.to_ascii_lowercase();
        let taken = ["gristmill", "serde", "stage_wasm"];
        let project = Project { name, language, kind };
        let identifier = project.identifier();
        if WORDS.contains(&identifier.as_str()) || taken.contains(&identifier.as_str()) {
            return Err(UserError::new(format!(
                "`{}` has a meaning of its own in a project: choose another name, such as `{}-stage`",
                project.name, project.name
            )));
        }
        Ok(project)
    }

    /// The name as an identifier.
    pub fn identifier(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Writes the project into a folder that is empty or not there yet; answers its files.
    ///
    /// # Errors
    /// The folder holds something, or cannot be written.
    pub fn write(&self, folder: &Path) -> Result<Vec<String>> {
        let shown = folder.display();
        if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            bail!(UserError::new(format!("`{shown}` is not empty: nothing was written")));
        }
        let mut files = self.files()?;
        files.sort();
        for (path, text) in &files {
            let file = folder.join(path);
            let parent = file.parent().unwrap_or(folder);
            std::fs::create_dir_all(parent)
                .and_then(|()| std::fs::write(&file, text))
                .with_context(|| format!("cannot write `{}`", file.display()))?;
        }
        Ok(files.into_iter().map(|(path, _)| path).collect())
    }

    fn files(&self) -> Result<Vec<(String, String)>> {
        let skeleton = format!("projects/{}", self.language.word());
        let mut files: Vec<(String, String)> = sdk::below(&skeleton)
            .map(|(path, text)| (path.to_string(), self.named(text)))
            .collect();
        files.extend(self.sdk().into_iter().map(|(path, text)| (path, text.to_string())));
        files.push((self.language.source().to_string(), self.source()?));
        let examples = format!("projects/examples/{}.toml", self.kind.word());
        files.push(("examples.toml".to_string(), file(&examples)?.to_string()));
        files.push(("README.md".to_string(), self.readme()));
        files.push((".gitignore".to_string(), IGNORED.to_string()));
        Ok(files)
    }

    fn named(&self, text: &str) -> String {
        text.replace("{{name}}", &self.name).replace("{{identifier}}", &self.identifier())
    }

    /// The SDK's example of the kind, under the stage's name.
    fn source(&self) -> Result<String> {
        let example = self.kind.example();
        let path = match self.language {
            Language::Rust => format!("rust/stages/examples/{example}.rs"),
            Language::C => format!("c/examples/{example}.c"),
            Language::Cpp => format!("c/examples/{example}.cpp"),
            Language::Go => format!("go/examples/{example}/main.go"),
            Language::Javascript => format!("javascript/examples/{example}.js"),
            Language::Typescript => format!("javascript/examples/{example}.ts"),
            Language::Python => format!("python/examples/{example}.py"),
            Language::Zig => format!("zig/examples/{example}.zig"),
            Language::Assemblyscript => format!("assemblyscript/{example}.ts"),
            Language::Kotlin => format!("kotlin/examples/{example}.kt"),
        };
        let text = file(&path)?;
        Ok(text.replace(", and a module of its own:", ":").replace(example, &self.identifier()))
    }

    /// The files of the SDK that a stage needs, each with its place in the project.
    fn sdk(&self) -> Vec<(String, &'static str)> {
        let folders: &[(&str, &str)] = match self.language {
            Language::Rust => {
                &[("rust/src", "gristmill/src"), ("rust/macros/src", "gristmill/macros/src")]
            }
            Language::C | Language::Cpp => {
                &[("c/include", "gristmill/include"), ("c/src", "gristmill/src")]
            }
            Language::Go => &[("go/sdk", "gristmill")],
            Language::Javascript | Language::Typescript => &[
                ("javascript/src", "gristmill/src"),
                ("javascript/bin", "gristmill/bin"),
                ("javascript/package", "gristmill"),
                ("contract", "gristmill/wit"),
            ],
            Language::Python => &[("python/gristmill", "gristmill"), ("contract", "gristmill")],
            Language::Zig => &[("zig/src", "gristmill")],
            Language::Assemblyscript => &[("assemblyscript/sdk", ".")],
            Language::Kotlin => &[("kotlin/gristmill", "gristmill")],
        };
        let place = |target: &str, path: &str| match target {
            "." => path.to_string(),
            folder => format!("{folder}/{path}"),
        };
        let files = |(source, target): &(&'static str, &'static str)| {
            let target = *target;
            sdk::below(source).map(move |(path, text)| (place(target, path), text))
        };
        folders.iter().flat_map(files).collect()
    }

    fn readme(&self) -> String {
        let Project { name, language, kind } = self;
        let (title, source, word) = (language.title(), language.source(), kind.word());
        let with = match kind {
            Kind::Filter => "with = { city = \"Chicago\" }\n",
            Kind::Map => "with = { currency = \"USD\" }\n",
            Kind::Flatten => "",
        };
        let limits = match language {
            Language::Javascript | Language::Typescript => {
                "limits = { memory = \"128MiB\" }   # the engine wants more than the default of 64 MiB\n"
            }
            _ => "",
        };
        format!(
            "# {name}\n\n\
             A stage for Gristmill in {title}: a {word}.\n\n\
             ```\n\
             gristmill stage build          # makes stage.wasm, and says with which commands\n\
             gristmill stage test           # runs examples.toml; --text, --file: rows of your own\n\
             gristmill stage inspect .      # what it reads and makes, and what it asks for\n\
             ```\n\n\
             In a pipeline file:\n\n\
             ```toml\n\
             [[stage]]\n\
             name = \"{name}\"\n\
             module = \"{name}/stage.wasm\"    # from the folder of the pipeline file\n\
             {with}{limits}```\n\n\
             | file | what it is |\n\
             |---|---|\n\
             | `{source}` | the stage |\n\
             | `examples.toml` | rows that come in, and rows that must come out |\n\
             | `{sdk}` | the SDK, as the program that made the project brought it: read it, leave it as it is |\n",
            sdk = match language {
                Language::Assemblyscript => "gristmill.ts",
                _ => "gristmill/",
            },
        )
    }
}

/// What tools leave behind.
const IGNORED: &str =
    "/stage.wasm\n/build/\n/target/\n/node_modules/\n/.venv/\n/.zig-cache/\n__pycache__/\n";

fn file(path: &str) -> Result<&'static str> {
    sdk::text(path).with_context(|| format!("the binary lacks `sdk/{path}`"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn a_project_of_every_language_and_kind_has_its_files() {
        for language in Language::value_variants() {
            for kind in Kind::value_variants() {
                let folder = tempfile::tempdir().unwrap();
                let project = Project::new("My-Stage", *language, *kind).unwrap();
                let files = project.write(folder.path()).unwrap();
                let source =
                    std::fs::read_to_string(folder.path().join(language.source())).unwrap();
                assert!(source.contains("my_stage"), "{language:?} {kind:?}: {source}");
                assert!(!source.contains(kind.example()), "{language:?} {kind:?}: {source}");
                assert!(files.iter().any(|file| file == "examples.toml"), "{files:?}");
                assert!(files.iter().filter(|file| file.starts_with("gristmill")).count() >= 1);
                for file in files {
                    let text = std::fs::read_to_string(folder.path().join(&file)).unwrap();
                    assert!(!text.contains("{{name}}"), "{file} of {language:?}");
                }
            }
        }
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        for name in ["", "1st", "a b", "../up", "match", "lambda", "gristmill", &"a".repeat(65)] {
            assert!(Project::new(name, Language::Rust, Kind::Filter).is_err(), "{name}");
        }
        let project = Project::new("Chicago-only", Language::Rust, Kind::Filter).unwrap();
        assert_eq!(
            (project.name.as_str(), project.identifier().as_str()),
            ("chicago-only", "chicago_only")
        );
    }

    #[test]
    fn a_folder_that_holds_something_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.txt"), "").unwrap();
        let project = Project::new("keep", Language::C, Kind::Map).unwrap();
        let error = project.write(folder.path()).unwrap_err();
        assert!(error.to_string().contains("not empty"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// The SDK in a project has a manifest of its own, since that of the repository names its workspace.
    #[test]
    fn the_sdk_of_a_rust_project_has_the_dependencies_of_the_sdk() {
        for (here, there) in [
            ("projects/rust/gristmill/Cargo.toml", "rust/Cargo.toml"),
            ("projects/rust/gristmill/macros/Cargo.toml", "rust/macros/Cargo.toml"),
        ] {
            let names = |path: &str| {
                let manifest: toml::Table = text_of(path).parse().unwrap();
                let dependencies = manifest["dependencies"].as_table().unwrap();
                dependencies.keys().cloned().collect::<Vec<_>>()
            };
            assert_eq!(names(here), names(there));
        }
    }

    fn text_of(path: &str) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk");
        std::fs::read_to_string(root.join(path)).unwrap()
    }
}
