//! Ending many requests before their source does.

use std::future::Future;

use tokio::sync::watch;

/// Ends a [`drive`](super::drive()) early. Cloning is cheap; all clones are one.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<End>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    NotYet,
    AfterThoseUnderWay,
    AtOnce,
}

impl Stop {
    /// One that has not been asked for.
    pub fn new() -> Self {
        Self(watch::Sender::new(End::NotYet))
    }

    /// From now on no request is begun; those under way are waited for.
    pub fn begin_no_more(&self) {
        self.reach(End::AfterThoseUnderWay);
    }

    /// From now on no request is begun, and those under way are dropped. What has been answered is still written.
    pub fn at_once(&self) {
        self.reach(End::AtOnce);
    }

    /// Returns whether [`at_once`](Self::at_once) was called.
    pub fn is_at_once(&self) -> bool {
        self.has_reached(End::AtOnce)
    }

    /// Returns whether no request is begun any more.
    pub fn begins_no_more(&self) -> bool {
        self.has_reached(End::AfterThoseUnderWay)
    }

    /// Waits until no request may be begun any more.
    pub(super) fn no_more_begun(&self) -> impl Future<Output = ()> + Send + use<> {
        self.reached(End::AfterThoseUnderWay)
    }

    /// Waits until those under way are to be dropped.
    pub(super) fn dropped(&self) -> impl Future<Output = ()> + Send + use<> {
        self.reached(End::AtOnce)
    }

    fn reach(&self, end: End) {
        self.0.send_if_modified(|now| {
            let further = end > *now;
            *now = end.max(*now);
            further
        });
    }

    fn has_reached(&self, end: End) -> bool {
        *self.0.borrow() >= end
    }

    fn reached(&self, end: End) -> impl Future<Output = ()> + Send + use<> {
        let stop = self.0.clone();
        // Cannot fail: this is one of those who tell.
        async move { drop(stop.subscribe().wait_for(|now| *now >= end).await) }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}
