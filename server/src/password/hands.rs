//! The threads that hash. A hash is the only work here that takes milliseconds, and nobody notices a few more; at the
//! priority of everything else, the system lets it go on while a request that has just come waits for a core.

#[cfg(target_os = "linux")]
use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinError;

/// How much the threads that hash give way to others, where the system has that for threads: what a core does beside hashing
/// gets ten times the time of a hash. More would keep logins from a server that is never idle.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Threads of their own: once a thread's priority is lower, only root can raise it again.
#[derive(Debug)]
pub(super) struct Hands {
    handle: Handle,
    /// There until this is dropped.
    runtime: Option<Runtime>,
}

impl Hands {
    /// Returns so many of them.
    pub(super) fn new(count: usize) -> std::io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(count).thread_name("hashing").on_thread_start(give_way);
        let runtime = builder.build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs `work` on one of them. It comes to its end, whoever still waits for it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        self.handle.spawn(async move { work() }).await
    }
}

/// Waits for nobody: the last one may be dropped by a hash itself.
impl Drop for Hands {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(target_os = "linux")]
fn give_way() {
    // On Linux this is the calling thread alone. A system that refuses it hashes all the same.
    // Whoever has less already must not be given more.
    if getpriority_process(None).is_ok_and(|priority| priority < NICE) {
        let _ = setpriority_process(None, NICE);
    }
}

/// Elsewhere it would be the whole process.
#[cfg(not(target_os = "linux"))]
fn give_way() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_hashes_gives_way_and_nobody_else_does() {
        let priority = || getpriority_process(None).unwrap();
        let before = priority();
        let hashing = Hands::new(1).unwrap().run(priority).await.unwrap();
        assert_eq!(hashing, NICE.max(before));
        let others = tokio::task::spawn_blocking(priority).await.unwrap();
        assert_eq!((priority(), others), (before, before));
    }

    #[tokio::test]
    async fn a_panic_costs_one_hash_and_no_hand() {
        let hands = Hands::new(1).unwrap();
        assert!(hands.run(|| panic!("on purpose")).await.unwrap_err().is_panic());
        assert_eq!(hands.run(|| 7).await.unwrap(), 7);
    }
}
