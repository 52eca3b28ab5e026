//! Questions to a cluster, each on a thread that may block.
//!
//! Whoever asked may be gone before the answer is there: a pipeline that is stopped does not wait for a cluster that is
//! away. Its question is given up before the next attempt, and with it what it holds: clients, a place in a group.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use anyhow::Result;

thread_local! {
    /// Who waits for what this thread works on; absent: it answers no question.
    static ASKER: RefCell<Option<Weak<()>>> = const { RefCell::new(None) };
}

/// Asks on a thread that may block. Dropping the future gives the question up.
///
/// # Errors
/// Those of the question; that it panicked.
pub(crate) async fn ask<T: Send + 'static>(
    question: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    // Lives as long as somebody waits here.
    let asker = Arc::new(());
    let awaited = Arc::downgrade(&asker);
    let answer = tokio::task::spawn_blocking(move || {
        let _asked = Asked::by(awaited);
        question()
    });
    answer.await?
}

/// Whether nobody waits any more for what this thread works on.
pub(crate) fn is_given_up() -> bool {
    ASKER.with_borrow(|asker| asker.as_ref().is_some_and(|asker| asker.strong_count() == 0))
}

/// As long as a thread answers a question; ends with a panic too, since the thread lives on.
struct Asked;

impl Asked {
    fn by(asker: Weak<()>) -> Asked {
        ASKER.set(Some(asker));
        Asked
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        ASKER.set(None);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_question_knows_when_nobody_waits_for_its_answer_any_more() {
        let (at_work, begun) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let question = ask(move || {
            at_work.send(is_given_up()).unwrap();
            while !is_given_up() {
                std::thread::yield_now();
            }
            tell.send("given up").unwrap();
            Ok(())
        });
        let asked = tokio::spawn(question);
        assert!(!tokio::task::spawn_blocking(move || begun.recv().unwrap()).await.unwrap());
        asked.abort();
        let told = tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
        assert_eq!(told, "given up");
    }

    #[tokio::test]
    async fn a_thread_that_answers_no_question_is_never_given_up() {
        assert!(ask(|| -> Result<()> { panic!("a question that panics") }).await.is_err());
        // The thread of before is used again.
        assert!(!tokio::task::spawn_blocking(is_given_up).await.unwrap());
    }
}
