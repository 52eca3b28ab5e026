//! Where the topics are: the built-in broker as a process of its own, or three nodes of Apache
//! Kafka. Clients come through a proxy per node, brokers speak to each other without.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::proxy::{Proxy, Weather};
use crate::scene;
use crate::support::{self, Process};

/// ApiVersions of version 0 without a client id.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
const KAFKA_NODES: usize = 3;
/// Any 16 bytes in base64.
const KAFKA_CLUSTER_ID: &str = "Z3Jpc3RtaWxsLXByb29mMA";

/// Brokers that clients may come to.
#[derive(Default)]
pub struct Cluster {
    nodes: Vec<Node>,
}

struct Node {
    process: Option<Process>,
    program: Vec<String>,
    /// Where the broker itself listens.
    target: String,
    proxy: Proxy,
}

impl Cluster {
    pub fn built_in(folder: &Path) -> Cluster {
        let target = support::free_address();
        let proxy = Proxy::start(&target);
        let program = [
            &support::binary().display().to_string(),
            "broker",
            "--data-dir",
            &folder.join("broker").display().to_string(),
            "--listen",
            &target,
            "--advertise",
            &proxy.address,
        ];
        let program = program.map(str::to_owned).to_vec();
        Cluster::start(vec![Node { process: None, program, target, proxy }])
    }

    /// Three nodes that are brokers and controllers. `jars`: Kafka's own.
    pub fn kafka(folder: &Path, jars: &Path) -> Cluster {
        let controllers: Vec<String> = (0..KAFKA_NODES).map(|_| support::free_address()).collect();
        let voters = controllers.iter().enumerate();
        let voters: Vec<String> = voters.map(|(node, at)| format!("{}@{at}", node + 1)).collect();
        let mut nodes = Vec::new();
        let mut formats = Vec::new();
        for (node, controller) in controllers.iter().enumerate() {
            let target = support::free_address();
            let proxy = Proxy::start(&target);
            let file = folder.join(format!("kafka-{}.properties", node + 1));
            let data = folder.join(format!("kafka-{}", node + 1));
            let listen = [target.as_str(), proxy.address.as_str(), controller];
            let text = kafka_properties(node + 1, &voters.join(","), listen, &data);
            std::fs::write(&file, text).unwrap();
            let format = ["kafka.tools.StorageTool", "format", "-t", KAFKA_CLUSTER_ID, "-c"];
            let mut command = Command::new("java");
            formats.push(Process::spawn(command.args(java(jars, &format)).arg(&file)));
            let mut program = vec!["java".to_owned()];
            program.extend(java(jars, &["kafka.Kafka", &file.display().to_string()]));
            nodes.push(Node { process: None, program, target, proxy });
        }
        for format in formats {
            let format = format.wait();
            assert_eq!(format.code, Some(0), "{}{}", format.stdout, format.stderr);
        }
        Cluster::start(nodes)
    }

    fn start(nodes: Vec<Node>) -> Cluster {
        let mut cluster = Cluster { nodes };
        (0..cluster.nodes.len()).for_each(|node| cluster.begin(node));
        cluster.wait();
        cluster
    }

    /// Addresses for clients.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<_> = self.nodes.iter().map(|node| node.proxy.address.clone()).collect();
        addresses.join(",")
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub fn kill(&mut self, node: usize) {
        if let Some(mut process) = self.nodes[node].process.take() {
            process.kill_now();
        }
    }

    /// Starts a node that was killed.
    pub fn begin(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.process.get_or_insert_with(|| {
            Process::spawn(Command::new("bash").args(scene::deaf_to_limits(&node.program)))
        });
    }

    /// Until every node answers.
    pub fn wait(&mut self) {
        for node in &mut self.nodes {
            let address = &node.target;
            support::wait_for("an answer of the broker", || answers(address));
        }
    }

    /// The process of a node, if it was not killed.
    pub fn process(&self, node: usize) -> Option<&Process> {
        self.nodes[node].process.as_ref()
    }

    pub fn set_weather(&self, weather: Weather) {
        self.nodes.iter().for_each(|node| node.proxy.set(weather));
    }

    pub fn cut(&self) {
        self.nodes.iter().for_each(|node| node.proxy.cut());
    }

    /// What every node said, into files.
    pub fn write_logs(&self, folder: &Path) {
        for (number, node) in self.nodes.iter().enumerate() {
            if let Some(process) = &node.process {
                let said = process.stderr();
                std::fs::write(folder.join(format!("broker-{number}.log")), said).unwrap();
            }
        }
    }

    pub fn stop(self) {
        let running: Vec<_> = self.nodes.into_iter().filter_map(|node| node.process).collect();
        // All at once: the last one of several would find no quorum to hand over to.
        running.iter().for_each(|process| process.interrupt());
        for process in running {
            // Kafka answers a signal with its number.
            let code = process.wait().code;
            assert!(matches!(code, Some(0 | 130)), "a broker ended with {code:?}");
        }
    }
}

fn java(jars: &Path, arguments: &[&str]) -> Vec<String> {
    let jars: PathBuf = jars.join("*");
    let flags = ["-Xmx320m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
    let log = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"];
    let all = flags.iter().chain(&log).map(|flag| flag.to_string());
    all.chain([jars.display().to_string()])
        .chain(arguments.iter().map(|argument| argument.to_string()))
        .collect()
}

/// Kafka's quick start in three nodes, with a failure detector that finds a dead one in seconds.
/// `listen`: for clients, as told to clients, for controllers.
fn kafka_properties(id: usize, voters: &str, listen: [&str; 3], data: &Path) -> String {
    let [clients, advertised, controller] = listen;
    let between = support::free_address();
    format!(
        "process.roles=broker,controller\nnode.id={id}\n\
         controller.quorum.voters={voters}\n\
         listeners=CLIENTS://{clients},BROKERS://{between},CONTROLLER://{controller}\n\
         advertised.listeners=CLIENTS://{advertised},BROKERS://{between}\n\
         controller.listener.names=CONTROLLER\ninter.broker.listener.name=BROKERS\n\
         listener.security.protocol.map=\
         CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\nmin.insync.replicas=2\n\
         broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n\
         offsets.topic.num.partitions=4\ntransaction.state.log.num.partitions=4\n\
         transaction.state.log.min.isr=2\ngroup.initial.rebalance.delay.ms=0\n",
        data.display()
    )
}

fn answers(address: &str) -> Option<()> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(&API_VERSIONS).ok()?;
    stream.read_exact(&mut [0; 8]).ok()
}
