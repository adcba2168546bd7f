//! Logging in, and who does how.

use clap::{Args, ValueHint};

use authcli::renewal::oauth::Flow;

const OAUTH: &str = "OAuth 2.0 and OpenID Connect";

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Who logs in; asked for on a terminal if left out
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Read the password from standard input: its first line
    #[arg(long)]
    pub(crate) password_stdin: bool,
    #[command(flatten)]
    pub(crate) oauth: OauthArgs,
}

/// A login at an authorization server. What is left out is taken from the profile.
#[derive(Debug, Args)]
#[command(next_help_heading = OAUTH)]
pub(crate) struct OauthArgs {
    /// Log in at this provider, named exactly as it calls itself; --server is then the API that the tokens are for
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, conflicts_with_all = ["username", "password_stdin"])]
    pub(crate) issuer: Option<String>,
    /// The identifier that the provider has given to this client
    #[arg(long, value_name = "ID", conflicts_with_all = ["username", "password_stdin"])]
    pub(crate) client_id: Option<String>,
    /// How to log in [default: browser where there is a display, else device] [values: browser, device,
    /// client-credentials]
    #[arg(long, value_name = "FLOW", conflicts_with_all = ["username", "password_stdin"])]
    pub(crate) flow: Option<Flow>,
    /// Ask for this scope; may be given more than once [default: openid and offline_access, as far as the provider
    /// knows them]
    #[arg(long = "scope", value_name = "SCOPE", conflicts_with_all = ["username", "password_stdin"])]
    pub(crate) scopes: Vec<String>,
    /// Say whom the tokens are for, where the provider wants to know
    #[arg(long, value_name = "AUDIENCE", conflicts_with_all = ["username", "password_stdin"])]
    pub(crate) audience: Option<String>,
    /// Where the browser comes back to [default: http://127.0.0.1/callback, on a free port]
    #[arg(long, value_name = "URI", value_hint = ValueHint::Url, conflicts_with_all = ["username", "password_stdin"])]
    pub(crate) redirect_uri: Option<String>,
    /// Read the client's secret from standard input: its first line
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    pub(crate) client_secret_stdin: bool,
    /// Take up a session by its refresh token (without a provider: one of the API itself), read from standard input: its first line, or the one after the secret
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    pub(crate) refresh_token_stdin: bool,
    /// Open no browser, but print the address; the address that it ends at may be pasted back
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    pub(crate) no_browser: bool,
}

impl OauthArgs {
    /// Returns whether anything of this was asked for.
    pub(crate) fn are_given(&self) -> bool {
        self.refresh_token_stdin || self.name_a_provider()
    }

    /// Returns whether anything was said that only a login at a provider has.
    pub(crate) fn name_a_provider(&self) -> bool {
        let Self { issuer, client_id, flow, scopes, audience, redirect_uri, .. } = self;
        issuer.is_some()
            || client_id.is_some()
            || flow.is_some()
            || !scopes.is_empty()
            || audience.is_some()
            || redirect_uri.is_some()
            || self.client_secret_stdin
            || self.no_browser
    }
}
