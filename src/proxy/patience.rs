//! How long a client may take for the head of a request: a minute, and next to nothing once the proxy stops.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// The timer of one connection. It is asked about nothing but the time for a head, and so the connections that it ends are
/// those with half a head, and no request under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Patience {
    over: Arc<AtomicBool>,
}

impl Patience {
    /// Lets every wait be over from now on. The connection must be polled after that.
    pub(super) fn lose(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn wait(&self, sleep: Pin<Box<dyn Sleep>>) -> Pin<Box<dyn Sleep>> {
        Box::pin(Wait { sleep, over: Arc::clone(&self.over) })
    }
}

impl Timer for Patience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.wait(TokioTimer::new().sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.wait(TokioTimer::new().sleep_until(deadline))
    }

    fn now(&self) -> Instant {
        TokioTimer::new().now()
    }
}

struct Wait {
    sleep: Pin<Box<dyn Sleep>>,
    over: Arc<AtomicBool>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.over.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        self.sleep.as_mut().poll(context)
    }
}

impl Sleep for Wait {}
