//! Completions and manual pages, given to the programs that they are for.

use std::fs;
use std::process::Command;

use crate::support::{Cli, NOBODY, Running};

/// Writes what `arguments` print into `name`, and returns its path.
fn write(cli: &Cli, arguments: &[&str], name: &str) -> String {
    let path = cli.path(name);
    fs::write(&path, cli.run(arguments).expect(0).silent().stdout).unwrap();
    path.display().to_string()
}

/// Runs `program`, and returns what it prints if it has nothing to complain of.
#[track_caller]
fn quietly(cli: &Cli, program: &str, arguments: &[&str]) -> String {
    let mut command: Command = cli.command_of(program);
    command.args(arguments).env("TERM", "dumb");
    Running::start(command).finish().expect(0).silent().text().to_owned()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let cli = Cli::new(NOBODY);
    let script = write(&cli, &["completions", "bash"], "authcli.bash");
    let complete = |words: &str, expected: &str| {
        let count = words.split(' ').count() - 1;
        let line = format!(
            "source {script}; COMP_WORDS=({words}); COMP_CWORD={count}; _authcli authcli \"${{COMP_WORDS[-1]}}\"; \
             echo \"${{COMPREPLY[@]}}\""
        );
        let found = quietly(&cli, "bash", &["-ec", &line]);
        assert!(found.split_whitespace().any(|word| word == expected), "{words}: {found}");
    };
    complete("authcli prof", "profile");
    complete("authcli profile remo", "remove");
    complete("authcli status --cl", "--claims");
    complete("authcli get --pro", "--profile");
    complete("authcli completions powe", "powershell");
}

#[test]
#[ignore = "needs zsh: run `make test`"]
fn zsh_loads_the_completions() {
    let cli = Cli::new(NOBODY);
    write(&cli, &["completions", "zsh"], "_authcli");
    let directory = cli.path("");
    let line = format!(
        "fpath=({} $fpath); autoload -Uz compinit; compinit -u -D; autoload +X _authcli; print ${{_comps[authcli]}}",
        directory.display()
    );
    assert_eq!(quietly(&cli, "zsh", &["-f", "-ec", &line]), "_authcli\n");
}

#[test]
#[ignore = "needs fish: run `make test`"]
fn fish_completes_commands_and_options() {
    let cli = Cli::new(NOBODY);
    let script = write(&cli, &["completions", "fish"], "authcli.fish");
    let complete =
        |line: &str| quietly(&cli, "fish", &["--no-config", "-c", &format!("source {script}; complete -C '{line}'")]);
    assert!(complete("authcli prof").contains("profile\t"), "{}", complete("authcli prof"));
    assert!(complete("authcli status --cl").contains("--claims"), "{}", complete("authcli status --cl"));
}

#[test]
fn powershell_gets_a_script_that_names_every_command() {
    let script = Cli::new(NOBODY).run(&["completions", "powershell"]).expect(0).silent();
    assert!(script.text().contains("Register-ArgumentCompleter -Native -CommandName 'authcli'"));
    for command in super::help::commands(&Cli::new(NOBODY)) {
        assert!(script.text().contains(&format!("'authcli;{command}'")), "{command}");
    }
}

#[test]
#[ignore = "needs man and mandoc: run `make test`"]
fn every_command_has_a_page_that_man_shows_without_a_warning() {
    let cli = Cli::new(NOBODY);
    let directory = cli.path("man1");
    cli.run(&["man", "--directory", directory.to_str().unwrap()]).expect(0).without_stdout();
    let mut names: Vec<_> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for command in super::help::commands(&cli) {
        assert!(names.contains(&format!("authcli-{command}.1")), "{command} in {names:?}");
    }
    assert!(
        names.contains(&"authcli.1".to_owned()) && names.contains(&"authcli-profile-set.1".to_owned()),
        "{names:?}"
    );
    assert!(!names.iter().any(|name| name.contains("help")), "{names:?}");
    for name in &names {
        let page = directory.join(name).display().to_string();
        let mut lint = cli.command_of("mandoc");
        lint.args(["-T", "lint", "-W", "warning", &page]);
        let complaints = Running::start(lint).finish();
        // A page that a program makes of itself has no date.
        let complaints: Vec<_> = complaints.text().lines().filter(|line| !line.contains("missing date")).collect();
        assert!(complaints.is_empty(), "{complaints:?}");
        let shown = quietly(&cli, "man", &["--warnings", "--local-file", "--no-hyphenation", &page]);
        let title = name.trim_end_matches(".1").to_uppercase();
        assert!(shown.starts_with(&title), "{shown}");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"] {
            assert!(shown.lines().any(|line| line == section), "{section} in {name}: {shown}");
        }
    }
}

#[test]
fn the_manual_is_printed_page_by_page() {
    let cli = Cli::new(NOBODY);
    let page = cli.run(&["man", "profile", "set"]).expect(0).silent();
    assert!(page.text().starts_with(".TH \"AUTHCLI-PROFILE-SET\" \"1\" "), "{}", page.text());
    assert!(page.text().contains("allow_http"), "the settings are listed");
    let refused = cli.run(&["man", "profiel"]).expect(2).without_stdout();
    assert_eq!(refused.stderr, "error: there is no command `profiel`\nhint: `authcli --help` lists them\n");
    let refused = cli.run(&["man", "--directory", "/dev/null/x"]).expect(1).without_stdout();
    assert!(refused.stderr.starts_with("error: could not write the pages to /dev/null/x"), "{}", refused.stderr);
}
