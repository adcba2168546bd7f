//! Clients, and what talks through them: sessions, and what renews and revokes them.
//!
//! No client is made here: each is made when its first request is sent.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use authcli::Session;
use authcli::clock::SystemClock;
use authcli::gate::{Clock, RefreshGate, Work};
use authcli::http::{ClientOptions, LazyClient, ServerUrl};
use authcli::renewal::{ApiShape, JsonApi, Provider};
use authcli::token::TokenSet;

use super::Context;
use super::target::address_of;
use crate::outcome::Usage;

impl Context {
    /// Trusts the certificate authorities of a file in place of the system's, from here on.
    pub(crate) fn trust(&mut self, cacert: Option<&Path>) -> anyhow::Result<()> {
        if let Some(path) = cacert {
            let unusable = |why: &dyn Display| Usage::new(format!("could not read {}: {why}", path.display()));
            let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
            self.client_options =
                self.client_options.clone().with_authorities(&pem).map_err(|error| unusable(&error))?;
        }
        Ok(())
    }

    /// Returns a client for `server`, to be set up as the profile and the flags say.
    pub(crate) fn client_for(&self, server: &ServerUrl) -> anyhow::Result<LazyClient> {
        Ok(LazyClient::new(server.clone(), self.options_for(server)?))
    }

    /// Returns what a client for `server` is set up with: the flag's authorities, else the profile's. The profile's file is
    /// read only where it is needed, so that `profile set` can mend a name that leads nowhere.
    fn options_for(&self, server: &ServerUrl) -> anyhow::Result<ClientOptions> {
        let own = self.profile().and_then(|profile| profile.cacert.as_deref());
        let Some(path) = own.filter(|_| server.is_https() && !self.client_options.has_authorities()) else {
            return Ok(self.client_options.clone());
        };
        let unusable = |why: &dyn Display| {
            let message = format!(
                "could not use {}, which `cacert` of profile `{}` names: {why}",
                path.display(),
                self.profile_name
            );
            Usage::with_hint(message, "`authcli profile set cacert FILE` names another, `--unset` takes it away")
        };
        let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
        Ok(self.client_options.clone().with_authorities(&pem).map_err(|error| unusable(&error))?)
    }

    /// Opens the stored session for requests.
    pub(crate) async fn open_session(&mut self, work: Work) -> anyhow::Result<Session> {
        self.open(work, None).await
    }

    /// The same for requests of others, which are sent by a client set up for that; refreshes are this program's own.
    pub(crate) async fn open_session_passing_on(&mut self, work: Work) -> anyhow::Result<Session> {
        self.open(work, Some(ClientOptions::passing_on)).await
    }

    async fn open(
        &mut self,
        work: Work,
        set_up: Option<fn(ClientOptions) -> ClientOptions>,
    ) -> anyhow::Result<Session> {
        let stored = self.stored().await?;
        // Another path on the same origin is allowed; the tokens are for the origin.
        let server = match &self.server {
            Some(asked) => asked.clone(),
            None => self.profile_server()?.map_or_else(|| stored.server(), Ok)?,
        };
        let server = self.allowed(server)?;
        let options = self.options_for(&server)?;
        let options = match set_up {
            Some(set_up) => set_up(options),
            None => options,
        };
        let client = LazyClient::new(server.clone(), options);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let known = set_up.is_none().then_some((&server, &client));
        let renewal = Arc::new(self.provider(&self.profile_name, &stored.tokens, known)?);
        let gate = RefreshGate::new(stored.tokens, stored.credential.ports(renewal, clock), work);
        self.gates.push(gate.clone());
        let attachment = self.shape_of(&self.profile_name).attachment();
        Ok(Session::new(gate, client, server, attachment))
    }

    /// Returns the JSON API to log in to with a password, and the server that its login is on, where `server` is the API.
    pub(crate) fn json_api(&self, server: &ServerUrl) -> anyhow::Result<(JsonApi, ServerUrl)> {
        let shape = self.shape_of(&self.profile_name);
        let described = self.profile_server()?.filter(|described| described.origin() != server.origin());
        if let Some(described) = described.filter(|_| shape.server.is_some() || shape.has_constants()) {
            // The password, or the constants, would go to a server that they are not for.
            let (name, described) = (&self.profile_name, described.origin_text());
            return Err(Usage::with_hint(
                format!("profile `{name}` describes the API of {described}, not of {}", server.origin_text()),
                "log in with another profile, `--profile NAME`, or mend this one with `authcli profile set`",
            )
            .into());
        }
        let host = match &shape.server {
            Some(own) => address_of(&self.profile_name, own)?,
            None => server.clone(),
        };
        let host = self.allowed(host)?;
        let client = self.client_for(&host)?;
        Ok((JsonApi::new(shape, server, client, Arc::new(SystemClock)), host))
    }

    /// Returns what profile `name` says of its JSON API.
    fn shape_of(&self, name: &str) -> ApiShape {
        self.configuration.profile(name).and_then(|profile| profile.api.clone()).unwrap_or_default()
    }

    /// Returns what renews and revokes the session of `tokens`, which are those of profile `name`. `known` is a client that
    /// there is already, and its server.
    pub(crate) fn provider(
        &self,
        name: &str,
        tokens: &TokenSet,
        known: Option<(&ServerUrl, &LazyClient)>,
    ) -> anyhow::Result<Provider> {
        let host = ServerUrl::of_endpoint(&tokens.refresh_endpoint)?;
        let client = match known {
            Some((server, client)) if server.origin() == host.origin() => client.clone(),
            _ => self.client_for(&host)?,
        };
        let profile = self.configuration.profile(name);
        let safe_to_repeat =
            profile.and_then(|profile| profile.oauth.as_ref()).is_some_and(|oauth| oauth.safe_to_repeat);
        let api = match profile.and_then(|profile| profile.server.as_deref()) {
            Some(own) => address_of(name, own)?,
            None => ServerUrl::from_stored(&tokens.server)?,
        };
        Ok(Provider::of(tokens, &self.shape_of(name), &api, safe_to_repeat, client, Arc::new(SystemClock)))
    }

    /// Revokes the session of `tokens`, which were those of profile `name`. `Ok(false)`: it cannot be revoked.
    pub(crate) async fn revoke(&self, name: &str, tokens: &TokenSet) -> anyhow::Result<bool> {
        Ok(self.provider(name, tokens, None)?.revoke(tokens.into()).await?)
    }
}
