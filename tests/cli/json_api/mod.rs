//! JSON APIs of other shapes, as a profile describes them.

mod answers;
mod description;
mod meant_for;
mod take_up;
mod wire;

use crate::support::{Answer, Call, Cli, Endpoint, Output};

const LOGIN: [&str; 4] = ["login", "-u", "admin", "--password-stdin"];

/// A server answered by hand, and a user whose profile describes it so.
fn described(api: &str) -> (Endpoint, Cli) {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.configure(&format!("[profiles.default]\nserver = \"{}\"\n{api}", endpoint.url));
    (endpoint, cli)
}

/// Logs in, with `answer` to whatever call that makes, and returns that call.
#[track_caller]
fn log_in(endpoint: &Endpoint, cli: &Cli, answer: Answer) -> (Call, Output) {
    let login = cli.start_with_input(&LOGIN, "pass word\n");
    let mut call = endpoint.next();
    call.reply_with(answer);
    (call, login.finish().expect(0))
}
