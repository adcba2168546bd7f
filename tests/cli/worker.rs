//! Another program on the library, beside the real one.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::{Cli, Running, Server};

/// Returns `examples/worker.rs` as it was built.
fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_authcli")).with_file_name("examples").join("worker");
    assert!(program.exists(), "{} is missing: run `cargo build --workspace --examples`", program.display());
    program
}

/// Starts it on this user's session, with `paths` on standard input.
fn worker(cli: &Cli, paths: &str) -> Running {
    let mut command = cli.command_of(program());
    command.arg(cli.configuration()).stdin(Stdio::piped());
    Running::start_with_input(command, paths)
}

#[test]
fn workers_and_the_program_share_one_refresh() {
    let mut server = Server::with_access_ttl("1ms");
    let cli = Cli::new(&server.url);
    cli.login();
    server.restart("15m");
    let paths = "/protected\n".repeat(50);
    let workers: Vec<Running> = (0..4).map(|_| worker(&cli, &paths)).collect();
    let gets: Vec<Running> = (0..4).map(|_| cli.start(&["get", "/protected"])).collect();
    let burst = cli.start(&["burst", "-n", "100", "--json"]);

    // What `sha256sum` says of the answer.
    let sum = "200 43 ";
    for worker in workers {
        let output = worker.finish().expect(0).silent();
        let lines: Vec<&str> = output.text().lines().collect();
        assert_eq!(lines.len(), 50);
        assert!(lines.iter().all(|line| line.starts_with(sum) && *line == lines[0]), "{}", output.text());
    }
    for get in gets {
        assert_eq!(get.finish().expect(0).silent().stdout.len(), 43);
    }
    assert_eq!(burst.finish().expect(0).json()["succeeded"], 100);
    assert_eq!(server.refreshes(), 1);
}

#[test]
fn a_worker_says_what_it_could_not_fetch() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    // A blank line asks for nothing.
    let output = worker(&cli, "//elsewhere\n\n/protected\n").finish().expect(1);
    assert_eq!(output.text().lines().count(), 1);
    assert_eq!(cli.settled(&output.stderr), "error: `//elsewhere` is not a path on [server]: it names another host\n");
}

#[test]
fn a_worker_whose_reader_has_had_enough_ends_well() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let mut shell = cli.command_of("bash");
    // The lines never end, so only the closed pipe can end it.
    shell.args(["-c", "yes /protected | \"$0\" \"$1\" | head -n 3; exit \"${PIPESTATUS[1]}\""]);
    shell.arg(program()).arg(cli.configuration());
    let output = Running::start(shell).finish().expect(0).silent();
    assert_eq!(output.text().lines().count(), 3);
}
