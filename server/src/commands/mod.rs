//! The commands, a file each. They take what the command line says, resolve it, and call the library.

mod context;
mod error;
mod keys;
mod migrate;
mod pepper;
mod serve;
mod sessions;
mod user;

pub use error::CommandError;

use crate::cli::{Command, KeysCommand, PepperCommand, SessionsCommand, UserCommand};

/// Runs a command to its end.
pub async fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::Serve(args) => serve::serve(args).await,
        Command::User(UserCommand::Add(args)) => user::add(args).await,
        Command::User(UserCommand::List(args)) => user::list(args).await,
        Command::User(UserCommand::Remove(args)) => user::remove(args).await,
        Command::User(UserCommand::Password(args)) => user::password(args).await,
        Command::User(UserCommand::Disable(args)) => user::disable(args).await,
        Command::User(UserCommand::Enable(args)) => user::enable(args).await,
        Command::Keys(KeysCommand::List(args)) => keys::list(args).await,
        Command::Keys(KeysCommand::Rotate(args)) => keys::rotate(args).await,
        Command::Pepper(PepperCommand::List(args)) => pepper::list(args).await,
        Command::Pepper(PepperCommand::Rotate(args)) => pepper::rotate(args).await,
        Command::Pepper(PepperCommand::Forget(args)) => pepper::forget(args).await,
        Command::Sessions(SessionsCommand::Revoke(args)) => sessions::revoke(args).await,
        Command::Migrate(args) => migrate::migrate(args).await,
    }
}
