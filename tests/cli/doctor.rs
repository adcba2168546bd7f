//! `authcli doctor`: each thing that may be wrong is told, with what to do, and with the exit code it would cost.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::{Cli, NOBODY, Output, Server};

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("{name} in {report}"))
}

fn verdicts(report: &Value) -> String {
    let checks = report["checks"].as_array().unwrap();
    let verdict =
        |check: &Value| format!("{} {}", check["check"].as_str().unwrap(), check["verdict"].as_str().unwrap());
    checks.iter().map(verdict).collect::<Vec<_>>().join(", ")
}

/// Returns `text` without the figures that differ from run to run.
fn without_figures(cli: &Cli, output: &Output) -> String {
    let text = cli.settled(output.text());
    let word = |word: &str| if word.parse::<u64>().is_ok() { "N".to_owned() } else { word.to_owned() };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn where_all_is_well_each_line_says_so() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let before = cli.everything();
    let doctor = cli.run(&["doctor"]).expect(0).silent();
    let text = without_figures(&cli, &doctor);
    let lines: Vec<_> = text.lines().map(|line| line.split("; the session ends").next().unwrap()).collect();
    assert_snapshot!(lines.join("\n"), @"
    ok    configuration [config]/config.toml: N profile; `default` is in use
    ok    permissions   [config] is private
    ok    store         the file store keeps and gives back an entry in N ms
    ok    session       logged in at [server] as admin
    ok    lock          free
    ok    server        [server] answers in N ms
    ok    clock         agrees with the server's
    ");
    let report = cli.run(&["doctor", "--json"]).expect(0).silent().json();
    assert_eq!(report["ok"], true);
    assert!(check(&report, "store")["hint"].is_null());
    // All but the process id in the lock file is as it was.
    assert_eq!(everything_but_digits(&cli.everything()), everything_but_digits(&before));
}

fn everything_but_digits(text: &str) -> String {
    text.chars().filter(|character| !character.is_ascii_digit()).collect()
}

#[test]
fn without_a_login_nothing_is_made_and_nothing_fails() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    let report = cli.run(&["doctor", "--json"]).expect(0).json();
    assert_eq!(
        verdicts(&report),
        "configuration ok, permissions ok, store ok, session warn, lock ok, server ok, clock ok"
    );
    assert_eq!(check(&report, "session")["hint"], "run `authcli login`");
    assert!(!cli.configuration().exists());
}

#[test]
fn a_configuration_that_is_broken_is_told_with_its_line() {
    let cli = Cli::new(NOBODY);
    fs::create_dir(cli.configuration()).unwrap();
    fs::write(cli.configuration().join("config.toml"), "[profiles.a]\nallow-http = true\n").unwrap();
    let doctor = cli.run(&["doctor"]).expect(2);
    let text = cli.settled(doctor.text());
    assert!(
        text.starts_with("fail  configuration [config]/config.toml: line 2: there is no setting `allow-http`\n"),
        "{text}"
    );
    assert!(text.contains("hint: did you mean `allow_http`?"), "{text}");
    // What else needs no configuration works as well.
    cli.run(&["completions", "bash"]).expect(0).silent();
    cli.run(&["man"]).expect(0).silent();
}

#[test]
fn no_keyring_is_told_with_the_reason() {
    let server = Server::start();
    let cli = Cli::new(&server.url).with("AUTHCLI_STORE", "keyring");
    let report = cli.run(&["doctor", "--json"]).expect(8).json();
    let store = check(&report, "store");
    assert_eq!(store["verdict"], "fail");
    let hint = store["hint"].as_str().unwrap();
    assert!(hint.contains("--store file"), "{hint}");
    if cfg!(target_os = "linux") {
        assert!(hint.starts_with("DBUS_SESSION_BUS_ADDRESS leads to "), "{hint}");
    }
    assert_eq!(check(&report, "server")["verdict"], "ok", "the rest is checked all the same");
}

#[test]
fn a_server_that_is_away_is_six() {
    let report = Cli::new(NOBODY).run(&["doctor", "--json"]).expect(6).json();
    let server = check(&report, "server");
    assert_eq!(server["verdict"], "fail");
    assert!(server["what"].as_str().unwrap().contains("refused"), "{server}");
    assert!(!report.to_string().contains("\"clock\""));
}

#[cfg(unix)]
#[test]
fn what_others_can_read_or_write_is_told() {
    use std::os::unix::fs::PermissionsExt as _;

    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    for (path, mode) in
        [(cli.entry(), 0o644), (cli.configuration().join("config.toml"), 0o666), (cli.configuration(), 0o777)]
    {
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let report = cli.run(&["doctor", "--json"]).expect(8).json();
        let found = check(&report, "permissions");
        assert!(found["what"].as_str().unwrap().contains(path.to_str().unwrap()), "{found}");
        assert!(found["hint"].as_str().unwrap().contains("chmod"), "{found}");
        fs::set_permissions(&path, before).unwrap();
    }
    cli.run(&["doctor"]).expect(0);
}

#[test]
fn a_clock_that_is_off_is_a_warning() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let cli = Cli::new(&format!("http://{}", listener.local_addr().unwrap()));
    let doctor = cli.start(&["doctor", "--json"]);
    let (mut connection, _) = listener.accept().unwrap();
    let head = BufReader::new(&connection).lines().map(Result::unwrap).find(String::is_empty);
    assert_eq!(head.as_deref(), Some(""), "the whole request has come");
    let answer = "HTTP/1.1 404 Not Found\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n";
    connection.write_all(answer.as_bytes()).unwrap();
    let report = doctor.finish().expect(0).json();
    let clock = check(&report, "clock");
    assert_eq!(clock["verdict"], "warn");
    assert!(clock["what"].as_str().unwrap().contains("ahead of the server's"), "{clock}");
}

#[cfg(unix)]
#[test]
fn a_lock_that_is_held_is_told_with_its_holder() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let lock = fs::File::open(cli.entry().with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let report = cli.run(&["doctor", "--json"]).expect(0).json();
    let found = check(&report, "lock");
    assert_eq!(found["verdict"], "warn");
    assert!(found["what"].as_str().unwrap().contains("process "), "{found}");
}
