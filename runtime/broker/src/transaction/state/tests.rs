#![allow(clippy::unwrap_used)]

use super::*;

const NOW: i64 = 1_000_000;
const TIMEOUT: i32 = 60_000;

fn orders(numbers: &[i32]) -> Partitions {
    Partitions::from([("orders".to_owned(), numbers.iter().copied().collect())])
}

fn at(state: State) -> Transaction {
    let open = matches!(state, State::Ongoing | State::PrepareCommit | State::PrepareAbort);
    Transaction {
        producer: Producer { id: 7, epoch: 3 },
        state,
        partitions: if open { orders(&[0]) } else { Partitions::new() },
        started_ms: if state == State::Empty { NO_TIME } else { NOW },
        ..Transaction::new(7, TIMEOUT, NOW)
    }
}

const US: Producer = Producer { id: 7, epoch: 3 };

#[test]
fn every_request_in_every_state_has_one_outcome() {
    use ResponseError::{ConcurrentTransactions as Concurrent, InvalidTxnState as Invalid};
    use State::*;
    type Row = (
        State,
        Result<State, ResponseError>,         // init
        Result<State, ResponseError>,         // add
        Result<Option<State>, ResponseError>, // end(commit)
        Result<Option<State>, ResponseError>, // end(abort)
        bool,                                 // may write to orders-0
    );
    let commits = Ok(Some(PrepareCommit));
    let aborts = Ok(Some(PrepareAbort));
    let again = Err(Concurrent);
    let table: [Row; 7] = [
        (Empty, Ok(Empty), Ok(Ongoing), Err(Invalid), Err(Invalid), false),
        (Ongoing, Ok(PrepareAbort), Ok(Ongoing), commits, aborts, true),
        (PrepareCommit, Err(Concurrent), Err(Concurrent), again, Err(Invalid), false),
        (PrepareAbort, Err(Concurrent), Err(Concurrent), Err(Invalid), again, false),
        (CompleteCommit, Ok(Empty), Ok(Ongoing), Ok(None), Err(Invalid), false),
        (CompleteAbort, Ok(Empty), Ok(Ongoing), Err(Invalid), Ok(None), false),
        (Dead, Err(Concurrent), Err(Concurrent), Err(Invalid), Err(Invalid), false),
    ];
    for (state, init, add, commit, abort, writes) in table {
        let transaction = at(state);
        let inited = transaction.init(None, TIMEOUT, None, NOW).map(|init| match init {
            Init::Ready(next) | Init::AbortFirst(next) => next.state,
        });
        assert_eq!(inited, init, "{state:?}: init");
        let added = transaction.add(US, &orders(&[0, 1]), NOW);
        assert_eq!(added.map(|next| next.unwrap().state), add, "{state:?}: add");
        let end = |commit| {
            transaction.end(US, commit, NOW).map(|end| match end {
                End::Prepared(next) => Some(next.state),
                End::Already => None,
            })
        };
        assert_eq!(end(true), commit, "{state:?}: commit");
        assert_eq!(end(false), abort, "{state:?}: abort");
        let write = transaction.check_write(US, "orders", 0);
        assert_eq!(write.is_ok(), writes, "{state:?}: write");
    }
}

#[test]
fn zombies_are_fenced_in_every_state() {
    for state in STATES {
        let transaction = at(state);
        for epoch in [2, 4] {
            let zombie = Producer { id: 7, epoch };
            let fenced = ResponseError::ProducerFenced;
            assert_eq!(transaction.add(zombie, &orders(&[0]), NOW), Err(fenced), "{state:?}");
            assert_eq!(transaction.end(zombie, true, NOW), Err(fenced));
            assert_eq!(transaction.check_write(zombie, "orders", 0), Err(fenced));
            assert_eq!(transaction.init(Some(zombie), TIMEOUT, None, NOW), Err(fenced));
        }
        let stranger = Producer { id: 8, epoch: 3 };
        let unknown = ResponseError::InvalidProducerIdMapping;
        assert_eq!(transaction.end(stranger, true, NOW), Err(unknown));
    }
}

#[test]
fn a_new_incarnation_has_the_next_epoch_and_a_running_one_is_aborted_above_its_own() {
    let Ok(Init::Ready(next)) = at(State::CompleteCommit).init(None, 5, None, NOW + 1) else {
        panic!("not ready")
    };
    assert_eq!(next.producer, Producer { id: 7, epoch: 4 });
    assert_eq!((next.timeout_ms, next.updated_ms), (5, NOW + 1));
    let Ok(Init::AbortFirst(next)) = at(State::Ongoing).init(None, 5, None, NOW) else {
        panic!("nothing to abort")
    };
    assert_eq!(next.producer, Producer { id: 7, epoch: 4 });
    assert_eq!(next.partitions, orders(&[0]), "the markers have somewhere to go");
}

/// KIP-360: the answer to a bump was lost, the producer asks again with the epoch that it knows.
#[test]
fn a_bump_asked_for_twice_is_made_once() {
    let Ok(Init::Ready(first)) = at(State::CompleteAbort).init(Some(US), TIMEOUT, None, NOW) else {
        panic!("not ready")
    };
    assert_eq!(first.producer.epoch, 4);
    let Ok(Init::Ready(second)) = first.init(Some(US), TIMEOUT, None, NOW) else {
        panic!("not ready")
    };
    assert_eq!(second.producer.epoch, 4);
    let Ok(Init::Ready(third)) = second.init(Some(second.producer), TIMEOUT, None, NOW) else {
        panic!("not ready")
    };
    assert_eq!(third.producer.epoch, 5);
}

#[test]
fn exhausted_epochs_lead_to_a_new_producer_id() {
    let mut transaction = at(State::CompleteCommit);
    transaction.producer.epoch = i16::MAX - 1;
    assert!(transaction.is_epoch_exhausted());
    let Ok(Init::Ready(next)) = transaction.init(None, TIMEOUT, Some(99), NOW) else {
        panic!("not ready")
    };
    assert_eq!(next.producer, Producer { id: 99, epoch: 0 });
    // The last epoch is left for the fence.
    transaction.state = State::Ongoing;
    let Ok(Init::AbortFirst(next)) = transaction.init(None, TIMEOUT, Some(99), NOW) else {
        panic!("nothing to abort")
    };
    assert_eq!(next.producer, Producer { id: 7, epoch: i16::MAX });
}

#[test]
fn only_an_open_transaction_times_out() {
    for state in STATES {
        let transaction = at(state);
        assert_eq!(transaction.time_out(NOW + i64::from(TIMEOUT) - 1), None);
        let aborted = transaction.time_out(NOW + i64::from(TIMEOUT));
        match state {
            State::Ongoing => {
                let aborted = aborted.unwrap();
                assert_eq!((aborted.state, aborted.producer.epoch), (State::PrepareAbort, 4));
            }
            _ => assert_eq!(aborted, None, "{state:?}"),
        }
    }
}

#[test]
fn a_transaction_that_has_the_partitions_is_not_written_again() {
    assert_eq!(at(State::Ongoing).add(US, &orders(&[0]), NOW + 5), Ok(None));
    let more = at(State::Ongoing).add(US, &orders(&[2]), NOW + 5).unwrap().unwrap();
    assert_eq!(more.partitions, orders(&[0, 2]));
    assert_eq!((more.started_ms, more.updated_ms), (NOW, NOW + 5), "the time-out runs on");
}

#[test]
fn completion_empties_the_transaction_and_idle_ids_expire() {
    let complete = at(State::PrepareCommit).complete(NOW + 1);
    assert_eq!((complete.state, complete.partitions.len()), (State::CompleteCommit, 0));
    assert!(!complete.is_expired(NOW + 100, 100));
    assert!(complete.is_expired(NOW + 101, 100));
    assert!(!at(State::Ongoing).is_expired(NOW + 1000, 100));
    assert!(!at(State::PrepareAbort).is_expired(NOW + 1000, 100));
}
