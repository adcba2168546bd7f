//! What can be typed: clap types, no logic.
#![expect(clippy::doc_markdown, reason = "these comments are the texts of --help, where backticks would be noise")]

mod load;
mod login;
mod profile;
mod proxy;
mod request;
mod session;
mod shell;
mod values;

use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueEnum, ValueHint};

use authcli::store::StoreKind;

pub(crate) use self::load::{BatchArgs, BurstArgs, ExecArgs};
pub(crate) use self::login::{LoginArgs, OauthArgs};
pub(crate) use self::profile::{ProfileArgs, ProfileCommand};
pub(crate) use self::proxy::ProxyArgs;
pub(crate) use self::request::{FetchArgs, RequestArgs, SendArgs};
pub(crate) use self::session::{LogoutArgs, StatusArgs, TokenArgs, TokenFormat};
pub(crate) use self::shell::{CompletionsArgs, DoctorArgs, ManArgs};

/// Call token-protected HTTP APIs as though tokens never expired
#[derive(Debug, Parser)]
#[command(name = "authcli", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  authcli login -u admin --server https://api.example.com
  authcli get /protected
  authcli burst -n 100 /protected
  authcli doctor

A flag beats the environment, the environment beats the profile. AUTHCLI_CONFIG_DIR names the directory of all files; \
NO_COLOR is honoured.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Returns whether what was typed, however wrong, was meant for `exec`: its own failures have codes of their own.
pub(crate) fn is_exec() -> bool {
    let matches = Cli::command().ignore_errors(true).try_get_matches();
    matches.is_ok_and(|matches| matches.subcommand_name() == Some("exec"))
}

/// Options that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Use this profile [env: AUTHCLI_PROFILE] [default: that of `profile use`, else default]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Use this server [env: AUTHCLI_SERVER] [default: the profile's, else http://127.0.0.1:3000]
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) server: Option<String>,
    /// Where `login` keeps the tokens [env: AUTHCLI_STORE] [default: keyring] [values: keyring, file]
    #[arg(long, global = true, value_name = "STORE")]
    pub(crate) store: Option<StoreKind>,
    /// Show requests, answers and what the refresh gate decides, never a secret
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Log in and keep the tokens
    #[command(after_help = "\
Examples:
  authcli login -u admin
  printf %s \"$PASSWORD\" | authcli login -u ci --password-stdin --store file --server https://api.example.com
  authcli login --issuer https://id.example.com --client-id my-cli --server https://api.example.com
  authcli login --issuer https://id.example.com --client-id my-cli --server https://api.example.com --flow device
  printf %s \"$SECRET\" | authcli login --issuer https://id.example.com --client-id my-service \
    --server https://api.example.com --flow client-credentials --client-secret-stdin

A server with a certificate authority of its own: `authcli profile set cacert FILE` names the authorities to trust, for the \
login and all that follows.")]
    Login(LoginArgs),
    /// Revoke the session at the server and forget the tokens
    #[command(after_help = "\
Examples:
  authcli logout
  authcli logout --all")]
    Logout(LogoutArgs),
    /// Show who is logged in where, and until when; asks no server
    #[command(after_help = "\
Examples:
  authcli status
  authcli status --json | jq -r .access_token_expires_at
  authcli status --claims")]
    Status(StatusArgs),
    /// Print a live access token
    #[command(after_help = "\
Examples:
  curl -H @<(authcli token --header) https://api.example.com/protected
  TOKEN=$(authcli token --min-valid 5m)
  kubectl config set-credentials me --exec-interactive-mode=Never --exec-api-version=client.authentication.k8s.io/v1 \
    --exec-command=authcli --exec-arg=token --exec-arg=--format --exec-arg=kubernetes")]
    Token(TokenArgs),
    /// Refresh the tokens now
    #[command(after_help = "\
Examples:
  authcli refresh
  authcli refresh -v")]
    Refresh,
    /// Send a GET request and print the body of the answer
    #[command(after_help = "\
Examples:
  authcli get /protected
  authcli get /users --query 'name=Ada Lovelace' | jq .
  authcli get /report.pdf -o report.pdf --retry 3 --timeout 2m")]
    Get(FetchArgs),
    /// Send a HEAD request and print the head of the answer
    #[command(after_help = "\
Examples:
  authcli head /report.pdf
  authcli head /old --follow")]
    Head(FetchArgs),
    /// Send a POST request and print the body of the answer
    #[command(after_help = "\
Examples:
  authcli post /users --json '{\"name\":\"Ada\"}'
  jq .user export.json | authcli post /users --json -
  authcli post /search --form q='a & b' --form page=2
  authcli post /images -d @cat.png -H 'Content-Type: image/png'

A body from a pipe is kept in memory up to 8 MiB, so that it can be sent again when the token was refused. What is longer \
goes out as it is read: the token is made fresh before, and a refusal is final.")]
    Post(SendArgs),
    /// Send a PUT request and print the body of the answer
    #[command(after_help = "\
Examples:
  authcli put /users/7 --json @ada.json
  tar c src | authcli put /backups/src -d - -H 'Content-Type: application/x-tar'")]
    Put(SendArgs),
    /// Send a PATCH request and print the body of the answer
    #[command(after_help = "\
Examples:
  authcli patch /users/7 --json '{\"name\":\"Grace\"}'")]
    Patch(SendArgs),
    /// Send a DELETE request and print the body of the answer
    #[command(after_help = "\
Examples:
  authcli delete /users/7")]
    Delete(SendArgs),
    /// Send many requests at once through one refresh gate
    #[command(after_help = "\
Examples:
  authcli burst -n 10
  authcli burst -n 1000 -c 50 /users --json | jq .refreshes
  authcli burst --duration 1m --rate 200 /users --max-refreshes 1

Latencies run from when a request was to be sent to the last byte of its answer, refreshes included. With --rate that is \
when it was due: what waits for a stalled server counts as slow, not as unsent.

--ndjson prints {\"n\",\"status\",\"elapsed_ms\",\"retried\",\"generation\"} for an answer and {\"n\",\"error\",\"elapsed_ms\"} \
where there is none. Exit code: the gravest of the requests' codes.")]
    Burst(BurstArgs),
    /// Send the requests that standard input lists, one a line
    #[command(after_help = "\
A line is one of
  PATH                  GET PATH
  METHOD PATH
  METHOD PATH JSON      with JSON as the body
  {\"path\": …, …}        an object with the fields
                          path     required
                          method   default GET, with a body POST
                          query    an object; its names and values are added to the path
                          headers  an object
                          json     any value, sent as JSON
                          body     a string, sent as it is
An unknown field, or a line that is none of these, is reported with its number and does not stop the rest. Blank lines \
are left out. A line may be 8 MiB long.

Each request becomes a line of JSON on standard output, in the order of its line unless --unordered is given:
  {\"line\",\"method\",\"path\",\"status\",\"elapsed_ms\",\"body\"}
  {\"line\",\"method\",\"path\",\"elapsed_ms\",\"error\"}      there was no answer
  {\"line\",\"error\"}                                   the line is no request
body is JSON where the answer says that it is and it is, a string where it is other text, and null where there is none; \
what is no text stands in body_base64. Of a body of more than 8 MiB only \"error\" tells.

Lines are read as answers are taken away, so input may go on for ever. When the session has ended, no more are read. Exit \
code: the gravest of the requests' codes; 1 for a line that is none.

Examples:
  seq 1 1000 | sed 's|^|/items/|' | authcli batch | jq -c 'select(.status != 200)'
  echo '{\"path\": \"/items\", \"json\": {\"name\": \"x\"}}' | authcli batch | jq .body")]
    Batch(BatchArgs),
    /// Run a command with a live access token in AUTHCLI_ACCESS_TOKEN
    #[command(after_help = "\
The token is in the environment of the command alone, and is not renewed there: a command that runs for longer than the \
token lives asks for another one with `authcli token`.

Exit code: the command's. 127: it was not found; 126: it could not be started; 125: there was no token to give it.

Examples:
  authcli exec -- sh -c 'printf \"Authorization: Bearer %s\" \"$AUTHCLI_ACCESS_TOKEN\" |
    curl -H @- https://api.example.com/protected'
  authcli exec --min-valid 10m -- ./nightly-report")]
    Exec(ExecArgs),
    /// Serve other programs: a local proxy to the server that adds a live token to whatever passes
    #[command(after_help = "\
Examples:
  authcli proxy                                      # then, with the address that it prints:
  curl http://127.0.0.1:40123/Vb3s…/users

  authcli proxy --listen unix:$XDG_RUNTIME_DIR/api.sock
  curl --unix-socket $XDG_RUNTIME_DIR/api.sock http://localhost/users

The printed address is a secret: whoever knows it, on this machine, calls the server as you. SIGINT and SIGTERM let the \
requests under way finish, for up to 10 seconds; a second signal ends them at once.")]
    Proxy(ProxyArgs),
    /// Keep several accounts and servers side by side
    #[command(after_help = "\
Examples:
  authcli login --profile work --server https://api.example.com
  authcli profile use work
  authcli profile list")]
    Profile(ProfileArgs),
    /// Check the configuration, the store, the lock, the server and the clock, and say what to do
    #[command(after_help = "\
Examples:
  authcli doctor
  authcli doctor --json | jq -r '.checks[] | select(.verdict != \"ok\") | .hint'

The exit code is that of the first check that failed, 0 if none did; warnings fail nothing.")]
    Doctor(DoctorArgs),
    /// Print the completions for a shell
    #[command(after_help = "\
Examples:
  authcli completions bash > ~/.local/share/bash-completion/completions/authcli
  authcli completions zsh > \"${fpath[1]}/_authcli\"
  authcli completions fish > ~/.config/fish/completions/authcli.fish
  authcli completions powershell >> $PROFILE")]
    Completions(CompletionsArgs),
    /// Print the manual
    #[command(after_help = "\
Examples:
  authcli man | man -l -
  authcli man get | man -l -
  authcli man --directory ~/.local/share/man/man1")]
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
