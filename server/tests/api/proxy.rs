//! A proxy before PostgreSQL that loses an answer, some, or all of them: the database has done what was asked, and nobody
//! hears of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// Listens for as long as the test runs.
pub(crate) struct Proxy {
    address: SocketAddr,
    database: String,
    faults: Arc<Faults>,
}

/// What goes wrong from now on.
#[derive(Default)]
struct Faults {
    /// What the answer to lose holds, and what is lost along with it; none when there is none to lose (any more).
    lose: Mutex<Option<(&'static str, Loss)>>,
    /// Which answers are not passed on, while all connections stay.
    silence: Mutex<Silence>,
}

/// What is lost with an answer.
#[derive(Clone, Copy)]
enum Loss {
    /// Its connection.
    Connection,
    /// All answers after it.
    Network,
}

/// Which answers are not passed on.
#[derive(Clone, Copy, Default, PartialEq)]
enum Silence {
    #[default]
    None,
    /// Those to whoever gives a connection back, and asks whether it is still good.
    GivingBack,
    All,
}

impl Proxy {
    /// Starts a proxy before the database at this URL, which names a socket.
    pub(crate) async fn start(url: &str) -> Proxy {
        let (database, parameters) = url.strip_prefix("postgres:///").unwrap().split_once('?').unwrap();
        let host = parameters.split('&').find_map(|pair| pair.strip_prefix("host=")).unwrap();
        let socket = PathBuf::from(host).join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let faults = Arc::<Faults>::default();
        tokio::spawn({
            let faults = Arc::clone(&faults);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let server = UnixStream::connect(&socket).await.unwrap();
                    tokio::spawn(pass_on(client, server, Arc::clone(&faults)));
                }
            }
        });
        Proxy { address, database: database.to_owned(), faults }
    }

    /// Returns the database's URL through this proxy.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@{}/{}?sslmode=disable", self.address, self.database)
    }

    /// Passes on no answer, or passes them on again.
    pub(crate) fn keep_silent(&self, silent: bool) {
        *self.faults.silence.lock().unwrap() = if silent { Silence::All } else { Silence::None };
    }

    /// Passes on the answers to statements, and none to whoever gives a connection back after them.
    pub(crate) fn keep_silent_after_statements(&self) {
        *self.faults.silence.lock().unwrap() = Silence::GivingBack;
    }

    /// Passes on no answer from the next one on that holds `text`.
    pub(crate) fn fall_silent_at(&self, text: &'static str) {
        *self.faults.lose.lock().unwrap() = Some((text, Loss::Network));
    }

    /// Breaks the connection instead of passing on the next answer that holds `text`.
    pub(crate) fn lose_answer_to(&self, text: &'static str) {
        *self.faults.lose.lock().unwrap() = Some((text, Loss::Connection));
    }

    /// Answers whether that has happened.
    pub(crate) fn has_lost_one(&self) -> bool {
        self.faults.lose.lock().unwrap().is_none()
    }
}

impl Faults {
    /// Answers whether an answer is passed on; none if its connection breaks instead.
    fn meet(&self, answer: &[u8]) -> Option<bool> {
        // Nothing but "ready", as PostgreSQL answers to a ping outside of transactions.
        const PONG: &[u8] = b"Z\0\0\0\x05I";
        let mut silence = self.silence.lock().unwrap();
        let mut awaited = self.lose.lock().unwrap();
        match *awaited {
            Some((text, loss)) if answer.windows(text.len()).any(|part| part == text.as_bytes()) => {
                *awaited = None;
                match loss {
                    Loss::Connection => return None,
                    Loss::Network => *silence = Silence::All,
                }
            }
            _ => {}
        }
        Some(match *silence {
            Silence::None => true,
            Silence::GivingBack => answer != PONG,
            Silence::All => false,
        })
    }
}

async fn pass_on(client: TcpStream, server: UnixStream, faults: Arc<Faults>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asked = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    let answered = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            let answer = &buffer[..length];
            match faults.meet(answer) {
                Some(true) if to_client.write_all(answer).await.is_ok() => {}
                Some(false) => {}
                _ => return,
            }
        }
    };
    // Whichever ends first ends both.
    tokio::select! {
        () = asked => {}
        () = answered => {}
    }
}
