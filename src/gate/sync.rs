//! What the gate's core shares between threads, in three words: a [`Mutex`], a [`Snapshot`], an [`announcement`].
//!
//! It is a room of its own so that `tests/model` can put Loom's primitives in its place and try every order in which
//! threads may meet in the very `core.rs` that ships. The names here are all that the core may use of them.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

pub(super) use std::sync::{Mutex, MutexGuard};

/// A value that many read without a lock or an allocation while it is replaced as a whole.
pub(super) struct Snapshot<T>(ArcSwap<T>);

/// What was current when somebody looked.
pub(super) type Seen<T> = Guard<Arc<T>>;

impl<T> Snapshot<T> {
    pub(super) fn new(value: Arc<T>) -> Self {
        Self(ArcSwap::new(value))
    }

    pub(super) fn load(&self) -> Seen<T> {
        self.0.load()
    }

    pub(super) fn load_full(&self) -> Arc<T> {
        self.0.load_full()
    }

    pub(super) fn store(&self, value: Arc<T>) {
        self.0.store(value);
    }
}

/// Returns the two ends of an announcement: one value, made known once to any number of listeners.
pub(super) fn announcement<T>() -> (Announcer<T>, Listener<T>) {
    let (sender, receiver) = watch::channel(None);
    (Announcer(sender), Listener(receiver))
}

/// Where the value is made known.
pub(super) struct Announcer<T>(watch::Sender<Option<T>>);

impl<T> Announcer<T> {
    /// Wakes all who listen. Whoever begins to listen later hears it too.
    pub(super) fn announce(&self, value: T) {
        // Not `send`, which drops the value where nobody listens at this moment.
        self.0.send_replace(Some(value));
    }
}

/// Where the value is waited for. Dropping one has no effect on the others.
pub(super) struct Listener<T>(watch::Receiver<Option<T>>);

impl<T> Clone for Listener<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone> Listener<T> {
    /// Waits for the value; `None` when the announcer is gone without a word.
    pub(super) async fn heard(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}
