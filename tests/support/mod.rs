//! What the end-to-end tests stand on: the real binary, a folder of its own, orders, and an independent reader of tables.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything in a test may take before it counts as hung.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The release binary, next to this test's own.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.parent().and_then(Path::parent).expect("target/release/deps");
    let binary = folder.join("gristmill");
    assert!(binary.exists(), "{} is not built: run `cargo xtask test`", binary.display());
    binary
}

/// A command that runs the binary, with none of the user's profiles.
pub fn gristmill<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null());
    command.env("XDG_CONFIG_HOME", std::env::temp_dir().join("gristmill-tests-without-profiles"));
    command
}

/// Runs the binary to its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Finished {
    let process = Process::spawn(&mut gristmill(arguments));
    process.wait()
}

/// Runs the binary to its end and demands success.
pub fn succeed<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Finished {
    let finished = run(arguments);
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
    finished
}

/// How a process ended and what it said.
#[derive(Debug)]
pub struct Finished {
    /// `None`: killed by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A running process whose output is collected. Killed when dropped.
pub struct Process {
    child: Child,
    stdout: Collected,
    stderr: Collected,
}

type Collected = (Arc<Mutex<String>>, std::thread::JoinHandle<()>);

impl Process {
    pub fn spawn(command: &mut Command) -> Process {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be started");
        let stdout = collect(child.stdout.take().expect("piped"));
        let stderr = collect(child.stderr.take().expect("piped"));
        Process { child, stdout, stderr }
    }

    /// Waits until the process has said `text` on standard error or output.
    pub fn wait_until_said(&mut self, text: &str) {
        let said = || {
            self.stderr.0.lock().unwrap().contains(text)
                || self.stdout.0.lock().unwrap().contains(text)
        };
        let since = Instant::now();
        while !said() {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                let said = self.stderr.0.lock().unwrap().clone();
                assert!(
                    said.contains(text),
                    "ended with {status} before it said {text:?}:\n{said}"
                );
            }
            assert!(
                since.elapsed() < DEADLINE,
                "never said {text:?}:\n{}",
                self.stderr.0.lock().unwrap()
            );
            pause();
        }
    }

    /// The number that the system knows the process by.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `-STOP`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Whether the process has said `text` on standard error so far.
    pub fn has_said(&self, text: &str) -> bool {
        self.stderr.0.lock().unwrap().contains(text)
    }

    /// What the process has said on standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.0.lock().unwrap().clone()
    }

    /// Whether the process has come to its end.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.signal("-INT");
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.kill_now();
    }

    /// kill -9, and what the process said stays.
    pub fn kill_now(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    pub fn wait(mut self) -> Finished {
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if since.elapsed() > DEADLINE {
                let _ = self.child.kill();
                panic!("still running after {DEADLINE:?}:\n{}", self.stderr.0.lock().unwrap());
            }
            pause();
        };
        let text = |collected: &mut Collected| {
            let thread = std::mem::replace(&mut collected.1, std::thread::spawn(|| ()));
            thread.join().expect("the reader ends with the pipe");
            std::mem::take(&mut *collected.0.lock().unwrap())
        };
        let (stdout, stderr) = (text(&mut self.stdout), text(&mut self.stderr));
        Finished { code: status.code(), stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: impl Read + Send + 'static) -> Collected {
    let text = Arc::new(Mutex::new(String::new()));
    let into = text.clone();
    let reader = std::thread::spawn(move || {
        let mut lines = BufReader::new(from);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    (text, reader)
}

/// Between two looks at a condition that has a deadline.
pub fn pause() {
    std::thread::park_timeout(Duration::from_millis(10));
}

/// Waits until `condition` gives something.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(since.elapsed() < DEADLINE, "waited in vain for {what}");
        pause();
    }
}

/// A port of loopback that was free a moment ago.
pub fn free_address() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("bound").to_string()
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root").to_path_buf()
}

/// A broker of the real binary in `folder`, listening.
pub fn broker(folder: &Path, address: &str) -> Process {
    let folder = folder.to_str().expect("a plain path");
    let mut process =
        Process::spawn(&mut gristmill(["broker", "--data-dir", folder, "--listen", address]));
    process.wait_until_said("listening");
    process
}

/// Ctrl-C for a broker, which must end well.
pub fn stop(broker: Process) {
    broker.interrupt();
    let finished = broker.wait();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

/// Runs Python with the packages that `cargo xtask test` installs.
pub fn python(script: &str, arguments: &[&str]) -> Output {
    // Arrow's threads may outlive the interpreter's end and take the process down then.
    let script = format!("{script}\nimport os, sys\nsys.stdout.flush()\nos._exit(0)\n");
    let output = Command::new(python_program()).args(["-c", &script]).args(arguments).output();
    let output = output.expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// All rows of a Delta table as JSON objects, read by the deltalake package of PyPI.
pub fn table_rows(table: &Path, columns: &str) -> Vec<serde_json::Value> {
    table_rows_at(table.to_str().expect("a plain path"), columns, &serde_json::json!({}))
}

/// As [`table_rows`], of a folder or a URI, with options of its object store.
pub fn table_rows_at(
    table: &str,
    columns: &str,
    storage: &serde_json::Value,
) -> Vec<serde_json::Value> {
    const SCRIPT: &str = "
import json, sys
from deltalake import DeltaTable
table = DeltaTable(sys.argv[1], storage_options=json.loads(sys.argv[3]))
for row in table.to_pyarrow_table(columns=sys.argv[2].split(',')).to_pylist():
    print(json.dumps(row, default=str))
";
    let output = python(SCRIPT, &[table, columns, &storage.to_string()]);
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The Python with the packages that `cargo xtask test` installs.
pub fn python_program() -> String {
    std::env::var("GRISTMILL_PYTHON")
        .expect("GRISTMILL_PYTHON names the Python of the tests: run `cargo xtask test`")
}
