//! Servers that may open few files, and are called by many.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::program::{Place, Program};

const DEMO: [&str; 6] = ["serve", "--demo", "--listen", "127.0.0.1:0", "--access-ttl", "1h"];

/// Starts a demonstration under a limit of `ulimit`, as shells set it for what they start.
fn start_limited(place: &Place, limit: &str) -> Program {
    let program = place.command(&DEMO);
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")])
        .arg(program.get_program())
        .args(program.get_args());
    shell.env_clear().env("HOME", place.path("home")).env("TMPDIR", place.path("tmp"));
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Program::start(shell)
}

/// Opens connections that say nothing.
fn idle_connections(server: &Program, count: usize) -> Vec<TcpStream> {
    let address = server.url.strip_prefix("http://").unwrap();
    (0..count).map(|_| TcpStream::connect(address).unwrap()).collect()
}

/// A client that keeps its connection, and waits for no answer longer than it should take.
fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(8)).build().unwrap()
}

async fn login(client: &Client, server: &Program) -> (StatusCode, Value) {
    let body = json!({ "username": "admin", "password": "123456" });
    let answer = client.post(format!("{}/login", server.url)).json(&body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn a_limit_that_may_be_raised_keeps_nobody_waiting() {
    let place = Place::new();
    let server = start_limited(&place, "-Sn 64");
    let _idle = idle_connections(&server, 100);
    assert_eq!(login(&client(), &server).await.0, StatusCode::OK);
}

#[tokio::test]
async fn where_it_may_not_those_who_come_late_wait_and_the_database_is_there_for_the_others() {
    let place = Place::new();
    let threads = thread::available_parallelism().unwrap().get();
    // What is kept back, what each thread has of its own, and 32 connections for each.
    let server = start_limited(&place, &format!("-n {}", 128 + (4 + 32) * threads));
    let early: Vec<Client> = (0..16).map(|_| client()).collect();
    let (status, tokens) = login(&early[0], &server).await;
    assert_eq!(status, StatusCode::OK);
    let ask = async |client: &Client, path: &str| {
        let bearer = tokens["accessToken"].as_str().unwrap();
        client.get(format!("{}{path}", server.url)).bearer_auth(bearer).send().await.unwrap().status()
    };
    // They have their connections; the database has opened no more than it needed so far.
    assert_eq!(join_all(early.iter().map(|client| ask(client, "/healthz"))).await, [StatusCode::OK; 16]);
    let idle = idle_connections(&server, 32 * threads + 50);
    let late = client();
    let waits = late.get(format!("{}/healthz", server.url)).timeout(Duration::from_secs(1));
    assert!(waits.send().await.unwrap_err().is_timeout(), "not all places are taken: this tests nothing");
    assert_eq!(join_all(early.iter().map(|client| ask(client, "/sessions"))).await, [StatusCode::OK; 16]);
    drop(idle);
    assert_eq!(login(&late, &server).await.0, StatusCode::OK);
}
