use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

use super::*;
use crate::domain::{KeyId, KeyTimes, UnixMillis};
use crate::ports::{Forgotten, KeyList, LiveSessions, ScheduledKey, SealedKey};

/// A database that knows no more than its peppers and what needs them.
#[derive(Default)]
struct Database {
    peppers: Mutex<Vec<KnownPepper>>,
    /// Of each session that lives the pepper.
    sessions: Mutex<Vec<PepperId>>,
    keys: Mutex<Vec<ScheduledKey>>,
    /// How often the sessions were counted.
    counts: AtomicUsize,
    /// A pepper that another server adds just before the next one.
    other: Mutex<Option<KnownPepper>>,
}

#[async_trait]
impl KeyStore for Database {
    async fn known_peppers(&self) -> Result<Vec<KnownPepper>, StoreError> {
        Ok(self.peppers.lock().unwrap().clone())
    }
    async fn add_pepper(&self, pepper: &KnownPepper) -> Result<bool, StoreError> {
        let mut peppers = self.peppers.lock().unwrap();
        peppers.extend(self.other.lock().unwrap().take());
        if peppers.iter().any(|known| known.id == pepper.id) {
            return Ok(false);
        }
        peppers.push(pepper.clone());
        Ok(true)
    }
    async fn pepper_has_live_sessions(&self, id: PepperId) -> Result<bool, StoreError> {
        Ok(self.sessions.lock().unwrap().contains(&id))
    }
    async fn live_sessions_of_pepper(&self, id: PepperId) -> Result<LiveSessions, StoreError> {
        self.counts.fetch_add(1, Ordering::SeqCst);
        let count = self.sessions.lock().unwrap().iter().filter(|of| **of == id).count() as u64;
        Ok(LiveSessions { count, until: (count > 0).then_some(UnixMillis(1_767_225_600_000)) })
    }
    async fn forget_pepper(&self, _: PepperId, _: Option<&SealedKey>) -> Result<Option<Forgotten>, StoreError> {
        Err(no_changes())
    }
    async fn signing_keys(&self) -> Result<KeyList, StoreError> {
        Ok(KeyList { now: UnixMillis(1_000_000_000), keys: self.keys.lock().unwrap().clone() })
    }
    async fn add_first_signing_key(&self, _: &SealedKey) -> Result<(), StoreError> {
        Err(no_changes())
    }
    async fn announce_signing_key(&self, _: &SealedKey, _: Duration) -> Result<bool, StoreError> {
        Err(no_changes())
    }
    async fn replace_signing_keys(&self, _: &SealedKey) -> Result<(), StoreError> {
        Err(no_changes())
    }
    async fn raise_longest_life(&self, _: &KeyId, _: Duration) -> Result<(), StoreError> {
        Err(no_changes())
    }
    async fn remove_signing_key(&self, _: &KeyId) -> Result<bool, StoreError> {
        Err(no_changes())
    }
}

impl Database {
    /// Adds a signing key.
    fn seal_key(&self, pepper: PepperId, signs_from: i64) {
        let key = SealedKey { id: KeyId(format!("k{signs_from}")), sealed: Vec::new(), pepper_id: pepper };
        let times = KeyTimes { signs_from: UnixMillis(signs_from), longest_life: Duration::from_mins(15) };
        self.keys.lock().unwrap().push(ScheduledKey { key, times });
    }

    fn ids(&self) -> Vec<i64> {
        self.peppers.lock().unwrap().iter().map(|known| known.id.0).collect()
    }
}

fn no_changes() -> StoreError {
    StoreError::Unexpected("peppers change no keys".into())
}

fn pepper(byte: u8) -> Pepper {
    Pepper(SecretSlice::from(vec![byte; BYTES]))
}

/// Peppers from the environment, the newest first.
fn given(bytes: &[u8]) -> PepperSource {
    let words: Vec<String> = bytes.iter().map(|byte| STANDARD.encode([*byte; BYTES])).collect();
    PepperSource::Given(SecretString::from(words.join(" ")))
}

async fn load(source: &PepperSource, database: &Database) -> Result<Peppers, PepperError> {
    Peppers::load(source, database, Absent::Check).await
}

/// A file that only its owner may read, where there are such files.
fn write_private(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn only_the_same_pepper_and_label_open_what_was_sealed() {
    let sealed = pepper(1).seal("label", b"canary").unwrap();
    assert!(!sealed.windows(6).any(|bytes| bytes == b"canary"));
    assert_eq!(pepper(1).open("label", &sealed).unwrap().as_slice(), b"canary");
    assert!(pepper(2).open("label", &sealed).is_err());
    assert!(pepper(1).open("other", &sealed).is_err());
    assert!(pepper(1).open("label", &sealed[..5]).is_err());
    assert_ne!(sealed, pepper(1).seal("label", b"canary").unwrap(), "a nonce of its own each time");
}

#[test]
fn debug_shows_nothing_of_it() {
    let throttle_key = Zeroizing::new(vec![65; 32]);
    let peppers = Peppers { all: vec![(PepperId(7), pepper(65))], throttle_key, newer_waits: false };
    assert_eq!(format!("{peppers:?}"), "[PepperId(7)]");
    assert!(!format!("{:?}", given(&[65])).contains("QUFB"));
}

#[tokio::test]
async fn s7_a_short_or_garbled_pepper_is_refused_wherever_it_comes_from() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pepper");
    let long = STANDARD.encode([7; 4096]);
    let short = STANDARD.encode([7; BYTES - 1]);
    for text in ["", "\n", "!!!", &short, &format!("{short}\n"), &"=".repeat(44), &"é".repeat(44), &long] {
        let database = Database::default();
        write_private(&path, text.as_bytes());
        let file = load(&PepperSource::File(path.clone()), &database).await.unwrap_err();
        assert!(matches!(file, PepperError::Unusable(_)), "{text}: {file:?}");
        assert!(file.to_string().contains("a.pepper") && file.hint().is_some(), "{file}");
        assert!(!format!("{file} {file:?}").contains(&short), "{file:?}");
        if text != long {
            let given = load(&PepperSource::Given(SecretString::from(text)), &database).await.unwrap_err();
            assert!(given.to_string().contains("AUTHCLI_SERVER_PEPPER"), "{given}");
        }
        assert!(database.ids().is_empty(), "no database is bound to it");
        assert_eq!(fs::read(&path).unwrap(), text.as_bytes(), "and nothing is made in its place");
    }
    write_private(&path, b"\xff\xfe not text at all, but long enough to be a key \xff\xfe");
    let bytes = load(&PepperSource::File(path.clone()), &Database::default()).await.unwrap_err();
    assert!(matches!(bytes, PepperError::Unusable(_)), "{bytes:?}");
    for text in [STANDARD.encode([7; BYTES]), format!("  {}\r\n", STANDARD.encode([7; 64]))] {
        write_private(&path, text.as_bytes());
        assert!(load(&PepperSource::File(path.clone()), &Database::default()).await.is_ok(), "{text}");
    }
}

#[tokio::test]
async fn s7_a_database_belongs_to_the_first_pepper_that_it_meets() {
    let database = Database::default();
    load(&given(&[1]), &database).await.unwrap();
    assert!(load(&given(&[1]), &database).await.is_ok());
    let other = load(&given(&[2]), &database).await.unwrap_err();
    assert!(matches!(other, PepperError::Mismatch) && other.hint().is_some(), "{other:?}");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pepper");
    write_private(&path, STANDARD.encode([2; BYTES]).as_bytes());
    let other = load(&PepperSource::File(path.clone()), &database).await.unwrap_err();
    assert!(matches!(other, PepperError::Mismatch), "{other:?}");
    fs::remove_file(&path).unwrap();
    let missing = load(&PepperSource::File(path.clone()), &database).await.unwrap_err();
    assert!(matches!(missing, PepperError::Missing(_)) && !path.exists(), "{missing:?}");
}

#[tokio::test]
async fn a_first_start_makes_a_file_of_its_owners_alone_and_the_environment_makes_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db.pepper");
    let source = PepperSource::beside(&directory.path().join("a.db"));
    let names = || fs::read_dir(directory.path()).unwrap().count();
    load(&given(&[1]), &Database::default()).await.unwrap();
    assert_eq!(names(), 0);
    let (one, two) = (Database::default(), Database::default());
    load(&source, &one).await.unwrap();
    assert_eq!(names(), 1, "nothing is left over");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(STANDARD.decode(fs::read_to_string(&path).unwrap().trim()).unwrap().len(), BYTES);
    load(&source, &one).await.unwrap();
    load(&source, &two).await.unwrap();
    assert_eq!(one.known_peppers().await.unwrap(), two.known_peppers().await.unwrap(), "it is made once");
}

/// Two first starts at once: whoever is later takes what is there.
#[test]
fn a_file_that_somebody_else_has_just_made_counts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pepper");
    let start = std::sync::Barrier::new(8);
    let made: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let make = || {
            start.wait();
            let source = PepperSource::File(path.clone());
            source.make().unwrap();
            source.read().unwrap().unwrap()[0].expose_secret().to_vec()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.iter().all(|one| one == &made[0] && one.len() == BYTES));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pepper");
    write_private(&path, STANDARD.encode([1; BYTES]).as_bytes());
    for mode in [0o640, 0o604, 0o620, 0o601, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let exposed = load(&PepperSource::File(path.clone()), &Database::default()).await.unwrap_err();
        assert!(matches!(exposed, PepperError::Exposed(_)), "{mode:o}: {exposed:?}");
        assert!(exposed.hint().unwrap().starts_with("chmod 600"), "{mode:o}");
    }
}

#[tokio::test]
async fn a_new_pepper_is_put_before_the_old_one_and_nothing_is_lost() {
    let database = Database::default();
    let old = load(&given(&[1]), &database).await.unwrap();
    assert_eq!(old.newest(), FIRST);
    let sealed = old.seal("label", b"canary").unwrap();
    let first_tag = old.session_key(FIRST, b"salt").unwrap();

    let both = load(&given(&[2, 1]), &database).await.unwrap();
    assert_eq!((both.newest(), database.ids()), (PepperId(2), vec![1, 2]));
    assert_eq!(both.open(FIRST, "label", &sealed).unwrap().unwrap().as_slice(), b"canary");
    let key = both.session_key(FIRST, b"salt").unwrap();
    let token = crate::domain::RefreshToken {
        session: crate::domain::SessionId([1; 16]),
        generation: crate::domain::Generation::FIRST,
    };
    assert_eq!(key.sign(token).expose_secret(), first_tag.sign(token).expose_secret());
    let new_key = both.session_key(PepperId(2), b"salt").unwrap();
    assert_ne!(new_key.sign(token).expose_secret(), first_tag.sign(token).expose_secret());
    assert!(both.session_key(PepperId(3), b"salt").is_none());
    assert!(both.open(PepperId(2), "label", &sealed).unwrap().is_err(), "sealed under the other");

    // Whatever order they come in, and when the first is gone: failed logins are counted under the same key.
    assert_eq!(load(&given(&[1, 2]), &database).await.unwrap().newest(), FIRST);
    let new = load(&given(&[2]), &database).await.unwrap();
    let newest = load(&given(&[3, 2]), &database).await.unwrap();
    assert_eq!(database.ids(), [1, 2, 3]);
    for peppers in [&both, &new, &newest] {
        assert_eq!(peppers.throttle_key, old.throttle_key);
    }
    let stored = format!("{:?}", database.peppers.lock().unwrap());
    assert!(!stored.contains(&format!("{:?}", old.throttle_key.as_slice())), "sealed");
    assert_ne!(load(&given(&[4]), &Database::default()).await.unwrap().throttle_key, old.throttle_key);
}

#[tokio::test]
async fn a_pepper_that_is_still_needed_must_be_there() {
    let database = Database::default();
    load(&given(&[1]), &database).await.unwrap();
    load(&given(&[2, 1]), &database).await.unwrap();
    let refused = async |peppers: &[u8]| load(&given(peppers), &database).await.unwrap_err();

    database.sessions.lock().unwrap().extend([FIRST, PepperId(2), FIRST]);
    let error = refused(&[2]).await;
    assert!(matches!(error, PepperError::StillNeeded { id: FIRST, .. }), "{error:?}");
    let sentence = error.to_string();
    assert!(sentence.contains("pepper 1 ") && sentence.contains("2 sessions (the last until 2026-01-01"), "{sentence}");
    assert!(error.hint().is_some());
    // A file from before the rotation was restored.
    let error = refused(&[1]).await;
    assert!(matches!(error, PepperError::StillNeeded { id: PepperId(2), .. }), "{error:?}");
    // A third one is not told to the database along with that.
    assert!(matches!(refused(&[3, 2]).await, PepperError::StillNeeded { id: FIRST, .. }));
    assert_eq!(database.ids(), [1, 2]);
    assert!(matches!(refused(&[3]).await, PepperError::Mismatch));

    database.sessions.lock().unwrap().clear();
    assert!(load(&given(&[2]), &database).await.is_ok());
    // A signing key needs it, too, until it is dead. The first signs until the second does, 16 minutes before now.
    database.seal_key(FIRST, 0);
    let error = refused(&[2]).await;
    assert!(error.to_string().ends_with("0 sessions and 1 signing key need it"), "{error}");
    assert!(Peppers::load(&given(&[2]), &database, Absent::Ignore).await.is_ok());
    database.seal_key(PepperId(2), 1_000_000_000 - 16 * 60_000 + 1);
    assert!(matches!(refused(&[2]).await, PepperError::StillNeeded { id: FIRST, .. }));
    database.keys.lock().unwrap()[1].times.signs_from = UnixMillis(1_000_000_000 - 16 * 60_000);
    assert!(load(&given(&[2]), &database).await.is_ok());
}

#[tokio::test]
async fn of_two_servers_with_a_first_pepper_each_one_is_refused() {
    let database = Database::default();
    let other = KnownPepper { id: FIRST, check_value: pepper(9).check_value(), throttle_key: None };
    *database.other.lock().unwrap() = Some(other);
    let error = load(&given(&[1]), &database).await.unwrap_err();
    assert!(matches!(error, PepperError::Mismatch), "{error:?}");
    assert_eq!(database.ids(), [1]);
}

/// Whoever is second is told: the two would not know each other's sessions.
#[tokio::test]
async fn of_two_servers_with_a_new_pepper_each_one_is_refused() {
    let database = Database::default();
    load(&given(&[1]), &database).await.unwrap();
    *database.other.lock().unwrap() =
        Some(KnownPepper { id: PepperId(2), check_value: pepper(9).check_value(), throttle_key: None });
    let error = load(&given(&[2, 1]), &database).await.unwrap_err();
    assert!(matches!(error, PepperError::NewerMissing(PepperId(2))) && error.hint().is_some(), "{error:?}");
    assert!(matches!(load(&given(&[1]), &database).await, Err(PepperError::NewerMissing(PepperId(2)))));
    assert_eq!(database.ids(), [1, 2]);
}

#[tokio::test]
async fn several_new_ones_are_numbered_by_age() {
    let database = Database::default();
    assert_eq!(load(&given(&[2, 1]), &database).await.unwrap().newest(), PepperId(2));
    assert_eq!(load(&given(&[4, 3, 2, 1]), &database).await.unwrap().newest(), PepperId(4));
    assert_eq!(load(&given(&[4]), &database).await.unwrap().newest(), PepperId(4), "the older ones may go");
}

/// What commands make must be opened by servers that run.
#[tokio::test]
async fn a_command_seals_under_the_newest_that_servers_have() {
    let database = Database::default();
    let old = load(&given(&[1]), &database).await.unwrap();
    let known = Peppers::load_known(&given(&[2, 1]), &database, Absent::Check).await.unwrap();
    assert_eq!((known.newest(), known.newer_waits(), database.ids()), (FIRST, true, vec![1]));
    let sealed = known.seal("label", b"canary").unwrap();
    assert_eq!(old.open(FIRST, "label", &sealed).unwrap().unwrap().as_slice(), b"canary");
    assert!(matches!(Peppers::load_known(&given(&[2]), &database, Absent::Ignore).await, Err(PepperError::Mismatch)));
    load(&given(&[2, 1]), &database).await.unwrap();
    let known = Peppers::load_known(&given(&[2, 1]), &database, Absent::Check).await.unwrap();
    assert_eq!((known.newest(), known.newer_waits()), (PepperId(2), false));
    let behind = Peppers::load_known(&given(&[1]), &database, Absent::Ignore).await;
    assert!(matches!(behind, Err(PepperError::NewerMissing(PepperId(2)))), "{behind:?}");
}

#[tokio::test]
async fn the_command_rewrites_the_file_whole_and_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pepper");
    let source = PepperSource::File(path.clone());
    let database = Database::default();
    assert!(matches!(rotate(&source, &database).await, Err(PepperError::Missing(_))), "there is none yet");
    load(&source, &database).await.unwrap();
    let first = fs::read_to_string(&path).unwrap();
    rotate(&source, &database).await.unwrap();
    let both = fs::read_to_string(&path).unwrap();
    assert_eq!(both.lines().count(), 2);
    assert!(both.ends_with(&first) && !both.starts_with(&first), "the new one comes first");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left over");

    // Once more only when a server has been started with it.
    assert!(matches!(rotate(&source, &database).await, Err(PepperError::Waiting)));
    assert_eq!(fs::read_to_string(&path).unwrap(), both);
    load(&source, &database).await.unwrap();
    rotate(&source, &database).await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
    // Not for a file that is another database's, nor for the environment.
    let other = Database::default();
    load(&given(&[1]), &other).await.unwrap();
    assert!(matches!(rotate(&source, &other).await, Err(PepperError::Mismatch)));
    let environment = rotate(&given(&[1]), &other).await.unwrap_err();
    assert!(matches!(environment, PepperError::NotInAFile) && environment.hint().is_some());
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_the_file_stays_one() {
    let directory = tempfile::tempdir().unwrap();
    let (link, file) = (directory.path().join("link"), directory.path().join("a.pepper"));
    let database = Database::default();
    load(&PepperSource::File(file.clone()), &database).await.unwrap();
    std::os::unix::fs::symlink("a.pepper", &link).unwrap();
    rotate(&PepperSource::File(link.clone()), &database).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn what_each_pepper_is_needed_for_is_listed() {
    let database = Database::default();
    assert_eq!(list(&given(&[1]), &database).await.unwrap()[0].id, None);
    assert!(database.ids().is_empty(), "nothing is changed");
    load(&given(&[1]), &database).await.unwrap();
    load(&given(&[2, 1]), &database).await.unwrap();
    database.sessions.lock().unwrap().push(FIRST);
    let listed = list(&given(&[3, 2]), &database).await.unwrap();
    let told: Vec<_> = listed
        .iter()
        .map(|one| (one.id.map(|id| id.0), one.role, one.needs.map(|needs| needs.sessions.count)))
        .collect();
    let expected = [(None, Role::Newest, None), (Some(2), Role::Older, Some(0)), (Some(1), Role::Absent, Some(1))];
    assert_eq!(told, expected);
}

/// A count of millions takes longer than a statement may, and then no server could start.
#[tokio::test]
async fn sessions_are_counted_only_where_their_number_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pepper");
    write_private(&path, format!("{}\n", STANDARD.encode([1; BYTES])).as_bytes());
    let source = PepperSource::File(path);
    let database = Database::default();
    load(&source, &database).await.unwrap();
    rotate(&source, &database).await.unwrap();
    let both = load(&source, &database).await.unwrap();
    database.sessions.lock().unwrap().push(PepperId(2));
    both.tell_needless(&database).await.unwrap();
    // The first one is gone, and nothing needed it.
    let text = fs::read_to_string(directory.path().join("pepper")).unwrap();
    write_private(&directory.path().join("pepper"), text.lines().next().unwrap().as_bytes());
    load(&source, &database).await.unwrap();
    let counts = || database.counts.load(Ordering::SeqCst);
    assert_eq!(counts(), 0);
    assert_eq!(list(&source, &database).await.unwrap().len(), 2);
    assert_eq!(counts(), 2);
}
