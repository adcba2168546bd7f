//! Why no keyring answers, told by the environment. On Linux the Secret Service is reached over the D-Bus of a desktop
//! session; cron, ssh and sudo have none, and each for another reason.

const FILE_STORE: &str = "or keep the tokens in a private file: `authcli login --store file`";

/// Returns what to do where no keyring answers. `variable` reads the environment, `is_there` looks for a socket.
pub(super) fn without_keyring(variable: &dyn Fn(&str) -> Option<String>, is_there: impl Fn(&str) -> bool) -> String {
    if !cfg!(target_os = "linux") {
        return format!("unlock the keyring, {FILE_STORE}");
    }
    let address = variable("DBUS_SESSION_BUS_ADDRESS");
    let runtime = variable("XDG_RUNTIME_DIR");
    let bus = match (&address, &runtime) {
        (Some(address), _) => Bus::of(address),
        (None, Some(runtime)) => Bus::Socket(format!("{runtime}/bus")),
        (None, None) => Bus::None,
    };
    let why = match bus {
        Bus::Socket(path) if is_there(&path) => {
            "there is a D-Bus session, but no Secret Service answers on it: start or unlock one (gnome-keyring, KWallet, \
             KeePassXC)"
                .to_owned()
        }
        Bus::Elsewhere => "the D-Bus session of DBUS_SESSION_BUS_ADDRESS does not answer, or has no Secret Service".into(),
        _ if variable("SUDO_USER").is_some() => {
            "sudo and su leave the D-Bus session behind: run authcli as the user who logged in, without sudo".into()
        }
        Bus::Socket(path) => {
            let name = if address.is_some() { "DBUS_SESSION_BUS_ADDRESS" } else { "XDG_RUNTIME_DIR" };
            format!("{name} leads to {path}, which is not there: the desktop session is over, or on another machine")
        }
        Bus::None if variable("SSH_CONNECTION").is_some() => {
            "this ssh session has no D-Bus session (neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set): set \
             XDG_RUNTIME_DIR=/run/user/$(id -u), where a desktop session runs"
                .into()
        }
        Bus::None => "there is no D-Bus session (neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set), as under \
             cron, in services and in containers: set XDG_RUNTIME_DIR=/run/user/$(id -u), where a desktop session runs"
            .into(),
    };
    format!("{why}; {FILE_STORE}")
}

enum Bus {
    None,
    Socket(String),
    /// An abstract or a network address, which no path tells of.
    Elsewhere,
}

impl Bus {
    fn of(address: &str) -> Self {
        let path = address.split(';').find_map(|one| one.strip_prefix("unix:path="));
        path.map_or(Self::Elsewhere, |path| Self::Socket(path.split(',').next().unwrap_or(path).to_owned()))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn each_place_without_a_keyring_is_told_why_and_what_to_do() {
        let gone = [("DBUS_SESSION_BUS_ADDRESS", "unix:path=/gone,guid=7")];
        for (environment, expected) in [
            ([].as_slice(), "as under cron"),
            (&[("SSH_CONNECTION", "::1 1 ::1 2")], "this ssh session"),
            (&[("SUDO_USER", "admin")], "without sudo"),
            (&[("SUDO_USER", "admin"), ("XDG_RUNTIME_DIR", "/run/user/0")], "without sudo"),
            (&gone, "DBUS_SESSION_BUS_ADDRESS leads to /gone, which is not there"),
            (&[("XDG_RUNTIME_DIR", "/run/user/7")], "XDG_RUNTIME_DIR leads to /run/user/7/bus"),
            (&[("XDG_RUNTIME_DIR", "/there")], "no Secret Service answers"),
            (&[("SUDO_USER", "admin"), ("XDG_RUNTIME_DIR", "/there")], "no Secret Service answers"),
            (&[("DBUS_SESSION_BUS_ADDRESS", "unix:abstract=/x")], "does not answer, or has no"),
        ] {
            let variable = |name: &str| {
                let found = environment.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let advice = without_keyring(&variable, |path| path.starts_with("/there"));
            assert!(advice.contains(expected), "{environment:?}: {advice}");
            assert!(advice.contains("--store file"), "{advice}");
        }
    }
}
