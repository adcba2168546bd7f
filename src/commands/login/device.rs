//! Logging in on another device.

use authcli::renewal::oauth::{Login, LoginGrant, Oauth};

use crate::ui::Printer;

/// Shows where to type in which code, and waits until that is done.
pub(super) async fn log_in(printer: &Printer, oauth: &Oauth, login: &Login<'_>) -> anyhow::Result<LoginGrant> {
    let code = oauth.begin_device(login).await?;
    printer.ask("Go to this address, on any device:");
    printer.ask(&code.address());
    printer.ask("and enter this code, or see that it is the same:");
    printer.ask(&code.user_code());
    printer.note(&format!("Waiting for that, for up to {} min", code.life().as_secs().div_ceil(60)));
    Ok(oauth.finish_device(login, &code).await?)
}
