//! A token for another program.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use rustix::process::Signal;

use crate::support::{Answer, Cli, Endpoint, NOBODY, Running, Server, logged_in};

#[test]
fn the_command_and_it_alone_has_the_token_in_its_environment() {
    let (_endpoint, cli) = logged_in();
    let output = cli.run(&["exec", "--", "sh", "-c", "echo $AUTHCLI_ACCESS_TOKEN; echo \"$1\"; cat", "sh", "a b"]);
    assert_eq!(output.expect(0).silent().text(), "access-1\na b\n");
    // Nothing of it stands where others could read it.
    let command = "tr '\\0' '\\n' < /proc/$$/cmdline | grep -c \"$AUTHCLI_ACCESS_TOKEN\"; exit 0";
    assert_eq!(cli.run(&["exec", "--", "sh", "-c", command]).expect(0).text(), "0\n");
}

#[test]
fn the_recipes_put_no_token_where_others_can_read_it() {
    let (_endpoint, cli) = logged_in();
    let directory = tempfile::tempdir().unwrap();
    // Shows its arguments in a line, and what it reads.
    let curl = directory.path().join("curl");
    fs::write(&curl, "#!/bin/sh\ntr '\\0' ' ' < /proc/$$/cmdline\necho\ncat\n").unwrap();
    fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
    symlink(env!("CARGO_BIN_EXE_authcli"), directory.path().join("authcli")).unwrap();
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let help = cli.run(&["exec", "--help"]).expect(0);
    for text in [help.text(), include_str!("../../README.md"), include_str!("../../docs/COOKBOOK.md")] {
        let recipe = &text[text.find("authcli exec -- sh -c '").unwrap()..];
        let quoted: Vec<_> = recipe.splitn(3, '\'').collect();
        let mut shell = cli.command_of("sh");
        shell.env("PATH", &path).args(["-c", &format!("{}'{}'", quoted[0], quoted[1])]);
        let output = Running::start(shell).finish().expect(0);
        let (arguments, read) = output.text().split_once('\n').unwrap();
        assert!(arguments.contains("https://api.example.com/protected") && !arguments.contains("access-1"));
        assert_eq!(read, "Authorization: Bearer access-1");
    }
}

#[test]
fn standard_input_is_the_commands() {
    let (_endpoint, cli) = logged_in();
    let output = cli.run_with_input(&["exec", "--", "cat"], "for the command\n").expect(0).silent();
    assert_eq!(output.text(), "for the command\n");
}

#[test]
fn options_after_the_command_are_the_commands() {
    let (_endpoint, cli) = logged_in();
    for arguments in [["exec", "--", "echo", "-v", "--help"].as_slice(), &["exec", "echo", "-v", "--help"]] {
        assert_eq!(cli.run(arguments).expect(0).text(), "-v --help\n");
    }
}

#[test]
fn the_exit_code_is_the_commands() {
    let (_endpoint, cli) = logged_in();
    for code in [0, 1, 7, 125, 255] {
        cli.run(&["exec", "--", "sh", "-c", &format!("exit {code}")]).expect(code).silent();
    }
}

#[test]
fn a_command_that_a_signal_ends_is_seen_to_end_so() {
    let (_endpoint, cli) = logged_in();
    let mut shell = cli.command_of("sh");
    shell.args(["-c", "\"$0\" exec -- sh -c 'kill -KILL $$'; echo $?", env!("CARGO_BIN_EXE_authcli")]);
    assert_eq!(Running::start(shell).finish().expect(0).text(), "137\n");
}

#[test]
fn signals_reach_the_command() {
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP"), (Signal::USR1, "USR1")] {
        let (_endpoint, cli) = logged_in();
        // The command tells when it listens, and ends only by the signal.
        let script = format!("trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.01; done");
        let (running, stdout) = cli.start_with_stdout(&["exec", "--", "sh", "-c", &script]);
        let mut output = BufReader::new(stdout);
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        running.signal(signal);
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, format!("got {name}\n"));
        running.finish().expect(9);
    }
}

#[test]
fn what_was_ignored_stays_ignored_and_nothing_else_is() {
    let (_endpoint, cli) = logged_in();
    let mut shell = cli.command_of("sh");
    // Of INT and HUP the first is ignored; a broken pipe ends the command as it ends any.
    let script = "trap '' INT; exec \"$0\" exec -- sh -c 'grep SigIgn /proc/self/status'";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_authcli")]);
    let output = Running::start(shell).finish().expect(0);
    let mask = u64::from_str_radix(output.text().trim().strip_prefix("SigIgn:").unwrap().trim(), 16).unwrap();
    let ignored = |signal: Signal| mask & (1 << (signal.as_raw() - 1)) != 0;
    assert!(ignored(Signal::INT) && !ignored(Signal::HUP) && !ignored(Signal::PIPE), "{mask:x}");
}

#[test]
fn failures_of_its_own_are_told_as_env_does() {
    let (_endpoint, cli) = logged_in();
    let not_found = cli.run(&["exec", "--", "no-such-command-anywhere"]).expect(127).without_stdout();
    assert!(not_found.stderr.starts_with("error: could not run `no-such-command-anywhere`\n"), "{}", not_found.stderr);
    cli.run(&["exec", "--", "./no-such-file"]).expect(127).without_stdout();
    cli.run(&["exec", "--", "/"]).expect(126).without_stdout();
    for arguments in [["exec"].as_slice(), &["exec", "--"], &["exec", "--no-such-option", "--", "true"]] {
        cli.run(arguments).expect(125).without_stdout();
    }
    cli.run(&["exec", "--profile", "no such", "--", "true"]).expect(125).without_stdout();
    let nobody = Cli::new(NOBODY).run(&["exec", "--", "true"]).expect(125).without_stdout();
    assert!(nobody.stderr.ends_with("hint: run `authcli login`\n"), "{}", nobody.stderr);
}

#[test]
fn no_token_no_command() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let exec = cli.start(&["exec", "--", "echo", "started"]);
    endpoint.refuse_refresh();
    exec.finish().expect(125).without_stdout();
}

#[test]
fn the_token_is_good_for_a_minute_or_for_half_its_life() {
    for (life, used, refreshes) in [(900, 800, false), (900, 850, true), (60, 20, false), (60, 40, true)] {
        let endpoint = Endpoint::start();
        let cli = Cli::new(&endpoint.url);
        cli.login_at(&endpoint, "access-1", "refresh-1", f64::from(life));
        cli.let_pass(jiff::SignedDuration::from_secs(used));
        let exec = cli.start(&["exec", "--", "sh", "-c", "echo $AUTHCLI_ACCESS_TOKEN"]);
        let token = if refreshes {
            endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", f64::from(life)));
            "access-2\n"
        } else {
            "access-1\n"
        };
        assert_eq!(exec.finish().expect(0).silent().text(), token, "{life} {used}");
        // The command took the program's place only after the save.
        assert_eq!(cli.run(&["token"]).expect(0).text(), token);
    }
}

#[test]
fn a_longer_life_can_be_asked_for() {
    let (endpoint, cli) = logged_in();
    let exec = cli.start(&["exec", "--min-valid", "30m", "--", "sh", "-c", "echo $AUTHCLI_ACCESS_TOKEN"]);
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let output = exec.finish().expect(0);
    assert_eq!(output.text(), "access-2\n");
    assert!(output.stderr.contains("shorter-lived than asked for"), "{}", output.stderr);
}

#[test]
fn many_commands_at_once_on_an_expired_token_cost_one_refresh() {
    let mut server = Server::with_access_ttl("1ms");
    let cli = Cli::new(&server.url);
    cli.login();
    server.restart("15m");
    let commands: Vec<Running> =
        (0..8).map(|_| cli.start(&["exec", "--", "sh", "-c", "echo $AUTHCLI_ACCESS_TOKEN"])).collect();
    let tokens: Vec<String> =
        commands.into_iter().map(|command| command.finish().expect(0).silent().text().to_owned()).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0] && token.len() > 20));
    assert_eq!(server.refreshes(), 1);
}
