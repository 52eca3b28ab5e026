//! Transactions (KIP-98): who may write under a transactional id, what its open transaction has
//! touched, and how it ends, in all partitions or in none.

mod coordinator;
mod record;
mod state;
mod state_log;

pub(crate) use coordinator::{Description, TransactionSettings, Transactions};
pub(crate) use state::{Partitions, Producer, State};
