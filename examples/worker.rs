//! A worker that stands on the library alone: it fetches the paths that standard input lists, some at a time, and prints
//! the status, the length and the SHA-256 of each answer.
//!
//! It uses the session that `authcli login` made, beside whatever other programs use it: all of them together cost one
//! refresh for each token that ends, and none of them ever sees a refusal for its age.
//!
//! ```console
//! $ authcli login -u admin --store file
//! $ seq 1 100 | sed 's|^|/items/|' | cargo run --example worker ~/.config/authcli
//! ```

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use authcli::clock::SystemClock;
use authcli::gate::{Clock, RefreshGate, Work};
use authcli::http::{ClientOptions, LazyClient, ServerUrl};
use authcli::profile::Configuration;
use authcli::renewal::Provider;
use authcli::session::{Request, SendError};
use authcli::{Credential, Session};
use futures_util::StreamExt as _;
use futures_util::stream;
use reqwest::Method;
use sha2::{Digest as _, Sha256};

const AT_A_TIME: usize = 8;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).ok_or("usage: worker CONFIGURATION-DIRECTORY <PATHS")?;
    let session = open(directory.into()).await?;
    // Long work: from now on tokens are renewed before they end, and nobody waits for that.
    session.gate().keep_ahead();

    let paths = stream::iter(io::stdin().lock().lines());
    let mut sums = paths.map(|path| fetch(&session, path)).buffered(AT_A_TIME);
    let mut all_well = true;
    while let Some(sum) = sums.next().await {
        match sum {
            Ok(line) => writeln!(io::stdout(), "{line}")?,
            Err(error) => {
                all_well = false;
                writeln!(io::stderr(), "error: {error}")?;
            }
        }
    }
    drop(sums);
    // Every way out goes through here: a refresh that is cut off could cost the session.
    session.gate().close().await?;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Opens the session of the default profile.
async fn open(directory: PathBuf) -> Result<Session, Box<dyn Error>> {
    let configuration = Configuration::load(directory)?;
    let profile = configuration.profile("default").ok_or("nobody has logged in here")?;
    let (Some(id), Some(store)) = (profile.credential.as_deref(), profile.store) else {
        return Err("nobody has logged in here".into());
    };
    let credential = Credential::open(configuration.directory(), id, store);
    let tokens = credential.load().await?.ok_or("not logged in")?;
    let server = ServerUrl::from_stored(&tokens.server)?;
    let client = LazyClient::new(server.clone(), ClientOptions::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let api = profile.api.clone().unwrap_or_default();
    // At an OAuth 2.0 server a refresh whose answer was lost is not sent again: some take the second for a theft.
    let safe_to_repeat = false;
    let renewal = Arc::new(Provider::of(&tokens, &api, &server, safe_to_repeat, client.clone(), Arc::clone(&clock)));
    let gate = RefreshGate::new(tokens, credential.ports(renewal, clock), Work::Long);
    Ok(Session::new(gate, client, server, api.attachment()))
}

/// Reads the answer piece by piece, so that its length does not matter.
async fn fetch(session: &Session, path: io::Result<String>) -> Result<String, Box<dyn Error>> {
    let path = path?;
    let url = session.server().join(path.trim())?;
    let mut answer = session.send(&Request::new(Method::GET, url)).await.map_err(|error| in_full(&error))?;
    let (mut length, mut digest) = (0, Sha256::new());
    while let Some(chunk) = answer.chunk().await.map_err(|error| in_full(&error))? {
        length += chunk.len();
        digest.update(&chunk);
    }
    let mut line = format!("{} {length} ", answer.response.status().as_u16());
    for byte in digest.finalize() {
        write!(line, "{byte:02x}")?;
    }
    Ok(line + " " + path.trim())
}

/// Returns the error with its causes in one line.
fn in_full(error: &SendError) -> Box<dyn Error> {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.into()
}
