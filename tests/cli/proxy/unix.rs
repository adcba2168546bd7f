//! A socket that only its owner can connect to.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use super::{Proxied, Reply};
use crate::support::{Answer, logged_in};

#[test]
fn a_unix_socket_is_its_owners_alone_and_needs_no_key() {
    let (endpoint, cli) = logged_in();
    let path = cli.path("api.sock");
    let listen = format!("unix:{}", path.display());
    let proxy = Proxied::start(&cli, &["--listen", &listen]);
    assert_eq!(proxy.address, listen);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for host in ["localhost", "api"] {
        let mut client = UnixStream::connect(&path).unwrap();
        write!(client, "GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let call = endpoint.expect("GET", "/x");
        assert_eq!(call.bearer(), Some("access-1"));
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
