//! Profiles.

use clap::{Args, Subcommand};

use authcli::profile::{SETTINGS, Setting, Writer};

#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    #[command(subcommand)]
    pub(crate) command: ProfileCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// List the profiles; a star marks the one in use
    #[command(after_help = "\
Examples:
  authcli profile list
  authcli profile list --json | jq -r '.[].name'")]
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show what a profile says
    #[command(after_help = "\
Examples:
  authcli profile show
  authcli profile show work --json | jq -r .server")]
    Show {
        /// Which one [default: the one in use]
        name: Option<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Change a setting of the profile in use; a profile that is new is made
    #[command(after_help = set_help())]
    Set {
        /// Which setting
        key: String,
        /// Its new value; `-` reads it from standard input, which is the way for a secret
        #[arg(required_unless_present = "unset", conflicts_with = "unset")]
        value: Option<String>,
        /// Take the setting away
        #[arg(long)]
        unset: bool,
    },
    /// Choose the profile that is used when none is named
    #[command(after_help = "\
Examples:
  authcli profile use work
  authcli profile use default

--profile and AUTHCLI_PROFILE go before this choice.")]
    Use {
        /// Which one
        name: String,
    },
    /// Remove a profile that nobody is logged in to
    #[command(after_help = "\
Examples:
  authcli profile remove old
  authcli profile remove old --logout")]
    Remove {
        /// Which one
        name: String,
        /// Log out of it first: revoke the session at the server and forget the tokens
        #[arg(long)]
        logout: bool,
    },
}

/// Lists what can be set, from the one list of settings.
fn set_help() -> String {
    let settable = || SETTINGS.iter().filter(|setting| setting.writer == Writer::Person);
    let width = settable().map(|setting| setting.key.len()).max().unwrap_or(0);
    let line = |setting: &Setting| format!("  {:<width$}  {}", setting.key, setting.about);
    let settings = settable().map(line).collect::<Vec<_>>().join("\n");
    format!(
        "Settings:\n{settings}\n\nExamples:\n  authcli profile set server https://api.example.com/v1 --profile work\n  \
         authcli profile set cacert /etc/ssl/certs/company.pem\n  authcli profile set allow_http --unset\n  \
         printf '{{ X-Api-Key = \"%s\" }}' \"$KEY\" | authcli profile set api.login.headers -\n\n\
         What is a secret goes into the file or comes from standard input, never from the command line, which everybody on\n\
         the machine can read."
    )
}
