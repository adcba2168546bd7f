//! Clients that a crash or a loss meets in the middle of what they do, and what each of them may expect to find afterwards.

use std::time::{Duration, Instant};

use authcli_server::domain::{PresentedRefreshToken, SessionId};
use authcli_server::ports::{SessionRow, Store};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::program::Program;

/// Without a key an unanswered refresh may be repeated for half a minute: a client that comes later than this logs in
/// anew, so that a slow machine makes no thief of it.
const LATEST_REPEAT: Duration = Duration::from_secs(20);

/// A server, as its clients reach it.
#[derive(Clone)]
pub(crate) struct Service {
    client: Client,
    url: String,
}

impl Service {
    pub(crate) fn of(server: &Program) -> Service {
        Service { client: Client::builder().no_proxy().build().unwrap(), url: server.url.clone() }
    }

    /// Returns the status, or that the connection broke.
    pub(crate) async fn get(&self, path: &str, access: Option<&str>) -> reqwest::Result<u16> {
        let request = self.request(Method::GET, path);
        let request = access.into_iter().fold(request, RequestBuilder::bearer_auth);
        Ok(answer(request).await?.0)
    }

    async fn log_in(&self) -> reqwest::Result<(u16, Value)> {
        answer(self.request(Method::POST, "/login").json(&json!({ "username": "admin", "password": "123456" }))).await
    }

    async fn log_out(&self, pair: &Pair) -> reqwest::Result<u16> {
        Ok(answer(self.request(Method::POST, "/logout").json(&json!({ "refreshToken": pair.refresh }))).await?.0)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }
}

/// Sends a request and reads its answer to the end. One that says 503 says when to come back.
async fn answer(request: RequestBuilder) -> reqwest::Result<(u16, Value)> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    assert_eq!(answer.headers().contains_key("retry-after"), status == 503, "{status}");
    let body = answer.text().await?;
    Ok((status, serde_json::from_str(&body).unwrap_or_default()))
}

/// A pair of tokens, and what the second one says of itself.
pub(crate) struct Pair {
    access: String,
    refresh: String,
    session: SessionId,
    generation: i64,
}

impl Pair {
    fn of(body: &Value) -> Pair {
        let [access, refresh] = ["accessToken", "refreshToken"].map(|name| body[name].as_str().unwrap().to_owned());
        let session = PresentedRefreshToken::parse(&refresh).unwrap().claimed_session();
        let generation = URL_SAFE_NO_PAD.decode(refresh.split('.').nth(3).unwrap()).unwrap();
        Pair { access, refresh, session, generation: i64::from_be_bytes(generation.try_into().unwrap()) }
    }

    async fn row(&self, store: &dyn Store) -> Option<SessionRow> {
        store.session(self.session).await.unwrap()
    }
}

/// A client that keeps refreshing one session, and repeats what was not answered.
pub(crate) struct Chain {
    pair: Pair,
    /// Whether it names its attempts.
    keyed: bool,
    /// Names the attempt; changes with each answer.
    attempt: usize,
    /// When the refresh was first sent that has not been answered.
    unanswered: Option<Instant>,
}

impl Chain {
    pub(crate) async fn log_in(service: &Service, keyed: bool) -> Chain {
        let (status, body) = service.log_in().await.unwrap();
        assert_eq!(status, 200);
        Chain { pair: Pair::of(&body), keyed, attempt: 0, unanswered: None }
    }

    pub(crate) fn access(&self) -> &str {
        &self.pair.access
    }

    pub(crate) async fn log_out(&self, service: &Service) {
        assert_eq!(service.log_out(&self.pair).await.unwrap(), 204);
    }

    /// Sends the refresh that is next, or once more the one that was not answered; returns its status.
    pub(crate) async fn refresh(&mut self, service: &Service) -> reqwest::Result<u16> {
        let since = *self.unanswered.get_or_insert_with(Instant::now);
        let (status, body) = if !self.keyed && since.elapsed() > LATEST_REPEAT {
            service.log_in().await?
        } else {
            let request = service.request(Method::POST, "/refresh").json(&json!({ "refreshToken": self.pair.refresh }));
            let key = self.keyed.then(|| format!("{:032}", self.attempt));
            answer(key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key))).await?
        };
        if status == 200 {
            self.pair = Pair::of(&body);
            self.attempt += 1;
            self.unanswered = None;
        }
        Ok(status)
    }

    /// Expects what was answered to be in the database, and nothing else but a refresh that was not.
    ///
    /// The tokens cannot tell: one that is ahead of its row is renewed all the same.
    pub(crate) async fn expect_kept(&self, store: &dyn Store) {
        let Some(row) = self.pair.row(store).await else { panic!("a session that was answered is gone") };
        assert_eq!(row.state.ended(), None);
        let (kept, answered) = (row.state.generation.number(), self.pair.generation);
        let latest = answered + i64::from(self.unanswered.is_some());
        assert!((answered..=latest).contains(&kept), "generation {answered} was answered, {kept} is there");
    }
}

/// A client that logs in and out, over and over.
#[derive(Default)]
pub(crate) struct Visitor {
    /// The login that was answered last, until its logout is.
    here: Option<Pair>,
    /// Whether that logout was sent.
    leaving: bool,
    /// The logins whose logout was answered.
    gone: Vec<Pair>,
}

impl Visitor {
    /// Logs in or out, whichever is next; returns the status.
    pub(crate) async fn step(&mut self, service: &Service) -> reqwest::Result<u16> {
        let Some(here) = &self.here else {
            let (status, body) = service.log_in().await?;
            self.here = (status == 200).then(|| Pair::of(&body));
            return Ok(status);
        };
        self.leaving = true;
        let status = service.log_out(here).await?;
        if status == 204 {
            self.gone.extend(self.here.take());
            self.leaving = false;
        }
        Ok(status)
    }

    pub(crate) fn has_been_and_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Expects a login that was answered to be there, and a logout that was answered to have stayed.
    pub(crate) async fn expect_kept(&self, store: &dyn Store) {
        for gone in &self.gone {
            // A row is kept for a week after its end.
            let revoked = gone.row(store).await.is_some_and(|row| row.state.revoked);
            assert!(revoked, "a logout that was answered did not stay");
        }
        if let Some(here) = self.here.as_ref().filter(|_| !self.leaving) {
            let Some(row) = here.row(store).await else { panic!("a login that was answered is gone") };
            assert_eq!((row.state.ended(), row.state.generation.number()), (None, 0));
        }
    }
}
