//! The jobs of docs/COOKBOOK.md, run as they are printed there.
//!
//! A section is a job, in a home of its own. Its `sh` blocks are run by bash in their order, and must succeed; a `text` block
//! below one is what it prints, where `…` stands for anything, also for whole lines. A `crontab` block is run as cron would
//! run it. A section that shows no login begins logged in. `https://api.example.com` is a real server, and
//! `https://id.example.com` answers as a provider does; `ssh` runs its command here, in an environment of its own.

use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, Cli, Endpoint, Running, Server};

const PAGE: &str = include_str!("../../docs/COOKBOOK.md");
const SERVER: &str = "https://api.example.com";
const ISSUER: &str = "https://id.example.com";
const SSH: &str = "#!/bin/sh\nexec env -i PATH=\"$PATH\" HOME=/nonexistent sh -c \"$2\"\n";

/// A block between fences: its language, its text, and its line in the page.
struct Block {
    language: String,
    text: String,
    line: usize,
}

/// Returns the sections of the page that hold blocks, by their titles.
fn sections() -> Vec<(String, Vec<Block>)> {
    let mut sections: Vec<(String, Vec<Block>)> = Vec::new();
    let mut lines = PAGE.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push((title.to_owned(), Vec::new()));
        } else if let Some(language) = line.strip_prefix("```") {
            let text = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
            let text = text.fold(String::new(), |text, line| text + line + "\n");
            let (_, blocks) = sections.last_mut().expect("a block belongs to a section");
            blocks.push(Block { language: language.to_owned(), text, line: number + 1 });
        }
    }
    sections
}

#[test]
fn every_job_of_the_cookbook_does_what_it_says() {
    let server = &Server::start();
    let sections = sections();
    assert!(sections.len() >= 10, "{} jobs", sections.len());
    let failures: Vec<String> = thread::scope(|scope| {
        let jobs: Vec<_> = sections
            .iter()
            .map(|(title, blocks)| {
                scope.spawn(move || run_section(server, blocks).map_err(|why| format!("## {title}\n{why}")))
            })
            .collect();
        jobs.into_iter().filter_map(|job| job.join().unwrap().err()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn run_section(server: &Server, blocks: &[Block]) -> Result<(), String> {
    let wants_provider = blocks.iter().any(|block| block.text.contains(ISSUER));
    if wants_provider { run_with_provider(server, blocks) } else { run(server, blocks) }
}

/// Runs the blocks of one section.
fn run(server: &Server, blocks: &[Block]) -> Result<(), String> {
    assert!(!blocks.is_empty(), "a job without a block shows nothing");
    let cli = Cli::new(&server.url).without("AUTHCLI_STORE").without("AUTHCLI_SERVER").without("AUTHCLI_CONFIG_DIR");
    prepare(&cli);
    if !blocks.iter().any(|block| block.text.contains("authcli login")) {
        let login =
            "printf 123456 | authcli login -q -u admin --password-stdin --store file --server https://api.example.com";
        bash(&cli, server, login, 0)?;
    }
    let mut printed = String::new();
    for block in blocks {
        match block.language.as_str() {
            "sh" => printed = bash(&cli, server, &block.text, block.line)?,
            "crontab" => cron(&cli, server, block)?,
            "text" if matches(&block.text, &printed) => {}
            "text" => return Err(format!("line {}: it printed\n{printed}", block.line)),
            other => return Err(format!("line {}: what is a block of `{other}`?", block.line)),
        }
    }
    Ok(())
}

/// Runs the blocks of one section, with a provider.
fn run_with_provider(server: &Server, blocks: &[Block]) -> Result<(), String> {
    let provider = Endpoint::start();
    let with_address = |block: &Block| Block {
        language: block.language.clone(),
        text: block.text.replace(ISSUER, &provider.url),
        line: block.line,
    };
    let blocks: Vec<Block> = blocks.iter().map(with_address).collect();
    thread::scope(|scope| {
        let job = scope.spawn(|| run(server, &blocks));
        while !job.is_finished() {
            let Some(call) = provider.poll(Duration::from_millis(20)) else { continue };
            let answer = match call.path.as_str() {
                "/token"
                    if call.form()["grant_type"] == "client_credentials" && call.header("authorization").is_some() =>
                {
                    json!({"access_token": "access", "token_type": "Bearer", "expires_in": 900})
                }
                "/.well-known/openid-configuration" => {
                    json!({"issuer": provider.url, "token_endpoint": format!("{}/token", provider.url)})
                }
                _ => {
                    call.reply(Answer::error(400, "invalid_request"));
                    continue;
                }
            };
            call.reply(Answer::json(200, &answer));
        }
        job.join().unwrap()
    })
}

/// Puts the programs that a job finds on its PATH into the home.
fn prepare(cli: &Cli) {
    let bin = cli.home().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_authcli"), bin.join("authcli")).unwrap();
    fs::write(bin.join("ssh"), SSH).unwrap();
    fs::set_permissions(bin.join("ssh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

fn path(cli: &Cli) -> String {
    format!("{}:{}", cli.home().join("bin").display(), std::env::var("PATH").unwrap())
}

fn bash(cli: &Cli, server: &Server, text: &str, line: usize) -> Result<String, String> {
    let mut command = cli.command_of("bash");
    command.args(["-euc", &text.replace(SERVER, &server.url)]);
    command
        .env("PATH", path(cli))
        .env("PASSWORD", "123456")
        .env("PASSWORD2", "password2")
        .env("CLIENT_SECRET", "secret");
    finish(command, server, line)
}

/// Runs the command of each line as cron does: by sh, in the home, with next to nothing in the environment.
fn cron(cli: &Cli, server: &Server, block: &Block) -> Result<(), String> {
    for entry in block.text.lines() {
        let command_line = entry.splitn(6, ' ').nth(5).expect("five fields, then the command");
        let mut command = cli.command_of("sh");
        command.args(["-c", command_line]).env_clear();
        command.env("HOME", cli.home()).env("PATH", path(cli)).env("LOGNAME", "admin").env("SHELL", "/bin/sh");
        let printed = finish(command, server, block.line)?;
        if !printed.is_empty() {
            return Err(format!("line {}: cron would send mail: {printed}", block.line));
        }
    }
    Ok(())
}

fn finish(command: std::process::Command, server: &Server, line: usize) -> Result<String, String> {
    let ended = Running::start(command).finish();
    let mut printed = ended.text().replace(&server.url, SERVER);
    // A body may end without a line's end; on the page it cannot.
    if !printed.is_empty() && !printed.ends_with('\n') {
        printed.push('\n');
    }
    if ended.code == Some(0) {
        return Ok(printed);
    }
    let mut why = format!("line {line}: it ended with {:?}\n{printed}", ended.code);
    let _ = write!(why, "{}", ended.stderr);
    Err(why)
}

/// Returns whether `text` is what `pattern` says.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, others)) = pattern.split_once('…') else {
        return pattern == text;
    };
    let (between, last) = others.rsplit_once('…').unwrap_or(("", others));
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    for piece in between.split('…') {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn a_gap_stands_for_anything_and_nothing_else_does() {
    for (pattern, text, expected) in [
        ("a\n", "a\n", true),
        ("a\n", "a\nb\n", false),
        ("…\nb\n", "a\nb\n", true),
        ("a…c\n", "a, b, c\n", true),
        ("a…\n", "b\n", false),
        ("a…c\n", "a, b\n", false),
        ("…a\n…\n", "xa\nb\nc\n", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern:?} {text:?}");
    }
}
