use std::time::Duration;

use tokio::time::timeout;

use super::*;

fn passwords() -> Passwords {
    Passwords::new(PasswordCost { memory_kib: 8, passes: 1 }).unwrap()
}

fn password(text: &str) -> Password {
    Password::presented(text.to_owned())
}

#[tokio::test]
async fn only_the_same_password_matches() {
    let passwords = passwords();
    let hash = passwords.hash(password("one")).await.unwrap();
    assert!(passwords.verify(password("one"), Some(hash.clone())).await.unwrap());
    assert!(!passwords.verify(password("two"), Some(hash)).await.unwrap());
}

#[tokio::test]
async fn a_right_password_is_hashed_anew_where_its_hash_was_made_otherwise() {
    let old = passwords().hash(password("one")).await.unwrap();
    for cost in [(8, 2), (16, 1)] {
        let passwords = Passwords::new(PasswordCost { memory_kib: cost.0, passes: cost.1 }).unwrap();
        let compare = async |text, hash| passwords.turn().await.unwrap().compare(password(text), hash).await.unwrap();
        let Comparison::Same { renewed: Some(renewed) } = compare("one", Some(old.clone())).await else {
            panic!("not hashed anew")
        };
        assert!(renewed.0.contains(&format!("$m={},t={},p=1$", cost.0, cost.1)));
        assert_eq!(compare("one", Some(renewed.clone())).await, Comparison::Same { renewed: None });
        assert_eq!(compare("two", Some(renewed)).await, Comparison::Different);
        assert_eq!(compare("two", Some(old.clone())).await, Comparison::Different);
        assert_eq!(compare("one", None).await, Comparison::Different);
    }
}

#[tokio::test]
async fn an_unknown_user_is_refused_after_a_real_hash() {
    let mut passwords = passwords();
    let hash = passwords.hash(password("one")).await.unwrap();
    let cost = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
    assert_eq!(cost(&passwords.decoy.0), cost(&hash.0));
    assert_eq!(passwords.decoy.0.len(), hash.0.len());

    // The bench shows what was computed on it last: the very blocks of a hash of this password with the decoy's salt.
    let stored = async |password_of: &str, stored: Option<&PasswordHash>| {
        assert!(!passwords.verify(password(password_of), stored.cloned()).await.unwrap());
        passwords.benches.last_work()
    };
    let decoy = passwords.decoy.clone();
    let of_a_user = stored("one", Some(&decoy)).await;
    let of_another = stored("two", Some(&decoy)).await;
    assert_ne!(of_a_user, of_another);
    assert_eq!(stored("one", None).await, of_a_user);
    assert_eq!(stored("two", None).await, of_another);

    // Whatever it hashes to: nobody logs in without a user.
    passwords.decoy = hash;
    assert!(!passwords.verify(password("one"), None).await.unwrap());
}

#[tokio::test]
async fn a_full_queue_is_told_at_once_and_empties_again() {
    let cost = PasswordCost { memory_kib: 8, passes: 1 };
    let passwords = Passwords::with_room(cost, Room { at_once: 1, waiting: 2 }).unwrap();
    let first = passwords.turn().await.unwrap();
    let mut second = Box::pin(passwords.turn());
    let mut third = Box::pin(passwords.turn());
    assert!(timeout(Duration::ZERO, &mut second).await.is_err());
    assert!(timeout(Duration::ZERO, &mut third).await.is_err());
    assert!(matches!(passwords.turn().await, Err(PasswordError::Busy)));
    assert!(matches!(passwords.verify(password("one"), None).await, Err(PasswordError::Busy)));
    // One that goes away leaves the queue, one that is done lets the next one in.
    drop(second);
    let mut fourth = Box::pin(passwords.turn());
    assert!(timeout(Duration::ZERO, &mut fourth).await.is_err());
    assert!(!first.verify(password("one"), None).await.unwrap());
    drop(third.await.unwrap());
    drop(fourth.await.unwrap());
    assert!(!passwords.verify(password("one"), None).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_does_not_come_is_not_waited_for() {
    let cost = PasswordCost { memory_kib: 8, passes: 1 };
    let passwords = Passwords::with_room(cost, Room { at_once: 1, waiting: 1 }).unwrap();
    let first = passwords.turn().await.unwrap();
    let started = tokio::time::Instant::now();
    assert!(matches!(passwords.turn().await, Err(PasswordError::Busy)));
    assert_eq!(started.elapsed(), LONGEST_WAIT);
    drop(first);
    passwords.turn().await.unwrap();
}

#[tokio::test]
async fn going_away_does_not_get_around_the_cap() {
    let cost = PasswordCost { memory_kib: 8, passes: 1 };
    let passwords = Passwords::with_room(cost, Room { at_once: 1, waiting: 0 }).unwrap();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let turn = passwords.turn().await.unwrap();
    let mut work = Box::pin(turn.run(move |_, _| {
        let _ = gone.recv();
        Ok(())
    }));
    assert!(timeout(Duration::ZERO, &mut work).await.is_err());
    drop(work);
    assert!(matches!(passwords.turn().await, Err(PasswordError::Busy)));
    drop(go);
    timeout(Duration::from_secs(10), async {
        while passwords.turn().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_default_cost_is_what_is_promised() {
    let passwords = Passwords::new(PasswordCost::default()).unwrap();
    assert!(passwords.decoy.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn there_are_no_more_benches_than_hashes_that_ran_at_once() {
    let cost = PasswordCost { memory_kib: 64, passes: 1 };
    let passwords = Passwords::with_room(cost, Room { at_once: 2, waiting: 100 }).unwrap();
    assert_eq!(passwords.benches.len(), 0, "memory is taken when it is needed");
    let hash = passwords.hash(password("one")).await.unwrap();
    assert_eq!(passwords.benches.len(), 1);
    let logins = (0..100).map(|at| passwords.verify(password(["one", "two"][at % 2]), Some(hash.clone())));
    for (at, same) in futures_util::future::join_all(logins).await.into_iter().enumerate() {
        assert_eq!(same.unwrap(), at % 2 == 0, "nothing of one hash is in another");
    }
    assert!(passwords.benches.len() <= 2, "{:?}", passwords.benches);
    // One whose work panics leaves its bench as well.
    let broken = passwords.turn().await.unwrap().run(|_, _| -> Result<(), HashError> { panic!("on purpose") }).await;
    assert!(matches!(broken, Err(PasswordError::Interrupted)));
    assert!((1..=2).contains(&passwords.benches.len()));
}

#[tokio::test]
async fn a_hash_that_costs_more_than_ours_gets_memory_for_once() {
    let dear = Passwords::new(PasswordCost { memory_kib: 256, passes: 1 }).unwrap();
    let hash = dear.hash(password("one")).await.unwrap();
    let passwords = passwords();
    assert!(passwords.verify(password("one"), Some(hash.clone())).await.unwrap());
    assert!(!passwords.verify(password("two"), Some(hash)).await.unwrap());
    assert_eq!(passwords.benches.take().blocks(), 8);
}

/// By the library's own way, so that hashes of other versions of this server and of other programs are good here.
#[tokio::test]
async fn hashes_are_those_of_the_library() {
    use argon2::{PasswordHasher as _, PasswordVerifier as _};

    let theirs = argon2::Argon2::new(
        argon2::Algorithm::Argon2i,
        argon2::Version::V0x10,
        Params::new(32, 3, 2, Some(24)).unwrap(),
    );
    let hash = theirs.hash_password_with_salt(b"one", b"a salt of theirs").unwrap().to_string();
    assert!(passwords().verify(password("one"), Some(PasswordHash(hash.clone()))).await.unwrap());
    assert!(!passwords().verify(password("two"), Some(PasswordHash(hash))).await.unwrap());
    let ours = passwords().hash(password("one")).await.unwrap().0;
    argon2::Argon2::default().verify_password(b"one", &phc::PasswordHash::new(&ours).unwrap()).unwrap();
}
