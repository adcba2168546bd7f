//! The store over cells that are small, or do not answer; the real keyring is in `tests/cli/keyring.rs`.

use std::sync::Condvar;
use std::sync::Mutex;
use std::time::Instant;

use super::*;
use crate::gate::Rendezvous as _;
use crate::lock::ProcessLock;
use crate::store::entry::tests::sample;
use crate::store::split::tests::FakeCells;
use crate::token::{AttemptKey, Secret};
use crate::worker::tests::SHORT;

/// Never reached on a machine that works.
const LONG: Duration = Duration::from_secs(30);

/// A process's store over `cells`.
fn store(cells: Arc<dyn Cells>) -> KeyringStore {
    let worker = Worker::start("test");
    KeyringStore { id: "one".into(), cells, worker, answers: Arc::default(), read_bound: LONG, write_bound: LONG }
}

fn with_tokens_of(length: usize) -> TokenSet {
    let token = |mark: &str| Secret::new(mark.repeat(length));
    TokenSet { access_token: token("a"), refresh_token: Some(token("r")), ..sample() }
}

fn next(tokens: &TokenSet) -> TokenSet {
    let generation = tokens.generation.next();
    TokenSet { generation, attempt_key: AttemptKey::random().unwrap(), ..tokens.clone() }
}

#[tokio::test]
async fn tokens_of_any_size_fit_into_cells_as_small_as_windows() {
    let cells = Arc::new(FakeCells::new(Some(2560)));
    let (store, held) = (store(Arc::clone(&cells) as _), Held::new(()));
    for length in [10, 64 * 1024, 128 * 1024, 10] {
        let tokens = with_tokens_of(length);
        store.save(&held, &tokens).await.unwrap();
        let loaded = store.load().await.unwrap().unwrap();
        assert!(loaded.is_same_save(&tokens));
        assert!(loaded.access_token.expose() == tokens.access_token.expose(), "{length}");
        assert_eq!(loaded.refresh_token.unwrap().expose().len(), length);
    }
    assert_eq!(cells.names(), ["one"]);
    store.save(&held, &with_tokens_of(64 * 1024)).await.unwrap();
    store.clear(&held).await.unwrap();
    assert!(store.load().await.unwrap().is_none());
    assert_eq!(cells.names(), [""; 0]);
}

#[tokio::test]
async fn an_entry_of_a_newer_version_is_told() {
    let cells = FakeCells::new(Some(2560));
    cells.write("one", "a label", br#"{"version":4,"sealed":true}"#).unwrap();
    let error = store(Arc::new(cells)).load().await.unwrap_err();
    assert!(matches!(error, StoreError::NewerVersion { found: 4, .. }), "{error}");
}

/// A keyring that ends no write, or no call at all, before it is thawed.
#[derive(Debug)]
struct Frozen {
    cells: Arc<FakeCells>,
    reads_too: bool,
    stands_still: Mutex<bool>,
    is_asked: AtomicBool,
    thawed: Condvar,
}

impl Frozen {
    fn over(cells: &Arc<FakeCells>) -> Arc<Self> {
        Arc::new(Self {
            cells: Arc::clone(cells),
            reads_too: false,
            stands_still: Mutex::new(true),
            is_asked: AtomicBool::default(),
            thawed: Condvar::new(),
        })
    }

    /// Saves again and again until a write is on its way: on a busy machine a job may be given up on before it begins.
    async fn catch(&self, store: &KeyringStore, held: &Held, tokens: &TokenSet) {
        while !self.is_asked.load(Ordering::SeqCst) {
            let error = store.save(held, tokens).await.unwrap_err();
            assert!(matches!(error, StoreError::KeyringSilent(_)), "{error}");
        }
    }

    fn wait(&self) {
        self.is_asked.store(true, Ordering::SeqCst);
        let guard = self.stands_still.lock().unwrap();
        drop(self.thawed.wait_while(guard, |stands_still| *stands_still).unwrap());
    }

    fn thaw(&self) {
        *self.stands_still.lock().unwrap() = false;
        self.thawed.notify_all();
    }
}

impl Cells for Frozen {
    fn place(&self) -> &'static str {
        PLACE
    }

    fn limit(&self) -> Option<usize> {
        None
    }

    fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        if self.reads_too {
            self.wait();
        }
        self.cells.read(name)
    }

    fn write(&self, name: &str, label: &str, content: &[u8]) -> Result<(), StoreError> {
        self.wait();
        self.cells.write(name, label, content)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.cells.delete(name)
    }
}

#[tokio::test]
async fn a_write_that_comes_late_comes_before_every_write_of_other_processes() {
    let directory = tempfile::tempdir().unwrap();
    let cells = Arc::new(FakeCells::new(None));
    let frozen = Frozen::over(&cells);
    let (late, newer) = (next(&sample()), next(&next(&sample())));

    let mut first = store(Arc::clone(&frozen) as _);
    first.write_bound = SHORT;
    let held = ProcessLock::new(directory.path(), "one").try_lock().await.unwrap().expect("the lock is free");
    frozen.catch(&first, &held, &late).await;
    // The process gives up altogether; its write is still on its way.
    drop((held, first));
    let other = ProcessLock::new(directory.path(), "one");
    for _ in 0..10 {
        assert!(other.try_lock().await.unwrap().is_none(), "the write may still come");
    }

    frozen.thaw();
    let held = other.lock_within(LONG).await.unwrap();
    let second = store(Arc::clone(&cells) as _);
    assert!(second.load().await.unwrap().unwrap().is_same_save(&late), "it is there before the lock is free");
    second.save(&held, &newer).await.unwrap();
    assert!(second.load().await.unwrap().unwrap().is_same_save(&newer));
}

#[tokio::test]
async fn a_stuck_keyring_costs_one_bound_however_many_calls_follow() {
    let frozen = Frozen::over(&Arc::new(FakeCells::new(None)));
    let mut store = store(Arc::clone(&frozen) as _);
    store.write_bound = SHORT;
    let held = Held::new(());
    let start = Instant::now();
    frozen.catch(&store, &held, &sample()).await;
    for _ in 0..3 {
        for error in [
            store.load().await.unwrap_err(),
            store.prove_writable(&held).await.unwrap_err(),
            store.clone().save(&held, &sample()).await.unwrap_err(),
            store.clear(&held).await.unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::KeyringSilent(_)), "{error}");
        }
    }
    assert!(start.elapsed() < LONG / 2, "each was turned away at once");
    frozen.thaw();
    while store.load().await.is_err() {
        assert!(start.elapsed() < LONG, "it works again once the keyring does");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_keyring_that_never_answered_is_not_waited_for_as_long_as_a_write() {
    let frozen = Frozen { reads_too: true, ..Arc::into_inner(Frozen::over(&Arc::new(FakeCells::new(None)))).unwrap() };
    let frozen = Arc::new(frozen);
    for write in [true, false] {
        let mut store = store(Arc::clone(&frozen) as _);
        store.read_bound = SHORT;
        let (start, held) = (Instant::now(), Held::new(()));
        let error = if write { store.save(&held, &sample()).await } else { store.clear(&held).await };
        assert!(matches!(error, Err(StoreError::KeyringSilent(waited)) if waited == store.read_bound), "{error:?}");
        assert!(start.elapsed() < LONG / 2);
    }
    frozen.thaw();
}

/// A person unlocks the keyring only after the program has given up.
#[tokio::test]
async fn a_proof_that_comes_late_leaves_nothing_behind() {
    let cells = Arc::new(FakeCells::new(None));
    let frozen = Frozen::over(&cells);
    let store = KeyringStore { write_bound: SHORT, ..store(Arc::clone(&frozen) as _) };
    while !frozen.is_asked.load(Ordering::SeqCst) {
        store.prove(sample()).await.unwrap_err();
    }
    frozen.thaw();
    // Only once it is over does the thread take another job.
    while store.prove(sample()).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(cells.names(), [""; 0]);
}
