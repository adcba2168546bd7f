use std::io;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;

use super::*;

fn chunks(lengths: &[usize]) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::iter(lengths.to_vec()).map(|length| Ok(Bytes::from(vec![b'x'; length])))
}

async fn sent(body: &Body) -> io::Result<usize> {
    let outgoing = body.open().await?.expect("it can be sent");
    let Some(sending) = outgoing.body else { return Ok(0) };
    let length = length_of(sending).await;
    match outgoing.transfer.take_fault() {
        Some(fault) => Err(fault),
        None => Ok(length.expect("nothing else can go wrong")),
    }
}

/// Reads what is sent as an HTTP client does.
async fn length_of(body: reqwest::Body) -> Result<usize, reqwest::Error> {
    Ok(body.collect().await?.to_bytes().len())
}

#[tokio::test]
async fn what_fits_in_memory_is_repeatable_and_what_does_not_is_sent_once() {
    for (lengths, repeatable) in [
        (vec![], true),
        (vec![1, 0, 2], true),
        (vec![KEPT_IN_MEMORY], true),
        (vec![KEPT_IN_MEMORY, 1], false),
        (vec![KEPT_IN_MEMORY + 1], false),
        (vec![1, KEPT_IN_MEMORY, 7], false),
    ] {
        let all = lengths.iter().sum::<usize>();
        let body = Body::read_ahead(chunks(&lengths), None).await.unwrap();
        assert_eq!(body.is_repeatable(), repeatable, "{lengths:?}");
        assert_eq!(sent(&body).await.unwrap(), all);
        if repeatable {
            assert_eq!(sent(&body).await.unwrap(), all);
        } else {
            assert!(body.open().await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn nothing_is_read_of_a_source_that_is_said_to_be_long() {
    let never = stream::poll_fn(|_| -> std::task::Poll<Option<io::Result<Bytes>>> { panic!("it was read") });
    let body = Body::read_ahead(never, Some(KEPT_IN_MEMORY as u64 + 1)).await.unwrap();
    assert!(!body.is_repeatable());
}

#[tokio::test]
async fn a_body_of_another_length_than_was_said_is_a_fault_of_the_source() {
    for (said, fits) in [(9, false), (10, true), (11, false)] {
        let body = Body::once(chunks(&[4, 6]), Some(said));
        assert_eq!(sent(&body).await.is_ok(), fits, "{said}");
    }
}

#[tokio::test]
async fn a_file_is_read_anew_and_must_not_have_changed_its_length() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![b'x'; 300_000]).unwrap();
    let body = Body::file(file.path()).await.unwrap();
    assert_eq!((body.length(), body.is_repeatable()), (Some(300_000), true));
    assert_eq!(sent(&body).await.unwrap(), 300_000);
    assert_eq!(sent(&body).await.unwrap(), 300_000);
    std::fs::write(file.path(), "short").unwrap();
    assert_eq!(sent(&body).await.unwrap_err().to_string(), "it turned out shorter than it was said to be");
    assert!(Body::file("/").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_lets_wait_is_not_the_servers_silence() {
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let source = stream::once(async move {
        receiver.await.unwrap();
        Ok(Bytes::from_static(b"late"))
    });
    let outgoing = Body::once(source, None).open().await.unwrap().unwrap();
    let transfer = outgoing.transfer.clone();
    let reading = tokio::spawn(length_of(outgoing.body.unwrap()));
    tokio::time::sleep(std::time::Duration::from_secs(100)).await;
    assert_eq!(transfer.waiting_since(), tokio::time::Instant::now());
    sender.send(()).unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), 4);
    let end = tokio::time::Instant::now();
    tokio::time::sleep(std::time::Duration::from_secs(100)).await;
    assert_eq!(transfer.waiting_since(), end);
}
