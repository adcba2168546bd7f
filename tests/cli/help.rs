//! Help, version, and what was typed wrong.

use insta::assert_snapshot;

use crate::support::{Cli, NOBODY};

/// Returns the names of all commands, as `--help` lists them.
pub(crate) fn commands(cli: &Cli) -> Vec<String> {
    let help = cli.run(&["--help"]).expect(0).silent();
    let (_, list) = help.text().split_once("Commands:\n").expect("a list of commands");
    // A line that begins further in goes on with the one above.
    let lines = list.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_has_help_on_stdout_with_an_example_that_is_one() {
    let cli = Cli::new(NOBODY);
    let commands = commands(&cli);
    assert!(commands.len() >= 11, "{commands:?}");
    for command in commands {
        let help = cli.run(&[&command, "--help"]).expect(0).silent();
        assert!(help.text().contains(&format!("Usage: authcli {command}")), "{}", help.text());
        let (_, examples) = help.text().split_once("\nExamples:\n").unwrap_or_else(|| panic!("{}", help.text()));
        assert!(examples.contains(&format!("authcli {command}")), "{examples}");
        assert!(cli.run(&["help", &command]).expect(0).text() == help.text());
    }
}

#[test]
fn help_fits_the_terminal_that_it_is_shown_on() {
    for columns in [40, 80, 200] {
        let cli = Cli::new(NOBODY).with("COLUMNS", &columns.to_string());
        for arguments in [["--help"].as_slice(), &["burst", "--help"], &["profile", "set", "--help"]] {
            let help = cli.run(arguments).expect(0);
            // Examples are not cut: they are there to be copied.
            let (options, _) = help.text().split_once("\nExamples:").unwrap();
            let (_, options) = options.split_once("\nOptions:").unwrap_or(("", options));
            let longest = options.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= columns.clamp(60, 100), "{longest} of {columns}: {options}");
        }
    }
}

#[test]
fn the_version_is_on_stdout() {
    let version = Cli::new(NOBODY).run(&["--version"]).expect(0).silent();
    assert_eq!(version.text(), concat!("authcli ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn an_unknown_option_is_answered_with_a_suggestion() {
    let refused = Cli::new(NOBODY).run(&["status", "--jsno"]).expect(2).without_stdout();
    assert_snapshot!(refused.stderr, @"
    error: unexpected argument '--jsno' found

      tip: a similar argument exists: '--json'

    Usage: authcli status --json

    For more information, try '--help'.
    ");
}

#[test]
fn an_unknown_command_is_answered_with_a_suggestion() {
    let refused = Cli::new(NOBODY).run(&["logn"]).expect(2).without_stdout();
    let tip = refused.stderr.lines().find(|line| line.contains("tip: ")).unwrap();
    assert!(tip.contains("'login'"), "{tip}");
}

#[test]
fn nothing_typed_is_a_usage_error_with_the_help() {
    let help = Cli::new(NOBODY).run::<&str>(&[]).expect(2).without_stdout();
    assert!(help.stderr.contains("Usage: authcli"), "{}", help.stderr);
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let cli = Cli::new(NOBODY);
    for arguments in [
        ["burst", "-n", "0"].as_slice(),
        &["burst", "-n", "-1"],
        &["burst", "-n", "ten"],
        &["burst", "-n", "1", "-c", "0"],
        &["burst"],
        &["burst", "-n", "1", "--rate", "0"],
        &["burst", "-n", "1", "--rate", "nan"],
        &["burst", "--duration", "0"],
        &["burst", "-n", "1", "--json", "--ndjson"],
        &["batch", "-c", "0"],
        &["get", "/x", "--timeout", "0"],
        &["get", "/x", "--timeout", "soon"],
        &["token", "--min-valid", "-1s"],
        &["status", "--color", "blue"],
        &["status", "-q", "-v"],
        &["status", "--store", "cloud"],
    ] {
        let refused = cli.run(arguments).expect(2).without_stdout();
        assert!(refused.stderr.starts_with("error: "), "{arguments:?}: {}", refused.stderr);
    }
    assert_snapshot!(cli.run(&["burst", "-n", "0"]).stderr, @"
    error: invalid value '0' for '--requests <N>': expected a whole number of at least 1

    For more information, try '--help'.
    ");
    let neither = cli.run(&["burst"]).stderr;
    assert!(neither.contains("<--requests <N>|--duration <DUR>>"), "{neither}");
    let too_many = cli.run(&["burst", "-n", "1", "-c", "99999999999999999999"]).expect(2).stderr;
    assert!(too_many.contains("expected at most 18446744073709551615\n"), "{too_many}");
}

#[test]
fn a_password_is_no_argument() {
    for arguments in [["login", "--password", "x"].as_slice(), &["login", "-p", "x"], &["login", "-u", "admin", "x"]] {
        Cli::new(NOBODY).run(arguments).expect(2);
    }
}

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    let is_coloured = |cli: Cli, arguments: &[&str]| cli.run(arguments).expect(7).stderr.contains('\u{1b}');
    assert!(!is_coloured(Cli::new(NOBODY), &["status"]));
    assert!(is_coloured(Cli::new(NOBODY), &["status", "--color", "always"]));
    assert!(!is_coloured(Cli::new(NOBODY), &["status", "--color", "never"]));
    assert!(is_coloured(Cli::new(NOBODY).with("NO_COLOR", "1"), &["status", "--color", "always"]));
}
