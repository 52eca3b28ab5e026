//! What may go wrong, drawn from the dice before anything happens: a seed gives the same faults in
//! the same order.

use std::time::Duration;

use crate::dice::Dice;

/// Runtimes at the same time, at most.
pub const RUNTIMES_MAX: usize = 3;

/// A draw takes a second fault along that often: one in so many.
const SECOND_EVERY: usize = 4;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// kill -9 of a runtime, which is started again.
    RuntimeKilled,
    /// kill -9 of all runtimes and brokers.
    AllKilled,
    /// SIGTERM to a runtime, which is started again.
    RuntimeStopped,
    /// One runtime more, or one less: the group shares out anew.
    Rebalance,
    /// SIGSTOP for longer than the session: others take over, and the sleeper is fenced.
    Asleep,
    /// SIGSTOP for a moment.
    Dozing,
    /// A runtime's writes to the disk fail.
    DiskFull,
    /// kill -9 of a broker.
    BrokerKilled,
    /// A broker's writes to the disk fail.
    BrokerDiskFull,
    /// Nothing gets through between clients and brokers for a while.
    NetworkStill,
    /// Requests reach the brokers and their answers are lost; then the connections break.
    AnswersLost,
    /// All connections break.
    ConnectionsCut,
    /// Nothing gets through to the object store for a while.
    StoreStill,
    /// Requests reach the object store and its answers are lost; then the connections break.
    StoreAnswersLost,
    /// kill -9 of a runtime that never comes back: others wait for the end of its transaction.
    RuntimeGone,
}

const EVERY_ROUND: [Kind; 14] = [
    Kind::RuntimeKilled,
    Kind::AllKilled,
    Kind::RuntimeStopped,
    Kind::Rebalance,
    Kind::Asleep,
    Kind::Dozing,
    Kind::DiskFull,
    Kind::BrokerKilled,
    Kind::BrokerDiskFull,
    Kind::NetworkStill,
    Kind::AnswersLost,
    Kind::ConnectionsCut,
    Kind::StoreStill,
    Kind::StoreAnswersLost,
];

/// In one round of so many: it costs a minute.
const RUNTIME_GONE_EVERY: usize = 4;

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub kind: Kind,
    /// Chooses among the runtimes or brokers that there are.
    pub whom: usize,
    /// How long it lasts.
    pub time: Duration,
}

/// Draws faults: in every round each kind once, in a random order.
pub struct Deck {
    dice: Dice,
    cards: Vec<Kind>,
    rounds: usize,
    /// Kinds that this cluster does not survive by design.
    without: Vec<Kind>,
}

impl Deck {
    pub fn new(seed: u64, without: &[Kind]) -> Deck {
        Deck { dice: Dice::new(seed), cards: Vec::new(), rounds: 0, without: without.to_vec() }
    }

    /// How long nothing happens before the next faults.
    pub fn calm(&mut self) -> Duration {
        Duration::from_millis(self.dice.below(400) as u64)
    }

    /// What happens at the same time in one cycle.
    pub fn draw(&mut self) -> Vec<Fault> {
        let mut faults = vec![self.draw_one()];
        if self.dice.below(SECOND_EVERY) == 0 {
            faults.push(self.draw_one());
        }
        faults
    }

    fn draw_one(&mut self) -> Fault {
        if self.cards.is_empty() {
            self.rounds += 1;
            self.cards = self.dice.shuffled(&EVERY_ROUND);
            self.cards.retain(|kind| !self.without.contains(kind));
            if self.rounds.is_multiple_of(RUNTIME_GONE_EVERY) {
                self.cards.push(Kind::RuntimeGone);
            }
        }
        let kind = self.cards.pop().expect("a round has cards");
        let (whom, part) = (self.dice.below(1 << 16), self.dice.below(1_000) as u64);
        let time_ms = match kind {
            Kind::Dozing => 100 + 2 * part,
            Kind::DiskFull | Kind::BrokerDiskFull => 200 + 2 * part,
            Kind::NetworkStill | Kind::StoreStill => 100 + 5 * part,
            Kind::AnswersLost | Kind::StoreAnswersLost => 50 + part,
            Kind::BrokerKilled | Kind::AllKilled => part,
            _ => part / 5,
        };
        Fault { kind, whom, time: Duration::from_millis(time_ms) }
    }
}
