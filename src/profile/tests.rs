//! The configuration file, as people write it and as it is kept.

use super::*;

fn with_text(text: &str) -> (tempfile::TempDir, Result<Configuration, ProfileError>) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(FILE), text).unwrap();
    let loaded = Configuration::load(directory.path().into());
    (directory, loaded)
}

const FIXTURE: &str = include_str!("../fixtures/config-v1.toml");

#[test]
fn the_first_version_is_still_read() {
    let (_directory, configuration) = with_text(FIXTURE);
    let configuration = configuration.unwrap();
    let profile = configuration.profile("staging").unwrap();
    assert_eq!(profile.server.as_deref(), Some("https://staging.example.com/v1"));
    assert_eq!(profile.store, Some(StoreKind::Keyring));
    assert!(configuration.profile("default").unwrap().allow_http);
}

#[tokio::test]
async fn a_login_is_noted_without_touching_anything_else() {
    let (directory, configuration) = with_text(FIXTURE);
    let server = ServerUrl::parse("http://127.0.0.1:3000").unwrap();
    let note = LoginNote { server: &server, username: "admin", store: StoreKind::File, credential: "abc" };
    configuration.unwrap().note_login("new", &note).await.unwrap();
    let text = std::fs::read_to_string(directory.path().join(FILE)).unwrap();
    assert!(text.starts_with(FIXTURE.trim_end()), "{text}");
    let profile = Configuration::load(directory.path().into()).unwrap().profile("new").cloned().unwrap();
    assert_eq!(profile.server.as_deref(), Some("http://127.0.0.1:3000"));
    assert_eq!(profile.credential.as_deref(), Some("abc"));
}

#[tokio::test]
async fn a_credential_is_claimed_once_and_kept() {
    let (directory, configuration) = with_text("");
    let configuration = configuration.unwrap();
    let id = configuration.claim_credential("new").await.unwrap();
    assert_eq!(configuration.claim_credential("new").await.unwrap(), id);
    let claimed = Configuration::load(directory.path().into()).unwrap().profile("new").cloned().unwrap();
    assert_eq!((claimed.credential.as_deref(), claimed.store), (Some(id.as_str()), None), "no login yet");
    let server = ServerUrl::parse("http://127.0.0.1:3000").unwrap();
    let note = LoginNote { server: &server, username: "admin", store: StoreKind::File, credential: &id };
    assert_eq!(configuration.note_login("new", &note).await.unwrap(), None);
    assert_eq!(configuration.note_login("new", &note).await.unwrap(), Some(StoreKind::File));
    assert_eq!(configuration.claim_credential("new").await.unwrap(), id);
}

#[tokio::test]
async fn every_way_to_write_a_table_can_take_a_login() {
    for text in [
        "",
        "profiles = {}\n",
        "profiles = { new = { allow_http = true } }\n",
        "profiles.new.allow_http = true\n",
        "[profiles]\nnew = { allow_http = true }\n",
        "[profiles.new]\nallow_http = true",
    ] {
        let (directory, configuration) = with_text(text);
        let server = ServerUrl::parse("http://127.0.0.1:3000").unwrap();
        let note = LoginNote { server: &server, username: "admin", store: StoreKind::File, credential: "abc" };
        configuration.unwrap().note_login("new", &note).await.unwrap();
        let after = Configuration::load(directory.path().into()).unwrap();
        let profile = after.profile("new").unwrap();
        assert_eq!(profile.credential.as_deref(), Some("abc"), "{text}");
        assert_eq!(profile.allow_http, text.contains("true"), "{text}");
    }
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (text, expected) in [
        ("version = 1\n[profiles.a]\nsevrer = \"h\"\n", "line 3"),
        ("version = 1\n[profiles.a]\nstore = \"cloud\"\n", "line 3"),
        ("version = \n", "line 1"),
        ("[profiles.a]\ncredential = \"../../etc\"\n", "no id"),
        ("[profiles.\"a b\"]\n", "cannot name a profile"),
        ("version = 2\nnovelty = true\n", "version 2"),
        ("[profiles.a]\ncredential = \"x\"\n[profiles.b]\ncredential = \"x\"\n", "that of profile `a`"),
    ] {
        let (_directory, configuration) = with_text(text);
        let error = anyhow::Error::from(configuration.unwrap_err());
        assert!(format!("{error:#}").contains(expected), "{text}: {error:#}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_kept_elsewhere_stays_there() {
    let (directory, configuration) = with_text(FIXTURE);
    let (path, elsewhere) = (directory.path().join(FILE), directory.path().join("elsewhere"));
    std::fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    let id = configuration.unwrap().claim_credential("new").await.unwrap();
    assert!(path.is_symlink());
    assert!(std::fs::read_to_string(&elsewhere).unwrap().contains(&id));
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_an_error_and_hangs_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let error = Configuration::load(directory.path().into()).unwrap_err();
    assert!(matches!(&error, ProfileError::File(StoreError::File { .. })), "{error}");
}
