//! What a command works with: flags, environment and profile made into values. The one place that reads the
//! environment and names the concrete parts that a session is made of.
//!
//! `target` says which server and store are meant, `stored` what is kept there, `clients` with whom is talked, and how.

mod clients;
mod stored;
mod target;

use std::env;
use std::path::PathBuf;

use anyhow::Context as _;
use authcli::gate::RefreshGate;
use authcli::http::{ClientOptions, ServerUrl};
use authcli::profile::{Configuration, check_name};
use authcli::store::StoreKind;

pub(crate) use self::stored::Stored;
use crate::cli::Global;
use crate::outcome::{Unsaved, Usage};
use crate::ui::Printer;

pub(crate) const DEFAULT_PROFILE: &str = "default";

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
        })
    }

    /// Waits for refreshes that are under way.
    pub(crate) async fn settle(&self) -> Result<(), anyhow::Error> {
        for gate in &self.gates {
            gate.close().await.map_err(Unsaved)?;
        }
        Ok(())
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
