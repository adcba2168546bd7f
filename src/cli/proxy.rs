//! Serving other programs.

use authcli::proxy::Listen;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// Where to listen: HOST:PORT on this machine (port 0: a free one), or unix:PATH
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: Listen,
}
