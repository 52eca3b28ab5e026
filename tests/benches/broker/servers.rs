//! The brokers under measure, each a process of its own: ours is this program, started again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gristmill_broker::{BrokerConfig, Durability, Listener, Server};

/// First argument of this program when it is to be a broker; then follow folder and mode.
pub const SERVE: &str = "serve-broker";
/// How long a broker may take to answer for the first time, and to end.
const DEADLINE: Duration = Duration::from_secs(120);
/// ApiVersions of version 0 with correlation id 7 and no client id: what every client asks first.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 255, 255];

/// What acks=all promises.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Synced,
    PageCache,
}

impl Mode {
    pub const ALL: [Mode; 2] = [Mode::Synced, Mode::PageCache];

    pub fn title(self) -> &'static str {
        match self {
            Mode::Synced => "synced: our default, Kafka with log.flush.interval.messages=1",
            Mode::PageCache => "page cache: durability page-cache, Kafka's default",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Mode::Synced => "synced",
            Mode::PageCache => "page-cache",
        }
    }
}

/// A broker that answers.
pub struct Running {
    name: &'static str,
    process: Child,
    address: String,
    start: Duration,
}

impl Running {
    pub fn ours(folder: &Path, mode: Mode) -> Result<Running> {
        let program = std::env::current_exe().context("cannot tell this program's path")?;
        let mut command = Command::new(program);
        command.arg(SERVE).arg(folder).arg(mode.word()).stdout(Stdio::piped());
        let began = Instant::now();
        let mut process = command.spawn().context("cannot start our broker")?;
        let mut address = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut address).context("our broker says nothing")?;
        }
        Running::answering("gristmill", process, address.trim().to_owned(), began)
    }

    pub fn kafka(folder: &Path, mode: Mode, jars: &Path) -> Result<Running> {
        let properties = write_properties(folder, mode)?;
        let java = |class: &str| {
            let mut command = Command::new("java");
            command.args(["-Xmx1g", "-Xms1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]);
            command.arg("-cp").arg(jars.join("*")).arg(class);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let mut format = java("kafka.tools.StorageTool");
        format.args(["format", "-t", "Z3Jpc3RtaWxsLWJlbmNoMA", "-c"]).arg(&properties.file);
        let formatted = format.status().context("cannot run java")?;
        if !formatted.success() {
            bail!("Kafka's storage tool failed: are its jars in {}?", jars.display());
        }
        let began = Instant::now();
        let process = java("kafka.Kafka").arg(&properties.file).spawn();
        let process = process.context("cannot start Kafka")?;
        Running::answering("Apache Kafka", process, properties.address, began)
    }

    fn answering(
        name: &'static str,
        process: Child,
        address: String,
        began: Instant,
    ) -> Result<Running> {
        let mut running = Running { name, process, address, start: Duration::ZERO };
        while !answers(&running.address) {
            if running.process.try_wait()?.is_some() || began.elapsed() > DEADLINE {
                bail!("{name} does not answer on {}", running.address);
            }
            std::thread::yield_now();
        }
        running.start = began.elapsed();
        Ok(running)
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// From the start of the process to the first answered request.
    pub fn start_seconds(&self) -> f64 {
        self.start.as_secs_f64()
    }

    /// Asks the process to end and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        let asked = Command::new("kill").arg("-INT").arg(self.pid().to_string()).status();
        asked.context("cannot run `kill`")?;
        self.process.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_before = self.process.kill();
        let _ended_before = self.process.wait();
    }
}

/// Whether a request is answered now.
fn answers(address: &str) -> bool {
    let ask = || -> Result<()> {
        let mut stream = TcpStream::connect_timeout(&address.parse()?, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&API_VERSIONS)?;
        Ok(stream.read_exact(&mut [0; 8])?)
    };
    ask().is_ok()
}

/// The life of our broker's process: prints its address, ends with Ctrl-C.
pub fn serve(folder: &str, mode: &str) -> Result<()> {
    let durability = match mode {
        "synced" => Durability::Fsync,
        _ => Durability::PageCache,
    };
    let config = BrokerConfig {
        data_dir: PathBuf::from(folder),
        listeners: vec![Listener::plaintext(SocketAddr::from(([127, 0, 0, 1], 0)))],
        durability,
        ..BrokerConfig::default()
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start tokio")?;
    runtime.block_on(async {
        let server = Server::start(config).await?;
        println!("{}", server.address());
        tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
        server.shutdown().await
    })
}

struct Properties {
    file: PathBuf,
    address: String,
}

/// Kafka as its quick start has it, one node, on free ports.
fn write_properties(folder: &Path, mode: Mode) -> Result<Properties> {
    std::fs::create_dir_all(folder).context("cannot make Kafka's folder")?;
    let (clients, controller) = (free_port()?, free_port()?);
    let data = folder.join("data");
    let flush = match mode {
        Mode::Synced => "log.flush.interval.messages=1",
        Mode::PageCache => "",
    };
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{clients}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=1\ngroup.initial.rebalance.delay.ms=0\n{flush}\n",
        data.display()
    );
    let file = folder.join("server.properties");
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Properties { file, address: format!("127.0.0.1:{clients}") })
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?.port())
}
