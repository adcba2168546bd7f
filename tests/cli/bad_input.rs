//! Profiles and configuration files that are not as they should be.

use std::fs;

use insta::{allow_duplicates, assert_snapshot};

use crate::support::{Cli, NOBODY, Server};

fn with_configuration(text: &str) -> Cli {
    let cli = Cli::new(NOBODY);
    fs::create_dir(cli.configuration()).unwrap();
    fs::write(cli.configuration().join("config.toml"), text).unwrap();
    cli
}

#[test]
fn an_unknown_profile_is_named_with_the_way_to_make_it() {
    let cli = Cli::new(NOBODY);
    for arguments in [["get", "/x"].as_slice(), &["status"], &["token"], &["refresh"], &["burst", "-n", "2"]] {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--profile", "work"]);
        let refused = cli.run(&arguments).expect(2).without_stdout();
        allow_duplicates! {
            assert_snapshot!(refused.stderr, @"
            error: there is no profile `work`
            hint: `authcli login --profile work` makes it
            ");
        }
    }
}

#[test]
fn what_cannot_name_a_profile_is_refused() {
    let cli = Cli::new(NOBODY);
    for name in ["../etc", "a b", "a/b", "", "\u{1b}[31m", &"x".repeat(65)] {
        let refused = cli.run(&["status", "--profile", name]).expect(2).without_stdout();
        assert!(refused.stderr.contains("cannot name a profile"), "{}", refused.stderr);
        assert!(!refused.stderr.contains('\u{1b}'), "{:?}", refused.stderr);
    }
}

#[test]
fn a_mistake_in_the_configuration_is_named_with_its_line() {
    let cli = with_configuration("version = 1\n\n[profiles.default]\nsevrer = \"http://127.0.0.1:3000\"\n");
    for arguments in [["status"].as_slice(), &["get", "/x"], &["logout"]] {
        let refused = cli.run(arguments).expect(2).without_stdout();
        assert!(refused.stderr.contains("line 4"), "{}", refused.stderr);
        assert!(refused.stderr.contains("sevrer"), "{}", refused.stderr);
        assert!(cli.settled(&refused.stderr).starts_with("error: [config]/config.toml: line "));
    }
    let before = fs::read_to_string(cli.configuration().join("config.toml")).unwrap();
    cli.run_with_input(&["login", "-u", "admin", "--password-stdin"], "x\n").expect(2);
    assert_eq!(fs::read_to_string(cli.configuration().join("config.toml")).unwrap(), before);
}

#[test]
fn text_that_is_no_toml_is_named_with_its_line() {
    let cli = with_configuration("version = 1\n[profiles.default\n");
    assert!(cli.run(&["status"]).expect(2).stderr.contains("line 2"));
}

#[test]
fn a_configuration_of_a_newer_version_is_left_alone() {
    let cli = with_configuration("version = 2\nnovelty = true\n");
    let refused = cli.run(&["status"]).expect(2).without_stdout();
    assert_snapshot!(cli.settled(&refused.stderr), @"error: [config]/config.toml is of version 2; this authcli knows versions up to 1");
}

#[test]
fn a_credential_cannot_lead_out_of_its_directory() {
    let cli = with_configuration("[profiles.default]\nstore = \"file\"\ncredential = \"../../etc/x\"\n");
    cli.run(&["status"]).expect(2);
}

#[test]
fn what_people_write_into_the_configuration_stays() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    let text =
        "# mine\nversion = 1\n\n[profiles.other] # keep\nserver = \"https://example.com/v1\"\nallow_http = false\n";
    fs::create_dir(cli.configuration()).unwrap();
    fs::write(cli.configuration().join("config.toml"), text).unwrap();
    cli.login();
    let after = fs::read_to_string(cli.configuration().join("config.toml")).unwrap();
    assert!(after.starts_with(text), "{after}");
    assert!(after.contains("[profiles.default]"), "{after}");
    assert!(!after.contains("Token") && !after.contains("eyJ"), "{after}");
}

#[test]
fn there_is_a_home_for_the_configuration_without_the_variable() {
    let server = Server::start();
    let cli = Cli::new(&server.url).without("AUTHCLI_CONFIG_DIR");
    cli.login();
    cli.run(&["get", "/protected"]).expect(0);
    let found = ["home/.config/authcli/config.toml", "home/Library/Application Support/authcli/config.toml"];
    assert!(found.iter().any(|path| cli.path(path).exists()));
}
