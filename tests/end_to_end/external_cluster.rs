use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{self, Finished, Process, gristmill, succeed};

/// A cluster that is not ours: encrypted, and nobody comes in without an API key.
struct Elsewhere {
    folder: tempfile::TempDir,
    address: String,
    broker: Process,
    key: String,
    secret: String,
}

impl Elsewhere {
    fn start() -> Elsewhere {
        let folder = tempfile::tempdir().unwrap();
        let (data, address) = (folder.path().join("data"), support::free_address());
        let create = ["--output", "json", "api-key", "create", "--resource", "CLUSTER"];
        let made = succeed(create.iter().chain(&["--data-dir", path(&data)]));
        let made: Value = serde_json::from_str(made.stdout.lines().next().unwrap()).unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let broker = support::broker(&data, &format!("SASL_SSL://{address}"));
        let (key, secret) = (text("api_key"), text("api_secret"));
        let elsewhere = Elsewhere { folder, address, broker, key, secret };
        elsewhere.write_client_config();
        for topic in ["orders", "orders-chicago", "orders-dead-letters"] {
            let mut created = elsewhere.client(&["topic", "create", topic, "--partitions", "3"]);
            assert!(created.stdin(Stdio::null()).status().unwrap().success());
        }
        elsewhere
    }

    fn ca(&self) -> String {
        path(&self.folder.path().join("data/broker/tls/development-ca.pem")).to_owned()
    }

    fn write_client_config(&self) {
        let text = format!(
            "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nssl.ca.location={}\n\
             sasl.username={}\nsasl.password={}\n",
            self.ca(),
            self.key,
            self.secret
        );
        std::fs::write(self.folder.path().join("client.properties"), text).unwrap();
    }

    /// A client command that authenticates.
    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = gristmill(arguments);
        command.args(["--bootstrap", &self.address, "--client-config"]);
        command.arg(self.folder.path().join("client.properties"));
        command
    }

    /// Runs the shipped pipeline over what is there, with the secret in a file beside it.
    fn run(&self, secret: &str) -> Finished {
        let shipped = support::root().join("pipelines/external_kafka.toml");
        let shipped = std::fs::read_to_string(shipped).unwrap();
        let text = shipped
            .replace(
                "\"${KAFKA_API_SECRET}\"",
                "\"${file:secret.txt}\"\nssl.ca.location = \"${CA}\"",
            )
            .replace("[source.kafka]", "trigger = \"available-now\"\n[source.kafka]");
        assert!(text.contains("${file:secret.txt}") && text.contains("available-now"));
        let file = self.folder.path().join("external.toml");
        std::fs::write(&file, text).unwrap();
        std::fs::write(self.folder.path().join("secret.txt"), format!("{secret}\n")).unwrap();
        let data_dir = self.folder.path().join("runtime");
        let mut command = gristmill(["run", path(&file), "--data-dir", path(&data_dir)]);
        command.env("KAFKA_BROKERS", &self.address).env("KAFKA_API_KEY", &self.key);
        Process::spawn(command.env("CA", self.ca())).wait()
    }

    fn consume(&self, topic: &str) -> Vec<String> {
        let consume = ["topic", "consume", topic, "--from-beginning", "--exit-at-end"];
        let output = self.client(&consume).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut lines: Vec<String> =
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_pipeline_runs_on_a_cluster_that_wants_tls_and_a_key() {
    let elsewhere = Elsewhere::start();
    let orders: Vec<String> = (0..600)
        .map(|id| match id % 3 {
            0 => format!("{id}:{{\"order_id\":{id},\"city\":\"Chicago\"}}"),
            1 => format!("{id}:{{\"order_id\":{id},\"city\":\"Reno\"}}"),
            _ => format!("{id}:no order {id}"),
        })
        .collect();
    let produce = ["topic", "produce", "orders", "--parse-key"];
    let mut produce = elsewhere.client(&produce);
    let mut child = produce.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(orders.join("\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());

    let wrong = elsewhere.run("no secret of that key");
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    assert!(wrong.stderr.to_lowercase().contains("authentication"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("no secret of that key"), "{}", wrong.stderr);

    for _ in 0..2 {
        let ended = elsewhere.run(&elsewhere.secret);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let said = ended.stdout + &ended.stderr;
        assert!(!said.contains(&elsewhere.secret), "the secret is shown: {said}");
    }
    let ids = |keep: usize| (0..600).filter(move |id| id % 3 == keep);
    let mut chicago: Vec<String> =
        ids(0).map(|id| format!("{{\"order_id\":{id},\"city\":\"Chicago\"}}")).collect();
    let mut letters: Vec<String> = ids(2).map(|id| format!("no order {id}")).collect();
    chicago.sort();
    letters.sort();
    assert_eq!(elsewhere.consume("orders-chicago"), chicago);
    assert_eq!(elsewhere.consume("orders-dead-letters"), letters);
    support::stop(elsewhere.broker);
}

/// After its work was done, about one command in four died of a segmentation fault: OpenSSL cleaned up at
/// the end of the process under a thread of librdkafka that was still closing its connection.
#[test]
fn commands_over_tls_end_as_well_as_their_work() {
    let elsewhere = Elsewhere::start();
    for _ in 0..40 {
        let listed = elsewhere.client(&["topic", "list"]).output().unwrap();
        assert!(listed.status.success(), "{listed:?}");
        assert!(String::from_utf8(listed.stdout).unwrap().contains("orders-chicago"));
    }
    support::stop(elsewhere.broker);
}
