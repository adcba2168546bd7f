//! What a server is built from, all of it resolved: no flags, no environment, no home directory.

use std::net::SocketAddr;
use std::time::Duration;

use crate::domain::Lifetimes;
use crate::password::{PasswordCost, Room};
use crate::pepper::PepperSource;
use crate::routes::{AllowedOrigins, TrustedProxies};
use crate::store::DatabaseUrl;

/// A server to build.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; the first address that can be had. Port 0 is any free one.
    pub listen: Vec<SocketAddr>,
    /// The database; a file is made if it is not there.
    pub database: DatabaseUrl,
    /// Where the pepper comes from.
    pub pepper: PepperSource,
    /// How long things live.
    pub lifetimes: Lifetimes,
    /// Which web pages may read the answers.
    pub origins: AllowedOrigins,
    /// Which proxies are believed when they say where a request comes from.
    pub proxies: TrustedProxies,
    /// What a password hash costs.
    pub password_cost: PasswordCost,
    /// How many of them run and wait at once.
    pub password_room: Room,
    /// Whether to add the two users that everybody knows, on a database that nobody else uses.
    pub demo: bool,
}

/// Access tokens live for a quarter of an hour.
pub const ACCESS_TTL: Duration = Duration::from_mins(15);
/// In demonstrations they can be watched expiring.
pub const DEMO_ACCESS_TTL: Duration = Duration::from_secs(2);
/// A session lives for a week without a refresh.
pub const REFRESH_TTL: Duration = Duration::from_hours(7 * 24);
/// A session lives for a quarter of a year at most.
pub const SESSION_TTL: Duration = Duration::from_hours(90 * 24);
