//! What every store promises about failed logins: it decides as the domain does, also when many ask at once.

use std::sync::Arc;
use std::time::Duration;

use authcli_server::domain::{Bucket, Counted, Subjects, ThrottleKey};
use authcli_server::ports::Store;
use futures_util::future::join_all;

use crate::helpers::{Backend, TestApp, on_both_stores, spawn_app_on};

on_both_stores!(
    a_store_decides_as_the_domain_does,
    many_at_once_are_counted_one_by_one,
    an_attempt_that_is_refused_is_counted_nowhere,
    what_is_given_back_can_be_had_again,
    a_known_address_is_counted_by_itself_until_it_is_forgotten,
    what_has_drained_is_swept,
);

const ABROAD: &str = "203.0.113.7";
const HOME: &str = "127.0.0.1";
const LIFE: Duration = Duration::from_hours(1);

fn subjects(name: &str, address: &str) -> Subjects {
    ThrottleKey::new(&[1; 32]).subjects(name, address.parse().unwrap())
}

async fn reserves(store: &Arc<dyn Store>, subjects: &Subjects) -> bool {
    store.reserve_attempt(subjects).await.unwrap().is_some()
}

async fn rows(app: &TestApp, table: &str) -> i64 {
    app.db_value(&format!("SELECT count(*) FROM {table}")).await
}

/// Lets each bucket drain at this time from now.
async fn drain_in(app: &TestApp, store: &Arc<dyn Store>, of: &Subjects, millis: i64) {
    let now = store.buckets(of).await.unwrap()[0].now.0;
    app.db_execute(&format!("UPDATE login_attempts SET empty_at = {}", now + millis)).await;
}

async fn a_store_decides_as_the_domain_does(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let store = app.store().await;
    let attempts = [(subjects("a", HOME), Counted::Account), (subjects("b", HOME), Counted::KnownAddress)];
    store.remember_address(&attempts[1].0.known_address, LIFE).await.unwrap();
    for (of, counted) in attempts {
        let kind = store.buckets(&of).await.unwrap()[0].counted;
        assert_eq!(kind, counted);
        assert!(reserves(&store, &of).await);
        // Multiples of ten seconds that are no multiples of a step: none of them is at an edge that a slow test could cross.
        for tens in [-100_000, -13, 1, 13, 55, 85, 265, 275, 295, 305, 595, 605, 1_000_000] {
            drain_in(&app, &store, &of, tens * 10_000 + 5_000).await;
            let before = store.buckets(&of).await.unwrap();
            assert_eq!(before.len(), 1);
            let expected = before[0].reserve();
            let reserved = store.reserve_attempt(&of).await.unwrap();
            assert_eq!(reserved.is_some(), expected.is_ok(), "{counted:?} {tens}");
            let after: Bucket = store.buckets(&of).await.unwrap()[0];
            match expected {
                // An empty bucket is filled from the moment of the statement, which is a little later than ours.
                Ok(next) => {
                    assert_eq!(after.empty_at, reserved.unwrap()[0].empty_at);
                    assert!((0..4_000).contains(&(after.empty_at.0 - next.0)), "{counted:?} {tens}");
                }
                Err(_) => assert_eq!(after.empty_at, before[0].empty_at),
            }
        }
    }
}

async fn many_at_once_are_counted_one_by_one(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let stores = [app.store().await, app.store().await];
    for round in 0..5 {
        let of = subjects(&format!("name {round}"), HOME);
        let granted = join_all((0..64).map(|at| reserves(&stores[at % 2], &of))).await;
        assert_eq!(granted.into_iter().filter(|granted| *granted).count(), 10, "round {round}");
    }
    // Each its own account, all from one network.
    let from = |at: usize| subjects(&format!("account {at}"), ABROAD);
    let many: Vec<Subjects> = (0..160).map(from).collect();
    let granted = join_all(many.iter().enumerate().map(|(at, of)| reserves(&stores[at % 2], of))).await;
    assert_eq!(granted.into_iter().filter(|granted| *granted).count(), 100);
    assert_eq!(rows(&app, "login_attempts").await, 5 + 1 + 100, "who was refused has left no row");
}

async fn an_attempt_that_is_refused_is_counted_nowhere(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let store = app.store().await;
    let of = subjects("a", ABROAD);
    for _ in 0..10 {
        assert!(reserves(&store, &of).await);
    }
    let levels = async || store.buckets(&of).await.unwrap().iter().map(|bucket| bucket.empty_at).collect::<Vec<_>>();
    let before = levels().await;
    for _ in 0..20 {
        assert!(!reserves(&store, &of).await, "the account is full, its network is not");
    }
    assert_eq!(levels().await, before);
    // Filled by other accounts, the network is full for all.
    for at in 0..90 {
        assert!(reserves(&store, &subjects(&format!("other {at}"), "203.0.113.99")).await);
    }
    let rows_before = rows(&app, "login_attempts").await;
    for at in 0..20 {
        assert!(!reserves(&store, &subjects(&format!("new {at}"), ABROAD)).await);
    }
    assert_eq!(rows(&app, "login_attempts").await, rows_before);
    assert!(reserves(&store, &subjects("new 1", "203.0.114.7")).await, "another network");
}

async fn what_is_given_back_can_be_had_again(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let store = app.store().await;
    let of = subjects("a", ABROAD);
    let mut last = Vec::new();
    for _ in 0..10 {
        last = store.reserve_attempt(&of).await.unwrap().unwrap();
    }
    assert_eq!(last.len(), 2);
    assert!(!reserves(&store, &of).await);
    for bucket in last {
        store.refund_attempt(of.of(bucket.counted).unwrap(), bucket.counted).await.unwrap();
    }
    assert!(reserves(&store, &of).await);
    assert!(!reserves(&store, &of).await);
    // Of a row that was swept meanwhile there is nothing to give back.
    let unknown = subjects("unknown", HOME).account;
    store.refund_attempt(&unknown, Counted::Account).await.unwrap();
}

async fn a_known_address_is_counted_by_itself_until_it_is_forgotten(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let store = app.store().await;
    let (owner, stranger) = (subjects("a", ABROAD), subjects("a", "198.51.100.1"));
    store.remember_address(&owner.known_address, LIFE).await.unwrap();
    store.remember_address(&owner.known_address, LIFE).await.unwrap();
    while reserves(&store, &stranger).await {}
    for at in 0..10 {
        let reserved = store.reserve_attempt(&owner).await.unwrap().unwrap();
        assert_eq!(reserved.iter().map(|bucket| bucket.counted).collect::<Vec<_>>(), [Counted::KnownAddress], "{at}");
    }
    assert!(!reserves(&store, &owner).await, "even the owner has a limit");
    assert!(!reserves(&store, &subjects("a", "203.0.114.1")).await, "another address of the owner is not known");
    app.db_execute("UPDATE known_addresses SET known_until = 1").await;
    let counted: Vec<_> = store.buckets(&owner).await.unwrap().iter().map(|bucket| bucket.counted).collect();
    assert!(counted.contains(&Counted::Account) && counted.contains(&Counted::Network) && counted.len() == 2);
    assert!(!reserves(&store, &owner).await);
}

async fn what_has_drained_is_swept(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let store = app.store().await;
    for at in 0..7 {
        let of = subjects(&format!("{at}"), ABROAD);
        assert!(reserves(&store, &of).await);
        store.remember_address(&of.known_address, LIFE).await.unwrap();
    }
    assert_eq!(store.sweep_attempts(100).await.unwrap(), 0);
    let counts = async || (rows(&app, "login_attempts").await, rows(&app, "known_addresses").await);
    assert_eq!(counts().await, (8, 7));
    drain_in(&app, &store, &subjects("0", ABROAD), -1).await;
    assert_eq!(store.sweep_attempts(5).await.unwrap(), 5, "so many at a time");
    assert_eq!(store.sweep_attempts(5).await.unwrap(), 3);
    assert_eq!(counts().await, (0, 7));
    app.db_execute("UPDATE known_addresses SET known_until = 1").await;
    assert!(reserves(&store, &subjects("a", HOME)).await);
    drain_in(&app, &store, &subjects("a", HOME), 2 * 24 * 3_600_000).await;
    assert_eq!(store.sweep_attempts(5).await.unwrap(), 5);
    assert_eq!(store.sweep_attempts(5).await.unwrap(), 2);
    assert_eq!(counts().await, (0, 0), "what a clock wrote that was wrong goes as well");
}
