//! The README's own examples, typed in the order in which they stand there, on a real keyring.
//!
//! A `console` block is typed command by command; what stands below a command is what the terminal shows, where `…` stands
//! for anything. `http://127.0.0.1:3000` and `https://api.example.com` are a real server. What makes or installs the
//! programs, and what starts the server, has been done by the time a test runs.

use super::cookbook::matches;
use crate::support::{Cli, NOBODY, Running, SecretService, Server};

const PAGE: &str = include_str!("../../README.md");
const DONE_ALREADY: [&str; 3] = ["make ", "cargo install ", "authcli-server serve "];

/// Returns the commands of all `console` blocks, each with what it shows.
fn examples() -> Vec<(&'static str, String)> {
    let mut examples: Vec<(&str, String)> = Vec::new();
    for block in PAGE.split("```console\n").skip(1).map(|rest| rest.split_once("```\n").unwrap().0) {
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                examples.push((command, String::new()));
            } else if let Some((_, shown)) = examples.last_mut() {
                shown.push_str(line);
                shown.push('\n');
            }
        }
    }
    examples
}

#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn every_example_shows_what_it_says() {
    let (keyring, server) = (SecretService::start(), Server::start());
    let cli = keyring.user(&server.url);
    // The demonstration's own transcript is that of another test, `make demo`.
    let typed = examples().into_iter().skip_while(|(command, _)| !command.starts_with("authcli-server serve"));
    let typed: Vec<_> =
        typed.filter(|(command, _)| !DONE_ALREADY.iter().any(|done| command.starts_with(done))).collect();
    assert!(typed.len() >= 4, "{typed:?}");
    for (command, shown) in typed {
        let there = |text: &str| {
            text.replace("http://127.0.0.1:3000", &server.url).replace("https://api.example.com", &server.url)
        };
        // The password is asked for at a terminal, and is given here as a script does.
        let asks = command == "authcli login -u admin";
        let line = if asks { format!("printf 123456 | {command} --password-stdin") } else { there(command) };
        let line =
            line.replace("-u ci ", "-u admin ").replace("authcli ", &format!("{} ", env!("CARGO_BIN_EXE_authcli")));
        let mut bash = cli.command_of("bash");
        bash.args(["-euc", &format!("{line} 2>&1")]).env("PASSWORD", "123456");
        let ended = Running::start(bash).finish().expect(0);
        let shown = there(&shown);
        let shown =
            shown.lines().filter(|line| !(asks && line.starts_with("Password for "))).collect::<Vec<_>>().join("\n");
        if !shown.is_empty() {
            assert!(matches(&shown, ended.text().trim_end()), "{command} shows\n{}", ended.text());
        }
    }
}

#[test]
fn every_command_and_every_setting_has_its_row() {
    for command in super::help::commands(&Cli::new(NOBODY)) {
        assert!(PAGE.contains(&format!("| `authcli {command}")), "{command} in the README's table of commands");
    }
    let help = Cli::new(NOBODY).run(&["profile", "set", "--help"]).expect(0);
    let (_, settings) = help.text().split_once("Settings:\n").unwrap();
    // Up to the next heading; a line without a second column goes on with the one above.
    let lines = settings.lines().take_while(|line| !line.is_empty()).filter(|line| line.trim().contains("  "));
    for setting in lines.filter_map(|line| line.split_whitespace().next()) {
        // A table below the profile's is explained as a whole.
        let told = match setting.split_once('.') {
            Some((table, _)) => PAGE.contains(&format!("{table}.")),
            None => PAGE.contains(&format!("| `{setting}` |")),
        };
        assert!(told, "{setting} in the README's settings");
    }
}
