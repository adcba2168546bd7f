use sqlx::Row as _;
use tempfile::TempDir;

use super::*;
use crate::ports::SessionStore as _;
use crate::store::sqlite::pool;
use crate::store::{Missing, SqliteStore};

/// A writer on tables of its own, and the connection that it shares.
struct World {
    writer: Writer,
    connection: SqlitePool,
    path: std::path::PathBuf,
    _directory: TempDir,
}

/// How many changes are asked for at once in most tests; they fit one batch.
const MANY: i64 = 40;

async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .foreign_keys(true);
    let connection = pool(1).connect_with(options).await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE parents (id INTEGER PRIMARY KEY);
         CREATE TABLE children (
             id INTEGER PRIMARY KEY CHECK (id >= 0),
             load BLOB,
             -- Looked at by the commit alone.
             parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED
         );",
    )
    .execute(&connection)
    .await
    .unwrap();
    World { writer: Writer::start(connection.clone()), connection, path, _directory: directory }
}

fn insert(id: i64) -> Change {
    sqlx::query("INSERT INTO children (id) VALUES (?1) RETURNING id").bind(id)
}

fn insert_orphan(id: i64) -> Change {
    sqlx::query("INSERT INTO children (id, parent) VALUES (?1, 7) RETURNING id").bind(id)
}

impl World {
    /// Asks for changes so that they all wait before the first of them is written.
    async fn ask_at_once(&self, changes: impl IntoIterator<Item = Change>) -> Vec<JoinHandle<Answer>> {
        let loan = self.connection.acquire().await.unwrap();
        let asked: Vec<_> = changes
            .into_iter()
            .map(|change| {
                let writer = self.writer.clone();
                tokio::spawn(async move { writer.write(change).await })
            })
            .collect();
        // One thread runs these tests: each task has been run up to its wait when its turn has come once.
        tokio::task::yield_now().await;
        drop(loan);
        asked
    }

    async fn children(&self) -> Vec<i64> {
        let rows = sqlx::query("SELECT id FROM children ORDER BY id").fetch_all(&self.connection).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

async fn answers(asked: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(asked.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn changes_that_wait_share_one_commit() {
    let world = world().await;
    let frames = || std::fs::metadata(world.path.with_extension("db-wal")).unwrap().len() / 4096;
    world.writer.write(insert(1000)).await.unwrap();
    let before = frames();
    let asked = world.ask_at_once((0..MANY).map(insert)).await;
    for (id, answer) in answers(asked).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap()[0].get::<i64, _>(0), i64::try_from(id).unwrap());
    }
    // Each commit by itself would write the page that they all change once more.
    assert!(frames() - before < 10, "{} frames", frames() - before);
    assert_eq!(world.children().await.len(), 41);
}

#[tokio::test]
async fn a_commit_that_fails_fails_for_all_whose_changes_it_held() {
    let world = world().await;
    let changes = (0..MANY).map(|id| if id == 20 { insert_orphan(id) } else { insert(id) });
    let asked = world.ask_at_once(changes).await;
    for answer in answers(asked).await {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    assert_eq!(world.children().await, [0; 0]);
    world.writer.write(insert(1)).await.unwrap();
    assert_eq!(world.children().await, [1]);
}

#[tokio::test]
async fn a_statement_that_is_refused_fails_its_own_caller_alone() {
    let world = world().await;
    let changes = (0..MANY).map(|id| if id == 20 { insert(-1) } else { insert(id) });
    let asked = world.ask_at_once(changes).await;
    for (id, answer) in answers(asked).await.into_iter().enumerate() {
        if id == 20 {
            assert!(matches!(answer, Err(StoreError::Unexpected(_))), "{answer:?}");
        } else {
            answer.unwrap();
        }
    }
    assert_eq!(world.children().await.len(), 39);
}

#[tokio::test]
async fn a_full_disk_fails_the_batch_and_not_what_comes_after_it() {
    let world = world().await;
    // Of this connection alone, and it is not used again after the failure.
    sqlx::query("PRAGMA max_page_count = 8").fetch_all(&world.connection).await.unwrap();
    let large =
        |id: i64| sqlx::query("INSERT INTO children (id, load) VALUES (?1, zeroblob(100000)) RETURNING id").bind(id);
    let changes = (0..MANY).map(|id| if id == 20 { large(id) } else { insert(id) });
    let asked = world.ask_at_once(changes).await;
    for answer in answers(asked).await {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    assert_eq!(world.children().await, [0; 0]);
    world.writer.write(large(1)).await.unwrap();
    assert_eq!(world.children().await, [1]);
}

#[tokio::test]
async fn a_change_that_comes_alone_may_fail_as_well() {
    let world = world().await;
    let full = "PRAGMA max_page_count = 8";
    sqlx::query(full).fetch_all(&world.connection).await.unwrap();
    let large = sqlx::query("INSERT INTO children (id, load) VALUES (1, zeroblob(100000)) RETURNING id");
    let answer = world.writer.write(large).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    // Looked at by the commit, which comes after the row.
    assert!(world.writer.write(insert_orphan(2)).await.is_err());
    assert!(world.writer.write(insert(-1)).await.is_err());
    assert_eq!(world.children().await, [0; 0]);
    world.writer.write(insert(3)).await.unwrap();
    assert_eq!(world.children().await, [3]);
}

#[tokio::test]
async fn a_caller_that_goes_away_changes_nothing_for_anybody() {
    let world = world().await;
    let asked = world.ask_at_once((0..MANY).map(insert)).await;
    for gone in [0, 20, 39] {
        asked[gone].abort();
    }
    for (id, asked) in asked.into_iter().enumerate() {
        match asked.await {
            Ok(answer) => assert_eq!(answer.unwrap()[0].get::<i64, _>(0), i64::try_from(id).unwrap()),
            Err(gone) => assert!(gone.is_cancelled() && [0, 20, 39].contains(&id)),
        }
    }
    // What was asked for is done all the same.
    assert_eq!(world.children().await.len(), 40);
}

#[tokio::test]
async fn closing_writes_what_waits_and_refuses_what_comes() {
    let world = world().await;
    let asked = world.ask_at_once((0..MANY).map(insert)).await;
    tokio::join!(world.writer.close(), world.writer.close());
    for answer in answers(asked).await {
        answer.unwrap();
    }
    assert_eq!(world.children().await.len(), 40);
    let late = world.writer.write(insert(99)).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
}

#[tokio::test]
async fn when_all_have_gone_the_task_ends() {
    let World { writer, connection, .. } = world().await;
    let task = writer.task.lock().await.take().unwrap();
    drop(writer);
    task.await.unwrap();
    connection.close().await;
}

#[tokio::test]
async fn a_store_whose_writer_has_ended_is_not_ready() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("a.db"), Missing::Create).await.unwrap();
    store.ping().await.unwrap();
    let task = store.changes.task.lock().await.take().unwrap();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_behind_a_connection_that_is_not_given_back() {
    tokio::time::resume();
    let world = world().await;
    let loan = world.connection.acquire().await.unwrap();
    tokio::time::pause();
    let many = i64::try_from(QUEUE + 2 * LARGEST_BATCH).unwrap();
    let started = Instant::now();
    let asked: Vec<_> = (0..many)
        .map(|id| {
            let writer = world.writer.clone();
            tokio::spawn(async move { writer.write(insert(id)).await })
        })
        .collect();
    for answer in answers(asked).await {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    assert!(started.elapsed() <= 3 * LONGEST_WAIT, "{:?}", started.elapsed());
    tokio::time::resume();
    drop(loan);
    world.writer.write(insert(1)).await.unwrap();
    assert_eq!(world.children().await, [1]);
}
