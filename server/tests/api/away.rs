//! The database goes away and comes back: 503 meanwhile, and nobody is told that a good token is bad.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{App, test};
use async_trait::async_trait;
use authcli_server::auth::Auth;
use authcli_server::domain::{
    AttemptKey, Bucket, Counted, KeyId, Password, PresentedRefreshToken, SessionId, Subject, Subjects, UnixMillis,
    UserId, Username,
};
use authcli_server::keys::KeyRing;
use authcli_server::password::Passwords;
use authcli_server::pepper::{Absent, Peppers};
use authcli_server::ports::{
    Forgotten, KeyList, KeyStore, KnownPepper, LiveSession, LiveSessions, LoginAttempts, NewSession, PasswordHash,
    PepperId, Reuse, Rotation, SealedKey, SessionDirectory, SessionRow, SessionSelection, SessionStore, SessionSummary,
    StoreError, StoredLogin, UnfinishedRevocation,
};
use authcli_server::routes::{self, TrustedProxies};
use authcli_server::store::{Missing, SqliteStore};
use serde_json::json;

use crate::helpers::{CHEAP, open_file, spawn_app};

/// A store that can be unplugged, whichever part of it is asked for.
struct Unpluggable {
    store: SqliteStore,
    away: AtomicBool,
}

impl Unpluggable {
    fn plugged(&self) -> Result<&SqliteStore, StoreError> {
        if self.away.load(Ordering::SeqCst) {
            Err(StoreError::Unavailable("unplugged".into()))
        } else {
            Ok(&self.store)
        }
    }
}

#[async_trait]
impl SessionStore for Unpluggable {
    async fn ping(&self) -> Result<(), StoreError> {
        self.plugged()?.ping().await
    }
    async fn login(&self, name: &Username) -> Result<Option<StoredLogin>, StoreError> {
        self.plugged()?.login(name).await
    }
    async fn renew_password_hash(&self, checked: &StoredLogin, renewed: &PasswordHash) -> Result<bool, StoreError> {
        self.plugged()?.renew_password_hash(checked, renewed).await
    }
    async fn open_session(&self, session: NewSession) -> Result<Option<LiveSession>, StoreError> {
        self.plugged()?.open_session(session).await
    }
    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.plugged()?.session(id).await
    }
    async fn rotate(&self, rotation: Rotation) -> Result<Option<LiveSession>, StoreError> {
        self.plugged()?.rotate(rotation).await
    }
    async fn revoke_reused(&self, reuse: Reuse) -> Result<bool, StoreError> {
        self.plugged()?.revoke_reused(reuse).await
    }
    async fn end_session(&self, id: SessionId) -> Result<bool, StoreError> {
        self.plugged()?.end_session(id).await
    }
}

#[async_trait]
impl SessionDirectory for Unpluggable {
    async fn sessions_of(&self, user: UserId) -> Result<Vec<SessionSummary>, StoreError> {
        self.plugged()?.sessions_of(user).await
    }
    async fn revoke_session_of(&self, user: UserId, id: SessionId) -> Result<bool, StoreError> {
        self.plugged()?.revoke_session_of(user, id).await
    }
    async fn revoke_sessions(&self, selection: &SessionSelection) -> Result<u64, UnfinishedRevocation> {
        let plugged = self.plugged().map_err(|source| UnfinishedRevocation { revoked: 0, source })?;
        plugged.revoke_sessions(selection).await
    }
}

#[async_trait]
impl LoginAttempts for Unpluggable {
    async fn buckets(&self, subjects: &Subjects) -> Result<Vec<Bucket>, StoreError> {
        self.plugged()?.buckets(subjects).await
    }
    async fn reserve_attempt(&self, subjects: &Subjects) -> Result<Option<Vec<Bucket>>, StoreError> {
        self.plugged()?.reserve_attempt(subjects).await
    }
    async fn refund_attempt(&self, subject: &Subject, counted: Counted) -> Result<(), StoreError> {
        self.plugged()?.refund_attempt(subject, counted).await
    }
    async fn remember_address(&self, known_address: &Subject, life: Duration) -> Result<(), StoreError> {
        self.plugged()?.remember_address(known_address, life).await
    }
}

/// The whole database, and each part that is asked by itself: what needs it is 503, and whatever does not goes on.
#[tokio::test]
async fn it_is_503_until_the_database_is_back() {
    // A server that has made the database, its users and its keys.
    let app = spawn_app().await;
    let login = app.login().await;
    let store = SqliteStore::open(&app.database(), Missing::Refuse).await.unwrap();
    let peppers = Arc::new(Peppers::load(&app.config.pepper, &store, Absent::Check).await.unwrap());
    let life = app.config.lifetimes.access;
    let keys = KeyRing::load(Arc::new(store.clone()), Arc::clone(&peppers), life).await.unwrap();
    let part = || Arc::new(Unpluggable { store: store.clone(), away: AtomicBool::new(false) });
    let (sessions, directory, attempts) = (part(), part(), part());
    let parts = [Arc::clone(&sessions), Arc::clone(&directory), Arc::clone(&attempts)];
    let passwords = Passwords::new(CHEAP).unwrap();
    let auth = Auth::new(sessions, directory, attempts, peppers, keys, passwords, app.config.lifetimes);
    let built = App::new().app_data(Data::new(auth)).app_data(Data::new(TrustedProxies::default()));
    let service = test::init_service(built.configure(routes::configure)).await;

    let refresh = json!({ "refreshToken": login.refresh });
    let credentials = json!({ "username": "admin", "password": "123456" });
    // First all that needs the sessions: nothing is remembered of the access token then.
    let outages = [[true; 3], [true, false, false], [false, true, false], [false, false, true], [false; 3]];
    for away in outages {
        let (left, ended) = (app.login().await.refresh, app.login().await.refresh);
        let left = json!({ "refreshToken": left });
        let ended = format!("/sessions/{}", PresentedRefreshToken::parse(&ended).unwrap().claimed_session());
        let calls = [
            (Method::GET, "/protected", &json!(null), 200, [true, false, false]),
            (Method::GET, "/readyz", &json!(null), 200, [true, false, false]),
            (Method::POST, "/login", &credentials, 200, [true, false, true]),
            (Method::POST, "/refresh", &refresh, 200, [true, false, false]),
            (Method::GET, "/sessions", &json!(null), 200, [true, true, false]),
            (Method::DELETE, &ended, &json!(null), 204, [true, true, false]),
            (Method::POST, "/logout", &left, 204, [true, false, false]),
        ];
        for (part, away) in parts.iter().zip(away) {
            part.away.store(away, Ordering::SeqCst);
        }
        for (method, path, body, status, needed) in calls {
            let request = test::TestRequest::with_uri(path)
                .method(method.clone())
                .insert_header(("Authorization", format!("Bearer {}", login.access)))
                .set_json(body);
            let response = test::call_service(&service, request.to_request()).await;
            let unavailable = needed.iter().zip(away).any(|(needed, away)| *needed && away);
            let expected = if unavailable { 503 } else { status };
            assert_eq!(response.status(), expected, "{method} {path}, away: {away:?}");
            assert_eq!(response.headers().contains_key("retry-after"), unavailable, "{method} {path}");
        }
        let health = test::TestRequest::with_uri("/healthz").to_request();
        assert_eq!(test::call_service(&service, health).await.status(), 200);
    }
}

/// A list of keys that can be unplugged alone, and be as old as the test wants it.
struct Keys {
    store: SqliteStore,
    away: AtomicBool,
    age_millis: AtomicI64,
}

#[async_trait]
impl KeyStore for Keys {
    async fn known_peppers(&self) -> Result<Vec<KnownPepper>, StoreError> {
        self.store.known_peppers().await
    }
    async fn add_pepper(&self, pepper: &KnownPepper) -> Result<bool, StoreError> {
        self.store.add_pepper(pepper).await
    }
    async fn pepper_has_live_sessions(&self, id: PepperId) -> Result<bool, StoreError> {
        self.store.pepper_has_live_sessions(id).await
    }
    async fn live_sessions_of_pepper(&self, id: PepperId) -> Result<LiveSessions, StoreError> {
        self.store.live_sessions_of_pepper(id).await
    }
    async fn forget_pepper(&self, id: PepperId, key: Option<&SealedKey>) -> Result<Option<Forgotten>, StoreError> {
        self.store.forget_pepper(id, key).await
    }
    async fn signing_keys(&self) -> Result<KeyList, StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("unplugged".into()));
        }
        let list = self.store.signing_keys().await?;
        Ok(KeyList { now: UnixMillis(list.now.0 - self.age_millis.load(Ordering::SeqCst)), ..list })
    }
    async fn add_first_signing_key(&self, key: &SealedKey) -> Result<(), StoreError> {
        self.store.add_first_signing_key(key).await
    }
    async fn announce_signing_key(&self, key: &SealedKey, announcement: Duration) -> Result<bool, StoreError> {
        self.store.announce_signing_key(key, announcement).await
    }
    async fn replace_signing_keys(&self, key: &SealedKey) -> Result<(), StoreError> {
        self.store.replace_signing_keys(key).await
    }
    async fn raise_longest_life(&self, id: &KeyId, life: Duration) -> Result<(), StoreError> {
        self.store.raise_longest_life(id, life).await
    }
    async fn remove_signing_key(&self, id: &KeyId) -> Result<bool, StoreError> {
        self.store.remove_signing_key(id).await
    }
}

/// After an outage that the list of keys was too old for, a client without a key would come back with a used token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_moves_on_or_is_opened_while_its_token_cannot_be_signed() {
    let app = spawn_app().await;
    let login = app.login().await;
    let store = SqliteStore::open(&app.database(), Missing::Refuse).await.unwrap();
    let peppers = Arc::new(Peppers::load(&app.config.pepper, &store, Absent::Check).await.unwrap());
    let (away, age_millis) = (AtomicBool::new(false), AtomicI64::new(40_000));
    let list = Arc::new(Keys { store: store.clone(), away, age_millis });
    let life = app.config.lifetimes.access;
    let keys = KeyRing::load(list.clone(), Arc::clone(&peppers), life).await.unwrap();
    let (store, passwords) = (Arc::new(store), Passwords::new(CHEAP).unwrap());
    let auth = Auth::new(store.clone(), store.clone(), store, peppers, keys, passwords, app.config.lifetimes);
    let auth = Arc::new(auth);
    let refresh = async || auth.refresh(&login.refresh, None::<AttemptKey>).await;
    let another_login = async || {
        let password = Password::presented("123456".to_owned());
        auth.login("admin", password, std::net::Ipv4Addr::LOCALHOST.into()).await
    };

    list.away.store(true, Ordering::SeqCst);
    assert!(auth.keys.reload().await.is_err(), "just now");
    for _ in 0..3 {
        assert!(refresh().await.is_err());
        assert!(another_login().await.is_err());
    }
    assert_eq!(app.db_session::<i64>("generation").await, 0);
    assert_eq!(app.db_value::<i64>("SELECT count(*) FROM sessions").await, 1);
    list.away.store(false, Ordering::SeqCst);
    list.age_millis.store(0, Ordering::SeqCst);
    // At once: the reading that failed was a moment ago.
    assert!(refresh().await.is_ok());
    assert!(another_login().await.is_ok(), "what was right was not counted as a failure");
}

/// Readers go on beside whoever writes; what must be written is given up when it was waited for long enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_another_process_keeps_locked_is_read_but_not_written() {
    let app = spawn_app().await;
    let login = app.login().await;
    let mut other = open_file(&app.database()).await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let begun = Instant::now();
    let status = async |path| app.request(reqwest::Method::GET, path).send().await.unwrap().status().as_u16();
    let written = async { tokio::join!(app.refresh_status(&login.refresh, None), status("/readyz")) };
    tokio::pin!(written);
    let mut reads = 0;
    let statuses = loop {
        tokio::select! {
            statuses = &mut written => break statuses,
            read = app.protected_status(&login.access) => {
                assert_eq!(read, 200);
                reads += 1;
            }
        }
    };
    assert_eq!(statuses, (503, 503));
    // For longer than what was read once counts.
    assert!(begun.elapsed() > Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(reads > 20, "{reads}");
    assert_eq!(status("/healthz").await, 200);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(app.refresh_status(&login.refresh, None).await, 200);
    assert_eq!(status("/readyz").await, 200);
}
