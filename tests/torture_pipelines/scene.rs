//! The processes, and what is done to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::client;
use crate::cluster::Cluster;
use crate::fault::{Fault, Kind, RUNTIMES_MAX};
use crate::guests;
use crate::judge::Table;
use crate::object_store::{self, ObjectStore};
use crate::proxy::{Proxy, Weather};
use crate::support::{self, Process};
use crate::watch::Watcher;

/// A runtime that is gone for good holds its transaction open for 60 s, and a cluster that was killed
/// whole needs its time to come up.
const CATCH_UP_TIME_MAX: Duration = Duration::from_secs(240);
/// Longer than the session of 6 s.
const SLEEP: Duration = Duration::from_secs(9);
/// What a runtime says once it has opened everything.
const RUNNING: &str = "running pipeline";
/// Runtimes before the first fault.
const RUNTIMES_FIRST: usize = 2;

pub struct Scene {
    pub folder: PathBuf,
    pub cluster: Cluster,
    store: ObjectStore,
    /// Runtimes reach the object store through it.
    store_proxy: Proxy,
    runtimes: Vec<Runtime>,
    /// Data folders that were given to runtimes so far.
    places: usize,
    /// Of runtimes that were stopped, to be used again.
    free_places: Vec<usize>,
    logs: usize,
}

/// A `gristmill run` of the pipeline, as on a machine of its own.
struct Runtime {
    process: Process,
    /// Number of its data folder, which is kept when it is started again.
    place: usize,
}

/// What ends a fault.
enum Healing {
    Nothing,
    /// Wakes the runtime in this place; with `shared_out`, how often the others had been given partitions
    /// before: once they are given its own, and then it has to say that it is fenced.
    Wake {
        place: usize,
        shared_out: Option<usize>,
    },
    /// Gives the process room on the disk again.
    Room {
        process: u32,
    },
    Brokers,
    Network {
        is_broken: bool,
    },
    Store {
        is_broken: bool,
    },
    Start {
        places: Vec<usize>,
    },
    /// Waits for the end of a runtime that was told to stop, and starts it again or not.
    Stopped {
        runtime: Runtime,
        must_succeed: bool,
        again: bool,
    },
}

/// Arguments of bash for a program that hears of a limit on the size of files as of a full disk, by
/// the error of its write and not by a signal.
pub fn deaf_to_limits(program: &[String]) -> Vec<String> {
    let script = ["-c", "trap '' XFSZ; exec \"$@\"", "bash"].map(str::to_owned);
    script.into_iter().chain(program.iter().cloned()).collect()
}

impl Scene {
    /// `jars`: Apache Kafka's, in place of the built-in broker.
    pub fn new(jars: Option<&Path>) -> Scene {
        let folder = tempfile::tempdir().unwrap().keep();
        let cluster = match jars {
            Some(jars) => Cluster::kafka(&folder, jars),
            None => Cluster::built_in(&folder),
        };
        client::create_topics(&cluster.bootstrap(), cluster.nodes() as i32);
        fs::write(folder.join("hostile.wasm"), guests::picky()).unwrap();
        let store = ObjectStore::start(false);
        let mut scene = Scene {
            folder,
            cluster,
            store_proxy: Proxy::start(&store.address),
            store,
            runtimes: Vec::new(),
            places: 0,
            free_places: Vec::new(),
            logs: 0,
        };
        scene.write_pipeline("continuous");
        (0..RUNTIMES_FIRST).for_each(|_| scene.add_runtime());
        scene
    }

    fn write_pipeline(&self, trigger: &str) {
        let text = include_str!("pipeline.toml");
        let text = text.replace("BROKERS", &self.cluster.bootstrap()).replace("TRIGGER", trigger);
        fs::write(self.pipeline(), text).unwrap();
    }

    fn pipeline(&self) -> PathBuf {
        self.folder.join("torture.toml")
    }

    /// The tables, with what a reader needs to know to reach them.
    pub fn tables(&self) -> [Table; 2] {
        let folder = self.folder.join("lake").display().to_string();
        [
            Table { address: folder, storage: serde_json::json!({}) },
            Table { address: "s3://lake/numbers".to_owned(), storage: self.store.options() },
        ]
    }

    pub fn runtimes(&self) -> usize {
        self.runtimes.len()
    }

    fn add_runtime(&mut self) {
        let place = self.free_places.pop().unwrap_or_else(|| {
            self.places += 1;
            self.places
        });
        self.start_in(place);
    }

    fn start_in(&mut self, place: usize) {
        let program = [
            support::binary().display().to_string(),
            "run".to_owned(),
            self.pipeline().display().to_string(),
            "--data-dir".to_owned(),
            self.folder.join(format!("runtime-{place}")).display().to_string(),
        ];
        let mut command = Command::new("bash");
        object_store::told(&mut command, &format!("http://{}", self.store_proxy.address));
        let process = Process::spawn(command.args(deaf_to_limits(&program)));
        self.runtimes.push(Runtime { process, place });
    }

    /// Lets faults happen and end. Returns when all processes run again, whatever they do.
    pub fn strike(&mut self, faults: &[Fault]) {
        let alone = faults.len() == 1;
        let mut healings: Vec<(Instant, Healing)> = Vec::new();
        for fault in faults {
            let healing = self.begin(fault, alone);
            let time = if fault.kind == Kind::Asleep { SLEEP } else { fault.time };
            healings.push((Instant::now() + time, healing));
        }
        // What others stand on is mended first: brokers, the network, disks.
        healings.sort_by_key(|(at, healing)| (is_of_runtimes(healing), *at));
        for (at, healing) in healings {
            wait_until(at);
            self.heal(healing);
        }
    }

    fn begin(&mut self, fault: &Fault, alone: bool) -> Healing {
        let runtime = fault.whom % self.runtimes.len().max(1);
        let node = fault.whom % self.cluster.nodes();
        match fault.kind {
            Kind::RuntimeKilled => Healing::Start { places: self.kill(runtime) },
            Kind::RuntimeGone => {
                self.kill(runtime);
                self.places += 1;
                Healing::Start { places: vec![self.places] }
            }
            Kind::AllKilled => {
                (0..self.cluster.nodes()).for_each(|node| self.cluster.kill(node));
                let places = (0..self.runtimes.len()).flat_map(|_| self.kill(0)).collect();
                Healing::Start { places }
            }
            Kind::RuntimeStopped => self.stop_one(runtime, alone, true),
            Kind::Rebalance => {
                let count = self.runtimes.len();
                if count < 2 || (count < RUNTIMES_MAX && fault.whom.is_multiple_of(2)) {
                    self.add_runtime();
                    return Healing::Nothing;
                }
                self.stop_one(runtime, alone, false)
            }
            Kind::Asleep | Kind::Dozing => {
                let loses_session = alone && fault.kind == Kind::Asleep;
                if loses_session {
                    self.settle();
                }
                let Some(runtime) = self.runtimes.get(runtime) else { return Healing::Nothing };
                runtime.process.signal("-STOP");
                let place = runtime.place;
                let shared_out = loses_session.then(|| self.shared_out_without(place));
                Healing::Wake { place, shared_out }
            }
            Kind::DiskFull => {
                let Some(runtime) = self.runtimes.get(runtime) else { return Healing::Nothing };
                limit(runtime.process.id(), "1")
            }
            Kind::BrokerDiskFull => match self.cluster.process(node) {
                Some(broker) => limit(broker.id(), "1"),
                None => Healing::Nothing,
            },
            Kind::BrokerKilled => {
                self.cluster.kill(node);
                Healing::Brokers
            }
            Kind::NetworkStill => {
                self.cluster.set_weather(Weather::Still);
                Healing::Network { is_broken: false }
            }
            Kind::AnswersLost => {
                self.cluster.set_weather(Weather::Mute);
                Healing::Network { is_broken: true }
            }
            Kind::StoreStill => {
                self.store_proxy.set(Weather::Still);
                Healing::Store { is_broken: false }
            }
            Kind::StoreAnswersLost => {
                self.store_proxy.set(Weather::Mute);
                Healing::Store { is_broken: true }
            }
            Kind::ConnectionsCut => {
                self.cluster.cut();
                Healing::Nothing
            }
        }
    }

    fn heal(&mut self, healing: Healing) {
        match healing {
            Healing::Nothing => {}
            Healing::Wake { place, shared_out } => self.wake(place, shared_out),
            Healing::Room { process } => {
                // A process that was killed meanwhile needs no room.
                let _ = set_limit(process, "unlimited");
            }
            Healing::Brokers => self.restart_brokers(),
            Healing::Network { is_broken } => {
                if is_broken {
                    self.cluster.cut();
                }
                self.cluster.set_weather(Weather::Fair);
            }
            Healing::Store { is_broken } => {
                if is_broken {
                    self.store_proxy.cut();
                }
                self.store_proxy.set(Weather::Fair);
            }
            Healing::Start { places } => {
                self.restart_brokers();
                places.into_iter().for_each(|place| self.start_in(place));
            }
            Healing::Stopped { runtime, must_succeed, again } => {
                self.restart_brokers();
                let place = runtime.place;
                self.await_end(runtime, must_succeed);
                match again {
                    true => self.start_in(place),
                    false => self.free_places.push(place),
                }
            }
        }
    }

    fn restart_brokers(&mut self) {
        (0..self.cluster.nodes()).for_each(|node| self.cluster.begin(node));
        self.cluster.wait();
    }

    /// Kills the runtime with this index; answers its place, if there is one.
    fn kill(&mut self, runtime: usize) -> Vec<usize> {
        if runtime >= self.runtimes.len() {
            return Vec::new();
        }
        let mut runtime = self.runtimes.remove(runtime);
        runtime.process.kill_now();
        self.keep_log(&runtime);
        vec![runtime.place]
    }

    fn stop_one(&mut self, runtime: usize, alone: bool, again: bool) -> Healing {
        if runtime >= self.runtimes.len() {
            return Healing::Nothing;
        }
        if alone {
            // Before that a signal ends it as any program.
            self.wait_until_running();
        }
        let runtime = self.runtimes.remove(runtime);
        runtime.process.signal("-TERM");
        // With its brokers away it may end with an error, and nothing is lost by that.
        Healing::Stopped { runtime, must_succeed: alone, again }
    }

    fn await_end(&mut self, mut runtime: Runtime, must_succeed: bool) {
        // It may be asleep, too.
        runtime.process.signal("-CONT");
        support::wait_for("a runtime's end", || runtime.process.has_ended().then_some(()));
        self.keep_log(&runtime);
        let ended = runtime.process.wait();
        assert!(
            ended.code == Some(0) || !must_succeed,
            "a runtime ended with {:?}:\n{}",
            ended.code,
            tail(&ended.stderr)
        );
    }

    /// Waits until every runtime has its partitions, and the group is about to share out nothing else: one without has
    /// nothing to lose, and one that has heard of a change lets go in peace.
    fn settle(&mut self) {
        let has_its_own = |runtime: &Runtime| {
            let said = runtime.process.stderr();
            said.rfind("the group has shared out")
                > said.rfind("the group shares the partitions out")
        };
        let members = client::Members::of(&self.cluster.bootstrap(), "gristmill-torture");
        support::wait_for("the group to settle", || {
            self.start_again();
            let stable = members.stable()? == self.runtimes.len();
            (stable && self.runtimes.iter().all(has_its_own)).then_some(())
        });
    }

    fn wait_until_running(&mut self) {
        support::wait_for("all runtimes to run", || {
            self.start_again();
            self.runtimes.iter().all(|runtime| runtime.process.has_said(RUNNING)).then_some(())
        });
    }

    /// What a supervisor does: a runtime that finds no cluster, store or room when it starts says so and ends. One that
    /// has run must not.
    fn start_again(&mut self) {
        let has_ended = |runtime: &mut Runtime| runtime.process.has_ended();
        for ended in self.runtimes.extract_if(.., has_ended).collect::<Vec<_>>() {
            self.keep_log(&ended);
            let said = ended.process.stderr();
            assert!(!said.contains(RUNNING), "a runtime ended by itself:\n{}", tail(&said));
            self.start_in(ended.place);
        }
    }

    /// How often the runtimes but this one were given partitions.
    fn shared_out_without(&self, place: usize) -> usize {
        let others = self.runtimes.iter().filter(|runtime| runtime.place != place);
        others.map(|it| it.process.stderr().matches("the group has shared out").count()).sum()
    }

    fn wake(&mut self, place: usize, shared_out: Option<usize>) {
        if let Some(before) = shared_out
            && self.runtimes.len() > 1
        {
            support::wait_for("the others to take over from the sleeper", || {
                (self.shared_out_without(place) > before).then_some(())
            });
        }
        let Some(runtime) = self.runtimes.iter_mut().find(|it| it.place == place) else { return };
        let fenced_before = runtime.process.stderr().matches("FENCED").count();
        runtime.process.signal("-CONT");
        if shared_out.is_some() {
            support::wait_for("the sleeper to say that it is fenced", || {
                (runtime.process.stderr().matches("FENCED").count() > fenced_before).then_some(())
            });
        }
    }

    /// Waits until the readers have seen so many records in all.
    pub fn catch_up(&mut self, target: usize, watchers: [&Watcher; 2]) {
        let since = Instant::now();
        loop {
            let seen = watchers.map(|watcher| watcher.seen.records.load(Ordering::Relaxed));
            if seen.iter().sum::<usize>() >= target {
                return;
            }
            for watcher in watchers {
                assert!(!watcher.seen.wrong.load(Ordering::Relaxed), "a reader found a mistake");
            }
            self.start_again();
            assert!(
                since.elapsed() < CATCH_UP_TIME_MAX,
                "{seen:?} of {target} records have come through"
            );
            support::pause();
        }
    }

    /// Ctrl-C for every runtime: all must end well. Then one more reads what is left.
    pub fn drain(&mut self) {
        self.wait_until_running();
        for runtime in std::mem::take(&mut self.runtimes) {
            runtime.process.interrupt();
            self.await_end(runtime, true);
        }
        self.write_pipeline("available-now");
        self.start_in(1);
        let last = self.runtimes.pop().expect("it was started");
        self.await_end(last, true);
    }

    fn keep_log(&mut self, runtime: &Runtime) {
        self.logs += 1;
        let name = format!("runtime-{}-{:04}.log", runtime.place, self.logs);
        fs::write(self.folder.join(name), runtime.process.stderr()).unwrap();
    }

    /// Ends the brokers and removes the folder.
    pub fn clean_up(mut self) {
        std::mem::take(&mut self.cluster).stop();
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

impl Drop for Scene {
    /// After a failure: what everybody said is kept beside the data.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for runtime in std::mem::take(&mut self.runtimes) {
                self.keep_log(&runtime);
            }
            self.cluster.write_logs(&self.folder);
            println!("data and logs are in {}", self.folder.display());
        }
    }
}

fn is_of_runtimes(healing: &Healing) -> bool {
    matches!(healing, Healing::Start { .. } | Healing::Stopped { .. })
}

fn limit(process: u32, bytes: &str) -> Healing {
    // One that was killed meanwhile writes nothing either.
    let _ = set_limit(process, bytes);
    Healing::Room { process }
}

fn set_limit(process: u32, bytes: &str) -> std::io::Result<std::process::Output> {
    let fsize = format!("--fsize={bytes}:");
    Command::new("prlimit").args(["--pid", &process.to_string(), &fsize]).output()
}

pub fn wait_until(moment: Instant) {
    while Instant::now() < moment {
        support::pause();
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
