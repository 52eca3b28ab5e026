//! The reference of all commands in docs/commands.md, written by what the flags say.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory};

use crate::flags::Flags;

/// Between these lines of the document stands what is written here.
const BEGIN: &str = "<!-- commands: written by the code -->\n";
const END: &str = "<!-- end of commands -->\n";

/// Set to write the document instead of comparing it.
const REWRITE: &str = "GRISTMILL_REWRITE";

/// Commands that are others' names for what stands elsewhere.
const OTHER_NAMES: [&str; 2] = ["gristmill kafka topic", "gristmill kafka group"];

fn reference() -> String {
    let mut root = Flags::command();
    root.build();
    let mut out = String::from("### Flags of every command\n\n");
    write_arguments(&mut out, root.get_arguments().filter(|it| it.is_global_set()));
    for (name, command) in all_below(&root, "gristmill") {
        if !command.has_subcommands() {
            write_command(&mut out, &name, command);
        }
    }
    out
}

fn write_command(out: &mut String, name: &str, command: &Command) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let positionals: String = command
        .get_positionals()
        .map(|argument| match argument.is_required_set() {
            true => format!(" {}", value_names(argument)),
            false => format!(" [{}]", value_names(argument)),
        })
        .collect();
    let _ = writeln!(out, "### `{name}{positionals}`\n\n{about}.\n");
    let own = command.get_arguments().filter(|it| !it.is_global_set());
    let described = own.filter(|it| it.get_id() != "help" && it.get_help().is_some());
    write_arguments(out, described);
}

fn write_arguments<'a>(out: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let mut rows = String::new();
    for argument in arguments.filter(|it| !it.is_hide_set()) {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let more = remarks(argument).replace('|', "\\|");
        let _ = writeln!(rows, "| `{}` | {}{more} |", spelled(argument), help.replace('|', "\\|"));
    }
    if !rows.is_empty() {
        let _ = writeln!(out, "| flag | meaning |\n|---|---|\n{rows}");
    }
}

/// `--rate N[/s]`, `-b, --from-beginning` or `FILE`.
fn spelled(argument: &Arg) -> String {
    let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let takes = argument.get_action().takes_values();
    let text = match argument.get_long() {
        Some(long) if takes => format!("{short}--{long} {}", value_names(argument)),
        Some(long) => format!("{short}--{long}"),
        None => value_names(argument),
    };
    text.replace('|', "\\|")
}

fn value_names(argument: &Arg) -> String {
    let names = match argument.get_value_names() {
        Some(names) => names.join(" "),
        None => argument.get_id().to_string().to_uppercase(),
    };
    let again = argument.is_positional() && matches!(argument.get_action(), ArgAction::Append);
    if again { format!("{names}…") } else { names }
}

/// The default, the values and the variable, unless the help says them already.
fn remarks(argument: &Arg) -> String {
    let mut remarks = String::new();
    if argument.get_action().takes_values() {
        let values = argument.get_possible_values();
        let names: Vec<_> =
            values.iter().filter(|it| !it.is_hide_set()).map(|it| it.get_name()).collect();
        if !names.is_empty() {
            remarks += &format!(" [{}]", names.join(", "));
        }
        let defaults = argument.get_default_values().iter();
        let defaults: Vec<_> = defaults.map(|it| it.to_string_lossy().into_owned()).collect();
        if !defaults.is_empty() && !argument.is_hide_default_value_set() {
            remarks += &format!(" [default: {}]", defaults.join(", "));
        }
    }
    if let Some(variable) = argument.get_env() {
        remarks += &format!(" [variable: {}]", variable.to_string_lossy());
    }
    remarks
}

#[test]
fn the_reference_of_commands_is_what_the_flags_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let kept = std::fs::read_to_string(&file).expect("docs/commands.md");
    let (before, rest) = kept.split_once(BEGIN).expect("the beginning of the commands");
    let (_, after) = rest.split_once(END).expect("the end of the commands");
    let now = format!("{before}{BEGIN}\n{}{END}{after}", reference());
    if now != kept && std::env::var_os(REWRITE).is_some() {
        std::fs::write(&file, &now).expect("docs/commands.md can be written");
    } else {
        assert!(now == kept, "docs/commands.md is not what the flags say: {REWRITE}=1 writes it");
    }
}

/// Commands that print the same with and without `--output json`.
const TEXT_ONLY: [&str; 4] = ["completions", "demo", "man", "schema"];

#[test]
fn every_command_has_the_shape_of_its_answers_in_the_document() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let kept = std::fs::read_to_string(&file).expect("docs/commands.md");
    let (_, rest) = kept.split_once("```shapes\n").expect("the beginning of the shapes");
    let (shapes, _) = rest.split_once("```").expect("the end of the shapes");
    let has_shape = |name: &str| shapes.lines().any(|line| line.starts_with(&format!("{name}  ")));
    let mut without = Vec::new();
    let mut root = Flags::command();
    root.build();
    for (name, command) in all_below(&root, "gristmill") {
        let plain = name.trim_start_matches("gristmill ");
        let is_known = TEXT_ONLY.contains(&plain) || has_shape(plain);
        if !command.has_subcommands() && !is_known {
            without.push(name);
        }
    }
    assert!(without.is_empty(), "without a shape: {without:?}");
}

#[test]
fn every_command_and_flag_says_what_it_is() {
    let root = Flags::command();
    let mut silent = Vec::new();
    for (name, command) in all_below(&root, "gristmill") {
        if command.get_about().is_none() {
            silent.push(name.clone());
        }
        let arguments = command.get_opts().filter(|it| it.get_help().is_none());
        silent.extend(arguments.map(|argument| format!("{name} {argument}")));
    }
    assert!(silent.is_empty(), "without help: {silent:?}");
}

/// Every command below one, without the others' names for what stands elsewhere.
fn all_below<'c>(command: &'c Command, name: &str) -> Vec<(String, &'c Command)> {
    let mut all = Vec::new();
    for below in command.get_subcommands().filter(|it| it.get_name() != "help") {
        let name = format!("{name} {}", below.get_name());
        if !OTHER_NAMES.contains(&name.as_str()) {
            let more = all_below(below, &name);
            all.push((name, below));
            all.extend(more);
        }
    }
    all
}
