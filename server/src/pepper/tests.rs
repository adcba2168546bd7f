use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::domain::KeyId;
use crate::ports::{KeyList, KnownPepper, SealedKey};

/// A database that knows no more than its pepper.
#[derive(Default)]
struct Database(Mutex<Option<KnownPepper>>);

#[async_trait]
impl KeyStore for Database {
    async fn known_pepper(&self) -> Result<Option<KnownPepper>, StoreError> {
        Ok(self.0.lock().unwrap().clone())
    }
    async fn bind_pepper(&self, check_value: &[u8]) -> Result<KnownPepper, StoreError> {
        let bound = || KnownPepper { id: PepperId(1), check_value: check_value.to_vec() };
        Ok(self.0.lock().unwrap().get_or_insert_with(bound).clone())
    }
    async fn signing_keys(&self) -> Result<KeyList, StoreError> {
        Err(no_keys())
    }
    async fn add_first_signing_key(&self, _: &SealedKey) -> Result<(), StoreError> {
        Err(no_keys())
    }
    async fn announce_signing_key(&self, _: &SealedKey, _: std::time::Duration) -> Result<bool, StoreError> {
        Err(no_keys())
    }
    async fn replace_signing_keys(&self, _: &SealedKey) -> Result<(), StoreError> {
        Err(no_keys())
    }
    async fn raise_longest_life(&self, _: &KeyId, _: std::time::Duration) -> Result<(), StoreError> {
        Err(no_keys())
    }
    async fn remove_signing_key(&self, _: &KeyId) -> Result<bool, StoreError> {
        Err(no_keys())
    }
}

fn no_keys() -> StoreError {
    StoreError::Unexpected("a pepper needs no keys".into())
}

fn pepper(byte: u8) -> Pepper {
    Pepper { id: PepperId(1), secret: SecretSlice::from(vec![byte; BYTES]) }
}

fn given(byte: u8) -> PepperSource {
    PepperSource::Given(SecretString::from(STANDARD.encode([byte; BYTES])))
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
    assert_eq!(format!("{:?}", pepper(65)), "Pepper { id: PepperId(1), .. }");
    assert!(!format!("{:?}", given(65)).contains("QUFB"));
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
        let file = Pepper::load(&PepperSource::File(path.clone()), &database).await.unwrap_err();
        assert!(matches!(file, PepperError::Unusable(_)), "{text}: {file:?}");
        assert!(file.to_string().contains("a.pepper") && file.hint().is_some(), "{file}");
        assert!(!format!("{file} {file:?}").contains(&short), "{file:?}");
        if text != long {
            let given = Pepper::load(&PepperSource::Given(SecretString::from(text)), &database).await.unwrap_err();
            assert!(given.to_string().contains("AUTHCLI_SERVER_PEPPER"), "{given}");
        }
        assert!(database.known_pepper().await.unwrap().is_none(), "no database is bound to it");
        assert_eq!(fs::read(&path).unwrap(), text.as_bytes(), "and nothing is made in its place");
    }
    write_private(&path, b"\xff\xfe not text at all, but long enough to be a key \xff\xfe");
    let bytes = Pepper::load(&PepperSource::File(path.clone()), &Database::default()).await.unwrap_err();
    assert!(matches!(bytes, PepperError::Unusable(_)), "{bytes:?}");
    for text in [STANDARD.encode([7; BYTES]), format!("  {}\r\n", STANDARD.encode([7; 64]))] {
        write_private(&path, text.as_bytes());
        assert!(Pepper::load(&PepperSource::File(path.clone()), &Database::default()).await.is_ok(), "{text}");
    }
}

#[tokio::test]
async fn s7_a_database_belongs_to_the_first_pepper_that_it_meets() {
    let database = Database::default();
    Pepper::load(&given(1), &database).await.unwrap();
    assert!(Pepper::load(&given(1), &database).await.is_ok());
    let other = Pepper::load(&given(2), &database).await.unwrap_err();
    assert!(matches!(other, PepperError::Mismatch) && other.hint().is_some(), "{other:?}");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pepper");
    write_private(&path, STANDARD.encode([2; BYTES]).as_bytes());
    let other = Pepper::load(&PepperSource::File(path.clone()), &database).await.unwrap_err();
    assert!(matches!(other, PepperError::Mismatch), "{other:?}");
    fs::remove_file(&path).unwrap();
    let missing = Pepper::load(&PepperSource::File(path.clone()), &database).await.unwrap_err();
    assert!(matches!(missing, PepperError::Missing(_)) && !path.exists(), "{missing:?}");
}

#[tokio::test]
async fn a_first_start_makes_a_file_of_its_owners_alone_and_the_environment_makes_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db.pepper");
    let source = PepperSource::beside(&directory.path().join("a.db"));
    let names = || fs::read_dir(directory.path()).unwrap().count();
    Pepper::load(&given(1), &Database::default()).await.unwrap();
    assert_eq!(names(), 0);
    let (one, two) = (Database::default(), Database::default());
    Pepper::load(&source, &one).await.unwrap();
    assert_eq!(names(), 1, "nothing is left over");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(STANDARD.decode(fs::read_to_string(&path).unwrap().trim()).unwrap().len(), BYTES);
    Pepper::load(&source, &one).await.unwrap();
    Pepper::load(&source, &two).await.unwrap();
    assert_eq!(one.known_pepper().await.unwrap(), two.known_pepper().await.unwrap(), "it is made once");
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
            make_file(&path).unwrap().expose_secret().to_vec()
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
        let exposed = Pepper::load(&PepperSource::File(path.clone()), &Database::default()).await.unwrap_err();
        assert!(matches!(exposed, PepperError::Exposed(_)), "{mode:o}: {exposed:?}");
        assert!(exposed.hint().unwrap().starts_with("chmod 600"), "{mode:o}");
    }
}
