//! A socket that only its owner can connect to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use super::{Proxied, Reply};
use crate::support::{Answer, logged_in};

#[test]
fn a_unix_socket_is_its_owners_alone_and_needs_no_key() {
    let (endpoint, cli) = logged_in();
    let path = cli.path("api.sock");
    let listen = format!("unix:{}", path.display());
    let proxy = Proxied::start_after("umask 0", &cli, &["--listen", &listen]);
    assert_eq!(proxy.address, listen);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for host in ["localhost", "api"] {
        let mut client = UnixStream::connect(&path).unwrap();
        let headers = format!("Host: {host}\r\nReferer: http://{host}/page\r\nConnection: close\r\n");
        write!(client, "GET /x HTTP/1.1\r\n{headers}\r\n").unwrap();
        let call = endpoint.expect("GET", "/x");
        assert_eq!(call.bearer(), Some("access-1"));
        assert_eq!(call.header("Referer"), Some(format!("{}/page", endpoint.url).as_str()));
        call.reply(Answer::new(201, "fine").with("Location", "/y"));
        let reply = Reply::read(client);
        assert_eq!((reply.text(), reply.header("Location")), ("fine", Some(format!("http://{host}/y").as_str())));
    }
    let mut page = UnixStream::connect(&path).unwrap();
    write!(page, "GET /x HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:5173\r\n\r\n").unwrap();
    Reply::read(page).own(403);
    proxy.stop().expect(143);
    assert!(!path.exists(), "the file goes with the proxy");
}

#[test]
fn a_socket_that_was_left_behind_is_replaced_and_nothing_else_is() {
    let (_endpoint, cli) = logged_in();
    let path = cli.path("api.sock");
    let listen = format!("unix:{}", path.display());
    let proxy = Proxied::start(&cli, &["--listen", &listen]);
    let output = cli.run(&["proxy", "--listen", &listen]).expect(1).without_stdout();
    insta::assert_snapshot!(cli.settled(&output.stderr), @r"
    error: could not listen at unix:[home]/api.sock
      caused by: another program listens there
    ");
    // What `kill -9` leaves behind.
    let Proxied { running, .. } = proxy;
    running.kill();
    assert!(path.exists());
    Proxied::start(&cli, &["--listen", &listen]).stop().expect(143);
    std::fs::write(&path, "mine").unwrap();
    let output = cli.run(&["proxy", "--listen", &listen]).expect(1).without_stdout();
    insta::assert_snapshot!(cli.settled(&output.stderr), @r"
    error: could not listen at unix:[home]/api.sock
      caused by: there is a file, which is no socket
    ");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    let nowhere = format!("unix:{}", cli.path("no/such/directory").display());
    cli.run(&["proxy", "--listen", &nowhere]).expect(1).without_stdout();
}

#[test]
fn of_several_that_start_at_once_one_listens() {
    let (_endpoint, cli) = logged_in();
    let path = cli.path("api.sock");
    let listen = format!("unix:{}", path.display());
    for left_behind in [false, true] {
        if left_behind {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        }
        let started: Vec<_> = (0..6).map(|_| cli.start_with_stdout(&["proxy", "--listen", &listen])).collect();
        let said: Vec<_> = started
            .into_iter()
            .map(|(running, stdout)| {
                let mut line = String::new();
                BufReader::new(stdout).read_line(&mut line).unwrap();
                (running, line)
            })
            .collect();
        let (listening, refused): (Vec<_>, Vec<_>) = said.into_iter().partition(|(_, line)| !line.is_empty());
        assert_eq!((listening.len(), refused.len()), (1, 5));
        for (running, _) in refused {
            let output = running.finish().expect(1);
            assert!(output.stderr.contains("another program listens there"), "{}", output.stderr);
        }
        for (running, _) in listening {
            assert!(UnixStream::connect(&path).is_ok());
            running.signal(Signal::TERM);
            running.finish().expect(143);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_as_long_as_they_may_be_is_listened_at() {
    let (_endpoint, cli) = logged_in();
    // Beside it a longer name would be too long.
    let most = 107;
    let directory = cli.path(&"d".repeat(most - cli.path("").as_os_str().len() - 3));
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("s");
    assert!(path.as_os_str().len() > most - 3, "{}", path.display());
    let proxy = Proxied::start(&cli, &["--listen", &format!("unix:{}", path.display())]);
    assert!(UnixStream::connect(&path).is_ok());
    proxy.stop().expect(143);
    let longer = format!("unix:{}", directory.join("socket").display());
    cli.run(&["proxy", "--listen", &longer]).expect(1).without_stdout();
}
