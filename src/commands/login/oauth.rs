//! Logging in at an OAuth 2.0 or OpenID Connect server.

use std::io::IsTerminal as _;
use std::sync::Arc;

use authcli::clock::SystemClock;
use authcli::credential::NewSession;
use authcli::gate::Clock as _;
use authcli::http::ServerUrl;
use authcli::renewal::Provider;
use authcli::renewal::oauth::{Flow, Issuer, Login, LoginGrant, Loopback, Metadata, Oauth, RedirectUrl};
use authcli::token::{ClientAuthentication, OauthClient, RenewedBy, Secret};
use url::Url;

use super::saving::{self, Who};
use super::{browser, device, input};
use crate::cli::OauthArgs;
use crate::commands::context::Context;
use crate::outcome::{Exit, Usage};
use crate::ui::prompt;

/// What flags and profile say together.
struct Wishes {
    issuer: Issuer,
    client_id: String,
    flow: Option<Flow>,
    scopes: Option<Vec<String>>,
    audience: Option<String>,
    redirect_uri: Option<RedirectUrl>,
    authentication: Option<ClientAuthentication>,
    safe_to_repeat: bool,
    /// Whether the profile was of another provider until now.
    is_of_another: bool,
    stdin: Stdin,
    no_browser: bool,
}

/// What standard input holds, in this order, a line each.
struct Stdin {
    client_secret: bool,
    refresh_token: bool,
}

/// Logs in.
pub(super) async fn run(context: &Context, args: OauthArgs) -> anyhow::Result<Exit> {
    let server = context.named_server()?;
    let wishes = Wishes::of(context, args)?;
    let kind = context.login_store()?;
    saving::check_store(context, kind).await?;

    let (issuer, printer) = (&wishes.issuer, &context.printer);
    let metadata = calls_to(context, issuer.url(), false)?.discover(issuer).await?;
    let oauth = calls_to(context, &metadata.token_endpoint, wishes.safe_to_repeat)?;
    let flow = wishes.flow_at(&metadata, context.has_display());
    let secret = wishes.secret(flow).await?;
    let scopes = match &wishes.scopes {
        Some(scopes) => scopes.clone(),
        None if flow == Flow::ClientCredentials => Vec::new(),
        None => metadata.default_scopes(),
    };
    let audience = wishes.audience.clone();
    let client = OauthClient {
        id: wishes.client_id.clone(),
        authentication: match wishes.authentication {
            Some(chosen) if secret.is_some() => chosen,
            _ => metadata.authentication_with(secret.as_ref())?,
        },
        secret,
        renewed_by: match flow {
            Flow::ClientCredentials if !wishes.stdin.refresh_token => {
                RenewedBy::ClientCredentials { scopes: scopes.clone(), audience: audience.clone() }
            }
            _ => RenewedBy::RefreshToken,
        },
    };
    let login = Login { metadata: &metadata, client: &client, scopes: &scopes, audience: audience.as_deref() };
    let taken_up = if wishes.stdin.refresh_token { Some(input::secret_line("refresh token").await?) } else { None };
    let LoginGrant { issued, account } = if let Some(refresh_token) = &taken_up {
        oauth.take_up(&login, refresh_token).await?
    } else {
        match flow {
            Flow::Browser => {
                let redirect_uri = wishes.redirect_uri.clone().unwrap_or_else(Loopback::anywhere);
                let has_display = context.has_display();
                browser::log_in(printer, &oauth, &login, &redirect_uri, wishes.no_browser, has_display).await?
            }
            Flow::Device => device::log_in(printer, &oauth, &login).await?,
            Flow::ClientCredentials => oauth.client_credentials(&login).await?,
        }
    };
    let cannot_be_renewed = issued.refresh_token.is_none() && client.renewed_by == RenewedBy::RefreshToken;
    let new = NewSession {
        server: server.url().clone(),
        refresh_endpoint: metadata.token_endpoint.clone(),
        revocation_endpoint: metadata.revocation_endpoint.clone(),
        oauth: Some(client),
        account: account.clone(),
        issued,
        received_at: SystemClock.now(),
    };
    let who = Who {
        server: &server,
        username: account.as_deref(),
        kind,
        settings: &wishes.settings(flow),
        missed: &[],
        taken_up: taken_up.as_ref(),
    };
    saving::keep(context, who, new, &Provider::Oauth(oauth)).await?;
    if cannot_be_renewed {
        printer.warn(
            "the provider gave no refresh token, so the session ends with the access token; most give one for \
             `--scope offline_access`",
        );
    }
    Ok(Exit::Done)
}

/// Returns the calls to the server that `url` is on.
fn calls_to(context: &Context, url: &Url, safe_to_repeat: bool) -> anyhow::Result<Oauth> {
    let client = context.client_for(&ServerUrl::of_endpoint(url)?)?;
    Ok(Oauth::new(client, Arc::new(SystemClock), safe_to_repeat))
}

impl Wishes {
    fn of(context: &Context, args: OauthArgs) -> anyhow::Result<Self> {
        let own = context.profile().and_then(|profile| profile.oauth.as_ref());
        // What a profile says of one provider says nothing of another.
        let is_of_another =
            own.is_some_and(|own| args.issuer.is_some() && own.issuer.is_some() && args.issuer != own.issuer);
        let own = own.filter(|_| !is_of_another).cloned().unwrap_or_default();
        let missing = |what: &str, option: &str| {
            Usage::with_hint(
                format!("a login at a provider needs {what}"),
                format!("pass `{option}`; for a login with a password, pass `-u NAME` alone"),
            )
        };
        let issuer = args.issuer.or(own.issuer).ok_or_else(|| missing("the provider's address", "--issuer URL"))?;
        let client_id = args.client_id.or(own.client_id);
        let client_id = client_id.filter(|id| !id.is_empty()).ok_or_else(|| missing("a client", "--client-id ID"))?;
        let redirect_uri = args.redirect_uri.or(own.redirect_uri);
        let redirect_uri = redirect_uri.map(|text| {
            RedirectUrl::new(text).ok().filter(|uri| uri.url().fragment().is_none()).ok_or_else(|| {
                Usage::new(
                    "`--redirect-uri` is not a whole URL without a fragment, such as http://127.0.0.1:8080/callback",
                )
            })
        });
        let stdin = Stdin { client_secret: args.client_secret_stdin, refresh_token: args.refresh_token_stdin };
        let flow = args.flow.or(own.flow);
        if flow == Some(Flow::ClientCredentials)
            && !(stdin.client_secret || stdin.refresh_token || std::io::stdin().is_terminal())
        {
            return Err(Usage::with_hint(
                "there is no terminal to ask for the client's secret",
                "pass `--client-secret-stdin` and the secret on standard input",
            )
            .into());
        }
        Ok(Self {
            issuer: Issuer::parse(&issuer)?,
            client_id,
            flow,
            scopes: if args.scopes.is_empty() { own.scopes } else { Some(args.scopes) },
            audience: args.audience.or(own.audience),
            redirect_uri: redirect_uri.transpose()?,
            authentication: own.client_authentication,
            safe_to_repeat: own.safe_to_repeat,
            is_of_another,
            stdin,
            no_browser: args.no_browser,
        })
    }

    /// Returns how to log in where nobody says: with a browser where one can be seen, else on another device, as far as the
    /// server offers that.
    fn flow_at(&self, metadata: &Metadata, has_display: bool) -> Flow {
        let offers_device = metadata.device_authorization_endpoint.is_some();
        let offers_browser = metadata.authorization_endpoint.is_some();
        self.flow.unwrap_or(match (offers_browser, offers_device) {
            (true, true) if has_display || self.no_browser => Flow::Browser,
            (_, true) => Flow::Device,
            (_, false) => Flow::Browser,
        })
    }

    /// Returns the client's secret: from standard input where that was asked for, and where none would make no sense from
    /// the person at the terminal.
    async fn secret(&self, flow: Flow) -> anyhow::Result<Option<Secret>> {
        if self.stdin.client_secret {
            return Ok(Some(input::secret_line("client secret").await?));
        }
        if flow != Flow::ClientCredentials || self.stdin.refresh_token {
            return Ok(None);
        }
        let question = format!("Secret of client {} at {}: ", self.client_id, self.issuer);
        Ok(Some(prompt::password(&question).await?))
    }

    /// Returns what the profile is to remember.
    fn settings(&self, flow: Flow) -> Vec<(&'static str, Option<String>)> {
        // A session that was taken up says nothing of how to log in.
        let flow = if self.stdin.refresh_token { self.flow } else { Some(flow) };
        let mut settings = vec![
            ("oauth.issuer", Some(self.issuer.as_str().to_owned())),
            ("oauth.client_id", Some(self.client_id.clone())),
            ("oauth.flow", flow.map(|flow| flow.to_string())),
            ("oauth.scopes", self.scopes.as_ref().map(|scopes| scopes.join(","))),
            ("oauth.audience", self.audience.clone()),
            ("oauth.redirect_uri", self.redirect_uri.as_ref().map(ToString::to_string)),
        ];
        if self.is_of_another {
            settings.extend([("oauth.client_authentication", None), ("oauth.safe_to_repeat", None)]);
        }
        settings
    }
}
