//! WebSocket: once the server has granted it, bytes pass both ways until either side ends it.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use reqwest::Response;
use tokio::io::copy_bidirectional;
use tracing::debug;

/// Joins the client to the server that sent `granted`. It ends with `stopped` at the latest; `place` is the client's
/// for as long as it is there.
pub(super) async fn join(client: OnUpgrade, granted: Response, stopped: impl Future<Output = ()>, place: impl Sized) {
    let joined = async {
        let (client, server) = tokio::join!(client, granted.upgrade());
        match (client, server) {
            (Ok(client), Ok(mut server)) => match copy_bidirectional(&mut TokioIo::new(client), &mut server).await {
                Ok((sent, received)) => debug!(sent, received, "a WebSocket ended"),
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
