//! A network of the test's own, between the real client and the real server, that breaks as the test says.

mod line;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use self::line::Line;
use super::BOUND;

/// An HTTP/1.1 proxy on loopback. It passes every message on byte for byte, unless a [`Fault`] was chosen for the call.
pub(crate) struct Proxy {
    pub(crate) url: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    acceptor: Option<thread::JoinHandle<()>>,
}

/// What happens to one call.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Request and answer each take so long.
    Delay(Duration),
    /// The connection is closed without an answer.
    Drop(When),
    /// The connection is closed in the middle of the answer's head, after the server has done its work.
    CutHead,
    /// The same in the middle of its body.
    CutBody,
    /// The proxy answers 502 itself.
    BadGateway(When),
    /// The proxy answers with a page, and calls it 200.
    Page(When),
    /// The proxy answers with what is no HTTP.
    Garbage(When),
    /// The proxy does not answer, and leaves the connection open until the client closes it.
    Hang(When),
    /// The answer announces more than comes, and the connection is closed.
    LongLength,
    /// The answer announces less than comes.
    ShortLength,
    /// The answer comes byte by byte.
    Dribble,
    /// The request arrives twice.
    Twice,
    /// The call stands still until the test lets it go on.
    Hold(Point, Stop),
}

/// Whether the server hears of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// It hears nothing of it.
    Before,
    /// It has done its work, and its answer is lost.
    After,
}

/// Where a call is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// The request was read; the server hears nothing of it yet.
    Request,
    /// The server has answered; the client has none of it yet.
    Answer,
    /// The client has half of the answer's body.
    Body,
}

/// Holds one call up.
pub(crate) struct Hold {
    arrived: Receiver<()>,
    go_on: Sender<()>,
}

/// The proxy's end of a [`Hold`].
#[derive(Debug)]
pub(crate) struct Stop {
    arrive: Sender<()>,
    gone_on: Receiver<()>,
}

/// Chooses what happens to a call, by its path.
type Chooser = Box<dyn FnMut(&str) -> Option<Fault> + Send>;

struct Shared {
    upstream: String,
    choose: Mutex<Chooser>,
    refreshes: AtomicUsize,
}

impl Proxy {
    /// A proxy to the server at `upstream`; nothing breaks yet.
    pub(crate) fn to(upstream: &str) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.strip_prefix("http://").unwrap().to_owned(),
            choose: Mutex::new(Box::new(|_| None)),
            refreshes: AtomicUsize::new(0),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, for_all) = (Arc::clone(&stop), Arc::clone(&shared));
        let acceptor = thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&for_all);
                // Clients that are killed and servers that go away are what this is about.
                thread::spawn(move || client.and_then(|client| Line::new(&client, &shared).carry()).ok());
            }
        });
        Self { url: format!("http://{address}"), address, shared, stop, acceptor: Some(acceptor) }
    }

    /// Lets `choose` say from now on what happens to each call.
    pub(crate) fn choose(&self, choose: impl FnMut(&str) -> Option<Fault> + Send + 'static) {
        *self.shared.choose.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(choose);
    }

    /// Breaks the next refreshes like this, in this order; what comes after them is passed on.
    pub(crate) fn break_refreshes(&self, faults: impl IntoIterator<Item = Fault>) {
        let mut faults: VecDeque<Fault> = faults.into_iter().collect();
        self.choose(move |path| if path == "/refresh" { faults.pop_front() } else { None });
    }

    /// Holds the next call of `path` at `point`.
    pub(crate) fn hold(&self, path: &'static str, point: Point) -> Hold {
        let (arrive, arrived) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel();
        let mut fault = Some(Fault::Hold(point, Stop { arrive, gone_on }));
        self.choose(move |called| if called == path { fault.take() } else { None });
        Hold { arrived, go_on }
    }

    /// Returns how many refreshes clients have asked for.
    pub(crate) fn refreshes(&self) -> usize {
        self.shared.refreshes.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is to stop.
        drop(TcpStream::connect(self.address));
        let ended = self.acceptor.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the proxy broke down");
    }
}

impl Hold {
    /// Waits until a call has come to the point.
    #[track_caller]
    pub(crate) fn wait(&self) {
        self.arrived.recv_timeout(BOUND).expect("a call was to be held, and none came");
    }

    /// Lets the call go on; dropped without that, it is cut off.
    pub(crate) fn release(self) {
        // The client may have gone away.
        let _ = self.go_on.send(());
    }
}

impl Stop {
    fn stand_still(self) -> io::Result<()> {
        let _ = self.arrive.send(());
        self.gone_on.recv().map_err(|_| io::ErrorKind::ConnectionAborted.into())
    }
}
