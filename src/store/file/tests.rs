//! The store on real files, some of them not as they should be.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Instant;

use super::*;
use crate::gate::Rendezvous as _;
use crate::lock::ProcessLock;
use crate::store::entry::tests::sample;
use crate::worker::tests::{Release, SHORT, hold};

/// Never reached on a machine that works.
const LONG: Duration = Duration::from_secs(30);

struct Place {
    _directory: tempfile::TempDir,
    store: FileStore,
    held: Held,
}

async fn filled() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::new(directory.path(), "one");
    let held = Held::new(());
    store.save(&held, &sample()).await.unwrap();
    Place { _directory: directory, store, held }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn what_was_saved_is_loaded_and_private() {
    let place = filled().await;
    let loaded = place.store.load().await.unwrap().unwrap();
    assert!(loaded.is_same_save(&sample()));
    assert_eq!(mode(&place.store.path), 0o600);
    assert_eq!(mode(place.store.path.parent().unwrap()), 0o700);
}

#[tokio::test]
async fn nothing_is_left_after_a_clear_and_a_second_clear_is_no_error() {
    let place = filled().await;
    place.store.clear(&place.held).await.unwrap();
    place.store.clear(&place.held).await.unwrap();
    assert!(place.store.load().await.unwrap().is_none());
    assert_eq!(fs::read_dir(place.store.path.parent().unwrap()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_that_others_may_read_is_refused() {
    let place = filled().await;
    fs::set_permissions(&place.store.path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = place.store.load().await.unwrap_err();
    assert!(matches!(&error, StoreError::Unsafe { why, .. } if why.contains("chmod 600")), "{error}");
}

#[tokio::test]
async fn a_directory_that_others_may_enter_is_refused_before_anything_is_written() {
    let place = filled().await;
    let directory = place.store.path.parent().unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    let before = fs::metadata(&place.store.path).unwrap().modified().unwrap();
    let error = place.store.save(&place.held, &sample()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unsafe { .. }), "{error}");
    assert_eq!(fs::metadata(&place.store.path).unwrap().modified().unwrap(), before);
}

#[tokio::test]
async fn a_symbolic_link_is_not_followed() {
    let place = filled().await;
    let real = place.store.path.with_extension("real");
    fs::rename(&place.store.path, &real).unwrap();
    symlink(&real, &place.store.path).unwrap();
    let error = place.store.load().await.unwrap_err();
    assert!(matches!(&error, StoreError::Unsafe { why, .. } if why.contains("symbolic link")), "{error}");
}

#[tokio::test]
async fn a_named_pipe_does_not_hang() {
    let place = filled().await;
    fs::remove_file(&place.store.path).unwrap();
    let path = place.store.path.clone();
    assert!(std::process::Command::new("mkfifo").arg("-m").arg("600").arg(&path).status().unwrap().success());
    let error = place.store.load().await.unwrap_err();
    assert!(matches!(error, StoreError::Unsafe { .. }), "{error}");
}

/// A store whose disk does not answer before the returned value is dropped; a save under `held` is on its way.
async fn hung(place: &Place, held: Held) -> (FileStore, Release) {
    let hung = FileStore { worker: Worker::start("test"), bound: SHORT, ..place.store.clone() };
    loop {
        let (pause, release) = hold();
        let error = hung.change(&held, "write", move |path| {
            pause.wait();
            private_fs::replace(path, b"late", Durability::Durable)
        });
        let error = error.await.unwrap_err();
        let StoreError::File { cause, .. } = &error else { panic!("{error}") };
        assert_eq!(cause.kind(), std::io::ErrorKind::TimedOut);
        if release.has_begun() {
            return (hung, release);
        }
    }
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_told_in_time_and_only_one_call_waits() {
    let place = filled().await;
    let (mut hung, release) = hung(&place, Held::new(())).await;
    hung.bound = LONG;
    let start = Instant::now();
    let held = Held::new(());
    for error in [
        hung.load().await.unwrap_err(),
        hung.prove_writable(&held).await.unwrap_err(),
        hung.save(&held, &sample()).await.unwrap_err(),
        hung.clear(&held).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::File { .. }), "{error}");
    }
    assert!(start.elapsed() < LONG / 2);
    drop(release);
}

#[tokio::test]
async fn a_write_that_comes_late_comes_before_every_write_of_other_processes() {
    let place = filled().await;
    let directory = place.store.path.parent().and_then(Path::parent).unwrap();
    let lock = || ProcessLock::new(directory, "one");
    let (hung, release) = hung(&place, lock().try_lock().await.unwrap().expect("the lock is free")).await;
    drop(hung);
    for _ in 0..10 {
        assert!(lock().try_lock().await.unwrap().is_none(), "the write may still come");
    }
    drop(release);
    let held = lock().lock_within(LONG).await.unwrap();
    assert_eq!(fs::read(&place.store.path).unwrap(), b"late", "it is there before the lock is free");
    place.store.save(&held, &sample()).await.unwrap();
    assert!(place.store.load().await.unwrap().unwrap().is_same_save(&sample()));
}

#[tokio::test]
async fn what_a_killed_writer_left_goes_with_the_next_save_and_with_a_clear() {
    let place = filled().await;
    let beside = |name: &str| place.store.path.with_file_name(name);
    let ours = [".one.json.Ab3dEf.tmp", ".one.json.x.tmp"];
    let others = [
        ".two.json.Ab3dEf.tmp",
        ".one.json.tmp",
        ".one.json..tmp",
        ".one.json.Ab3dEf",
        ".one.json.Ab3.dEf.tmp",
        "one.json.Ab3dEf.tmp",
        ".one.stamp.Ab3dEf.tmp",
    ];
    for name in others {
        fs::write(beside(name), "another's").unwrap();
    }
    let leave_behind = || ours.iter().for_each(|name| fs::write(beside(name), "tokens").unwrap());
    let assert_swept = || {
        assert!(ours.iter().all(|name| !beside(name).exists()));
        assert!(others.iter().all(|name| fs::read(beside(name)).unwrap() == b"another's"));
    };
    leave_behind();
    assert!(place.store.load().await.unwrap().is_some());
    place.store.save(&place.held, &sample()).await.unwrap();
    assert_swept();
    leave_behind();
    place.store.prove_writable(&place.held).await.unwrap();
    assert_swept();
    leave_behind();
    place.store.clear(&place.held).await.unwrap();
    assert_swept();
    // Also where no entry is left.
    leave_behind();
    place.store.clear(&place.held).await.unwrap();
    assert_swept();
}

#[tokio::test]
async fn a_proof_that_something_can_be_written_leaves_nothing_and_changes_nothing() {
    let place = filled().await;
    let before = fs::read(&place.store.path).unwrap();
    place.store.prove_writable(&place.held).await.unwrap();
    assert_eq!(fs::read_dir(place.store.path.parent().unwrap()).unwrap().count(), 1);
    assert_eq!(fs::read(&place.store.path).unwrap(), before);
}

#[tokio::test]
async fn a_linked_directory_is_not_entered() {
    let place = filled().await;
    let directory = place.store.path.parent().unwrap();
    let real = directory.with_extension("real");
    fs::rename(directory, &real).unwrap();
    symlink(&real, directory).unwrap();
    for error in [
        place.store.load().await.unwrap_err(),
        place.store.prove_writable(&place.held).await.unwrap_err(),
        place.store.save(&place.held, &sample()).await.unwrap_err(),
        place.store.clear(&place.held).await.unwrap_err(),
    ] {
        assert!(matches!(&error, StoreError::Unsafe { why, .. } if why.contains("symbolic link")), "{error}");
    }
    assert!(real.join("one.json").exists());
    // One that leads nowhere makes nothing there.
    fs::remove_dir_all(&real).unwrap();
    place.store.save(&place.held, &sample()).await.unwrap_err();
    assert!(!real.exists());
}

#[tokio::test]
async fn what_is_no_file_is_refused_and_left() {
    let place = filled().await;
    fs::remove_file(&place.store.path).unwrap();
    fs::create_dir(&place.store.path).unwrap();
    fs::set_permissions(&place.store.path, fs::Permissions::from_mode(0o700)).unwrap();
    let error = place.store.load().await.unwrap_err();
    assert!(matches!(&error, StoreError::Unsafe { why, .. } if why.contains("regular file")), "{error}");
    place.store.save(&place.held, &sample()).await.unwrap_err();
    assert!(place.store.path.is_dir());
    assert_eq!(fs::read_dir(place.store.path.parent().unwrap()).unwrap().count(), 1, "nothing temporary is left");
}

#[tokio::test]
async fn a_store_that_was_proven_is_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    FileStore::new(directory.path(), "two").prove(sample()).await.unwrap();
    assert_eq!(fs::read_dir(directory.path().join("credentials")).unwrap().count(), 0);
}
