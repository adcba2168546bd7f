//! Input without end, and readers that pause: memory stays where it is.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::ChildStdin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, Call, Cli, Server, eventually, logged_in};

/// Writes the same line for ever, and counts.
fn endless(mut stdin: ChildStdin, line: String) -> Arc<AtomicUsize> {
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    thread::spawn(move || {
        while stdin.write_all(line.as_bytes()).is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    written
}

/// Returns the most memory that a process has used so far, in MiB.
fn peak_memory(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() / 1024
}

const MOST_MEMORY: u64 = 64;

#[test]
fn an_endless_input_needs_no_more_memory_than_a_short_one() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let (batch, stdin, stdout) = cli.start_with_pipes(&["batch", "--unordered"]);
    endless(stdin, "/protected\n".into());
    let mut answers = BufReader::new(stdout);
    let mut line = String::new();
    for _ in 0..5_000 {
        line.clear();
        answers.read_line(&mut line).unwrap();
        assert!(line.contains("\"status\":200"), "{line}");
    }
    let peak = peak_memory(batch.id());
    assert!(peak < MOST_MEMORY, "{peak} MiB");
    batch.kill();
}

#[test]
fn a_reader_that_pauses_stops_the_input_and_gets_everything_in_the_end() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    // Long lines, so that few of them fill what may wait.
    let long = format!("/protected?x={}\n", "x".repeat(6_000));
    let (batch, stdin, mut stdout) = cli.start_with_pipes(&["batch"]);
    let written = endless(stdin, long);
    // Until nobody takes lines any more: that can only be seen by the clock.
    let (mut seen, mut since) = (0, Instant::now());
    eventually("the input stops", || {
        let now = written.load(Ordering::SeqCst);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        seen > 0 && since.elapsed() > Duration::from_secs(1)
    });
    // 4 MiB of answers, and what is on the way before and behind them.
    assert!((500..2_000).contains(&seen), "{seen} lines were taken");
    let peak = peak_memory(batch.id());
    assert!(peak < MOST_MEMORY, "{peak} MiB");
    let mut answers = String::new();
    let mut piece = [0; 8 * 1024];
    while answers.matches('\n').count() < seen {
        let length = stdout.read(&mut piece).unwrap();
        answers.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    let whole = answers.rsplit_once('\n').unwrap().0;
    for (number, line) in (1_u64..).zip(whole.lines()) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["line"], &line["status"]), (&json!(number), &json!(200)));
    }
    batch.kill();
}

#[test]
fn large_answers_behind_a_slow_one_wait_where_they_are() {
    let (endpoint, cli) = logged_in();
    let input = (0..13).map(|number| format!("/{number}\n")).collect::<Vec<_>>().concat();
    let batch = cli.start_with_input(&["batch", "-c", "13"], &input);
    let (slow, large): (Vec<Call>, Vec<Call>) = (0..13).map(|_| endpoint.next()).partition(|call| call.path == "/0");
    // Six times as long as a string of JSON; whoever is not read blocks.
    let body = "\u{1}".repeat(7 * 1024 * 1024);
    let replies: Vec<_> = large
        .into_iter()
        .map(|call| {
            let answer = Answer::new(200, &body);
            thread::spawn(move || call.reply(answer))
        })
        .collect();
    // All that can be read is read: that can only be seen by the clock.
    thread::sleep(Duration::from_secs(2));
    let peak = peak_memory(batch.id());
    for call in slow {
        call.reply(Answer::new(200, ""));
    }
    let output = batch.finish().expect(0).silent();
    for reply in replies {
        reply.join().unwrap();
    }
    assert_eq!(output.text().lines().count(), 13);
    // One line of 42 MiB, made of a body, and what a program takes.
    assert!(peak < 160, "{peak} MiB");
}
