//! The program as an operator meets it: what it prints, how it ends, what it refuses.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::helpers::{Backend, on_both_stores};
use crate::program::{Place, Program, finish, names, refused};

on_both_stores!(
    users_are_managed_beside_a_running_server,
    sessions_outlive_the_server,
    a_database_is_brought_up_to_date_and_a_newer_one_refused,
);

const ANY_PORT: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];
const DEMO: [&str; 4] = ["serve", "--demo", "--listen", "127.0.0.1:0"];

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

async fn post(url: &str, path: &str, body: &Value) -> (u16, Value) {
    let response = client().post(format!("{url}{path}")).json(body).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

async fn login(url: &str, name: &str, password: &str) -> (u16, Value) {
    post(url, "/login", &json!({ "username": name, "password": password })).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demonstration_is_ready_when_it_says_so_and_leaves_nothing_behind() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let place = Place::new();
        let server = Program::start(place.command(&DEMO));
        let port = server.url.strip_prefix("http://127.0.0.1:").unwrap();
        assert_ne!(port.parse::<u16>().unwrap(), 0);
        let (status, body) = login(&server.url, "admin", "123456").await;
        assert_eq!(status, 200);
        assert_eq!((&body["expiresIn"], &body["refreshExpiresIn"]), (&json!(2), &json!(604_800)));
        assert_eq!(login(&server.url, "user2", "password2").await.0, 200);
        assert_eq!(names(&place.path("tmp")).len(), 1, "the throw-away database");
        server.signal(signal);
        let ended = server.end();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
        assert_eq!(names(&place.path("tmp")), [""; 0]);
        assert_eq!(names(&place.path("home")), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_is_answered_before_the_server_stops() {
    let place = Place::new();
    let server = Program::start(place.command(&DEMO));
    let body = r#"{"username":"admin","password":"123456"}"#;
    let (first, rest) = body.split_at(10);
    let mut connection = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let head =
        format!("POST /login HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes()).unwrap();
    // The server asks for the body, so the request is under way.
    let mut answer = [0; 25];
    connection.read_exact(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 100 Continue"));
    connection.write_all(first.as_bytes()).unwrap();
    server.signal(Signal::TERM);
    // It has taken note once it accepts no more.
    let address = server.url.strip_prefix("http://").unwrap();
    crate::helpers::eventually("stopping", async || TcpStream::connect(address).is_err()).await;
    connection.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(server.end().code, Some(0));
}

#[test]
fn an_idle_connection_does_not_hold_up_the_stop() {
    let place = Place::new();
    let server = Program::start(place.command(&DEMO));
    let mut connection = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = [0; 15];
    connection.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let stopping = Instant::now();
    assert_eq!(server.stop().code, Some(0));
    // Far less than the time for which idle connections are kept, or requests under way are waited for.
    assert!(stopping.elapsed() < Duration::from_secs(8), "{:?}", stopping.elapsed());
    drop(connection);
}

async fn users_are_managed_beside_a_running_server(backend: Backend) {
    let place = Place::new();
    let database = place.database_on(backend).await;
    let mut command = place.command(&ANY_PORT);
    command.env("AUTHCLI_SERVER_DATABASE", &database);
    let server = Program::start(command);
    let user = |arguments: &[&str], input: &str| {
        let arguments: Vec<&str> =
            ["user"].iter().chain(arguments).chain(&["--database", &database]).copied().collect();
        let output = place.run_with_input(&arguments, input);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(user(&["add", "anna", "--password-stdin"], "secret one\n").0, Some(0));
    assert_eq!(user(&["add", "anna", "--password-stdin"], "other\n").0, Some(1));
    assert_eq!(user(&["add", "bert", "--password-stdin"], "secret two").0, Some(0));
    let (code, list) = user(&["list"], "");
    assert_eq!(code, Some(0));
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines[0][..2].to_vec(), lines[1][..2].to_vec()), (vec!["1", "anna"], vec!["2", "bert"]));

    let (status, anna) = login(&server.url, "anna", "secret one").await;
    assert_eq!(status, 200);
    assert_eq!(anna["expiresIn"], 900);
    assert_eq!(user(&["password", "anna", "--password-stdin"], "secret three\r\n").0, Some(0));
    assert_eq!(post(&server.url, "/refresh", &anna).await.0, 403);
    assert_eq!(login(&server.url, "anna", "secret one").await.0, 401);
    assert_eq!(login(&server.url, "anna", "secret three").await.0, 200);

    let (_, bert) = login(&server.url, "bert", "secret two").await;
    assert_eq!(user(&["disable", "bert"], "").0, Some(0));
    assert!(user(&["list"], "").1.lines().any(|line| line.contains("bert") && line.ends_with("  disabled")));
    assert_eq!(post(&server.url, "/refresh", &bert).await.0, 403);
    assert_eq!(login(&server.url, "bert", "secret two").await.0, 401);
    assert_eq!(user(&["enable", "bert"], "").0, Some(0));
    assert_eq!(post(&server.url, "/refresh", &bert).await.0, 403);
    assert_eq!((user(&["disable", "nobody"], "").0, user(&["enable", "nobody"], "").0), (Some(1), Some(1)));
    let (_, bert) = login(&server.url, "bert", "secret two").await;
    assert_eq!(user(&["remove", "bert"], "").0, Some(0));
    assert_eq!(user(&["remove", "bert"], "").0, Some(1));
    assert_eq!(post(&server.url, "/refresh", &bert).await.0, 403);
    assert_eq!(login(&server.url, "bert", "secret two").await.0, 401);

    let ended = server.stop();
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("authcli-server user add NAME --password-stdin"), "{}", ended.stderr);
}

async fn sessions_outlive_the_server(backend: Backend) {
    let place = Place::new();
    let database = place.database_on(backend).await;
    let start = || {
        let mut command = place.command(&DEMO);
        command.args(["--database", &database, "--access-ttl", "1h"]);
        Program::start(command)
    };
    let server = start();
    let (_, pair) = login(&server.url, "admin", "123456").await;
    assert_eq!(server.stop().code, Some(0));
    let server = start();
    let protected = client().get(format!("{}/protected", server.url));
    let protected = protected.bearer_auth(pair["accessToken"].as_str().unwrap());
    assert_eq!(protected.send().await.unwrap().status(), 200);
    assert_eq!(post(&server.url, "/refresh", &pair).await.0, 200);
}

async fn a_database_is_brought_up_to_date_and_a_newer_one_refused(backend: Backend) {
    let place = Place::new();
    let database = place.database_on(backend).await;
    for _ in 0..2 {
        let migrated = place.run(&["migrate", "--database", &database]);
        let stderr = String::from_utf8(migrated.stderr).unwrap();
        assert!(migrated.status.success() && stderr.contains("is up to date"), "{stderr}");
    }
    place
        .execute(
            &database,
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (999, 'from the future', true, '', 0)",
        )
        .await;
    for command in [&["migrate"][..], &ANY_PORT[..], &["user", "list"][..]] {
        let arguments: Vec<&str> = command.iter().chain(&["--database", &database]).copied().collect();
        let stderr = refused(&place.run(&arguments), 1);
        assert!(stderr.contains("was made by a newer version of authcli-server"), "{stderr}");
    }
}

/// Nobody listens there.
#[test]
fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let place = Place::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = place.command(&["user", "list"]);
    command.env("AUTHCLI_SERVER_LOG", "trace");
    command.env("AUTHCLI_SERVER_DATABASE", format!("postgres://anna:canary@{closed}/sessions"));
    let stderr = String::from_utf8(command.output().unwrap().stderr).unwrap();
    let sentence = format!("error: could not open the database postgres://anna@{closed}/sessions\n");
    assert!(stderr.contains(&sentence), "{stderr}");
    assert!(!stderr.contains("canary"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_has_a_line_a_request_one_alarm_and_no_secret() {
    let place = Place::new();
    let mut command = place.command(&DEMO);
    command.env("AUTHCLI_SERVER_LOG", "trace");
    let server = Program::start(command);
    let (_, pair) = login(&server.url, "admin", "123456").await;
    let key = "canary-attempt-key-0001";
    let refresh = client().post(format!("{}/refresh?canary=query", server.url));
    let refresh = refresh.header("Idempotency-Key", key).json(&pair).send().await.unwrap();
    let next: Value = refresh.json().await.unwrap();
    for _ in 0..3 {
        assert_eq!(post(&server.url, "/refresh", &pair).await.0, 403);
    }
    let log = server.stop().stderr;
    assert_eq!(log.matches("POST /refresh").count(), 4, "{log}");
    assert_eq!(log.matches("POST /refresh 200").count(), 1, "{log}");
    assert_eq!(log.matches("POST /login 200").count(), 1, "{log}");
    assert_eq!(log.matches("refresh token reuse").count(), 1, "{log}");
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("refresh token reuse")), "{log}");
    let mut secrets = vec!["123456", "password2", key, "canary"];
    for pair in [&pair, &next] {
        secrets.extend([pair["accessToken"].as_str().unwrap(), pair["refreshToken"].as_str().unwrap()]);
    }
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[test]
fn a_demonstration_is_for_this_machine_and_its_own_users() {
    let place = Place::new();
    let stderr = refused(&place.run(&["serve", "--demo", "--listen", "0.0.0.0:0"]), 1);
    assert!(stderr.contains("0.0.0.0:0 is not a loopback address"), "{stderr}");
    assert!(stderr.contains("\nhint: "), "{stderr}");
    assert_eq!(names(&place.path("tmp")), [""; 0]);

    let database = place.database("a.db");
    let add = ["user", "add", "anna", "--password-stdin", "--database", &database];
    assert!(place.run_with_input(&add, "secret").status.success());
    let demo = ["serve", "--demo", "--listen", "127.0.0.1:0", "--database", &database];
    assert!(refused(&place.run(&demo), 1).contains("already has other users"));

    // Somebody's own `admin` is another user too.
    let database = place.database("b.db");
    let add = ["user", "add", "admin", "--password-stdin", "--database", &database];
    assert!(place.run_with_input(&add, "secret").status.success());
    let demo = ["serve", "--demo", "--listen", "127.0.0.1:0", "--database", &database];
    assert!(refused(&place.run(&demo), 1).contains("already has other users"));
}

#[test]
fn what_cannot_be_served_is_refused_with_one_clear_sentence() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let database = place.database("a.db");
    let stderr = refused(&place.run(&["serve", "--listen", &address, "--database", &database]), 1);
    assert!(stderr.starts_with(&format!("error: could not listen on {address}\n")), "{stderr}");
    assert!(stderr.contains("Caused by: ") && stderr.contains("\nhint: "), "{stderr}");

    std::fs::write(place.path("garbage.db"), "this is no database, whatever its name says").unwrap();
    std::fs::create_dir(place.path("directory.db")).unwrap();
    for name in ["garbage.db", "directory.db", "no/such/directory.db"] {
        let database = place.database(name);
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--database", &database];
        let stderr = refused(&place.run(&arguments), 1);
        let sentence = format!("error: could not open the database {}\n", place.path(name).display());
        assert!(stderr.starts_with(&sentence), "{stderr}");
        assert!(stderr.contains("Caused by: ") && stderr.contains("\nhint: "), "{stderr}");
    }
    let list = ["user", "list", "--database", &place.database("none.db")];
    assert!(refused(&place.run(&list), 1).contains("there is no database at"));
    assert!(!place.path("none.db").exists());
}

#[test]
fn what_the_command_line_got_wrong_is_exit_code_2() {
    let place = Place::new();
    let database = place.database("a.db");
    let table: [(&[&str], &str); 16] = [
        (&["serve", "--no-such-flag"], "--no-such-flag"),
        (&["serve", "--access-ttl", "7d"], "`--access-ttl` (604800s) must be shorter than `--refresh-ttl` (604800s)"),
        (&["serve", "--refresh-ttl", "10m"], "`--access-ttl` (900s) must be shorter than `--refresh-ttl` (600s)"),
        (&["serve", "--demo", "--session-ttl", "2s"], "`--access-ttl` (2s) must be shorter than `--refresh-ttl` (2s)"),
        (
            &["serve", "--refresh-ttl", "91d"],
            "`--refresh-ttl` (7862400s) must not be longer than `--session-ttl` (7776000s)",
        ),
        (&["serve", "--access-ttl", "soon"], "give a duration"),
        (&["serve", "--refresh-ttl", "0"], "a lifetime is between"),
        (&["serve", "--listen", "nowhere"], "`nowhere` is no address to listen on"),
        (&["serve", "--cors-origin", "app.example.com"], "is no origin"),
        (&["serve", "--trusted-proxy", "proxy.example.com"], "`proxy.example.com` is no address of a proxy"),
        (&["serve", "--trusted-proxy", "10.0.0.1,0.0.0.0/0"], "`0.0.0.0/0` holds all addresses there are"),
        (&["serve", "--database", "a.db"], "a database is given as `sqlite:PATH`"),
        (&["serve", "--database", "postgres://u:canary@h:port/d"], "the PostgreSQL database is malformed"),
        (&["user", "add", "anna", "--database", &database], "--password-stdin"),
        (&["user", "add", "anna", "--password-stdin", "--database", &database], "the password is empty"),
        (&["user", "add", " anna", "--password-stdin", "--database", &database], "does not begin or end"),
    ];
    for (arguments, sentence) in table {
        let stderr = refused(&place.run(arguments), 2);
        assert!(stderr.contains(sentence), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("canary"), "{stderr}");
    }
    assert!(!place.path("a.db").exists());
    let mut command = place.command(&ANY_PORT);
    command.env("AUTHCLI_SERVER_ACCESS_TTL", "soon");
    assert_eq!(command.output().unwrap().status.code(), Some(2), "flags come from the environment too");
}

#[test]
fn a_database_without_its_pepper_is_refused() {
    let place = Place::new();
    let database = place.database("a.db");
    let demo = ["serve", "--demo", "--listen", "127.0.0.1:0", "--database", &database];
    assert_eq!(Program::start(place.command(&demo)).stop().code, Some(0));
    let pepper = place.path("a.db.pepper");
    let original = std::fs::read(&pepper).unwrap();
    assert_eq!(pepper.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    std::fs::remove_file(&pepper).unwrap();
    assert!(refused(&place.run(&demo), 1).contains("the pepper of this database is missing"));
    assert!(!pepper.exists(), "a new one would be of no use");

    let mut command = place.command(&demo);
    command.env("AUTHCLI_SERVER_PEPPER", "bm90IHRoZSByaWdodCBvbmUsIGJ1dCBsb25nIGVub3VnaA==");
    let stderr = refused(&command.output().unwrap(), 1);
    assert!(stderr.contains("the pepper does not belong to this database"), "{stderr}");
    let mut command = place.command(&demo);
    command.env("AUTHCLI_SERVER_PEPPER", "c2hvcnQ=");
    assert!(refused(&command.output().unwrap(), 1).contains("at least 32 bytes"));

    std::fs::write(&pepper, &original).unwrap();
    std::fs::set_permissions(&pepper, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&place.run(&demo), 1).contains("can be read by others"));
    std::fs::set_permissions(&pepper, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(Program::start(place.command(&demo)).stop().code, Some(0));
}

#[test]
fn the_default_database_lies_in_a_private_directory() {
    let place = Place::new();
    let add = place.run_with_input(&["user", "add", "anna", "--password-stdin"], "secret");
    assert_eq!(add.status.code(), Some(0), "{}", String::from_utf8_lossy(&add.stderr));
    let mode = |path: &str| place.path(path).metadata().unwrap().permissions().mode() & 0o777;
    let directory = "home/.local/share/authcli-server";
    assert_eq!(mode(directory), 0o700);
    assert_eq!(mode(&format!("{directory}/authcli.db")), 0o600);
    assert!(place.run(&["migrate"]).status.success());
    let list = place.run(&["user", "list"]);
    assert!(String::from_utf8(list.stdout).unwrap().contains("anna"));
}

/// A disk that takes no more, as far as one process can have one to itself: beyond a size its files do not grow. What is
/// answered 200 all the same must be in the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_committed_is_not_answered_as_if_it_were() {
    let place = Place::new();
    let demo = DEMO.join(" ");
    let script = format!("trap '' XFSZ; ulimit -f 300; exec {} {demo}", env!("CARGO_BIN_EXE_authcli-server"));
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(script).env_clear().env("HOME", place.path("home")).env("TMPDIR", place.path("tmp"));
    command.env("AUTHCLI_SERVER_LOG", "off");
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let server = Program::start(command);
    let mut statuses = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let (status, body) = login(&server.url, "admin", "123456").await;
        statuses.insert(status);
        if status == 200 {
            let call = client().get(format!("{}/protected", server.url));
            let call = call.bearer_auth(body["accessToken"].as_str().unwrap()).send().await.unwrap();
            assert_eq!(call.status(), 200, "a login that was answered is there");
        }
    }
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [200, 503], "the disk was full at some time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_ends_no_request() {
    let place = Place::new();
    let mut command = place.command(&DEMO);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stderr(writer);
    let server = Program::start_without_stderr(command);
    for _ in 0..3 {
        assert_eq!(login(&server.url, "admin", "123456").await.0, 200);
    }
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_variable_that_is_set_to_nothing_counts_as_unset() {
    let place = Place::new();
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    for name in ["DATABASE", "ACCESS_TTL", "REFRESH_TTL", "SESSION_TTL", "CORS_ORIGIN", "TRUSTED_PROXY", "DEMO", "LOG"]
    {
        command.env(format!("AUTHCLI_SERVER_{name}"), "");
    }
    assert_eq!(Program::start(command).stop().code, Some(0));
    assert!(place.path("home/.local/share/authcli-server/authcli.db").exists());
    // As long as nobody else listens there, it is the default address.
    let mut command = place.command(&["serve", "--access-ttl", "soon"]);
    let stderr = refused(&command.env("AUTHCLI_SERVER_LISTEN", "").output().unwrap(), 2);
    assert!(stderr.contains("give a duration") && !stderr.contains("--listen"), "{stderr}");
    // On the command line nothing is nothing.
    refused(&place.run(&["serve", "--listen", ""]), 2);
    // A secret is not made up where one was meant.
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    let stderr = refused(&command.env("AUTHCLI_SERVER_PEPPER", "").output().unwrap(), 1);
    assert!(stderr.contains("AUTHCLI_SERVER_PEPPER is set to nothing"), "{stderr}");
    assert!(stderr.contains("hint: unset it") && !stderr.contains("openssl"), "{stderr}");
}

/// On Linux the other side of a terminal is one, too.
#[cfg(target_os = "linux")]
#[test]
fn a_password_is_not_read_from_a_terminal() {
    let place = Place::new();
    let database = place.database("a.db");
    for command in ["add", "password"] {
        let terminal = std::fs::File::options().read(true).write(true).open("/dev/ptmx").unwrap();
        let mut command = place.command(&["user", command, "anna", "--password-stdin", "--database", &database]);
        let stderr = refused(&finish(command.stdin(terminal).spawn().unwrap()), 2);
        assert!(stderr.contains("not read from a terminal") && stderr.contains("hint: pipe it in"), "{stderr}");
    }
    assert!(!place.path("a.db").exists());
}

#[test]
fn a_short_life_of_sessions_shortens_that_without_a_refresh() {
    let place = Place::new();
    for arguments in [["--session-ttl", "1d", "--access-ttl", "1h"], ["--session-ttl", "1h", "--refresh-ttl", "1h"]] {
        let server = Program::start(place.command(&[&["serve", "--listen", "127.0.0.1:0"], &arguments[..]].concat()));
        assert_eq!(server.stop().code, Some(0), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_file_of_another_program_is_left_as_it_is() {
    let place = Place::new();
    let database = place.database("other.db");
    let path = place.path("other.db");
    std::fs::write(&path, "").unwrap();
    place.execute(&database, "CREATE TABLE bookmarks (url TEXT)").await;
    let before = std::fs::read(&path).unwrap();
    for command in [&["user", "list"][..], &["migrate"], &ANY_PORT] {
        let arguments: Vec<&str> = command.iter().chain(&["--database", &database]).copied().collect();
        let stderr = refused(&place.run(&arguments), 1);
        assert!(stderr.contains("other.db is the database of another program"), "{stderr}");
        assert!(stderr.contains("hint: "), "{stderr}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(names(place.directory.path()), ["home", "other.db", "tmp"]);
    // An empty file is nobody's.
    std::fs::write(place.path("empty.db"), "").unwrap();
    assert!(place.run(&["migrate", "--database", &place.database("empty.db")]).status.success());
}

#[test]
fn a_database_that_others_can_read_is_warned_of() {
    let place = Place::new();
    let database = place.database("a.db");
    let list = || {
        let output = place.run(&["user", "list", "--database", &database]);
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(place.run(&["migrate", "--database", &database]).status.success());
    assert!(!list().contains("WARN"));
    for (mode, warned) in [(0o640, true), (0o604, true), (0o600, false), (0o400, false)] {
        std::fs::set_permissions(place.path("a.db"), std::fs::Permissions::from_mode(mode)).unwrap();
        if mode == 0o400 && !rustix::process::geteuid().is_root() {
            continue;
        }
        let stderr = list();
        assert_eq!(stderr.contains("can be read or written by others: chmod 600"), warned, "{mode:o}: {stderr}");
    }
}

/// A pipe holds 64 KiB; many more lines than that are logged before anybody reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_reader_stalls_holds_up_no_request() {
    let place = Place::new();
    let mut command = place.command(&DEMO);
    let (mut reader, writer) = std::io::pipe().unwrap();
    command.stderr(writer);
    let server = Program::start_without_stderr(command);
    let client = client();
    for at in 0..2000 {
        let call = client.get(format!("{}/healthz", server.url)).timeout(Duration::from_secs(10)).send().await;
        assert_eq!(call.unwrap().status(), 200, "call {at}");
    }
    let log = std::thread::spawn(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).unwrap();
        log
    });
    assert_eq!(server.stop().code, Some(0));
    assert_eq!(log.join().unwrap().matches("GET /healthz 200 ").count(), 2000);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let place = Place::new();
    let server = Program::start(place.command(&DEMO));
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    // A request whose body never comes holds up the stop.
    let mut connection = TcpStream::connect(&address).unwrap();
    let head = b"POST /login HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    connection.write_all(head).unwrap();
    connection.read_exact(&mut [0; 25]).unwrap();
    server.signal(Signal::INT);
    let started = Instant::now();
    while TcpStream::connect(&address).is_ok() {
        assert!(started.elapsed() < Duration::from_secs(8), "it still accepts");
        std::thread::sleep(Duration::from_millis(10));
    }
    server.signal(Signal::INT);
    let ended = server.end();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("second signal"), "{}", ended.stderr);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(names(&place.path("tmp")), [""; 0]);
}

/// A database that takes the connection and then says nothing keeps it starting.
#[test]
fn a_signal_ends_a_server_that_is_still_starting() {
    let place = Place::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let database = format!("postgres://anna@{}/a?sslmode=disable", silent.local_addr().unwrap());
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let child = place.command(&[&ANY_PORT[..], &["--database", &database]].concat()).spawn().unwrap();
        let _connection = silent.accept().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        let output = finish(child);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.stdout, output.stderr), (Vec::new(), Vec::new()));
    }
}

/// Its users would be added behind the back of a server that others can reach.
#[test]
fn a_demonstration_refuses_a_database_that_a_server_was_started_on() {
    let place = Place::new();
    let database = place.database("a.db");
    let server = Program::start(place.command(&["serve", "--listen", "127.0.0.1:0", "--database", &database]));
    let demo = ["serve", "--demo", "--listen", "127.0.0.1:0", "--database", &database];
    let stderr = refused(&place.run(&demo), 1);
    assert!(stderr.contains("refuses a database that other servers use") && stderr.contains("\nhint: "), "{stderr}");
    let list = place.run(&["user", "list", "--database", &database]);
    assert_eq!((list.status.code(), list.stdout), (Some(0), Vec::new()));
    server.stop();
    refused(&place.run(&demo), 1);

    // One of a demonstration's own may be used for another.
    let demo = ["serve", "--demo", "--listen", "127.0.0.1:0", "--database", &place.database("b.db")];
    for _ in 0..2 {
        assert_eq!(Program::start(place.command(&demo)).stop().code, Some(0));
    }
}

#[test]
fn a_refused_demonstration_leaves_the_database_without_a_pepper() {
    let place = Place::new();
    let database = place.database("real.db");
    let add = ["user", "add", "anna", "--password-stdin", "--database", &database];
    assert!(place.run_with_input(&add, "secret").status.success());
    refused(&place.run(&["serve", "--demo", "--listen", "127.0.0.1:0", "--database", &database]), 1);
    assert!(
        !names(place.directory.path()).iter().any(|name| name.contains("pepper")),
        "{:?}",
        names(place.directory.path())
    );
}

#[test]
fn the_demonstrations_passwords_are_not_served_to_other_machines() {
    let place = Place::new();
    let database = place.database("demo.db");
    Program::start(place.command(&["serve", "--demo", "--listen", "127.0.0.1:0", "--database", &database])).stop();
    let error = refused(&place.run(&["serve", "--listen", "0.0.0.0:0", "--database", &database]), 1);
    assert!(error.contains("`admin` has the password of the demonstration"), "{error}");
    // On this machine alone it goes on, and says what that means behind a proxy.
    let server = Program::start(place.command(&["serve", "--listen", "127.0.0.1:0", "--database", &database]));
    let log = server.stop().stderr;
    assert!(log.contains("WARN") && log.contains("`admin` has the password of the demonstration"), "{log}");
    assert!(log.contains("user password admin"), "{log}");
}

#[test]
fn the_environment_says_yes_and_no_in_more_than_one_way() {
    let place = Place::new();
    let mut command = place.command(&ANY_PORT);
    command.env("AUTHCLI_SERVER_DEMO", "1");
    assert_eq!(Program::start(command).stop().code, Some(0));
    let mut command = place.command(&["user", "add", "anna"]);
    command.env("AUTHCLI_SERVER_PASSWORD_STDIN", "false").env("AUTHCLI_SERVER_DATABASE", place.database("a.db"));
    refused(&command.output().unwrap(), 2);
}

/// A hash takes 19 MiB. What is held after many logins is the memory of as many as run at once.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_hold_no_more_memory_than_hashes_that_run_at_once() {
    const LOGINS: usize = 64;
    let place = Place::new();
    let server = Program::start(place.command(&DEMO));
    let before = server.resident_kib();
    for _ in 0..LOGINS / 8 {
        let logins = (0..8).map(|_| login(&server.url, "admin", "123456"));
        assert!(join_all(logins).await.into_iter().all(|(status, _)| status == 200));
    }
    let at_once = authcli_server::password::Room::default().at_once;
    let most = 19 * 1024 * at_once + 16 * 1024;
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown <= most, "{grown} KiB after {LOGINS} logins, {at_once} at once");
}
