//! The configuration file, as people write it and as it is kept.

use super::*;
use crate::http::ServerUrl;

const FILE: &str = "config.toml";

fn with_text(text: &str) -> (tempfile::TempDir, Result<Configuration, ProfileError>) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(FILE), text).unwrap();
    let loaded = Configuration::load(directory.path().into());
    (directory, loaded)
}

const FIXTURE: &str = include_str!("fixtures/config-v1.toml");

#[test]
fn the_first_version_is_still_read() {
    let (_directory, configuration) = with_text(FIXTURE);
    let configuration = configuration.unwrap();
    let profile = configuration.profile("staging").unwrap();
    assert_eq!(profile.server.as_deref(), Some("https://staging.example.com/v1"));
    assert_eq!(profile.store, Some(StoreKind::Keyring));
    assert_eq!(configuration.default_profile(), Some("staging"));
    let home = configuration.profile("default").unwrap();
    assert!(home.allow_http);
    assert_eq!(home.cacert.as_deref(), Some(std::path::Path::new("/etc/ssl/certs/company.pem")));
}

#[tokio::test]
async fn a_login_is_noted_without_touching_anything_else() {
    let (directory, configuration) = with_text(FIXTURE);
    let server = ServerUrl::parse("http://127.0.0.1:3000").unwrap();
    let note = LoginNote {
        server: &server,
        username: Some("admin"),
        store: StoreKind::File,
        credential: "abc",
        settings: &[],
    };
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
    let note =
        LoginNote { server: &server, username: Some("admin"), store: StoreKind::File, credential: &id, settings: &[] };
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
        let note = LoginNote {
            server: &server,
            username: Some("admin"),
            store: StoreKind::File,
            credential: "abc",
            settings: &[],
        };
        configuration.unwrap().note_login("new", &note).await.unwrap();
        let after = Configuration::load(directory.path().into()).unwrap();
        let profile = after.profile("new").unwrap();
        assert_eq!(profile.credential.as_deref(), Some("abc"), "{text}");
        assert_eq!(profile.allow_http, text.contains("true"), "{text}");
    }
}

#[test]
fn mistakes_are_named_with_their_line_and_what_was_probably_meant() {
    for (text, expected, suggested) in [
        ("version = 1\n[profiles.a]\nsevrer = \"h\"\n", "line 3: there is no setting `sevrer`", Some("server")),
        ("[profiles.a]\nallow-http = true\n", "line 2: there is no setting `allow-http`", Some("allow_http")),
        ("[profiles.a]\nproxy = true\n", "line 2: there is no setting `proxy`", None),
        ("profile = 1\n", "line 1: there is no setting `profile`", Some("profiles")),
        ("[profiles.a.tls]\ncacert = \"/x\"\n", "line 1: there is no setting `tls`", None),
        ("[profiles.a]\n\n[profiles.a.server]\n", "line 3: `server` must be a value, not a table", None),
        ("[profiles.a]\nstore = \"keyrign\"\n", "line 2: `store` must be `keyring` or `file`", Some("keyring")),
        ("[profiles.a]\nallow_http = \"yes\"\n", "line 2: `allow_http` must be `true` or `false`", None),
        ("[profiles.a]\ncacert = \"ca.pem\"\n", "line 2: `cacert` must be the absolute path of a file", None),
        ("[profiles.a]\nserver = \"ftp://h\"\n", "line 2: `server` must be the address of a server", None),
        ("[profiles.a]\ncredential = \"../../etc\"\n", "line 2: `credential` is no id", None),
        ("[profiles]\na = 1\n", "line 2: profile `a` must be a table", None),
        ("[profiles.\"a b\"]\n", "line 1: `a b` cannot name a profile", None),
        ("default_profile = \"a b\"\n", "line 1: `default_profile` must be the name of a profile", None),
        ("version = \"1\"\n", "line 1: `version` must be a whole number", None),
        ("version = \n", "line 1: ", None),
        ("version = 1\n[profiles.default\n", "line 2: ", None),
        ("version = 2\nnovelty = true\n", "version 2", None),
        ("[profiles.a]\ncredential = \"x\"\n[profiles.b]\ncredential = \"x\"\n", "that of profile `a`", None),
    ] {
        let (_directory, configuration) = with_text(text);
        let error = configuration.unwrap_err();
        assert!(error.to_string().contains(expected), "{text}: {error}");
        let meant = if let ProfileError::Invalid { meant, .. } = error { meant } else { None };
        assert_eq!(meant, suggested, "{text}");
    }
}

#[tokio::test]
async fn every_setting_is_set_kept_shown_and_taken_away_by_its_key() {
    let (directory, configuration) = with_text("# mine\n");
    let configuration = configuration.unwrap();
    let load = || Configuration::load(directory.path().into()).unwrap();
    let text = || std::fs::read_to_string(directory.path().join(FILE)).unwrap();
    for setting in SETTINGS {
        configuration.change(|edit| edit.set("work", setting.key, Some(setting.example))).await.unwrap();
        // It reaches the field that the program reads.
        assert_ne!(load().profile("work"), Some(&Profile::default()), "{}", setting.key);
        let said = load().settings("work").into_iter().filter(|(_, value)| value.is_some()).collect::<Vec<_>>();
        assert_eq!(said.len(), 1, "{}", text());
        assert_eq!(said[0].0.key, setting.key);
        configuration.change(|edit| edit.set("work", setting.key, None)).await.unwrap();
        assert_eq!(load().profile("work"), Some(&Profile::default()), "{}", text());
    }
    assert!(text().starts_with("# mine\nversion = 1\n"), "{}", text());
}

#[tokio::test]
async fn a_change_keeps_comments_and_order() {
    let text = "# mine\nversion = 1\n\n[profiles.work] # the one\nallow_http = false # no\nserver = \"http://a\"\n";
    let (directory, configuration) = with_text(text);
    let change = |edit: &mut Edit<'_>| {
        edit.set("work", "allow_http", Some("true"))?;
        edit.choose(Some("work"))
    };
    configuration.unwrap().change(change).await.unwrap();
    let changed = std::fs::read_to_string(directory.path().join(FILE)).unwrap();
    let expected = text.replace("allow_http = false", "allow_http = true");
    assert_eq!(changed, expected.replace("version = 1\n", "version = 1\ndefault_profile = \"work\"\n"));
}

#[tokio::test]
async fn what_cannot_be_set_changes_nothing() {
    let (directory, configuration) = with_text(FIXTURE);
    let configuration = configuration.unwrap();
    for (name, key, text) in [
        ("staging", "sevrer", Some("h")),
        ("staging", "allow_http", Some("yes")),
        ("staging", "store", Some("cloud")),
        ("staging", "server", Some("ftp://h")),
        ("a b", "server", Some("h")),
        ("nobody", "server", None),
    ] {
        configuration.change(|edit| edit.set(name, key, text)).await.unwrap_err();
    }
    configuration.change(|edit| edit.choose(Some("nobody"))).await.unwrap_err();
    configuration.change(|edit| edit.remove("nobody")).await.unwrap_err();
    assert_eq!(std::fs::read_to_string(directory.path().join(FILE)).unwrap(), FIXTURE);
}

#[tokio::test]
async fn a_profile_that_is_removed_takes_its_tables_and_the_choice_of_it_along() {
    for text in [
        "default_profile = \"a\"\n[profiles.a]\nallow_http = true\n[profiles.b]\n",
        "default_profile = \"a\"\nprofiles.a.allow_http = true\nprofiles.b = {}\n",
        "default_profile = \"a\"\nprofiles = { a = { allow_http = true }, b = {} }\n",
    ] {
        let (directory, configuration) = with_text(text);
        configuration.unwrap().change(|edit| edit.remove("a")).await.unwrap();
        let after = Configuration::load(directory.path().into()).unwrap();
        assert_eq!(after.profiles().map(|(name, _)| name).collect::<Vec<_>>(), ["b"], "{text}");
        assert_eq!(after.default_profile(), None);
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

#[tokio::test]
async fn constants_are_set_as_a_table_kept_as_one_and_never_shown() {
    let (directory, configuration) = with_text("[profiles.work.api.login.headers]\nX-Api-Key = \"canary\" # ours\n");
    let configuration = configuration.unwrap();
    let shown = |configuration: &Configuration| {
        let said = configuration.settings("work").into_iter();
        said.filter_map(|(setting, value)| Some(format!("{} {}", setting.key, value?))).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(shown(&configuration), "api.login.headers { X-Api-Key = \"[hidden]\" }");
    for (text, fits) in [
        ("{ client_id = \"canary\", n = 1, deep = { a = [true] } }", true),
        ("{}", true),
        ("client_id=canary", false),
        ("canary", false),
        ("{ a = 2020-01-01 }", false),
        ("{ \"/a~\" = \"canary\" }", false),
    ] {
        let set = configuration.change(|edit| edit.set("work", "api.refresh.fields", Some(text))).await;
        assert_eq!(set.is_ok(), fits, "{text}: {set:?}");
        assert!(!format!("{set:?}").contains("canary"), "{set:?}");
    }
    let set = configuration.change(|edit| edit.set("work", "api.login.headers", Some("{ Host = \"canary\" }"))).await;
    let error = set.unwrap_err().to_string();
    assert_eq!(error, "`api.login.headers` `Host` must be the name of a header: `host` is set by authcli");
    let configuration = Configuration::load(directory.path().into()).unwrap();
    assert!(!format!("{configuration:?} {:?}", configuration.profile("work")).contains("canary"));
    let kept = std::fs::read_to_string(configuration.path()).unwrap();
    assert!(kept.contains("X-Api-Key = \"canary\" # ours"), "{kept}");
}
