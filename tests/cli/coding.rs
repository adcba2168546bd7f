//! Compressed answers: the content byte for byte, and a head that fits it.

use std::pin::pin;

use async_compression::tokio::bufread::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use futures_util::FutureExt as _;
use insta::assert_snapshot;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::support::{Answer, logged_in};

fn encoded(encoder: impl AsyncRead) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What it reads is in memory, so nothing is ever waited for.
    pin!(encoder).read_to_end(&mut bytes).now_or_never().unwrap().unwrap();
    bytes
}

fn content() -> Vec<u8> {
    let mut content = b"\0\x1b[31m\r\n".to_vec();
    content.extend((0..300_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()));
    content.extend(std::iter::repeat_n(0, 100_000));
    content
}

#[test]
fn every_coding_is_undone() {
    let (endpoint, cli) = logged_in();
    let content = content();
    let bytes = content.as_slice();
    let gzip = encoded(GzipEncoder::new(bytes));
    for (coding, body) in [
        ("gzip", gzip.clone()),
        ("GZIP", [encoded(GzipEncoder::new(&bytes[..7])), encoded(GzipEncoder::new(&bytes[7..]))].concat()),
        ("br", encoded(BrotliEncoder::with_quality(bytes, async_compression::Level::Fastest))),
        ("zstd", encoded(ZstdEncoder::new(bytes))),
        ("deflate", encoded(ZlibEncoder::new(bytes))),
        ("deflate", encoded(DeflateEncoder::new(bytes))),
        ("zstd, gzip", encoded(GzipEncoder::new(encoded(ZstdEncoder::new(bytes)).as_slice()))),
        ("identity", content.clone()),
    ] {
        let get = cli.start(&["get", "/x"]);
        let call = endpoint.expect("GET", "/x");
        assert_eq!(call.header("Accept-Encoding"), Some("gzip, deflate, br, zstd"));
        call.reply(Answer::bytes(200, body).with("Content-Encoding", coding));
        assert!(get.finish().expect(0).silent().stdout == content, "{coding}");
    }
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let get = cli.start(&["get", "/x"]);
        endpoint.expect("GET", "/x").reply(Answer::new(200, "").with("Content-Encoding", coding));
        assert_eq!(get.finish().expect(0).silent().text(), "", "{coding}");
    }
    let file = cli.path("file");
    let get = cli.start(&["get", "/x", "-o", file.to_str().unwrap()]);
    endpoint.expect("GET", "/x").reply(Answer::bytes(200, gzip).with("Content-Encoding", "gzip"));
    get.finish().expect(0);
    assert!(std::fs::read(file).unwrap() == content);
}

#[test]
fn the_head_tells_of_the_body_as_it_is_printed() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/x", "-i"]);
    let body = encoded(GzipEncoder::new(b"content".as_slice()));
    endpoint.expect("GET", "/x").reply(Answer::bytes(200, body).with("Content-Encoding", "gzip").with("ETag", "\"1\""));
    assert_snapshot!(get.finish().expect(0).text().replace('\r', ""), @r#"
    HTTP/1.1 200 OK
    etag: "1"

    content
    "#);
}

#[test]
fn who_asks_for_codings_or_parts_gets_them_as_they_come() {
    let (endpoint, cli) = logged_in();
    let body = encoded(GzipEncoder::new(b"content".as_slice()));
    for (header, coding) in [("Accept-Encoding: gzip", "gzip"), ("Range: bytes=0-", "gzip"), ("X-Other: 1", "compress")]
    {
        let get = cli.start(&["get", "/x", "-H", header]);
        let call = endpoint.expect("GET", "/x");
        let asked = match header {
            "Accept-Encoding: gzip" => Some("gzip"),
            "Range: bytes=0-" => None,
            _ => Some("gzip, deflate, br, zstd"),
        };
        assert_eq!(call.header("Accept-Encoding"), asked);
        call.reply(Answer::bytes(200, body.clone()).with("Content-Encoding", coding));
        assert_eq!(get.finish().expect(0).silent().stdout, body, "{header}");
    }
}

#[test]
fn content_that_is_cut_short_or_damaged_is_told() {
    let (endpoint, cli) = logged_in();
    let mut damaged = encoded(GzipEncoder::new(content().as_slice()));
    let cut = damaged[..damaged.len() / 2].to_vec();
    damaged[1000..1100].fill(0);
    for body in [cut.clone(), damaged, b"no gzip at all".to_vec()] {
        let get = cli.start(&["get", "/x"]);
        endpoint.expect("GET", "/x").reply(Answer::bytes(200, body).with("Content-Encoding", "gzip"));
        let get = get.finish().expect(6);
        assert!(
            cli.settled(&get.stderr).starts_with("error: could not decode the answer of [server]\n"),
            "{}",
            get.stderr
        );
    }
    // A connection that breaks is told as one.
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::bytes(200, cut).with("Content-Encoding", "gzip").missing(10));
    let get = get.finish().expect(6);
    assert!(cli.settled(&get.stderr).starts_with("error: the answer of [server] broke off\n"), "{}", get.stderr);
}
