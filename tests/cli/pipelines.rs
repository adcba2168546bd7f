//! Pipelines as people write them, run by a real shell: with `pipefail`, a reader that has enough is no failure, and a call
//! that failed is one.

use crate::support::{Answer, Cli, Endpoint, NOBODY, Output, Running, Server};

fn start(cli: &Cli, line: &str) -> Running {
    let mut command = cli.command_of("bash");
    command.args(["-euo", "pipefail", "-c", line]).env("AUTHCLI", env!("CARGO_BIN_EXE_authcli"));
    Running::start(command)
}

#[track_caller]
fn shell(cli: &Cli, line: &str) -> Output {
    start(cli, line).finish()
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    // More than a pipe and the buffers on the way hold.
    let big = Answer::new(200, &"line\n".repeat(2_000_000));
    let head = start(&cli, "$AUTHCLI get /big | head -n 1");
    let ended = head.finish_answering(&endpoint, |call| call.reply(big.clone()));
    assert_eq!(ended.expect(0).silent().text(), "line\n");
}

#[test]
fn every_command_that_prints_ends_well_on_a_pipe_that_nobody_reads() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    for arguments in [
        "get /protected",
        "status",
        "status --json --claims",
        "token",
        "burst -n 3 --json",
        "profile list",
        "profile show --json",
        "doctor",
        "completions zsh",
        "man",
        "--help",
    ] {
        // The reader is gone before the first byte.
        shell(&cli, &format!("sleep 0.2 | $AUTHCLI {arguments} > >(exit 0)")).expect(0).silent();
    }
}

#[test]
fn tee_jq_xargs_and_read_work_together() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let line = "$AUTHCLI get /protected | tee copy | jq -r .userId; jq -r .message copy";
    assert_eq!(shell(&cli, line).expect(0).silent().text(), "1\nProtected resource\n");
    let line = "printf '/protected\\n%.0s' {1..32} | xargs -P 16 -n 1 $AUTHCLI get | jq -s length";
    assert_eq!(shell(&cli, line).expect(0).silent().text(), "32\n");
    // A command that read standard input would eat the rest of the list.
    let line = "printf '%s\\n' a b c | while read -r name; do $AUTHCLI get \"/protected?$name\" | jq .userId; done";
    assert_eq!(shell(&cli, line).expect(0).silent().text(), "1\n1\n1\n");
}

#[test]
fn a_call_that_failed_fails_the_pipeline_with_its_code() {
    let cli = Cli::new(NOBODY);
    let failed = shell(&cli, "$AUTHCLI get /x | cat").expect(7);
    assert!(failed.stderr.starts_with("error: not logged in"), "{}", failed.stderr);
    let failed = shell(&cli, "printf 'a\\nb\\n' | xargs -n 1 $AUTHCLI get -q");
    assert_eq!(failed.code, Some(123), "{}", failed.stderr);
}

#[test]
fn nothing_depends_on_the_locale() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let said = |locale: &str| {
        let line = format!(
            "export LC_ALL={locale} LANG={locale}; $AUTHCLI burst -n 1 --json | tr -d '0-9'; $AUTHCLI get /nowhere 2>&1 || true; \
             $AUTHCLI profile list"
        );
        let ended = shell(&cli, &line).expect(0);
        // The shell itself may warn of a locale that is not installed.
        ended.text().to_owned()
    };
    let plain = said("C");
    assert_eq!(said("de_DE.UTF-8"), plain);
    assert_eq!(said("tr_TR.ISO-8859-9"), plain);
}
