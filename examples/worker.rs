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
use std::future::ready;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use authcli::clock::SystemClock;
use authcli::gate::{Clock, RefreshGate, Work};
use authcli::http::{ClientOptions, LazyClient, ServerUrl};
use authcli::profile::Configuration;
use authcli::renewal::Provider;
use authcli::session::{Request, SendError};
use authcli::{Credential, Session};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::runtime::Runtime;

const AT_A_TIME: usize = 8;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(run());
    // A read that waits for standard input must not keep the program from ending.
    runtime.shutdown_background();
    ended
}

async fn run() -> Result<ExitCode, Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).ok_or("usage: worker CONFIGURATION-DIRECTORY <PATHS")?;
    let session = open(directory.into()).await?;
    // Long work: from now on tokens are renewed before they end, and nobody waits for that.
    session.gate().keep_ahead();

    let worked = work(&session).await;
    // Every way out goes through here: a refresh that is cut off could cost the session.
    session.gate().close().await?;
    match worked {
        Ok(all_well) => Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        // Whoever reads has had enough: `worker … | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}

/// Fetches all paths, and returns whether all went well.
async fn work(session: &Session) -> io::Result<bool> {
    // Not by the standard library's: a line that lets wait would keep this thread from everything else.
    let lines = BufReader::new(tokio::io::stdin()).lines();
    let paths = stream::try_unfold(lines, |mut lines| async {
        let line = lines.next_line().await?;
        Ok::<_, io::Error>(line.map(|line| (line, lines)))
    });
    let paths = paths.try_filter(|path| ready(!path.trim().is_empty()));
    let mut sums =
        pin!(paths.map(|path| async { io::Result::Ok(fetch(session, path?.trim()).await) }).buffered(AT_A_TIME));
    let mut all_well = true;
    while let Some(sum) = sums.try_next().await? {
        match sum {
            Ok(line) => writeln!(io::stdout(), "{line}")?,
            Err(error) => {
                all_well = false;
                writeln!(io::stderr(), "error: {error}")?;
            }
        }
    }
    Ok(all_well)
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
async fn fetch(session: &Session, path: &str) -> Result<String, Box<dyn Error>> {
    let url = session.server().join(path)?;
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
    Ok(line + " " + path)
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
