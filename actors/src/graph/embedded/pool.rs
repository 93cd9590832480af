//! The engine's threads: a few for queries, one for writes, all with big stacks.
//!
//! Called by the embedded store. The engine recurses deeply and looks at its clock only between
//! rows, so its work never runs on an actor's thread. Refuses work when the queue is full. A watchdog
//! stops all queries when the process grows too much, and replaces threads that ignore their end, up
//! to a bound; after that the remaining threads go on alone.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use marsdb_query::CancellationToken;
use tokio::sync::oneshot;

use crate::deadline::Deadline;
use crate::graph::error::GraphError;

/// How long after its end a job may go on before its thread counts as stuck.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// How often the watchdog looks while something runs.
const WATCH_EVERY: Duration = Duration::from_millis(20);

/// Sizes of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolSize {
    pub(super) name: &'static str,
    pub(super) threads: usize,
    pub(super) stack_bytes: usize,
    pub(super) waiting_max: usize,
    pub(super) stuck_max: usize,
    /// `None` leaves memory unwatched.
    pub(super) memory_growth_max: Option<u64>,
}

/// What a running job may ask about itself.
#[derive(Clone)]
pub(super) struct Leash {
    /// The engine looks at it between rows.
    pub(super) token: CancellationToken,
    /// Whether the watchdog pulled it because the process grew too much.
    pub(super) out_of_memory: Arc<AtomicBool>,
    /// Set when the job begins.
    started: Arc<AtomicBool>,
}

type Work = Box<dyn FnOnce() + Send>;

struct Job {
    leash: Leash,
    /// When it should be over; `None` for work without end, such as an export.
    end: Option<Instant>,
    work: Work,
}

struct Running {
    leash: Leash,
    end: Option<Instant>,
    abandoned: bool,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    running: HashMap<u64, Running>,
    /// Threads whose job was given up and that have a replacement.
    stuck: usize,
    closed: bool,
    next: u64,
}

struct Shared {
    size: PoolSize,
    state: Mutex<State>,
    wake: Condvar,
    watch: Condvar,
    panics: AtomicU64,
}

/// Threads that run jobs until dropped.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

/// How busy a pool is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) running: usize,
    pub(super) waiting: usize,
    pub(super) stuck: usize,
    pub(super) panics: u64,
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(super) fn start(size: PoolSize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            size,
            state: Mutex::default(),
            wake: Condvar::new(),
            watch: Condvar::new(),
            panics: AtomicU64::new(0),
        });
        let pool = Self { shared: Arc::clone(&shared) };
        for _ in 0..size.threads {
            spawn_worker(&shared)?;
        }
        if size.stuck_max > 0 || size.memory_growth_max.is_some() {
            let name = format!("{}-watch", size.name);
            std::thread::Builder::new().name(name).spawn(move || watch(&shared))?;
        }
        Ok(pool)
    }

    /// Runs `work` on one of the threads and waits for it, at the longest until `end` and a grace.
    ///
    /// Dropping the future pulls the leash; work that has not begun is then never run.
    ///
    /// # Errors
    /// [`GraphError::Overloaded`] when the queue is full, [`GraphError::Crashed`] when `work`
    /// panicked, [`GraphError::Unavailable`] when the pool closes, and `late` when the time is up.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        end: Option<Deadline>,
        late: impl FnOnce(bool) -> GraphError,
        wrote: bool,
        work: impl FnOnce(&Leash) -> Result<T, GraphError> + Send + 'static,
    ) -> Result<T, GraphError> {
        let leash = Leash {
            token: CancellationToken::new(),
            out_of_memory: Arc::default(),
            started: Arc::default(),
        };
        let (answer, answered) = oneshot::channel();
        let (mine, shared) = (leash.clone(), Arc::clone(&self.shared));
        let job: Work = Box::new(move || {
            if mine.token.is_cancelled() {
                return;
            }
            mine.started.store(true, Ordering::Release);
            let outcome = catch_unwind(AssertUnwindSafe(|| work(&mine))).unwrap_or_else(|panic| {
                shared.panics.fetch_add(1, Ordering::Relaxed);
                Err(GraphError::Crashed { wrote, detail: panic_text(panic.as_ref()) })
            });
            // The caller may be gone; then nobody wants the outcome.
            let _ = answer.send(outcome);
        });
        let dropped = PullOnDrop(leash.token.clone());
        let started = Arc::clone(&leash.started);
        self.enqueue(Job { leash, end: end.map(|end| end.instant().into_std()), work: job })?;
        let closing = || GraphError::Unavailable("it is closing".to_owned());
        let outcome = match end {
            None => answered.await.unwrap_or_else(|_| Err(closing())),
            Some(end) => match tokio::time::timeout_at(end.instant() + GRACE, answered).await {
                Ok(outcome) => outcome.unwrap_or_else(|_| Err(closing())),
                Err(_) => Err(late(started.load(Ordering::Acquire))),
            },
        };
        drop(dropped);
        outcome
    }

    fn enqueue(&self, job: Job) -> Result<(), GraphError> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(GraphError::Unavailable("it is closing".to_owned()));
        }
        let now = Instant::now();
        // What nobody waits for any more must not hold a place.
        state.queue.retain(|job| {
            !job.leash.token.is_cancelled() && job.end.is_none_or(|end| end + GRACE > now)
        });
        let waiting = state.queue.len();
        if waiting >= self.shared.size.waiting_max {
            return Err(GraphError::Overloaded { waiting });
        }
        state.queue.push_back(job);
        drop(state);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// How busy it is.
    pub(super) fn load(&self) -> Load {
        let state = self.shared.lock();
        Load {
            running: state.running.len(),
            waiting: state.queue.len(),
            stuck: state.stuck,
            panics: self.shared.panics.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.queue.clear();
        for running in state.running.values() {
            running.leash.token.cancel();
        }
        drop(state);
        self.shared.wake.notify_all();
        self.shared.watch.notify_all();
    }
}

struct PullOnDrop(CancellationToken);

impl Drop for PullOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Shared {
    /// A job's panic is caught outside the lock, so a poisoned lock still holds a sound state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn_worker(shared: &Arc<Shared>) -> std::io::Result<()> {
    let mine = Arc::clone(shared);
    std::thread::Builder::new()
        .name(shared.size.name.to_owned())
        .stack_size(shared.size.stack_bytes)
        .spawn(move || work_on(&mine))
        .map(drop)
}

fn work_on(shared: &Shared) {
    loop {
        let mut state = shared.lock();
        let job = loop {
            if state.closed {
                return;
            }
            match state.queue.pop_front() {
                Some(job) => break job,
                None => state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        let id = state.next;
        state.next += 1;
        let idle = state.running.is_empty();
        let running = Running { leash: job.leash, end: job.end, abandoned: false };
        state.running.insert(id, running);
        drop(state);
        if idle {
            shared.watch.notify_one();
        }
        (job.work)();
        let mut state = shared.lock();
        if state.running.remove(&id).is_some_and(|running| running.abandoned) {
            // A replacement took this thread's place.
            state.stuck -= 1;
            return;
        }
    }
}

fn watch(shared: &Arc<Shared>) {
    // Taken when nothing runs: what grows from here on belongs to the queries, or to the process
    // beside them, which then must not get bigger queries on top.
    let mut idle_bytes = resident_bytes();
    // Queries were stopped for their memory and nothing was idle since.
    let mut recovering = false;
    let mut state = shared.lock();
    while !state.closed {
        if state.running.is_empty() {
            (idle_bytes, recovering) = (resident_bytes(), false);
            state = shared.watch.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let waited = shared.watch.wait_timeout(state, WATCH_EVERY);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.running.is_empty() {
            continue;
        }
        let resident = resident_bytes();
        if recovering {
            idle_bytes = idle_bytes.min(resident);
        }
        if let Some(growth_max) = shared.size.memory_growth_max
            && resident.saturating_sub(idle_bytes) > growth_max
        {
            // What they leave goes away while they end, or stays with the allocator: no fault of those that
            // come after them.
            (idle_bytes, recovering) = (resident, true);
            for running in state.running.values() {
                running.leash.out_of_memory.store(true, Ordering::Release);
                running.leash.token.cancel();
            }
        }
        replace_stuck(shared, &mut state);
    }
}

fn replace_stuck(shared: &Arc<Shared>, state: &mut State) {
    let now = Instant::now();
    let room = shared.size.stuck_max.saturating_sub(state.stuck);
    let mut replaced = 0;
    let late = |running: &&mut Running| {
        !running.abandoned && running.end.is_some_and(|end| end + GRACE < now)
    };
    for running in state.running.values_mut().filter(late).take(room) {
        running.leash.token.cancel();
        if spawn_worker(shared).is_ok() {
            running.abandoned = true;
            replaced += 1;
        }
    }
    state.stuck += replaced;
    if replaced > 0 {
        tracing::error!(
            stuck = state.stuck,
            "graph threads ignore the end of their queries and were replaced"
        );
    }
}

/// Resident size of this process (proc_pid_status(5), `VmRSS` in kB); 0 where there is no `/proc`.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The message of a panic, for the log.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::fault::{Classify, Kind};

    fn pool(stuck_max: usize) -> Pool {
        Pool::start(PoolSize {
            name: "graph-test",
            threads: 1,
            stack_bytes: 1 << 20,
            waiting_max: 4,
            stuck_max,
            memory_growth_max: None,
        })
        .unwrap()
    }

    fn late(_: bool) -> GraphError {
        GraphError::QueryTimeout { limit_ms: 0 }
    }

    #[tokio::test]
    async fn a_job_that_ignores_its_end_loses_its_thread_to_others() {
        let pool = pool(1);
        let (release, held) = mpsc::channel::<()>();
        let end = Some(Deadline::after(Duration::from_millis(50)));
        let stuck = pool.run(end, late, false, move |_| {
            let _ = held.recv();
            Ok(())
        });
        assert_eq!(stuck.await.unwrap_err().kind(), Kind::DeadlineExceeded);
        let next = pool.run(Some(Deadline::after(Duration::from_secs(60))), late, false, |_| Ok(7));
        assert_eq!(next.await.unwrap(), 7, "its thread was not replaced");
        assert_eq!(pool.load().stuck, 1);
        drop(release);
        while pool.load().stuck != 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run(None, late, false, |_| Ok(8)).await.unwrap(), 8);
    }

    #[tokio::test]
    async fn work_that_has_not_begun_is_taken_back_with_its_future() {
        let pool = pool(0);
        let (release, held) = mpsc::channel::<()>();
        let (ran, runs) = mpsc::channel();
        let first = pool.run(None, late, false, move |_| {
            let _ = held.recv();
            Ok(())
        });
        let second = pool.run(None, late, true, move |_| {
            let _ = ran.send(());
            Ok(())
        });
        let (mut first, mut second) = (Box::pin(first), Box::pin(second));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        drop(second);
        drop(release);
        first.await.unwrap();
        pool.run(None, late, false, |_| Ok(())).await.unwrap();
        assert!(runs.try_recv().is_err(), "the dropped write was carried out");
    }

    #[tokio::test]
    async fn a_panic_is_the_callers_error_and_the_thread_goes_on() {
        let pool = pool(0);
        let crash = pool.run(None, late, true, |_| -> Result<(), _> { panic!("inside") });
        match crash.await {
            Err(GraphError::Crashed { wrote: true, detail }) => assert_eq!(detail, "inside"),
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.run(None, late, false, |_| Ok(1)).await.unwrap(), 1);
        assert_eq!(pool.load().panics, 1);
    }

    #[tokio::test]
    async fn dropping_the_pool_answers_those_who_wait() {
        let pool = pool(0);
        let (release, held) = mpsc::channel::<()>();
        let mut first = Box::pin(pool.run(None, late, false, move |_| {
            let _ = held.recv();
            Ok(())
        }));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        let shared = Arc::clone(&pool.shared);
        drop(first);
        drop(pool);
        drop(release);
        assert!(shared.lock().closed && shared.lock().queue.is_empty());
    }
}
