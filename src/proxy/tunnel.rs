//! WebSocket: once the server has granted it, bytes pass both ways until both sides have ended it, or one has and the other
//! does not follow.

use std::io;
use std::time::Duration;

use futures_util::future::{Either, select};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use reqwest::Response;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, split};
use tokio::time::timeout;
use tracing::debug;

/// How long one side may go on once the other has ended.
const FOLLOW_BOUND: Duration = Duration::from_secs(10);

/// Joins the client to the server that sent `granted`. It ends with `stopped` at the latest; `place` is the client's
/// for as long as it is there.
pub(super) async fn join(client: OnUpgrade, granted: Response, stopped: impl Future<Output = ()>, place: impl Sized) {
    let joined = async {
        let (client, server) = tokio::join!(client, granted.upgrade());
        match (client, server) {
            (Ok(client), Ok(server)) => match pass(TokioIo::new(client), server).await {
                Ok(()) => debug!("a WebSocket ended"),
                Err(error) => debug!(%error, "a WebSocket broke"),
            },
            (Err(error), _) => debug!(%error, "the client did not go on with WebSocket"),
            (_, Err(error)) => debug!(%error, "the server did not go on with WebSocket"),
        }
    };
    tokio::select! {
        () = joined => {}
        () = stopped => {}
    }
    drop(place);
}

/// Passes bytes both ways.
async fn pass(client: impl AsyncRead + AsyncWrite, server: impl AsyncRead + AsyncWrite) -> io::Result<()> {
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    let (sent, received) = (carry(from_client, to_server), carry(from_server, to_client));
    tokio::pin!(sent, received);
    match select(sent, received).await {
        Either::Left((ended, received)) => follow(ended, received).await,
        Either::Right((ended, sent)) => follow(ended, sent).await,
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}

async fn follow(ended: io::Result<()>, other: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    ended?;
    timeout(FOLLOW_BOUND, other).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_after_one_side_has_ended_still_passes() {
        let (mut client, near) = duplex(16);
        let (far, mut server) = duplex(16);
        let passing = tokio::spawn(pass(near, far));
        client.write_all(b"last").await.unwrap();
        client.shutdown().await.unwrap();
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"last");
        server.write_all(b"farewell").await.unwrap();
        server.shutdown().await.unwrap();
        read.clear();
        client.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"farewell");
        passing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_side_that_has_ended_is_not_waited_for_by_the_other_for_ever() {
        for client_ends in [true, false] {
            let (mut client, near) = duplex(16);
            let (far, mut server) = duplex(16);
            let passing = tokio::spawn(pass(near, far));
            let ends = if client_ends { &mut client } else { &mut server };
            ends.shutdown().await.unwrap();
            let ended = timeout(FOLLOW_BOUND * 2, passing).await.expect("it ends").unwrap();
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    }
}
