//! A database that is played by hand: it counts how often it is read, can be away, and can let its readers wait.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, advance};

use super::*;
use crate::domain::{Generation, SessionState};
use crate::ports::PepperId;

const ID: SessionId = SessionId([1; 16]);
const USER: UserId = UserId(7);
const START: i64 = 1_000_000;

struct World {
    verdicts: Verdicts,
    database: Arc<Database>,
    started: Instant,
}

struct Database {
    reads: AtomicUsize,
    away: AtomicBool,
    revoked: AtomicBool,
    missing: AtomicBool,
    /// How many readers may be answered.
    permits: Semaphore,
    idle_expires_at: UnixMillis,
}

impl World {
    fn new() -> Arc<World> {
        Self::with(CAPACITY, UnixMillis(i64::MAX))
    }

    fn with(capacity: usize, idle_expires_at: UnixMillis) -> Arc<World> {
        let database = Database {
            reads: AtomicUsize::new(0),
            away: AtomicBool::new(false),
            revoked: AtomicBool::new(false),
            missing: AtomicBool::new(false),
            permits: Semaphore::new(1_000_000),
            idle_expires_at,
        };
        let verdicts = Verdicts::with_capacity(capacity);
        Arc::new(World { verdicts, database: Arc::new(database), started: Instant::now() })
    }

    async fn ask(&self) -> Result<Option<UserId>, StoreError> {
        self.ask_of(ID).await
    }

    async fn ask_of(&self, id: SessionId) -> Result<Option<UserId>, StoreError> {
        let (database, started) = (Arc::clone(&self.database), self.started);
        let reading = self.verdicts.reading(id, move || async move { database.read(started).await }).await;
        reading.map(|reading| reading.user())
    }

    fn asks(self: &Arc<Self>) -> JoinHandle<Result<Option<UserId>, StoreError>> {
        let world = Arc::clone(self);
        tokio::spawn(async move { world.ask().await })
    }

    fn reads(&self) -> usize {
        self.database.reads.load(Ordering::SeqCst)
    }

    /// Lets readers wait from now on.
    fn block(&self) {
        self.database.permits.forget_permits(usize::MAX);
    }

    /// Answers one reader.
    fn answer(&self) {
        self.database.permits.add_permits(1);
    }

    async fn until_reads_are(&self, count: usize) {
        for _ in 0..10_000 {
            if self.reads() >= count {
                return;
            }
            yield_now().await;
        }
        panic!("{} reads, not {count}", self.reads());
    }
}

impl Database {
    async fn read(&self, started: Instant) -> Result<Option<SessionRow>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        // What a database answers is what it saw when it was asked.
        let row = self.row(started);
        self.permits.acquire().await.unwrap().forget();
        row
    }

    fn row(&self, started: Instant) -> Result<Option<SessionRow>, StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("unplugged".into()));
        }
        let now = UnixMillis(START).plus(started.elapsed());
        let state = SessionState {
            now,
            generation: Generation::FIRST,
            rotated_at: now,
            keyless: false,
            attempts: Vec::new(),
            idle_expires_at: self.idle_expires_at,
            absolute_expires_at: UnixMillis(i64::MAX),
            revoked: self.revoked.load(Ordering::SeqCst),
            user_enabled: true,
        };
        let row = SessionRow { user_id: USER, salt: Vec::new(), pepper_id: PepperId(1), state };
        Ok((!self.missing.load(Ordering::SeqCst)).then_some(row))
    }
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[tokio::test(start_paused = true)]
async fn a_row_is_read_again_after_four_seconds_and_not_before() {
    let world = World::new();
    for (at, reads) in [(0, 1), (1000, 1), (2999, 1), (1, 2), (3999, 2), (1, 3)] {
        advance(millis(at)).await;
        assert_eq!(world.ask().await.unwrap(), Some(USER));
        assert_eq!(world.reads(), reads, "after {at} ms more");
    }
}

#[tokio::test(start_paused = true)]
async fn what_ended_elsewhere_is_noticed_after_four_seconds() {
    for missing in [false, true] {
        let world = World::new();
        assert_eq!(world.ask().await.unwrap(), Some(USER));
        let database = &world.database;
        let end = if missing { &database.missing } else { &database.revoked };
        end.store(true, Ordering::SeqCst);
        advance(millis(3999)).await;
        assert_eq!(world.ask().await.unwrap(), Some(USER));
        advance(millis(1)).await;
        assert_eq!(world.ask().await.unwrap(), None);
        assert_eq!(world.ask().await.unwrap(), None);
        assert_eq!(world.reads(), 2, "an end is remembered like a life");
    }
}

#[tokio::test(start_paused = true)]
async fn the_age_of_a_verdict_counts_from_the_question_and_not_from_the_answer() {
    let world = World::new();
    world.block();
    let asked = world.asks();
    world.until_reads_are(1).await;
    advance(millis(3000)).await;
    world.answer();
    assert_eq!(asked.await.unwrap().unwrap(), Some(USER));
    world.database.revoked.store(true, Ordering::SeqCst);
    advance(millis(999)).await;
    assert_eq!(world.ask().await.unwrap(), Some(USER));
    advance(millis(1)).await;
    world.answer();
    assert_eq!(world.ask().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_share_one_reading_and_its_failure() {
    let world = World::new();
    for (away, reads) in [(true, 1), (false, 2)] {
        world.block();
        world.database.away.store(away, Ordering::SeqCst);
        let asked: Vec<_> = (0..100).map(|_| world.asks()).collect();
        world.until_reads_are(reads).await;
        for _ in 0..500 {
            yield_now().await;
        }
        world.answer();
        for asked in asked {
            match asked.await.unwrap() {
                Ok(user) => assert_eq!((away, user), (false, Some(USER))),
                Err(StoreError::Unavailable(cause)) => {
                    assert_eq!((away, cause.to_string().as_str()), (true, "unplugged"));
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(world.reads(), reads);
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_away_is_no_verdict_and_ends_none() {
    let world = World::new();
    assert_eq!(world.ask().await.unwrap(), Some(USER));
    world.database.away.store(true, Ordering::SeqCst);
    advance(millis(3999)).await;
    assert_eq!(world.ask().await.unwrap(), Some(USER), "a recent verdict still serves");
    advance(millis(1)).await;
    for reads in [2, 3] {
        assert!(matches!(world.ask().await, Err(StoreError::Unavailable(_))));
        assert_eq!(world.reads(), reads, "a failure is not remembered");
    }
    world.database.away.store(false, Ordering::SeqCst);
    assert_eq!(world.ask().await.unwrap(), Some(USER));
}

#[tokio::test(start_paused = true)]
async fn a_database_that_never_answers_is_away_after_four_seconds() {
    let world = World::new();
    world.block();
    let started = Instant::now();
    let answers = tokio::join!(world.asks(), world.asks());
    for answer in [answers.0, answers.1] {
        assert!(matches!(answer.unwrap(), Err(StoreError::Unavailable(_))));
    }
    assert_eq!(started.elapsed(), LONGEST_USE);
    world.answer();
    assert_eq!(world.ask().await.unwrap(), Some(USER));
    assert_eq!(world.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_ends_here_is_noticed_at_once_and_no_older_reading_brings_it_back() {
    let world = World::new();
    assert_eq!(world.ask().await.unwrap(), Some(USER));
    advance(LONGEST_USE).await;
    world.block();
    let before = world.asks();
    world.until_reads_are(2).await;
    // The row was seen alive; now it ends, and only then the answer comes.
    world.database.revoked.store(true, Ordering::SeqCst);
    world.verdicts.forget(ID);
    let after = world.asks();
    world.until_reads_are(3).await;
    world.answer();
    world.answer();
    assert_eq!(before.await.unwrap().unwrap(), Some(USER), "it asked before the end");
    assert_eq!(after.await.unwrap().unwrap(), None);
    assert_eq!(world.ask().await.unwrap(), None);
    assert_eq!(world.reads(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_stops_nobody_else() {
    let world = World::new();
    world.block();
    let first = world.asks();
    world.until_reads_are(1).await;
    let second = world.asks();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    world.answer();
    assert_eq!(second.await.unwrap().unwrap(), Some(USER));
    assert_eq!(world.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_was_under_way_at_the_end_is_not_kept() {
    let world = World::new();
    world.block();
    let before = world.asks();
    world.until_reads_are(1).await;
    world.database.revoked.store(true, Ordering::SeqCst);
    world.verdicts.forget(ID);
    world.answer();
    assert_eq!(before.await.unwrap().unwrap(), Some(USER), "it asked before the end");
    world.answer();
    assert_eq!(world.ask().await.unwrap(), None);
}

/// As when the worker that started it is stopped.
#[tokio::test]
async fn a_reading_whose_runtime_died_is_not_waited_for() {
    let world = World::new();
    world.block();
    let other = Arc::clone(&world);
    let died = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let asks = other.asks();
            other.until_reads_are(1).await;
            drop(asks);
        });
    });
    died.join().unwrap();
    world.answer();
    assert_eq!(world.ask().await.unwrap(), Some(USER));
    assert_eq!(world.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_should_have_ended_is_read_again() {
    let world = World::with(CAPACITY, UnixMillis(START + 1000));
    assert_eq!(world.ask().await.unwrap(), Some(USER));
    advance(millis(999)).await;
    assert_eq!(world.ask().await.unwrap(), Some(USER));
    assert_eq!(world.reads(), 1);
    advance(millis(1)).await;
    assert_eq!(world.ask().await.unwrap(), None);
    assert_eq!(world.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_databases_clock_goes_on_between_readings() {
    let world = World::new();
    let database = Arc::clone(&world.database);
    let started = world.started;
    let reading = world.verdicts.reading(ID, move || async move { database.read(started).await }).await.unwrap();
    advance(millis(2500)).await;
    assert_eq!(reading.now(), UnixMillis(START + 2500));
}

#[tokio::test(start_paused = true)]
async fn it_remembers_no_more_sessions_than_it_has_room_for() {
    let world = World::with(64, UnixMillis(i64::MAX));
    for number in 0..1000_u64 {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        assert_eq!(world.ask_of(SessionId(id)).await.unwrap(), Some(USER));
        assert!(world.verdicts.slots.len() <= 64, "{}", world.verdicts.slots.len());
    }
    // With an estimate of what a map needs besides: 16384 sessions and 32768 tokens stay within 8 MB.
    assert!(size_of::<Slot>() <= 160, "{}", size_of::<Slot>());
}
