//! A proxy before PostgreSQL that loses an answer, or all of them: the database has done what was asked, and nobody hears
//! of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// Listens for as long as the test runs.
pub(crate) struct Proxy {
    address: SocketAddr,
    database: String,
    /// What the answer to lose holds; none when there is none to lose (any more).
    lose: Arc<Mutex<Option<&'static str>>>,
    /// Whether no answer is passed on, while all connections stay.
    silent: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts a proxy before the database at this URL, which names a socket.
    pub(crate) async fn start(url: &str) -> Proxy {
        let (database, parameters) = url.strip_prefix("postgres:///").unwrap().split_once('?').unwrap();
        let host = parameters.split('&').find_map(|pair| pair.strip_prefix("host=")).unwrap();
        let socket = PathBuf::from(host).join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let lose = Arc::new(Mutex::new(None));
        let silent = Arc::new(AtomicBool::new(false));
        tokio::spawn({
            let (lose, silent) = (Arc::clone(&lose), Arc::clone(&silent));
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let server = UnixStream::connect(&socket).await.unwrap();
                    tokio::spawn(pass_on(client, server, Arc::clone(&lose), Arc::clone(&silent)));
                }
            }
        });
        Proxy { address, database: database.to_owned(), lose, silent }
    }

    /// Returns the database's URL through this proxy.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@{}/{}?sslmode=disable", self.address, self.database)
    }

    /// Passes on no answer, or passes them on again.
    pub(crate) fn keep_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    /// Breaks the connection instead of passing on the next answer that holds `text`.
    pub(crate) fn lose_answer_to(&self, text: &'static str) {
        *self.lose.lock().unwrap() = Some(text);
    }

    /// Answers whether that has happened.
    pub(crate) fn has_lost_one(&self) -> bool {
        self.lose.lock().unwrap().is_none()
    }
}

async fn pass_on(
    client: TcpStream,
    server: UnixStream,
    lose: Arc<Mutex<Option<&'static str>>>,
    silent: Arc<AtomicBool>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asked = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    let answered = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            if silent.load(Ordering::SeqCst) {
                continue;
            }
            let answer = &buffer[..length];
            {
                let mut lose = lose.lock().unwrap();
                if lose.is_some_and(|text| answer.windows(text.len()).any(|part| part == text.as_bytes())) {
                    *lose = None;
                    return;
                }
            }
            if to_client.write_all(answer).await.is_err() {
                return;
            }
        }
    };
    // Whichever ends first ends both.
    tokio::select! {
        () = asked => {}
        () = answered => {}
    }
}
