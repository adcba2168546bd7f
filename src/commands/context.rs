//! What a command works with: flags, environment and profile made into values. The one place that reads the
//! environment and names the concrete parts that a session is made of.

use std::env;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use authcli::clock::SystemClock;
use authcli::error::{StoreError, TokenError};
use authcli::gate::{Clock, Ending, RefreshGate, Work};
use authcli::http::{ClientOptions, ServerUrl, client_for};
use authcli::profile::{Configuration, Profile, ProfileError, check_name};
use authcli::renewal::{ApiShape, JsonApi, Provider};
use authcli::store::StoreKind;
use authcli::token::TokenSet;
use authcli::{Credential, Session};
use reqwest::Client;
use tokio::time::{Instant, sleep};

use crate::cli::Global;
use crate::outcome::{NotLoggedIn, Unsaved, Usage};
use crate::ui::Printer;

/// How long somebody at a terminal has to unlock the keyring.
const PATIENCE: Duration = Duration::from_mins(1);
const PATIENCE_POLL: Duration = Duration::from_millis(200);
pub(crate) const DEFAULT_PROFILE: &str = "default";
const DEFAULT_SERVER: &str = "http://127.0.0.1:3000";

/// See the module.
pub(crate) struct Context {
    pub(crate) printer: Printer,
    pub(crate) configuration: Configuration,
    pub(crate) profile_name: String,
    /// Whether the profile was asked for by name, so that it must be there.
    profile_was_named: bool,
    /// A server asked for by flag or environment.
    server: Option<ServerUrl>,
    /// A store asked for by flag.
    store_flag: Option<StoreKind>,
    /// How servers are talked to.
    pub(crate) client_options: ClientOptions,
    /// All gates in use, so that the way out can wait for them.
    gates: Vec<RefreshGate>,
    /// What there is to tell on standard output when a signal ends the command.
    last_words: Option<Box<dyn FnOnce() -> String + Send>>,
}

/// The tokens that are stored for a profile, and where.
pub(crate) struct Stored {
    pub(crate) credential: Credential,
    pub(crate) tokens: TokenSet,
    pub(crate) kind: StoreKind,
}

impl Context {
    pub(crate) fn new(global: Global, printer: Printer) -> anyhow::Result<Self> {
        let configuration = Configuration::load(configuration_directory()?)?;
        let named = global.profile.or_else(|| variable("AUTHCLI_PROFILE"));
        let chosen = configuration.default_profile();
        let profile_was_named = named.is_some() || chosen.is_some();
        let unnamed = chosen.unwrap_or(DEFAULT_PROFILE).to_owned();
        // Another one must be named again by whoever follows a hint.
        let printer = match &named {
            Some(name) if *name != unnamed => printer.for_profile(name),
            _ => printer,
        };
        let profile_name = named.unwrap_or(unnamed);
        check_name(&profile_name)?;
        let server = global.server.or_else(|| variable("AUTHCLI_SERVER"));
        let server = server.map(|text| ServerUrl::parse(&text)).transpose()?;
        Ok(Self {
            printer,
            configuration,
            profile_name,
            profile_was_named,
            server,
            store_flag: global.store,
            client_options: ClientOptions::default(),
            gates: Vec::new(),
            last_words: None,
        })
    }

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

    /// Returns whether a browser that is opened here can be seen.
    #[expect(clippy::unused_self, reason = "the environment is read through the context alone")]
    pub(crate) fn has_display(&self) -> bool {
        // Whoever names a browser knows that it works, over SSH too.
        if variable("BROWSER").is_some() {
            return true;
        }
        if cfg!(any(target_os = "macos", windows)) {
            return variable("SSH_CONNECTION").is_none();
        }
        ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"].into_iter().any(|name| variable(name).is_some())
    }

    /// Refuses a server that would get tokens in clear text, unless the profile allows it.
    fn allowed(&self, server: ServerUrl) -> anyhow::Result<ServerUrl> {
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

    /// Returns the stored session of the profile in use, if its server is the one asked for, and the one that the
    /// profile names by now.
    pub(crate) async fn stored(&self) -> anyhow::Result<Stored> {
        let stored = self.stored_for_asked_server().await?;
        match self.profile_server()? {
            Some(own) => stored.bound_to(&own),
            None => Ok(stored),
        }
    }

    /// Returns the stored session of the profile in use, if its server is the one asked for; what the profile names by
    /// now is no matter to somebody who wants to be rid of it.
    pub(crate) async fn stored_for_asked_server(&self) -> anyhow::Result<Stored> {
        let stored = self.stored_anywhere().await?;
        match &self.server {
            Some(asked) => stored.bound_to(asked),
            None => Ok(stored),
        }
    }

    fn profile_server(&self) -> Result<Option<ServerUrl>, ProfileError> {
        let own = self.profile().and_then(|profile| profile.server.as_deref());
        own.map(|own| address_of(&self.profile_name, own)).transpose()
    }

    async fn stored_anywhere(&self) -> anyhow::Result<Stored> {
        let Some(profile) = self.profile() else {
            if self.profile_was_named {
                return Err(ProfileError::Unknown(self.profile_name.clone()).into());
            }
            return Err(self.not_logged_in());
        };
        self.check_pinned_store(profile)?;
        let Some((credential, kind)) = self.credential_of(profile) else {
            return Err(self.not_logged_in());
        };
        match self.with_patience(async || Ok(credential.load().await?)).await? {
            Some(tokens) if !has_ended(&credential, &tokens).await => Ok(Stored { credential, tokens, kind }),
            _ => Err(self.why_nothing_is_stored(&self.profile_name, &credential, kind).await),
        }
    }

    /// Tries again while the keyring does not answer, for as long as somebody at a terminal may need to unlock it. Elsewhere
    /// nobody can, and a script must not wait.
    pub(crate) async fn with_patience<T>(&self, attempt: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let first = attempt().await;
        if !self.printer.is_watched() || !first.as_ref().is_err_and(is_keyring_silent) {
            return first;
        }
        self.printer.note("Waiting for the keyring; unlock it, or press Ctrl-C");
        let start = Instant::now();
        loop {
            // Answered at once for as long as the first call hangs.
            let next = attempt().await;
            if start.elapsed() > PATIENCE || !next.as_ref().is_err_and(is_keyring_silent) {
                return next;
            }
            sleep(PATIENCE_POLL).await;
        }
    }

    /// Returns the error of a profile whose store shows no session that stands.
    pub(crate) async fn why_nothing_is_stored(
        &self,
        name: &str,
        credential: &Credential,
        kind: StoreKind,
    ) -> anyhow::Error {
        let not_logged_in = || NotLoggedIn::Nowhere { profile: name.to_owned() }.into();
        let Some(stamp) = credential.stamp().await else {
            return not_logged_in();
        };
        let Some(ended) = stamp.ended else {
            // A file that is gone was removed by somebody who can; a keyring without the entry may be locked.
            return if kind == StoreKind::Keyring { StoreError::EntryMissing.into() } else { not_logged_in() };
        };
        let interrupted = ended.interrupted();
        match ended.how {
            Ending::Refused(reason) => NotLoggedIn::Ended { profile: name.to_owned(), reason, interrupted }.into(),
            Ending::LoggedOut => not_logged_in(),
        }
    }

    /// Returns the credential that `profile` names.
    pub(crate) fn credential_of(&self, profile: &Profile) -> Option<(Credential, StoreKind)> {
        let kind = profile.store?;
        let id = profile.credential.as_deref()?;
        Some((Credential::open(self.configuration.directory(), id, kind), kind))
    }

    fn check_pinned_store(&self, profile: &Profile) -> Result<(), Usage> {
        match (self.store_flag, profile.store) {
            (Some(asked), Some(pinned)) if asked != pinned => Err(Usage::with_hint(
                format!("profile `{}` keeps its tokens in the {pinned} store, not {asked}", self.profile_name),
                format!("to move them, run `authcli login --store {asked}`"),
            )),
            _ => Ok(()),
        }
    }

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

    /// Returns a client for `server`, set up as the profile and the flags say.
    pub(crate) fn client_for(&self, server: &ServerUrl) -> anyhow::Result<Client> {
        let options = self.options_for(server)?;
        client_for(server, &options).context("could not set up the HTTP client")
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
        let client = client_for(&server, &options).context("could not set up the HTTP client")?;
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
        known: Option<(&ServerUrl, &Client)>,
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

    /// From now on, a signal that ends the command has this told on standard output first.
    pub(crate) fn set_last_words(&mut self, words: impl FnOnce() -> String + Send + 'static) {
        self.last_words = Some(Box::new(words));
    }

    /// It has been told.
    pub(crate) fn clear_last_words(&mut self) {
        self.last_words = None;
    }

    /// Returns what there is to tell at the end, once.
    pub(crate) fn last_words(&mut self) -> Option<String> {
        self.last_words.take().map(|words| words())
    }

    /// Waits for refreshes that are under way.
    pub(crate) async fn settle(&self) -> Result<(), anyhow::Error> {
        for gate in &self.gates {
            gate.close().await.map_err(Unsaved)?;
        }
        Ok(())
    }

    fn not_logged_in(&self) -> anyhow::Error {
        NotLoggedIn::Nowhere { profile: self.profile_name.clone() }.into()
    }
}

impl Stored {
    /// Returns itself, if its tokens are for the origin of `server`.
    fn bound_to(self, server: &ServerUrl) -> anyhow::Result<Self> {
        let bound = self.server()?;
        if server.origin() == bound.origin() {
            return Ok(self);
        }
        let (wanted, bound) = (server.origin_text(), bound.origin_text());
        Err(NotLoggedIn::OtherServer { wanted, bound }.into())
    }

    /// Returns the server that the tokens are for.
    pub(crate) fn server(&self) -> anyhow::Result<ServerUrl> {
        Ok(ServerUrl::from_stored(&self.tokens.server)?)
    }
}

/// Returns whether the session is over although its entry is still there: whoever was to clear it did not get that far.
async fn has_ended(credential: &Credential, tokens: &TokenSet) -> bool {
    credential.stamp().await.and_then(|stamp| stamp.about(tokens)).is_some_and(|stamp| stamp.ended.is_some())
}

fn is_keyring_silent(error: &anyhow::Error) -> bool {
    let store = error.downcast_ref::<StoreError>().or_else(|| match error.downcast_ref() {
        Some(TokenError::Store(store)) => Some(store),
        _ => None,
    });
    matches!(store, Some(StoreError::KeyringSilent(_)))
}

/// Returns the server whose address is `text` in profile `name`.
fn address_of(name: &str, text: &str) -> Result<ServerUrl, ProfileError> {
    ServerUrl::parse(text).map_err(|cause| ProfileError::Address { profile: name.to_owned(), cause })
}

/// An empty variable counts as none, as in most programs.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

pub(crate) fn configuration_directory() -> anyhow::Result<PathBuf> {
    if let Some(directory) = variable("AUTHCLI_CONFIG_DIR") {
        // Absolute, so that messages name a place that can be found.
        return std::path::absolute(&directory).with_context(|| format!("AUTHCLI_CONFIG_DIR is `{directory}`"));
    }
    let directories = directories::ProjectDirs::from("", "", "authcli")
        .ok_or_else(|| Usage::new("there is no home directory; set AUTHCLI_CONFIG_DIR"))?;
    Ok(directories.config_dir().to_owned())
}
