//! Ten gigabytes in either direction, with no more memory than a small request has.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::{Answer, Call, Cli, Endpoint, Running, logged_in};

const TEN_GIB: u64 = 10 * 1024 * 1024 * 1024;
/// What the kernel lets the program have of its own (`RLIMIT_DATA`: heap, stacks, and other private memory).
const MEMORY_KIB: &str = "65536";
/// Both programs copy each byte several times, without optimisation, beside whatever else runs.
const PATIENCE: Duration = Duration::from_mins(10);

fn limited(cli: &Cli, kib: &str, arguments: &[&str]) -> Command {
    let mut command = cli.command_of("sh");
    command.args(["-c", "ulimit -d $KIB && exec \"$AUTHCLI\" \"$@\"", "sh"]).args(arguments);
    command.env("KIB", kib).env("AUTHCLI", env!("CARGO_BIN_EXE_authcli"));
    command
}

fn expect_long(endpoint: &Endpoint, method: &str) -> Call {
    let call = endpoint.poll(PATIENCE).expect("it was sent");
    assert_eq!(call.method, method);
    call
}

#[test]
#[ignore = "takes a minute: run `make test`"]
fn a_download_of_ten_gigabytes_streams() {
    let (endpoint, cli) = logged_in();
    let mut child = limited(&cli, MEMORY_KIB, &["get", "/x"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reader = thread::spawn(move || {
        let (zeros, mut piece, mut length) = (vec![0; 1024 * 1024], vec![1; 1024 * 1024], 0);
        while let Ok(read @ 1..) = stdout.read(&mut piece) {
            assert!(piece[..read] == zeros[..read], "something else than zeros came");
            length += read as u64;
        }
        length
    });
    endpoint.expect("GET", "/x").reply(Answer::zeros(TEN_GIB));
    Running::adopt(child).finish_within(PATIENCE, || thread::sleep(Duration::from_millis(20))).expect(0).silent();
    assert_eq!(reader.join().unwrap(), TEN_GIB);
}

#[test]
#[ignore = "takes a minute: run `make test`"]
fn an_upload_of_ten_gigabytes_streams() {
    let (endpoint, cli) = logged_in();
    let path = cli.path("sparse");
    File::create(&path).unwrap().set_len(TEN_GIB).unwrap();
    let put = Running::start(limited(&cli, MEMORY_KIB, &["put", "/x", "-d", &format!("@{}", path.display())]));
    let call = expect_long(&endpoint, "PUT");
    assert_eq!((call.length, call.header("Content-Length")), (TEN_GIB, Some(TEN_GIB.to_string().as_str())));
    call.reply(Answer::new(201, ""));
    put.finish_within(PATIENCE, || thread::sleep(Duration::from_millis(20))).expect(0).silent();
}

#[test]
fn an_upload_from_a_pipe_streams() {
    const LENGTH: u64 = 256 * 1024 * 1024;
    let (endpoint, cli) = logged_in();
    let mut zeros =
        Command::new("head").args(["-c", &LENGTH.to_string(), "/dev/zero"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut command = limited(&cli, MEMORY_KIB, &["put", "/x", "-d", "-"]);
    let put = Running::start({
        command.stdin(zeros.stdout.take().unwrap());
        command
    });
    let call = expect_long(&endpoint, "PUT");
    assert_eq!(call.length, LENGTH);
    call.reply(Answer::new(201, ""));
    put.finish().expect(0).silent();
    zeros.wait().unwrap();
}

#[test]
fn the_limit_is_one() {
    // A program that keeps 8 MiB of a pipe finds no room for it in 8.
    let (endpoint, cli) = logged_in();
    let mut zeros = Command::new("head").args(["-c", "8000000", "/dev/zero"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut command = limited(&cli, "8192", &["put", "/x", "-d", "-"]);
    let put = Running::start({
        command.stdin(zeros.stdout.take().unwrap());
        command
    });
    let put = put.finish_answering(&endpoint, |call| call.reply(Answer::new(201, "")));
    assert_ne!(put.code, Some(0), "{put:?}");
    zeros.wait().unwrap();
}
