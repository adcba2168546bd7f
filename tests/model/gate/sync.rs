//! What `src/gate/sync.rs` offers, for the model: every use is a point at which Loom may let another thread run.
//!
//! The [`Snapshot`] promises as much as the library's and no more: a load may see an older value than the one stored
//! last, unless something else (the mutex) orders the two.

use std::sync::{Arc, PoisonError};

use loom::sync::Condvar;
use loom::sync::atomic::{AtomicUsize, Ordering};

pub(super) use loom::sync::{Mutex, MutexGuard};

pub(super) struct Snapshot<T> {
    /// All values that there ever were; a std mutex, which is no point of interest to Loom.
    values: std::sync::Mutex<Vec<Arc<T>>>,
    current: AtomicUsize,
}

pub(super) type Seen<T> = Arc<T>;

impl<T> Snapshot<T> {
    pub(super) fn new(value: Arc<T>) -> Self {
        Self { values: std::sync::Mutex::new(vec![value]), current: AtomicUsize::new(0) }
    }

    pub(super) fn load(&self) -> Seen<T> {
        self.load_full()
    }

    pub(super) fn load_full(&self) -> Arc<T> {
        let index = self.current.load(Ordering::Acquire);
        Arc::clone(&self.values.lock().unwrap_or_else(PoisonError::into_inner)[index])
    }

    pub(super) fn store(&self, value: Arc<T>) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.push(value);
        let index = values.len() - 1;
        drop(values);
        self.current.store(index, Ordering::Release);
    }
}

struct Slot<T> {
    word: Mutex<Word<T>>,
    changed: Condvar,
}

enum Word<T> {
    Awaited,
    Spoken(T),
    /// The announcer is gone without one.
    Never,
}

impl<T> Slot<T> {
    fn word(&self) -> MutexGuard<'_, Word<T>> {
        self.word.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn announcement<T>() -> (Announcer<T>, Listener<T>) {
    let slot = Arc::new(Slot { word: Mutex::new(Word::Awaited), changed: Condvar::new() });
    (Announcer(Arc::clone(&slot)), Listener(slot))
}

pub(super) struct Announcer<T>(Arc<Slot<T>>);

impl<T> Announcer<T> {
    pub(super) fn announce(&self, value: T) {
        *self.0.word() = Word::Spoken(value);
        self.0.changed.notify_all();
    }
}

impl<T> Drop for Announcer<T> {
    fn drop(&mut self) {
        let mut word = self.0.word();
        if matches!(*word, Word::Awaited) {
            *word = Word::Never;
        }
        drop(word);
        self.0.changed.notify_all();
    }
}

pub(super) struct Listener<T>(Arc<Slot<T>>);

impl<T> Clone for Listener<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Listener<T> {
    /// Blocks the thread; a listener that no announcement reaches is a deadlock, which Loom reports.
    #[expect(clippy::unused_async, reason = "the library's is one")]
    pub(super) async fn heard(self) -> Option<T> {
        let mut word = self.0.word();
        loop {
            match &*word {
                Word::Spoken(value) => return Some(value.clone()),
                Word::Never => return None,
                Word::Awaited => {}
            }
            word = self.0.changed.wait(word).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
