//! Finding out what a server offers.

use super::{OPENID, assert_no_secret, login, metadata, tokens};
use crate::support::{Answer, Cli, Endpoint};

#[test]
fn metadata_is_found_at_either_place() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let more = ["--flow", "client-credentials", "--client-secret-stdin"];
    let running = cli.start_with_input(&login(&endpoint, &more), "canary-secret\n");
    endpoint.expect("GET", OPENID).reply(Answer::new(404, "<html>"));
    let other = endpoint.expect("GET", "/.well-known/oauth-authorization-server");
    other.reply(Answer::json(200, &metadata(&endpoint)));
    endpoint.expect("POST", "/token").reply(Answer::json(200, &tokens(1)));
    running.finish().expect(0);
}

#[test]
fn a_server_that_is_not_the_issuer_gets_nothing() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let running = cli.start(&login(&endpoint, &["--flow", "device"]));
    let mut metadata = metadata(&endpoint);
    metadata["issuer"] = format!("{}/", endpoint.url).into();
    for path in [OPENID, "/.well-known/oauth-authorization-server"] {
        endpoint.expect("GET", path).reply(Answer::json(200, &metadata));
    }
    let output = running.finish().expect(6).without_stdout();
    assert!(output.stderr.contains(&format!("hint: if that is who you mean, pass `--issuer {}/`", endpoint.url)));
}

#[test]
fn what_cannot_be_an_issuer_is_not_connected_to() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    for issuer in ["http://id.example.com", "id.example.com", "https://id.example.com?x=1"] {
        cli.run(&["login", "--issuer", issuer, "--client-id", "cli"]).expect(2).without_stdout();
    }
    cli.run(&["login", "--issuer", &endpoint.url]).expect(2);
    cli.run(&["login", "--client-id", "cli"]).expect(2);
    cli.run(&login(&endpoint, &["--flow", "client-credentials"])).expect(2);
    cli.run(&login(&endpoint, &["-u", "admin"])).expect(2);
    let nowhere = Cli::new("").run(&login(&endpoint, &[])).expect(2);
    assert!(nowhere.stderr.contains("--server URL"), "{}", nowhere.stderr);
    // The only ones are those that ask what the server offers.
    assert!(endpoint.connections() <= 1);
}

#[test]
fn the_query_of_an_endpoint_is_not_told() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let more = ["--flow", "client-credentials", "--client-secret-stdin"];
    let running = cli.start_with_input(&login(&endpoint, &more), "canary-secret\n");
    let mut metadata = metadata(&endpoint);
    metadata["token_endpoint"] = format!("{}/token?key=canary-refresh", endpoint.url).into();
    endpoint.expect("GET", OPENID).reply(Answer::json(200, &metadata));
    endpoint.expect("POST", "/token?key=canary-refresh").reply(Answer::new(500, ""));
    assert_no_secret(&running.finish().expect(6).stderr);
}
