//! The lock and the stamp on real files, some of them not as they should be.

use super::*;
use crate::gate::Ending;
use crate::worker::tests::{Release, SHORT, hold, occupied};

#[tokio::test]
async fn only_one_holds_the_lock_and_others_learn_who() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| ProcessLock::new(directory.path(), "one"));
    let held = first.try_lock().await.unwrap().expect("the lock is free");
    assert!(second.try_lock().await.unwrap().is_none());
    assert_eq!(second.holder().await.pid, Some(std::process::id()));
    drop(held);
    assert!(second.try_lock().await.unwrap().is_some());
}

#[cfg(unix)]
#[tokio::test]
async fn a_lock_on_a_removed_file_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let lock = ProcessLock::new(directory.path(), "one");
    let held = lock.try_lock().await.unwrap().expect("the lock is free");
    std::fs::remove_file(&lock.lock.path).unwrap();
    let replacement = lock.try_lock().await.unwrap().expect("the new file is free");
    assert!(lock.try_lock().await.unwrap().is_none());
    drop((held, replacement));
}

#[tokio::test]
async fn the_first_version_of_the_stamp_is_still_read_and_still_written() {
    let directory = tempfile::tempdir().unwrap();
    let lock = ProcessLock::new(directory.path(), "one");
    let held = lock.try_lock().await.unwrap().unwrap();
    let fixture = include_bytes!("fixtures/stamp-v1.json");
    private_fs::replace(&lock.stamp_path, fixture, Durability::Replaceable).unwrap();
    let stamp = lock.stamp().await.unwrap();
    assert_eq!(stamp.generation.number(), 7);
    assert_eq!(stamp.ended.as_ref().unwrap().how, Ending::Refused("Invalid refresh token".into()));
    assert_eq!(stamp.renewing.as_ref().unwrap().pid, 4711);
    lock.set_stamp(&held, &stamp).await.unwrap();
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&lock.stamp_path).unwrap()).unwrap();
    assert_eq!(written, serde_json::from_slice::<serde_json::Value>(fixture).unwrap());
}

#[tokio::test]
async fn a_damaged_stamp_is_no_stamp() {
    let directory = tempfile::tempdir().unwrap();
    let lock = ProcessLock::new(directory.path(), "one");
    let _held = lock.try_lock().await.unwrap();
    for damage in ["", "{", "[]", "{\"version\":99,\"session\":\"s\",\"generation\":1}"] {
        private_fs::replace(&lock.stamp_path, damage.as_bytes(), Durability::Replaceable).unwrap();
        assert_eq!(lock.stamp().await, None, "{damage:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_lock_on_a_replaced_file_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let lock = ProcessLock::new(directory.path(), "one");
    let held = lock.try_lock().await.unwrap().expect("the lock is free");
    let other = lock.lock.path.with_extension("other");
    std::fs::write(&other, "").unwrap();
    std::fs::rename(&other, &lock.lock.path).unwrap();
    let replacement = lock.try_lock().await.unwrap().expect("the new file is free");
    assert!(lock.try_lock().await.unwrap().is_none());
    drop((held, replacement));
}

/// Whoever opened the file before it was replaced, and locks it after, must not believe that it holds the lock.
#[cfg(unix)]
#[test]
fn a_file_that_was_replaced_between_open_and_lock_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let file = private_fs::open_permanent(&path).unwrap();
    assert!(is_still_at(&path, &file).unwrap());
    std::fs::remove_file(&path).unwrap();
    assert!(!is_still_at(&path, &file).unwrap());
    std::fs::write(&path, "").unwrap();
    assert!(!is_still_at(&path, &file).unwrap());
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_no_lock_file_of_its_own_is_a_fault_and_never_followed() {
    use std::os::unix::fs::symlink;

    type Make = fn(&Path);

    let directory = tempfile::tempdir().unwrap();
    let lock = ProcessLock::new(directory.path(), "one");
    drop(lock.try_lock().await.unwrap().expect("the lock is free"));
    let path = &lock.lock.path;
    let kinds: [(&str, Make); 4] = [
        ("a link", |path| {
            let target = path.with_extension("target");
            std::fs::write(&target, "untouched").unwrap();
            symlink(target, path).unwrap();
        }),
        ("a link to nowhere", |path| symlink(path.with_extension("nowhere"), path).unwrap()),
        ("a directory", |path| std::fs::create_dir(path).unwrap()),
        ("a pipe", |path| {
            assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
    ];
    for (what, make) in kinds {
        std::fs::remove_file(path).unwrap();
        make(path);
        assert!(lock.try_lock().await.is_err(), "{what}");
        assert!(matches!(lock.lock_within(Duration::ZERO).await, Err(TokenError::LockFailed { .. })), "{what}");
        if path.is_dir() {
            std::fs::remove_dir(path).unwrap();
            std::fs::write(path, "").unwrap();
        }
    }
    assert_eq!(std::fs::read(path.with_extension("target")).unwrap(), b"untouched");
    assert!(!path.with_extension("nowhere").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_stamp_that_is_a_link_is_replaced_and_not_followed() {
    use std::os::unix::fs::symlink;

    let directory = tempfile::tempdir().unwrap();
    let lock = ProcessLock::new(directory.path(), "one");
    let held = lock.try_lock().await.unwrap().expect("the lock is free");
    let stamp = Stamp::of(&crate::store::sample_tokens());
    lock.set_stamp(&held, &stamp).await.unwrap();
    let target = lock.stamp_path.with_extension("target");
    std::fs::rename(&lock.stamp_path, &target).unwrap();
    symlink(&target, &lock.stamp_path).unwrap();
    assert_eq!(lock.stamp().await, None);
    let before = std::fs::read(&target).unwrap();
    let next = Stamp { generation: stamp.generation.next(), ..stamp };
    lock.set_stamp(&held, &next).await.unwrap();
    assert_eq!(lock.stamp().await, Some(next));
    assert_eq!(std::fs::read(&target).unwrap(), before);
}

#[cfg(unix)]
#[tokio::test]
async fn a_credential_has_no_lock_in_a_directory_that_others_may_enter() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let lock = ProcessLock::new(directory.path(), "one");
    drop(lock.try_lock().await.unwrap());
    let inner = lock.lock.path.parent().unwrap();
    std::fs::set_permissions(inner, std::fs::Permissions::from_mode(0o755)).unwrap();
    let fault = lock.try_lock().await.unwrap_err();
    assert!(matches!(fault, TokenError::Store(StoreError::Unsafe { .. })), "{fault}");
    assert!(fault.to_string().contains("chmod 700"), "{fault}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_lock_file_that_may_not_be_written_is_a_fault() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let lock = ProcessLock::new(directory.path(), "one");
    drop(lock.try_lock().await.unwrap());
    std::fs::set_permissions(&lock.lock.path, std::fs::Permissions::from_mode(0o400)).unwrap();
    let taken = lock.try_lock().await;
    // Root may write all the same.
    assert_eq!(taken.is_ok(), rustix::process::geteuid().is_root(), "{taken:?}");
}

/// A file system that does not answer before the returned value is dropped.
async fn hung(lock: &mut ProcessLock) -> Release {
    lock.lock.worker = Worker::start("test");
    occupied(&lock.lock.worker).await
}

#[tokio::test]
async fn a_file_system_that_does_not_answer_is_a_fault_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut lock = ProcessLock::new(directory.path(), "one");
    let held = lock.try_lock().await.unwrap().expect("the lock is free");
    let release = hung(&mut lock).await;
    let start = Instant::now();
    for error in [lock.try_lock().await.unwrap_err(), lock.lock_within(CALL_BOUND).await.unwrap_err()] {
        let TokenError::LockFailed { cause, .. } = error else { panic!("{error}") };
        assert_eq!(cause.kind(), io::ErrorKind::TimedOut);
    }
    assert_eq!(lock.stamp().await, None);
    assert_eq!(lock.holder().await.pid, None);
    let error = lock.set_stamp(&held, &Stamp::of(&crate::store::sample_tokens())).await.unwrap_err();
    assert!(matches!(&error, StoreError::File { cause, .. } if cause.kind() == io::ErrorKind::TimedOut), "{error}");
    assert!(start.elapsed() < CALL_BOUND, "each was turned away at once");
    drop(release);
}

#[tokio::test]
async fn a_lock_that_is_taken_after_its_caller_gave_up_is_let_go() {
    let directory = tempfile::tempdir().unwrap();
    let lock = ProcessLock::new(directory.path(), "one");
    let path = lock.lock.path.clone();
    private_fs::ensure_directory(path.parent().unwrap()).unwrap();
    let worker = Worker::start("test");
    loop {
        let (path, (pause, release)) = (path.clone(), hold());
        let late = move || {
            pause.wait();
            take(&path)
        };
        assert!(worker.run(SHORT, late).await.is_err());
        if release.has_begun() {
            break;
        }
    }
    // Only once it is over does the worker take another job.
    while worker.run(CALL_BOUND, || ()).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(lock.lock.path.exists(), "it was taken");
    assert!(lock.try_lock().await.unwrap().is_some());
}

#[tokio::test]
async fn a_stamp_that_is_written_late_keeps_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let mut lock = ProcessLock::new(directory.path(), "one");
    let other = lock.clone();
    let held = lock.try_lock().await.unwrap().expect("the lock is free");
    lock.lock.worker = Worker::start("test");
    lock.lock.bound = SHORT;
    let (pause, release) = hold();
    let worker = lock.lock.worker.clone();
    let busy = worker.run(CALL_BOUND, move || pause.wait());
    let stamp = Stamp::of(&crate::store::sample_tokens());
    let (busy, ()) = tokio::join!(busy, async {
        lock.set_stamp(&held, &stamp).await.unwrap_err();
        drop(held);
        assert!(other.try_lock().await.unwrap().is_none(), "it lies in the queue, with the lock");
        drop(release);
    });
    busy.unwrap();
    let held = other.lock_within(CALL_BOUND).await.unwrap();
    assert_eq!(other.stamp().await, None, "who was told that it failed finds it undone");
    drop(held);
}
