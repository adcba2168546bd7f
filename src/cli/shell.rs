//! What a shell and its manual need of the program, and looking after what it stands on.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command that the page is about, such as `get` or `profile set` [default: authcli itself]
    #[arg(value_name = "COMMAND", conflicts_with = "directory")]
    pub(crate) command: Vec<String>,
    /// Write the pages of all commands into this directory, a file each
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) directory: Option<PathBuf>,
}
