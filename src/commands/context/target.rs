//! Which server and which store a command is about.

use authcli::http::ServerUrl;
use authcli::profile::{Profile, ProfileError};
use authcli::store::StoreKind;

use super::{Context, variable};
use crate::outcome::Usage;

const DEFAULT_SERVER: &str = "http://127.0.0.1:3000";

impl Context {
    /// Returns the profile in use, or `None` if it has not been made yet.
    pub(crate) fn profile(&self) -> Option<&Profile> {
        self.configuration.profile(&self.profile_name)
    }

    /// Returns the server to log in at: the one asked for, else the profile's, else the default.
    pub(crate) fn login_server(&self) -> anyhow::Result<ServerUrl> {
        let server = match &self.server {
            Some(asked) => asked.clone(),
            None => self.profile_server()?.map_or_else(|| ServerUrl::parse(DEFAULT_SERVER), Ok)?,
        };
        self.allowed(server)
    }

    /// Returns the server that tokens of another provider are to be for: the default is nobody's.
    pub(crate) fn named_server(&self) -> anyhow::Result<ServerUrl> {
        if self.server.is_none() && self.profile().is_none_or(|profile| profile.server.is_none()) {
            let hint = "pass `--server URL`, the address of the API; the tokens are sent there and nowhere else";
            return Err(Usage::with_hint("a login at a provider needs the API that its tokens are for", hint).into());
        }
        self.login_server()
    }

    /// Returns the server that the profile in use names.
    pub(super) fn profile_server(&self) -> Result<Option<ServerUrl>, ProfileError> {
        let own = self.profile().and_then(|profile| profile.server.as_deref());
        own.map(|own| address_of(&self.profile_name, own)).transpose()
    }

    /// Refuses a server that would get tokens in clear text, unless the profile allows it.
    pub(super) fn allowed(&self, server: ServerUrl) -> anyhow::Result<ServerUrl> {
        let allow_http = self.profile().is_some_and(|profile| profile.allow_http);
        server.checked(allow_http).map_err(|error| {
            let hint = format!(
                "use https; where the network is yours, run `authcli profile set allow_http true --profile {}`",
                self.profile_name
            );
            Usage::with_hint(error.to_string(), hint).into()
        })
    }

    /// Returns the store to log in with: the one asked for by flag, else the profile's, else the environment's, else
    /// the keyring.
    pub(crate) fn login_store(&self) -> anyhow::Result<StoreKind> {
        if let Some(kind) = self.store_flag.or_else(|| self.profile().and_then(|profile| profile.store)) {
            return Ok(kind);
        }
        match variable("AUTHCLI_STORE") {
            Some(text) => Ok(text.parse().map_err(|error| Usage::new(format!("AUTHCLI_STORE: {error}")))?),
            None => Ok(StoreKind::Keyring),
        }
    }

    /// Refuses a store asked for that is another than the one the profile has pinned.
    pub(super) fn check_pinned_store(&self, profile: &Profile) -> Result<(), Usage> {
        match (self.store_flag, profile.store) {
            (Some(asked), Some(pinned)) if asked != pinned => Err(Usage::with_hint(
                format!("profile `{}` keeps its tokens in the {pinned} store, not {asked}", self.profile_name),
                format!("to move them, run `authcli login --store {asked}`"),
            )),
            _ => Ok(()),
        }
    }
}

/// Returns the server whose address is `text` in profile `name`.
pub(super) fn address_of(name: &str, text: &str) -> Result<ServerUrl, ProfileError> {
    ServerUrl::parse(text).map_err(|cause| ProfileError::Address { profile: name.to_owned(), cause })
}
