//! Sessions at a terminal, word for word: what `sessions/*.txt` and the blocks of the documents show is what happens.
//!
//! A line that begins with `$ ` is typed into a shell, `> ` goes on with it; what follows is the answer. What differs
//! from run to run (ports, keys, times, folders) is made the same first. `GRISTMILL_REWRITE=1` writes the answers down.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};

use regex::Regex;

use crate::guests::stamping;
use crate::support;

/// Set to write down what happens instead of comparing it.
const REWRITE: &str = "GRISTMILL_REWRITE";

/// Says on standard output that a command has ended, and how.
const END: &str = "--end-of-answer--";

/// A shell whose `gristmill` is the one under test, with a home, a port and a cluster `local` of its own.
struct Shell {
    process: Child,
    input: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    home: tempfile::TempDir,
    address: String,
    replacements: Vec<(Regex, String)>,
    /// Tells the watchdog that the session has come to its end.
    _ended: mpsc::Sender<()>,
}

/// Named by `$ gristmill …`: broker and page on ports of ours; the page is that of `run`.
const WRAPPER: &str = r#"#!/bin/sh
case "$1" in
  broker) set -- "$@" --http off; case "$*" in *--listen*) exec "$GRISTMILL_REAL" "$@" ;; *) exec "$GRISTMILL_REAL" "$@" --listen "$GRISTMILL_ADDRESS" ;; esac ;;
  run) exec "$GRISTMILL_REAL" "$@" --listen "$GRISTMILL_ADDRESS" --http "$GRISTMILL_HTTP" ;;
  *) exec "$GRISTMILL_REAL" "$@" ;;
esac
"#;

impl Shell {
    fn open() -> Shell {
        let home = tempfile::tempdir().unwrap();
        let address = support::free_address();
        let folder = home.path().join(".bin");
        std::fs::create_dir(&folder).unwrap();
        let wrapper = folder.join("gristmill");
        std::fs::write(&wrapper, WRAPPER).unwrap();
        let chmod = Command::new("chmod").arg("+x").arg(&wrapper).status();
        assert!(chmod.unwrap().success());
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command
            .args(["--noprofile", "--norc"])
            .current_dir(home.path())
            .env_clear()
            .envs([("PATH", path.as_str()), ("LANG", "C.UTF-8"), ("TERM", "dumb")])
            .env("HOME", home.path())
            .env("GRISTMILL_REAL", support::binary())
            .env("GRISTMILL_ADDRESS", &address)
            .env("GRISTMILL_HTTP", support::free_address())
            .env("REPOSITORY", support::root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A group of its own, which is killed when the session hangs.
            .process_group(0);
        let mut process = command.spawn().expect("bash runs");
        let (ended, watched) = mpsc::channel::<()>();
        let group = format!("-{}", process.id());
        std::thread::spawn(move || {
            if watched.recv_timeout(support::DEADLINE) == Err(RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            }
        });
        let input = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let replacements = replacements(home.path(), &address);
        let mut shell =
            Shell { process, input, answers, home, address, replacements, _ended: ended };
        shell.run("exec 2>&1");
        shell.write_profiles();
        shell
    }

    /// Cluster `local` is where our broker listens.
    fn write_profiles(&self) {
        let folder = self.home.path().join(".config/gristmill");
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "environment = \"local\"\n[environments.local]\ncluster = \"local\"\n\
             [environments.local.clusters.local]\nbootstrap = \"{}\"\n",
            self.address
        );
        std::fs::write(folder.join("profiles.toml"), text).unwrap();
    }

    /// Types a command and returns its answer, with its exit code if that is not 0.
    fn run(&mut self, command: &str) -> String {
        let command = command.replace("127.0.0.1:9092", &self.address);
        let mut input = self.input.as_ref().unwrap();
        writeln!(input, "{{ {command}\n}} < /dev/null\necho \"{END} $?\"").unwrap();
        input.flush().unwrap();
        let mut answer = Vec::new();
        loop {
            let from = answer.len();
            let read = self.answers.read_until(b'\n', &mut answer).unwrap();
            assert!(read > 0, "the shell ended in {command:?}");
            let line = String::from_utf8_lossy(&answer[from..]).into_owned();
            // An answer may lack its line end.
            if let Some(at) = line.find(END) {
                let code = line[at + END.len()..].trim().to_owned();
                let kept = line[..at].to_owned();
                answer.truncate(from);
                answer.extend(kept.as_bytes());
                if !kept.is_empty() && !kept.ends_with('\n') {
                    answer.push(b'\n');
                }
                let text = self.plain(&String::from_utf8_lossy(&answer));
                return if code == "0" { text } else { format!("{text}[exit {code}]\n") };
            }
        }
    }

    /// Without what differs from run to run.
    fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (pattern, by) in &self.replacements {
            text = pattern.replace_all(&text, by.as_str()).into_owned();
        }
        let lines = text.lines().map(|line| format!("{}\n", line.trim_end()));
        lines.collect()
    }
}

fn replacements(home: &Path, address: &str) -> Vec<(Regex, String)> {
    let place = regex::escape(&home.display().to_string());
    let root = regex::escape(&support::root().display().to_string());
    [
        (format!(r"(/private)?{place}"), "~"),
        (root, "$$REPOSITORY"),
        // Columns stay as wide as they are drawn.
        (format!("{}(  +)", regex::escape(address)), "127.0.0.1:9092 ${1}"),
        (regex::escape(address), "127.0.0.1:9092"),
        (r"127\.0\.0\.1:\d{5}".to_owned(), "127.0.0.1:PORT"),
        // API keys and secrets.
        (r"\b[A-Z0-9]{16}\b".to_owned(), "APIKEYAPIKEYAPIK"),
        (r"(API secret  )\S+".to_owned(), "${1}SECRET"),
        (r"in \d+\.\d s, \d+/s".to_owned(), "in 0.1 s, 1000/s"),
        (r"at \d+/s".to_owned(), "at 1000/s"),
        // Hashes of modules.
        (r"\b[0-9a-f]{12}\b".to_owned(), "0123456789ab"),
        (r"\b\d+\.\d (ms|µs)\b".to_owned(), "1.0 ${1}"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z".to_owned(), "2026-11-01T09:30:00Z"),
        (r"\b[0-9.]+ [KMG]iB\b".to_owned(), "10.00 KiB"),
    ]
    .into_iter()
    .map(|(pattern, by)| (Regex::new(&pattern).unwrap(), by.to_owned()))
    .collect()
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(mut input) = self.input.take() {
            // What still runs in the background ends with the session.
            let _ = writeln!(input, "jobs -p | xargs -r kill; wait; exit");
        }
        let _ = self.process.wait();
    }
}

/// A command with its continuation lines.
struct Typed {
    /// As the text shows it.
    shown: String,
    command: String,
}

/// The commands of a session, each with the comment lines before it.
fn typed(text: &str) -> Vec<Typed> {
    let mut all: Vec<Typed> = Vec::new();
    let mut comment = String::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            let shown = format!("{}{line}\n", std::mem::take(&mut comment));
            all.push(Typed { shown, command: command.to_owned() });
        } else if let (Some(more), Some(last)) = (line.strip_prefix("> "), all.last_mut()) {
            last.shown += &format!("{line}\n");
            last.command += &format!("\n{more}");
        } else if line.starts_with('#') {
            comment += &format!("{line}\n");
        }
    }
    all
}

/// The session as it goes now.
fn replay(shell: &mut Shell, text: &str) -> String {
    typed(text).iter().map(|it| it.shown.clone() + &shell.run(&it.command)).collect()
}

fn compare(kept: &str, now: &str, file: &Path) {
    if kept == now {
        return;
    }
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(file, now).unwrap();
        return;
    }
    let line = kept.lines().zip(now.lines()).position(|(kept, now)| kept != now);
    let line = line.unwrap_or_else(|| kept.lines().count().min(now.lines().count()));
    panic!(
        "{} is not what happens, first at line {} ({REWRITE}=1 writes it down):\n{now}",
        file.display(),
        line + 1
    );
}

fn session(name: &str) {
    session_beside(name, &[]);
}

/// A session that finds files in its folder.
fn session_beside(name: &str, files: &[(&str, &[u8])]) {
    let file = support::root().join(format!("tests/end_to_end/sessions/{name}.txt"));
    let kept = std::fs::read_to_string(&file).unwrap();
    let mut shell = Shell::open();
    for (name, bytes) in files {
        std::fs::write(shell.home.path().join(name), bytes).unwrap();
    }
    let now = replay(&mut shell, &kept);
    compare(&kept, &now, &file);
}

/// Runs the blocks ```` ```console ```` of a document, one after the other in one shell, and compares the answers that
/// it shows; a block without answers shows none. In blocks with the word `background` the command goes on running; a
/// block ```` ```toml NAME ```` is that file.
fn document(name: &str) {
    let file = support::root().join(name);
    let kept = std::fs::read_to_string(&file).unwrap();
    let mut shell = Shell::open();
    let (mut now, mut block) = (String::new(), None::<(String, String)>);
    for line in kept.lines() {
        match (&mut block, line) {
            (None, _) if line.starts_with("```console") || line.starts_with("```toml ") => {
                now += &format!("{line}\n");
                block = Some((line.to_owned(), String::new()));
            }
            (Some((kind, text)), "```") => {
                now += &shown(&mut shell, kind, text);
                now += "```\n";
                block = None;
            }
            (Some((_, text)), _) => *text += &format!("{line}\n"),
            (None, _) => now += &format!("{line}\n"),
        }
    }
    compare(&kept, &now, &file);
}

fn shown(shell: &mut Shell, kind: &str, text: &str) -> String {
    if let Some(name) = kind.strip_prefix("```toml ") {
        let pipeline = text.replace("127.0.0.1:9092", &shell.address);
        std::fs::write(shell.home.path().join(name), pipeline).unwrap();
        return text.to_owned();
    }
    if kind.contains("background") {
        for (number, it) in typed(text).iter().enumerate() {
            shell.run(&format!("{} > background-{number}.log 2>&1 &", it.command));
        }
        return text.to_owned();
    }
    let answers = text.lines().any(|line| !["$ ", "> ", "#"].iter().any(|it| line.starts_with(it)));
    let now = replay(shell, text);
    assert!(!now.contains("[exit "), "a command of the document fails:\n{now}");
    if answers { now } else { text.to_owned() }
}

#[test]
fn the_courses_commands() {
    session("course");
}

#[test]
fn a_broker_that_wants_api_keys_through_a_profile() {
    session("secured");
}

#[test]
fn mistakes_and_their_mends() {
    session("mistakes");
}

#[test]
fn groups_and_their_offsets() {
    session("groups");
}

#[test]
fn a_running_pipeline_is_looked_at_and_steered() {
    session("steering");
}

#[test]
fn a_candidate_runs_beside_a_stage_and_is_promoted() {
    let (live, new) = (stamping(&["version"], 1), stamping(&["version"], 2));
    session_beside("candidates", &[("stamp.wasm", &live), ("new.wasm", &new)]);
}

#[test]
fn tables_are_kept_in_shape() {
    session("tables");
}

#[test]
fn commands_print_what_their_page_shows() {
    document("docs/commands.md");
}

#[test]
fn getting_started_is_true_to_the_letter() {
    document("docs/getting-started.md");
}
