//! Access tokens and public keys as an independent library reads them: npm's jose, in `tests/peers/jose-verifier.mjs`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::helpers::{Backend, eventually};
use crate::keys::rotation::World;

/// A resource server with its own copy of the public keys.
struct Verifier {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Verifier {
    fn start(world: &World) -> Verifier {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers");
        assert!(peers.join("node_modules/jose").exists(), "the peers are not installed: run `npm ci` in tests/peers");
        let mut command = Command::new("node");
        command.arg(peers.join("jose-verifier.mjs")).arg(format!("{}/.well-known/jwks.json", world.url(0)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Verifier { child, stdin, stdout }
    }

    fn judge(&mut self, token: &str) -> Value {
        self.stdin.write_all(format!("{token}\n").as_bytes()).unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        // Fails only for a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn verified(kid: &str) -> Value {
    json!({ "verified": true, "kid": kid, "userId": 1 })
}

fn refused(code: &str) -> Value {
    json!({ "verified": false, "code": code })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
async fn jose_verifies_access_tokens_before_and_after_a_rotation() {
    let world = World::start(Backend::Sqlite).await;
    let old = world.login(0).await;
    let mut early = Verifier::start(&world);
    assert_eq!(early.judge(&old.access), verified(&old.kid));
    let (message, signature) = old.access.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{message}.{first}{}", &signature[1..]);
    assert_eq!(early.judge(&forged), refused("ERR_JWS_SIGNATURE_VERIFICATION_FAILED"));

    assert!(world.keys(&["rotate"]).status.success());
    eventually("the announcement", async || world.published(0).await.len() == 2).await;
    // This one keeps what it fetches now, and must know the key that is not used yet.
    let mut during = Verifier::start(&world);
    assert_eq!(during.judge(&old.access), verified(&old.kid));
    world.pass_minutes(10).await;
    eventually("the relief", async || world.refresh(0, &old).await.kid != old.kid).await;
    let new = world.login(0).await;
    let mut late = Verifier::start(&world);
    for verifier in [&mut during, &mut late] {
        assert_eq!(verifier.judge(&new.access), verified(&new.kid));
        assert_eq!(verifier.judge(&old.access), verified(&old.kid));
    }

    assert!(world.keys(&["rotate", "--now"]).status.success());
    eventually("the replacement", async || world.protected(0, &new.access).await == 403).await;
    let last = world.login(0).await;
    let mut after = Verifier::start(&world);
    assert_eq!(after.judge(&last.access), verified(&last.kid));
    for replaced in [&old, &new] {
        assert_eq!(after.judge(&replaced.access), refused("ERR_JWKS_NO_MATCHING_KEY"));
    }
}
