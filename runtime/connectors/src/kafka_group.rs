//! This process's place in the consumer group of a pipeline: which partitions are its own to read,
//! and the proof of it that a commit carries (KIP-447).
//!
//! A consumer of its own joins the group and reads nothing: the partitions that it is assigned are
//! paused. What is read, and from where, is decided by the cursors of the sinks (`kafka_source`).
//!
//! Invariant: the group's generation that commits name is the one under which the engine took its
//! partitions up. A new one is only taken over after the engine has let go of what it held, so that
//! a process that was away for too long cannot commit under a membership that it got later.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use gristmill_engine::failure::Rewind;
use gristmill_engine::offsets::TopicPartition;
use gristmill_engine::source::Rebalance;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use crate::group_cursors::{self, Held};
use crate::kafka_client::{ATTEMPT_TIME_MAX, ClientEvents, Cluster, describe};

/// What we set of librdkafka, and why.
const SETTINGS: [(&str, &str); 8] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // Everything is given up and shared out anew: the flow pauses for a moment, and nobody ever
    // works on while the generation changes under him.
    ("partition.assignment.strategy", "roundrobin"),
    // A process that died is noticed after this long (the default is 45 s).
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "2000"),
    // New partitions are noticed after this long.
    ("topic.metadata.refresh.interval.ms", "5000"),
    ("allow.auto.create.topics", "false"),
    ("isolation.level", "read_committed"),
];

/// One wait for an event of the group.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// How long the group may take to let us in: as long as another member may take to let go.
const JOIN_TIME_MAX: Duration = Duration::from_secs(320);

/// How long the engine may take to let go of partitions, before it counts as lost to the group
/// (`max.poll.interval.ms` is 300 s).
const RELEASE_TIME_MAX: Duration = Duration::from_secs(280);

/// How long a process that ends waits for the group to hear of it.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a consumer that is being closed may go on asking for an answer that it needs only if it is not closed by then.
const DECLINE_TIME_MAX: Duration = Duration::from_secs(1);

/// See the module documentation.
pub(crate) struct Membership {
    group: String,
    // Dropped before the place, which waits for the thread that holds it longest.
    consumer: Arc<BaseConsumer<GroupEvents>>,
    place: Place,
}

/// What is given up when the membership ends.
struct Place {
    shared: Arc<Shared>,
}

/// What the thread of the consumer and the engine share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// The engine has let go, or is gone.
    let_go: Condvar,
    /// Something has changed that the engine may wait for.
    changed: Notify,
}

#[derive(Default)]
struct State {
    topics: Vec<String>,
    /// Absent while the group shares out.
    assigned: Option<Assigned>,
    /// What the engine has to let go of first.
    leaving: Option<Rebalance>,
    /// The consumer's thread waits for that, and has not yet said that the partitions are no longer ours.
    leaving_awaited: bool,
    /// An error that no waiting mends.
    failed: Option<String>,
    /// The membership ends.
    closed: bool,
    /// The group has been told so.
    left: bool,
}

struct Assigned {
    partitions: BTreeSet<TopicPartition>,
    /// The group, its generation and our name in it.
    metadata: Arc<ConsumerGroupMetadata>,
}

impl Membership {
    /// Makes the client; the group is joined with the first [`assigned`](Membership::assigned).
    /// `instance`: a name that is the same after a restart and that no other process has; the place
    /// in the group is then kept over a restart (KIP-345).
    pub(crate) fn new(
        cluster: &Cluster,
        group: &str,
        instance: Option<&str>,
    ) -> Result<Membership> {
        let mut config = cluster.client_config(&SETTINGS);
        config.set("group.id", group);
        if let Some(instance) = instance {
            config.set("group.instance.id", instance);
        }
        let shared = Arc::<Shared>::default();
        let context = GroupEvents { client: ClientEvents::default(), shared: shared.clone() };
        let consumer: BaseConsumer<GroupEvents> =
            config.create_with_context(context).map_err(|error| cluster.misconfigured(&error))?;
        let consumer = Arc::new(consumer);
        take_events(&consumer, &shared)?;
        Ok(Membership { group: group.to_string(), consumer, place: Place { shared } })
    }

    /// The partitions that are ours; waits until the group has shared out. Empty if there is nothing
    /// to share, or something to [let go](Membership::rebalance) first.
    ///
    /// Errors: the group does not let us in.
    pub(crate) async fn assigned(
        &self,
        topics: &BTreeSet<String>,
    ) -> Result<BTreeSet<TopicPartition>> {
        self.subscribe(topics)?;
        if topics.is_empty() {
            return Ok(BTreeSet::new());
        }
        let begun = Instant::now();
        loop {
            let changed = self.place.shared.changed.notified();
            {
                let state = self.place.shared.state();
                if let Some(reason) = &state.failed {
                    bail!("group `{}` does not let us in: {reason}", self.group);
                }
                if state.leaving.is_some() {
                    return Ok(BTreeSet::new());
                }
                if let Some(assigned) = &state.assigned {
                    return Ok(assigned.partitions.clone());
                }
            }
            // The timeout is a second look only: a notification is not lost.
            let _ = tokio::time::timeout(Duration::from_secs(1), changed).await;
            if begun.elapsed() > JOIN_TIME_MAX {
                let error = anyhow!(
                    "group `{}` has not shared out its partitions for {} s{}",
                    self.group,
                    JOIN_TIME_MAX.as_secs(),
                    self.consumer.context().client.last_trouble()
                );
                return Err(error.context(Rewind::MayPass));
            }
        }
    }

    /// Tells the group what we want to read, where that is new.
    fn subscribe(&self, topics: &BTreeSet<String>) -> Result<()> {
        {
            let mut state = self.place.shared.state();
            if state.topics.iter().eq(topics) {
                return Ok(());
            }
            state.topics = topics.iter().cloned().collect();
        }
        let names: Vec<_> = topics.iter().map(String::as_str).collect();
        if names.is_empty() {
            // A pattern that nothing matches yet: nothing to be a member for.
            self.consumer.unsubscribe();
            return Ok(());
        }
        self.consumer
            .subscribe(&names)
            .map_err(|error| anyhow!("group `{}`: {}", self.group, describe(&error)))
    }

    /// As [`Source::rebalance`](gristmill_engine::source::Source::rebalance).
    pub(crate) fn rebalance(&self) -> Option<Rebalance> {
        self.place.shared.state().leaving.clone()
    }

    /// As [`Source::released`](gristmill_engine::source::Source::released).
    pub(crate) fn released(&self) {
        let cooperative =
            matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        self.place.shared.released(cooperative);
    }

    /// Who we are in the group, for a commit.
    ///
    /// Errors: the group has taken the partitions away.
    pub(crate) fn metadata(&self) -> Result<Arc<ConsumerGroupMetadata>> {
        let state = self.place.shared.state();
        match (&state.assigned, &state.leaving) {
            (Some(assigned), None | Some(Rebalance::Revoked(_))) => Ok(assigned.metadata.clone()),
            _ => {
                let error = anyhow!("group `{}` has taken the partitions away", self.group);
                Err(error.context(Rewind::Fenced))
            }
        }
    }

    /// What the group holds of some partitions. Blocks, for a few seconds at most.
    pub(crate) fn held(&self, partitions: &[TopicPartition]) -> Result<Held> {
        let list = group_cursors::asked(partitions);
        Held::of_answer(&self.consumer.committed_offsets(list, 3 * ATTEMPT_TIME_MAX)?)
    }

    /// Commits offsets that nothing depends on. Blocks, if `wait`, for at most the time of a session.
    pub(crate) fn tell(&self, offsets: &TopicPartitionList, wait: bool) -> Result<()> {
        self.metadata()?;
        let mode = if wait { CommitMode::Sync } else { CommitMode::Async };
        Ok(self.consumer.commit(offsets, mode)?)
    }

    /// Commits offsets without a transaction, as a member of the group. Blocks.
    pub(crate) fn commit(&self, offsets: &TopicPartitionList) -> Result<()> {
        self.metadata()?;
        self.consumer.commit(offsets, CommitMode::Sync).map_err(|error| {
            let rewind = rewind(error.rdkafka_error_code());
            anyhow!("group `{}` does not take offsets: {}", self.group, describe(&error))
                .context(rewind)
        })
    }
}

/// What an error of the group's coordinator means to a commit.
pub(crate) fn rewind(code: Option<RDKafkaErrorCode>) -> Rewind {
    use RDKafkaErrorCode as Code;
    match code {
        Some(
            Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::FencedInstanceId
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::Fenced,
        ) => Rewind::Fenced,
        _ => Rewind::MayPass,
    }
}

impl Drop for Place {
    /// The thread of the consumer leaves the group, so that others go on at once.
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        self.shared.let_go.notify_all();
        let begun = Instant::now();
        while !state.left && begun.elapsed() < LEAVE_TIME_MAX {
            let wait = self.shared.let_go.wait_timeout(state, POLL_WAIT);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine has let go, and what it held is no longer ours from this moment on: it looks again sooner than the
    /// consumer's thread wakes up, and would take up what others have by then.
    fn released(&self, cooperative: bool) {
        let mut state = self.state();
        let left = state.leaving.take();
        if let (Some(left), true) = (left, state.leaving_awaited) {
            state.give_back(&left, cooperative);
        }
        drop(state);
        self.let_go.notify_all();
    }

    /// Waits until the engine has let go; `false`: it has not, in time.
    fn wait_until_released(&self, rebalance: Rebalance) -> bool {
        let mut state = self.state();
        if state.closed {
            return true;
        }
        state.leaving = Some(rebalance);
        state.leaving_awaited = true;
        self.changed.notify_waiters();
        let begun = Instant::now();
        while state.leaving.is_some() && !state.closed && begun.elapsed() <= RELEASE_TIME_MAX {
            let wait = self.let_go.wait_timeout(state, POLL_WAIT);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.leaving_awaited = false;
        state.leaving.is_none() || state.closed
    }
}

impl State {
    /// Only a cooperative group leaves us what it does not name.
    fn give_back(&mut self, left: &Rebalance, cooperative: bool) {
        self.assigned = match (left, self.assigned.take()) {
            (Rebalance::Revoked(taken), Some(mut assigned)) if cooperative => {
                assigned.partitions.retain(|partition| !taken.contains(partition));
                Some(assigned)
            }
            _ => None,
        };
    }
}

/// What the consumer tells: besides log lines and errors, the rebalances.
struct GroupEvents {
    client: ClientEvents,
    shared: Arc<Shared>,
}

impl ClientContext for GroupEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
        if let Some(reason) = self.client.lasting_trouble() {
            self.shared.state().failed = Some(reason);
            self.shared.changed.notify_waiters();
        }
    }
}

impl ConsumerContext for GroupEvents {
    /// Called on the consumer's thread, from its poll.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS if self.shared.state().closed => {
                decline(consumer);
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                if let Err(error) = self.assign(consumer, partitions) {
                    tracing::warn!(target: "kafka", "cannot take an assignment: {error:#}");
                }
            }
            _ => self.revoke(consumer, partitions),
        }
    }
}

impl GroupEvents {
    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &mut TopicPartitionList,
    ) -> Result<()> {
        // An explicit offset spares librdkafka the question where to begin: nothing is read here.
        partitions.set_all_offsets(Offset::Offset(0))?;
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions)?,
            _ => consumer.assign(partitions)?,
        }
        let all = consumer.assignment()?;
        consumer.pause(&all)?;
        let metadata = consumer.group_metadata().context("the group has no metadata")?;
        let assigned = Assigned { partitions: names(&all), metadata: Arc::new(metadata) };
        tracing::info!(partitions = assigned.partitions.len(), "the group has shared out");
        self.shared.state().assigned = Some(assigned);
        self.shared.changed.notify_waiters();
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let taken = names(partitions);
        let lost = consumer.assignment_lost();
        let rebalance = match lost {
            true => Rebalance::Lost(taken.clone()),
            false => Rebalance::Revoked(taken.clone()),
        };
        let released = taken.is_empty() || self.shared.wait_until_released(rebalance.clone());
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        {
            let mut state = self.shared.state();
            if !released {
                // The group goes on without us; the engine hears of it when it looks.
                state.leaving = Some(Rebalance::Lost(taken));
            }
            state.give_back(&rebalance, cooperative);
        }
        let given_back = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
            _ => consumer.unassign(),
        };
        if let Err(error) = given_back {
            tracing::debug!(target: "kafka", "cannot give partitions back: {error}");
        }
    }
}

/// Takes nothing of an assignment that comes while the consumer is being closed. librdkafka has mostly closed it by then,
/// and to answer a consumer that is closed takes for ever (seen with 2.12: the question is dropped, its asker waits on).
fn decline(consumer: &BaseConsumer<GroupEvents>) {
    let begun = Instant::now();
    while !consumer.closed() {
        if begun.elapsed() > DECLINE_TIME_MAX {
            if let Err(error) = consumer.unassign() {
                tracing::debug!(target: "kafka", "cannot give partitions back: {error}");
            }
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn names(list: &TopicPartitionList) -> BTreeSet<TopicPartition> {
    let elements = list.elements();
    elements.iter().map(|at| TopicPartition::new(at.topic(), at.partition())).collect()
}

/// Polls the consumer on a thread until the membership is dropped, then leaves the group. To leave takes answers of the
/// cluster, so the thread is the last that holds the consumer: nobody else's thread is held up by its end.
fn take_events(consumer: &Arc<BaseConsumer<GroupEvents>>, shared: &Arc<Shared>) -> Result<()> {
    let (consumer, shared) = (consumer.clone(), shared.clone());
    let take = move || {
        while !shared.state().closed {
            if let Some(Err(error)) = consumer.poll(POLL_WAIT) {
                let code = error.rdkafka_error_code();
                tracing::debug!(target: "kafka", ?code, "group: {error}");
                if is_refusal(code) {
                    shared.state().failed = Some(describe(&error));
                    shared.changed.notify_waiters();
                }
            }
        }
        drop(consumer);
        shared.state().left = true;
        shared.let_go.notify_all();
    };
    let thread = std::thread::Builder::new().name("kafka-group".into());
    thread.spawn(take).context("cannot start a thread")?;
    Ok(())
}

/// Whether the coordinator will not let us in, however often we ask.
fn is_refusal(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Some(
            Code::GroupAuthorizationFailed
                | Code::TopicAuthorizationFailed
                | Code::InconsistentGroupProtocol
                | Code::InvalidSessionTimeout
                | Code::GroupMaxSizeReached
                | Code::FencedInstanceId
        )
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use rdkafka::config::ClientConfig;

    use super::*;
    use crate::groups::{self, GroupSummary};
    use crate::kafka_tests::TestBroker;

    fn partitions(numbers: &[i32]) -> BTreeSet<TopicPartition> {
        numbers.iter().map(|number| TopicPartition::new("t", *number)).collect()
    }

    fn holding(numbers: &[i32]) -> Arc<Shared> {
        let consumer: BaseConsumer = ClientConfig::new().set("group.id", "g").create().unwrap();
        let metadata = Arc::new(consumer.group_metadata().unwrap());
        let shared = Arc::<Shared>::default();
        shared.state().assigned = Some(Assigned { partitions: partitions(numbers), metadata });
        shared
    }

    fn held(shared: &Shared) -> Option<BTreeSet<TopicPartition>> {
        shared.state().assigned.as_ref().map(|assigned| assigned.partitions.clone())
    }

    fn begin_to_revoke(
        shared: &Arc<Shared>,
        rebalance: Rebalance,
    ) -> std::thread::JoinHandle<bool> {
        let revoking = shared.clone();
        let thread = std::thread::spawn(move || revoking.wait_until_released(rebalance));
        while shared.state().leaving.is_none() {
            std::thread::yield_now();
        }
        thread
    }

    /// The engine asked for its partitions again before the consumer's thread had woken up, was given the old ones,
    /// and read them beside their new owner, under the new generation: records came twice.
    #[test]
    fn what_was_let_go_is_not_ours_from_that_moment_on() {
        let shared = holding(&[0, 1, 2]);
        let thread = begin_to_revoke(&shared, Rebalance::Revoked(partitions(&[0, 1, 2])));
        shared.released(false);
        assert_eq!(held(&shared), None);
        assert!(thread.join().unwrap());
    }

    #[test]
    fn a_cooperative_group_leaves_what_it_does_not_name() {
        let shared = holding(&[0, 1, 2]);
        let thread = begin_to_revoke(&shared, Rebalance::Revoked(partitions(&[1])));
        shared.released(true);
        assert_eq!(held(&shared), Some(partitions(&[0, 2])));
        assert!(thread.join().unwrap());
    }

    #[test]
    fn what_the_group_has_given_since_stays() {
        let shared = holding(&[0, 1]);
        shared.state().leaving = Some(Rebalance::Lost(partitions(&[2])));
        shared.released(false);
        assert_eq!(held(&shared), Some(partitions(&[0, 1])));
    }

    /// A pipeline that was stopped while it joined its group never ended: librdkafka had given out an assignment, took it
    /// back with the end of the client, and never let go of the thread that answered it.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_assignment_that_comes_with_the_end_is_declined() {
        let broker = TestBroker::start().await;
        broker.topic("orders", 1).await;
        // Whether the client or the answer is faster is left to chance: one in six is wrong without the mend.
        for round in 0..20 {
            close_with_an_assignment_under_way(&broker, &format!("g{round}")).await;
        }
    }

    async fn close_with_an_assignment_under_way(broker: &TestBroker, group: &str) {
        let shared = Arc::<Shared>::default();
        let context = GroupEvents { client: ClientEvents::default(), shared: shared.clone() };
        let mut config = broker.cluster.client_config(&SETTINGS);
        config.set("group.id", group).set("group.instance.id", "a");
        let consumer: BaseConsumer<GroupEvents> = config.create_with_context(context).unwrap();
        consumer.subscribe(&["orders"]).unwrap();
        // Nobody takes its events: the assignment waits in the queue.
        let has_shared_out = |groups: Vec<GroupSummary>| {
            groups.iter().any(|found| found.name == group && found.state == "Stable")
        };
        let begun = Instant::now();
        while !has_shared_out(groups::list(&broker.cluster).await.unwrap()) {
            assert!(begun.elapsed() < JOIN_TIME_MAX, "the group never shared out");
            tokio::task::yield_now().await;
        }
        shared.state().closed = true;
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            drop(consumer);
            tell.send(()).unwrap();
        });
        let told = tokio::task::spawn_blocking(move || told.recv_timeout(LEAVE_TIME_MAX));
        told.await.unwrap().expect("the consumer ends");
    }
}
