//! One request on its way to the server, and its answer on the way back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http_body_util::{BodyDataStream, Either, Full};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tracing::debug;

use super::Observer;
use super::access::Access;
use super::heads::{Addresses, asks_for_websocket, insert_websocket};
use super::refusal::Refusal;
use super::tunnel;
use crate::http::{Body, KeptBodies, messages};
use crate::session::{FinalRefusal, Request, SendError, Session};
use crate::token::RandomnessMissing;

/// What all bodies that are under way may take in memory together, beside what is on its way. Those that come when it is
/// used up pass as well, but cannot be sent again.
const KEPT_IN_ALL: usize = 256 * 1024 * 1024;

/// The proxy's own answer, or the server's body as it comes.
type Passing = Either<Full<Bytes>, reqwest::Body>;
type Response = hyper::Response<Passing>;

/// Takes requests to the server.
pub(super) struct Forwarder {
    session: Session,
    access: Access,
    observer: Observer,
    kept: KeptBodies,
    /// Set when the proxy stops.
    stopped: watch::Sender<bool>,
}

impl Forwarder {
    /// For a proxy that listens at `address`, if it has one.
    pub(super) fn new(
        session: Session,
        address: Option<SocketAddr>,
        observer: Observer,
    ) -> Result<Self, RandomnessMissing> {
        let (stopped, _) = watch::channel(false);
        let session = session.patient();
        Ok(Self { session, access: Access::to(address)?, observer, kept: KeptBodies::within(KEPT_IN_ALL), stopped })
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn prefix(&self) -> String {
        self.access.prefix()
    }

    /// Ends every WebSocket at once, and every other connection when it lies idle.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Returns what ends when the proxy is stopped, or gone.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopped = self.stopped.subscribe();
        async move { drop(stopped.wait_for(|stopped| *stopped).await) }
    }

    /// Answers a client's request: with the server's answer, or with why there is none.
    pub(super) async fn answer(&self, request: hyper::Request<Incoming>, place: Arc<OwnedSemaphorePermit>) -> Response {
        self.forward(request, place).await.unwrap_or_else(|refusal| refusal.into_response().map(Either::Left))
    }

    async fn forward(
        &self,
        mut request: hyper::Request<Incoming>,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Result<Response, Refusal> {
        let websocket = (request.method() == Method::GET && asks_for_websocket(request.headers()))
            .then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let admitted = self.access.check(&parts).inspect_err(|denied| debug!("refused a request: {denied}"))?;
        let url = self.session.server().join_target(admitted.target).map_err(Refusal::from)?;
        let addresses = Addresses::new(&self.access, self.session.server(), &admitted);
        let mut headers = parts.headers;
        addresses.for_server(&mut headers);
        if websocket.is_some() {
            insert_websocket(&mut headers);
        }
        let body = self.body(body);
        let mut request = Request::new(parts.method, url);
        (request.headers, request.body) = (headers, body);
        let answer = self.session.send(&request).await.map_err(|error| self.failed(&error))?;
        if answer.refusal == Some(FinalRefusal::BodySpent) {
            return Err(Refusal::body_spent());
        }
        if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.join(websocket, answer.response, &addresses, place);
        }
        let mut response = answer.into_http();
        addresses.for_client(response.headers_mut(), &request.url);
        Ok(response.map(Either::Right))
    }

    fn body(&self, body: Incoming) -> Body {
        if body.is_end_stream() {
            return Body::none();
        }
        let length = body.size_hint().exact();
        self.kept.body(BodyDataStream::new(body).map_err(io::Error::other), length)
    }

    fn join(
        &self,
        client: Option<OnUpgrade>,
        granted: reqwest::Response,
        addresses: &Addresses<'_>,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Result<Response, Refusal> {
        let Some(client) = client else { return Err(Refusal::upgrade_failed()) };
        let mut response = Response::new(Either::Left(Full::default()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().clone_from(granted.headers());
        addresses.for_client(response.headers_mut(), granted.url());
        insert_websocket(response.headers_mut());
        tokio::spawn(tunnel::join(client, granted, self.stopped(), place));
        Ok(response)
    }

    fn failed(&self, error: &SendError) -> Refusal {
        match error {
            // Its client's business.
            SendError::Body(_) | SendError::BodySpent => debug!("{}", messages(error).join(": ")),
            _ => (self.observer)(error),
        }
        Refusal::from(error)
    }
}
