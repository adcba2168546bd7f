//! The real binaries against foreign peers: `authcli` on a Koa server, axios clients on `authcli-server`.
//!
//! The peers are in `tests/peers/`, in Node.js, with the wire behaviour of the dual-token servers and clients that
//! are out there. With `SEED_MD=PATH` the code blocks of that seed document are peers as well.
//!
//! What is counted is counted by the other side: `/__counts` of the Koa server. Nothing here asserts a time.

#![expect(clippy::expect_used, reason = "a broken expectation is a failed test")]

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

const PASSWORD: &str = "123456";

/// The seed's access tokens live so long.
const ACCESS_TTL: Duration = Duration::from_secs(2);

/// No process of these tests needs more than a few seconds; this is when it is called stuck.
const BOUND: Duration = Duration::from_mins(1);

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn logs_in_to_a_koa_server_and_calls_it() {
    let _turn = turn();
    for server in koa_servers(ACCESS_TTL) {
        let user = User::logged_in(&server.url);

        let answer = user.run(&["get", "/protected"]);

        assert_code(&answer, 0);
        assert_eq!(json_of(&answer), json!({"message": "Protected resource", "userId": 1}));
        assert_eq!(counts(&server.url), json!({"login": 1, "refresh": 0, "protected": 1, "refused": 0}));
    }
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn ten_calls_at_once_on_an_expired_token_cost_a_koa_server_one_refresh() {
    burst_on_an_expired_token(10);
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_hundred_calls_at_once_on_an_expired_token_cost_a_koa_server_one_refresh() {
    burst_on_an_expired_token(100);
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_thousand_calls_at_once_on_an_expired_token_cost_a_koa_server_one_refresh() {
    burst_on_an_expired_token(1000);
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn sixteen_processes_on_an_expired_token_cost_a_koa_server_one_refresh() {
    // Sixteen processes of an unoptimised build take a while to start on a busy machine: within that time the new
    // token must not expire again.
    let ttl = Duration::from_secs(6);
    let _turn = turn();
    for server in koa_servers(ttl) {
        let user = User::logged_in(&server.url);
        wait_for_expiry(server.access_ttl);

        let start = Instant::now();
        let processes: Vec<Child> = (0..16).map(|_| spawn(user.command(&["get", "/protected"]))).collect();

        let outputs: Vec<Output> = processes.into_iter().map(finish).collect();
        for output in outputs {
            assert_code(&output, 0);
        }
        let refreshes = counts(&server.url)["refresh"].as_u64().expect("the server counts refreshes");
        assert!((1..=refreshes_due(&server, start.elapsed())).contains(&refreshes), "{refreshes}");
    }
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_wrong_password_leaves_the_session_at_a_koa_server_alone() {
    let _turn = turn();
    for server in koa_servers(ACCESS_TTL) {
        let user = User::logged_in(&server.url);

        let refused = user.login(&server.url, "correct horse");

        assert_code(&refused, 4);
        assert!(refused.stdout.is_empty(), "{refused:?}");
        assert!(!String::from_utf8_lossy(&refused.stderr).contains("correct horse"), "{refused:?}");
        assert_code(&user.run(&["get", "/protected"]), 0);
    }
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn logs_out_of_a_koa_server_that_has_no_such_call() {
    let _turn = turn();
    for server in koa_servers(ACCESS_TTL) {
        let user = User::logged_in(&server.url);

        assert_code(&user.run(&["logout"]), 0);

        assert_code(&user.run(&["get", "/protected"]), 7);
        assert_eq!(counts(&server.url)["protected"], 0);
    }
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn axios_clients_get_all_their_answers_from_authcli_server() {
    let _turn = turn();
    let server = Server::authcli();
    for client in axios_clients() {
        for requests in [10, 100, 1000] {
            let mut command = node(&client);
            command.args(["--server", &server.url, "--requests", &requests.to_string()]);

            let output = finish(spawn(command));

            assert_code(&output, 0);
            let report = json_of(&output);
            assert_eq!(report["succeeded"], requests, "{client:?}: {report}");
            assert!(report["refreshes"].as_u64() >= Some(1), "{client:?}: {report}");
        }
    }
}

fn burst_on_an_expired_token(requests: u32) {
    let _turn = turn();
    for server in koa_servers(ACCESS_TTL) {
        let user = User::logged_in(&server.url);
        wait_for_expiry(server.access_ttl);

        let output = user.run(&["burst", "-n", &requests.to_string(), "--json"]);

        assert_code(&output, 0);
        let report = json_of(&output);
        let figure = |name: &str| report[name].as_u64().expect("burst --json reports whole numbers");
        assert_eq!(figure("requests"), u64::from(requests), "{report}");
        assert_eq!(figure("succeeded"), u64::from(requests), "{report}");
        assert_eq!(figure("failed"), 0, "{report}");
        assert_eq!(report["statuses"], json!({"200": requests}), "{report}");

        let refreshes = figure("refreshes");
        let elapsed = report["elapsed_ms"].as_f64().expect("burst --json reports elapsed_ms") / 1000.0;
        let due = refreshes_due(&server, Duration::from_secs_f64(elapsed));
        assert!((1..=due).contains(&refreshes), "{report}");
        let counted = counts(&server.url);
        assert_eq!(counted["login"], 1);
        assert_eq!(counted["refresh"], refreshes);
        assert_eq!(counted["protected"], u64::from(requests) + figure("retried"), "{report}");
        assert_eq!(counted["refused"], figure("retried"), "{report}");
    }
}

/// Returns how many refreshes may be made in this time: one, and one more for each 0.75 of a token's life.
///
/// The server's JWTs count whole seconds from the second they were issued in, so a life may be a second shorter.
fn refreshes_due(server: &Server, elapsed: Duration) -> u64 {
    let life = server.access_ttl.saturating_sub(Duration::from_secs(1));
    let each = life * 3 / 4;
    1 + u64::try_from(elapsed.as_millis() / each.as_millis()).expect("a test is over in less than an age")
}

/// Sleeps until the server, too, calls a token that it has just issued expired.
///
/// This is a real sleep because it is the clock of a foreign server that has to move on.
fn wait_for_expiry(ttl: Duration) {
    thread::sleep(ttl + Duration::from_millis(100));
}

/// Lets one test run at a time: a thousand requests beside it could make another's burst outlast its token.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A user of `authcli` with a configuration directory of its own and the file store.
struct User {
    /// authcli makes its own directory in it, as private as it wants that.
    config: TempDir,
}

impl User {
    fn logged_in(server: &str) -> Self {
        let user = Self { config: TempDir::new().expect("a temporary directory can be made") };
        assert_code(&user.login(server, PASSWORD), 0);
        user
    }

    fn login(&self, server: &str, password: &str) -> Output {
        let mut command = self.command(&["login", "-u", "admin", "--password-stdin", "--store", "file"]);
        command.args(["--server", server]).stdin(Stdio::piped());
        let mut process = spawn(command);
        let mut stdin = process.stdin.take().expect("stdin is piped");
        // A login that has given up already has closed its end: its exit code tells more than this error.
        drop(writeln!(stdin, "{password}"));
        drop(stdin);
        finish(process)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        finish(spawn(self.command(arguments)))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = plain_command(env!("CARGO_BIN_EXE_authcli"));
        command.args(arguments);
        command.env("AUTHCLI_CONFIG_DIR", self.config.path().join("authcli")).env("NO_PROXY", "127.0.0.1");
        command
    }
}

/// A running server, ended when it is dropped.
struct Server {
    process: Child,
    url: String,
    access_ttl: Duration,
    /// Holds the database, and is deleted after the server has ended.
    _directory: Option<TempDir>,
}

impl Server {
    /// Starts one of the Koa servers on a free port.
    fn koa(script: &[&str], access_ttl: Duration) -> Self {
        let mut command = node(script);
        command.env("PORT", "0").env("ACCESS_TTL", access_ttl.as_secs().to_string());
        Self::start(command, access_ttl, None)
    }

    /// Starts `authcli-server` on a free port, with the demo's users and a database of its own.
    fn authcli() -> Self {
        let binary = Path::new(env!("CARGO_BIN_EXE_authcli"))
            .with_file_name("authcli-server")
            .with_extension(env::consts::EXE_EXTENSION);
        assert!(binary.exists(), "{} is missing: run `cargo build --workspace`", binary.display());

        let directory = TempDir::new().expect("a temporary directory can be made");
        let database = format!("sqlite:{}", directory.path().join("demo.db").display());
        let mut command = plain_command(binary);
        command.args(["serve", "--demo", "--listen", "127.0.0.1:0", "--database", &database]);
        Self::start(command, ACCESS_TTL, Some(directory))
    }

    fn start(command: Command, access_ttl: Duration, directory: Option<TempDir>) -> Self {
        let mut process = spawn(command);
        let stdout = process.stdout.take().expect("stdout is piped");
        let mut stderr = process.stderr.take().expect("stderr is piped");
        // Guards the process from here on.
        let mut server = Self { process, url: String::new(), access_ttl, _directory: directory };

        // Both pipes are read to their ends, or a server that logs would block on a full one.
        thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Only the first line is waited for.
                drop(sender.send(line));
            }
        });
        let line = lines.recv_timeout(BOUND).expect("the server says where it listens");
        line.strip_prefix("listening on ").expect("the line names the address").clone_into(&mut server.url);
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only for a process that has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Returns the Koa servers: ours, and the seed's own where there is one, whose tokens always live 2 s.
fn koa_servers(access_ttl: Duration) -> impl Iterator<Item = Server> {
    let ours = Server::koa(&["koa-server.mjs"], access_ttl);
    let seeds = seed_document().map(|_| Server::koa(&["seed.mjs", "server"], ACCESS_TTL));
    std::iter::once(ours).chain(seeds)
}

/// Returns the axios clients: ours, and the seed's own where there is one.
fn axios_clients() -> Vec<Vec<&'static str>> {
    let mut clients = vec![vec!["axios-client.mjs"]];
    clients.extend(seed_document().map(|_| vec!["seed.mjs", "client"]));
    clients
}

fn seed_document() -> Option<PathBuf> {
    env::var_os("SEED_MD").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// A command that runs a script of `tests/peers/`.
fn node(script: &[&str]) -> Command {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    assert!(peers.join("node_modules").exists(), "the peers are not installed: run `npm ci` in tests/peers");
    let mut command = plain_command("node");
    command.arg(peers.join(script[0])).args(&script[1..]);
    command
}

/// A command that the settings of whoever runs the tests do not reach.
fn plain_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AUTHCLI_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Waits for the process to end, and ends it when it takes longer than [`BOUND`].
fn finish(mut process: Child) -> Output {
    let stdout = process.stdout.take().map(read_aside).expect("stdout is piped");
    let stderr = process.stderr.take().map(read_aside).expect("stderr is piped");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().expect("the process is ours to wait for") {
            break status;
        }
        if start.elapsed() > BOUND {
            drop(process.kill());
            drop(process.wait());
            panic!("still running after {BOUND:?}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let bytes = |reader: thread::JoinHandle<Vec<u8>>| reader.join().expect("the reader does not panic");
    Output { status, stdout: bytes(stdout), stderr: bytes(stderr) }
}

fn read_aside(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until the pipe broke is what there is to show.
        drop(pipe.read_to_end(&mut bytes));
        bytes
    })
}

/// Asks a Koa server how often each call was made, over a connection of the test's own.
fn counts(url: &str) -> Value {
    let address = url.strip_prefix("http://").expect("the server speaks plain HTTP");
    let mut stream = TcpStream::connect(address).expect("the server accepts connections");
    stream.set_read_timeout(Some(BOUND)).expect("the bound is not zero");
    stream.write_all(b"GET /__counts HTTP/1.0\r\n\r\n").expect("the request can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers and closes");
    let (_, body) = answer.split_once("\r\n\r\n").expect("the answer has a body");
    serde_json::from_str(body).expect("the body is JSON")
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
}
