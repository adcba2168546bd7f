//! Several servers on one database whose clock is set by hand.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::future::join_all;
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::advance;

use super::*;
use crate::domain::{JWKS_MAX_AGE, SessionId, UserId};
use crate::pepper::{Absent, PepperSource};
use crate::ports::{Forgotten, KnownPepper, LiveSessions, PepperId, ScheduledKey};

const LIFE: Duration = Duration::from_mins(15);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Database {
    now: AtomicI64,
    rows: std::sync::Mutex<Vec<ScheduledKey>>,
    peppers: std::sync::Mutex<Vec<KnownPepper>>,
    away: AtomicBool,
    reads: AtomicUsize,
}

impl Database {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.now.load(Ordering::SeqCst))
    }

    fn plugged(&self) -> Result<std::sync::MutexGuard<'_, Vec<ScheduledKey>>, StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("unplugged".into()));
        }
        Ok(self.rows.lock().unwrap())
    }

    fn row(key: &SealedKey, signs_from: UnixMillis) -> ScheduledKey {
        ScheduledKey { key: key.clone(), times: KeyTimes { signs_from, longest_life: Duration::ZERO } }
    }
}

#[async_trait]
impl KeyStore for Database {
    async fn known_peppers(&self) -> Result<Vec<KnownPepper>, StoreError> {
        Ok(self.peppers.lock().unwrap().clone())
    }
    async fn add_pepper(&self, pepper: &KnownPepper) -> Result<bool, StoreError> {
        self.peppers.lock().unwrap().push(pepper.clone());
        Ok(true)
    }
    async fn pepper_has_live_sessions(&self, _: PepperId) -> Result<bool, StoreError> {
        Ok(false)
    }
    async fn live_sessions_of_pepper(&self, _: PepperId) -> Result<LiveSessions, StoreError> {
        Ok(LiveSessions { count: 0, until: None })
    }
    async fn forget_pepper(&self, _: PepperId, _: Option<&SealedKey>) -> Result<Option<Forgotten>, StoreError> {
        Ok(None)
    }
    async fn signing_keys(&self) -> Result<KeyList, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let mut keys = self.plugged()?.clone();
        keys.sort_by_key(|row| (row.times.signs_from, row.key.id.0.clone()));
        Ok(KeyList { now: self.now(), keys })
    }
    async fn add_first_signing_key(&self, key: &SealedKey) -> Result<(), StoreError> {
        let mut rows = self.plugged()?;
        if rows.is_empty() {
            rows.push(Self::row(key, self.now()));
        }
        Ok(())
    }
    async fn announce_signing_key(&self, key: &SealedKey, announcement: Duration) -> Result<bool, StoreError> {
        let mut rows = self.plugged()?;
        let announced = rows.iter().any(|row| row.times.signs_from > self.now());
        if !announced {
            rows.push(Self::row(key, self.now().plus(announcement)));
        }
        Ok(!announced)
    }
    async fn replace_signing_keys(&self, key: &SealedKey) -> Result<(), StoreError> {
        *self.plugged()? = vec![Self::row(key, self.now())];
        Ok(())
    }
    async fn raise_longest_life(&self, id: &KeyId, life: Duration) -> Result<(), StoreError> {
        for row in self.plugged()?.iter_mut().filter(|row| row.key.id == *id) {
            row.times.longest_life = row.times.longest_life.max(life);
        }
        Ok(())
    }
    async fn remove_signing_key(&self, id: &KeyId) -> Result<bool, StoreError> {
        let mut rows = self.plugged()?;
        let before = rows.len();
        rows.retain(|row| row.key.id != *id);
        Ok(rows.len() < before)
    }
}

struct World {
    database: Arc<Database>,
    peppers: Arc<Peppers>,
}

impl World {
    async fn new() -> World {
        let database = Arc::new(Database { now: AtomicI64::new(1_000_000_000), ..Database::default() });
        let pepper = PepperSource::Given(SecretString::from("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="));
        let peppers = Arc::new(Peppers::load(&pepper, &*database, Absent::Check).await.unwrap());
        World { database, peppers }
    }

    async fn server(&self) -> KeyRing {
        self.server_with(LIFE).await
    }

    async fn server_with(&self, life: Duration) -> KeyRing {
        KeyRing::load(Arc::<Database>::clone(&self.database), Arc::clone(&self.peppers), life).await.unwrap()
    }

    /// Lets time pass for the database and for the servers.
    async fn pass(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.database.now.fetch_add(millis, Ordering::SeqCst);
        advance(time).await;
    }

    async fn sign(&self, server: &KeyRing) -> Result<String, KeyError> {
        let now = self.database.now();
        let claims = AccessClaims::new(UserId(7), SessionId([3; 16]), "j".to_owned(), now, server.access_life);
        server.sign(&claims, now).await
    }

    async fn announce(&self) -> Option<KeyId> {
        announce(&*self.database, &self.peppers).await.unwrap()
    }

    fn reads(&self) -> usize {
        self.database.reads.load(Ordering::SeqCst)
    }
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

/// Returns the names of the published keys.
fn published(server: &KeyRing) -> Vec<String> {
    let jwks: Value = serde_json::from_str(&server.jwks()).unwrap();
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn s6_each_step_of_a_rotation_comes_at_its_time() {
    let world = World::new().await;
    let server = world.server().await;
    let first = world.sign(&server).await.unwrap();
    let old = kid(&first);
    assert_eq!(published(&server), [old.as_str()]);

    let new = world.announce().await.unwrap().0;
    assert_eq!(world.announce().await, None, "one is announced already");
    server.reload().await.unwrap();
    assert_eq!(published(&server), [old.as_str(), &new], "published before its first use");
    // Until the last moment before, the old one signs.
    world.pass(ANNOUNCEMENT.saturating_sub(Duration::from_millis(1))).await;
    let last = world.sign(&server).await.unwrap();
    assert_eq!(kid(&last), old);
    world.pass(Duration::from_millis(1)).await;
    assert_eq!(kid(&world.sign(&server).await.unwrap()), new);

    // The last token of the old key is verified for as long as it lives.
    world.pass(LIFE).await;
    server.reload().await.unwrap();
    assert!(server.verify(&last).await.is_ok());
    assert_eq!(published(&server).len(), 2);
    assert!(world.announce().await.is_some(), "the next rotation need not wait for the end of this one");
    world.pass(Duration::from_mins(1)).await;
    server.reload().await.unwrap();
    assert!(!published(&server).contains(&old));
    world.pass(SECOND).await;
    assert!(matches!(server.verify(&last).await, Err(VerifyError::Refused(AccessTokenError::UnknownKey))));
    assert!(!world.database.rows.lock().unwrap().iter().any(|row| row.key.id.0 == old), "its row is gone too");
}

/// The worst case: a server that has just read the list when a key is announced, and a resource server that has just
/// fetched the public keys from it before it reads the list again.
#[tokio::test(start_paused = true)]
async fn s6_no_token_is_signed_with_a_key_that_somebody_may_not_know_yet() {
    let world = World::new().await;
    let (signer, publisher) = (world.server().await, world.server().await);
    let new = world.announce().await.unwrap().0;
    world.pass(KEY_LIST_MAX_AGE).await;
    signer.reload().await.unwrap();
    let copy = published(&publisher);
    assert!(!copy.contains(&new));
    world.pass(JWKS_MAX_AGE).await;
    let token = world.sign(&signer).await.unwrap();
    assert!(copy.contains(&kid(&token)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_slept_through_an_announcement_reads_the_list_before_it_signs() {
    let world = World::new().await;
    let server = world.server().await;
    let new = world.announce().await.unwrap().0;
    world.pass(ANNOUNCEMENT).await;
    assert_eq!(kid(&world.sign(&server).await.unwrap()), new);

    world.pass(KEY_LIST_MAX_AGE).await;
    world.database.away.store(true, Ordering::SeqCst);
    assert!(world.sign(&server).await.is_ok(), "its list is young enough");
    world.pass(SECOND).await;
    for _ in 0..2 {
        let refused = world.sign(&server).await.unwrap_err();
        assert!(matches!(refused, KeyError::Store(StoreError::Unavailable(_))), "{refused:?}");
    }
    // Also before a session is changed it is told, and with time to spare.
    world.pass(SECOND).await;
    assert!(server.prepare(world.database.now()).await.is_err());
    world.database.away.store(false, Ordering::SeqCst);
    server.prepare(world.database.now()).await.unwrap();
    world.database.away.store(true, Ordering::SeqCst);
    world.pass(KEY_LIST_MAX_AGE / 2 + SECOND).await;
    assert!(server.prepare(world.database.now()).await.is_err());
    // It does not wait for a database that is back: the reading that failed was a moment ago.
    world.database.away.store(false, Ordering::SeqCst);
    server.prepare(world.database.now()).await.unwrap();
    assert!(world.sign(&server).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_running_server_notices_a_rotation_by_itself() {
    let world = World::new().await;
    let server = Arc::new(world.server().await);
    let keeper = Arc::clone(&server);
    let keeping = tokio::spawn(async move { keeper.keep_current().await });
    tokio::task::yield_now().await;
    world.database.away.store(true, Ordering::SeqCst);
    world.pass(RELOAD_PERIOD).await;
    world.database.away.store(false, Ordering::SeqCst);
    let new = world.announce().await.unwrap().0;
    sleep(RELOAD_PERIOD + SECOND).await;
    assert!(published(&server).contains(&new), "a database that was away ends nothing");
    keeping.abort();
}

#[tokio::test(start_paused = true)]
async fn the_longest_life_of_any_server_counts() {
    let world = World::new().await;
    let (short, long) = (world.server_with(SECOND).await, world.server_with(LIFE * 4).await);
    let token = world.sign(&long).await.unwrap();
    let old = kid(&token);
    world.announce().await.unwrap();
    world.pass(ANNOUNCEMENT).await;
    // A server that comes later cannot have signed with the old key, so it changes nothing about it.
    world.server_with(LIFE * 100).await;
    world.pass(LIFE * 4).await;
    short.reload().await.unwrap();
    assert!(short.verify(&token).await.is_ok());
    world.pass(Duration::from_mins(1)).await;
    short.reload().await.unwrap();
    assert!(!published(&short).contains(&old));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_key_verifies_nothing_any_more_not_even_what_it_had_verified() {
    let world = World::new().await;
    let (one, two) = (world.server().await, world.server().await);
    let old = world.sign(&one).await.unwrap();
    for server in [&one, &two] {
        assert!(server.verify(&old).await.is_ok());
    }
    world.announce().await.unwrap();
    let new = replace(&*world.database, &world.peppers).await.unwrap().0;
    one.reload().await.unwrap();
    assert_eq!(published(&one), [new.as_str()]);
    // Not even a moment after it has read the list, when the next reading is not due yet.
    two.reload().await.unwrap();
    let newest = replace(&*world.database, &world.peppers).await.unwrap().0;
    one.reload().await.unwrap();
    let token = world.sign(&one).await.unwrap();
    assert_eq!(kid(&token), newest);
    assert!(two.verify(&token).await.is_ok(), "a genuine token is not refused by a list that is older than it");
    let new = replace(&*world.database, &world.peppers).await.unwrap().0;
    one.reload().await.unwrap();
    assert!(matches!(one.verify(&old).await, Err(VerifyError::Refused(AccessTokenError::UnknownKey))));
    // The other one meets the new key before it has read the list again.
    let token = world.sign(&one).await.unwrap();
    assert_eq!(kid(&token), new);
    world.pass(SECOND).await;
    assert!(two.verify(&token).await.is_ok());
    assert!(two.verify(&old).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn forgers_do_not_keep_the_database_busy_and_nobody_is_refused_while_it_is_away() {
    let (world, stranger) = (World::new().await, World::new().await);
    let server = world.server().await;
    let forged = stranger.sign(&stranger.server().await).await.unwrap();
    let before = world.reads();
    // They wait for the next reading, and share it.
    let verified = join_all((0..1000).map(|_| server.verify(&forged))).await;
    for verified in verified {
        assert!(matches!(verified, Err(VerifyError::Refused(AccessTokenError::UnknownKey))));
    }
    assert_eq!(world.reads() - before, 1);
    world.database.away.store(true, Ordering::SeqCst);
    world.pass(SECOND).await;
    for _ in 0..1000 {
        let error = server.verify(&forged).await.unwrap_err();
        assert!(matches!(error, VerifyError::Keys(KeyError::Store(StoreError::Unavailable(_)))), "{error:?}");
    }
    assert_eq!(world.reads() - before, 2);
    let genuine = world.sign(&server).await.unwrap();
    assert!(server.verify(&genuine).await.is_ok(), "a known key needs no database");
}

#[tokio::test(start_paused = true)]
async fn what_was_verified_is_remembered_over_readings_and_announcements() {
    let world = World::new().await;
    let server = world.server().await;
    let token = world.sign(&server).await.unwrap();
    server.verify(&token).await.unwrap();
    let before = Arc::clone(server.current().verified());
    server.reload().await.unwrap();
    world.announce().await.unwrap();
    server.reload().await.unwrap();
    assert!(Arc::ptr_eq(&before, server.current().verified()));
    replace(&*world.database, &world.peppers).await.unwrap();
    server.reload().await.unwrap();
    assert!(!Arc::ptr_eq(&before, server.current().verified()));
}

#[tokio::test]
async fn a_key_that_is_damaged_or_under_another_pepper_is_named() {
    let world = World::new().await;
    world.server().await;
    let load = || KeyRing::load(Arc::<Database>::clone(&world.database), Arc::clone(&world.peppers), LIFE);
    let change = |change: fn(&mut SealedKey)| change(&mut world.database.rows.lock().unwrap()[0].key);
    change(|key| key.pepper_id = PepperId(2));
    assert!(matches!(load().await, Err(KeyError::Unusable(UnusableKey::OtherPepper(_, PepperId(2))))));
    change(|key| key.pepper_id = PepperId(1));
    assert!(load().await.is_ok());
    change(|key| key.sealed[20] ^= 1);
    assert!(matches!(load().await, Err(KeyError::Unusable(UnusableKey::Damaged(_)))));
    change(|key| key.sealed[20] ^= 1);
    // Rows cannot change names.
    change(|key| key.id = KeyId("another".to_owned()));
    assert!(matches!(load().await, Err(KeyError::Unusable(UnusableKey::Damaged(_)))));
}

/// Another server has a newer pepper, or a row is damaged: this one goes on with what it can open.
#[tokio::test(start_paused = true)]
async fn a_key_that_a_running_server_cannot_open_stops_no_other() {
    let world = World::new().await;
    let (one, other) = (world.server().await, world.server().await);
    let before = world.sign(&one).await.unwrap();
    world.announce().await.unwrap();
    let sealed = world.database.rows.lock().unwrap()[1].key.clone();
    let put = |key: &SealedKey| world.database.rows.lock().unwrap()[1].key = key.clone();
    for harm in [|key: &mut SealedKey| key.pepper_id = PepperId(2), |key: &mut SealedKey| key.sealed[20] ^= 1] {
        let mut harmed = sealed.clone();
        harm(&mut harmed);
        put(&harmed);
        one.reload().await.unwrap();
        one.reload().await.unwrap();
        assert!(one.verify(&before).await.is_ok());
        assert!(world.sign(&one).await.is_ok(), "it is not its turn yet");
        assert_eq!(one.jwks().matches("kid").count(), 1);
    }
    // Its turn comes: no token may outlive the old one.
    put(&sealed);
    other.reload().await.unwrap();
    world.pass(ANNOUNCEMENT).await;
    let after = world.sign(&other).await.unwrap();
    put(&SealedKey { pepper_id: PepperId(2), ..sealed.clone() });
    one.reload().await.unwrap();
    assert!(matches!(world.sign(&one).await, Err(KeyError::Unusable(UnusableKey::OtherPepper(..)))));
    assert!(one.verify(&before).await.is_ok());
    let reads = world.reads();
    for _ in 0..100 {
        let error = one.verify(&after).await.unwrap_err();
        assert!(matches!(error, VerifyError::Keys(KeyError::Unusable(_))), "{error:?}");
    }
    assert_eq!(world.reads(), reads);
    // What is gone is refused all the same.
    world.database.rows.lock().unwrap().remove(0);
    one.reload().await.unwrap();
    let error = one.verify(&before).await.unwrap_err();
    assert!(matches!(error, VerifyError::Refused(AccessTokenError::UnknownKey)), "{error:?}");
}

#[tokio::test]
async fn s6_what_is_published_has_no_private_part() {
    let world = World::new().await;
    let server = world.server().await;
    let jwks: Value = serde_json::from_str(&server.jwks()).unwrap();
    let key = jwks["keys"][0].as_object().unwrap();
    let members: Vec<&str> = key.keys().map(String::as_str).collect();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"]);
    for (name, value) in [("alg", "EdDSA"), ("crv", "Ed25519"), ("kty", "OKP"), ("use", "sig")] {
        assert_eq!(key[name], value);
    }
    assert_eq!(key["x"].as_str().unwrap().len(), 43, "32 bytes");
}
